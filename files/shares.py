"""Links to a file for people without an account: made, listed, revoked, opened, downloaded by.

A link lives until it expires, is revoked or used up, and as long as its file is READY: one in the trash has dead links, which
live again when it is restored. Whatever ended a link, or that there never was one, looks the same from here on: `find` has
nothing, and `opens` says no after as long a time.

What is written here is one document in one step, so that nothing can be cut in between. A link that is made while its file
goes may outlive it; it opens nothing, and expires.
"""

from __future__ import annotations

import re
import secrets
from datetime import timedelta
from http import HTTPStatus
from typing import NamedTuple

from django.contrib.auth.hashers import check_password, make_password
from django.utils.translation import gettext as _

from . import uploads
from .documents import File, Share, Status
from .refusals import Refusal

RANDOM_BYTES = 16
TOKEN = re.compile(r"[A-Za-z0-9_-]{22}")  # what token_urlsafe makes of them
LINKS_AT_MOST = 20  # of one file


class TooManyLinks(Refusal):
    code = "too_many_links"
    status = HTTPStatus.CONFLICT

    def __init__(self) -> None:
        super().__init__(_("The file has %(count)d links, which is the most. Revoke one first.") % {"count": LINKS_AT_MOST})


class Link(NamedTuple):
    """A link that lives, and where it leads."""

    share: Share
    file: File


# --- for the owner --------------------------------------------------------------------------------------------------------


def create(owner_id: str, key: str, *, lives: timedelta, password: str = "", limit: int | None = None) -> Share:
    """Make a link to a READY file, from what `files.forms` has cleaned. Raises NotFound, TooManyLinks."""
    if len(links_to(owner_id, key)) >= LINKS_AT_MOST:
        raise TooManyLinks
    moment = uploads.now()
    share = Share(
        token=secrets.token_urlsafe(RANDOM_BYTES),
        key=key,
        owner_id=owner_id,
        created_at=moment,
        expires_at=moment + lives,
        password=make_password(password) if password else None,
        limit=limit,
    )
    return share.save(force_insert=True)  # type: ignore[no-any-return]


def links_to(owner_id: str, key: str) -> list[Share]:
    """The links to a READY file that have not expired, newest first; those that are used up too. Raises NotFound."""
    uploads.fetch(owner_id, key, Status.READY)
    return Share.links_to(owner_id, key, uploads.now())


def revoke(owner_id: str, key: str, token: str) -> None:
    """End a link. That there is none is no error: the first answer may have been lost on the way. Raises NotFound."""
    uploads.fetch(owner_id, key, Status.READY)
    Share.objects(token=token, key=key, owner_id=owner_id).delete()


# --- for whoever has the link ---------------------------------------------------------------------------------------------


def find(token: str) -> Link | None:
    """The link, if it lives."""
    share = Share.find(token, uploads.now()) if TOKEN.fullmatch(token) else None
    if share is None or share.used_up:
        return None
    file = File.find(share.owner_id, share.key, [Status.READY])
    return Link(share, file) if file else None


def opens(link: Link | None, password: str) -> bool:
    """Whether the password opens the link. A hasher runs in any case, as long as for a link that has a password."""
    return check_password(password, link.share.password or "" if link else "")


def download_url(link: Link) -> str | None:
    """Count a download, and return a URL for it that is good for a minute. None if the link ended meanwhile."""
    counted = Share.count_download(link.share.token, uploads.now())
    return uploads.download_url(link.file) if counted else None
