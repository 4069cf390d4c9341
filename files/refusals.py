"""What every refusal has in common: a sentence for the person who asked, and a code for the program."""

from __future__ import annotations

from http import HTTPStatus


class Refusal(Exception):
    """`code` is for programs and never changes; `status` is of RFC 9110; `fields` has a sentence for each field at fault.

    `reason` is a code of `files.reasons`, where a file was rejected. `left` has the files and bytes there is room for.
    """

    code = "refused"
    status = HTTPStatus.BAD_REQUEST
    fields: dict[str, str] | None = None
    reason: str | None = None
    left: dict[str, int | None] | None = None
    headers: dict[str, str] | None = None
