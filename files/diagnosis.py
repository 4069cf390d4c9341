"""Why a browser could not send its bytes. It sees no more of it than "network error"; the bucket says more to us."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from . import storage, uploads
from .documents import File, Status

logger = logging.getLogger(__name__)

# How far the bucket's clock may be from ours: a URL that is signed behind it is over at once, and S3 refuses one that is signed
# more than 15 minutes ahead of it.
BEHIND, AHEAD = timedelta(seconds=storage.URL_LIVES), timedelta(minutes=15)


class Cause(StrEnum):
    """For programs; they never change. A browser tries again by itself after all but CLOCK and ORIGIN."""

    ARRIVED = "arrived"
    UNREACHABLE = "unreachable"
    CLOCK = "clock"
    ORIGIN = "origin"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


SENTENCES: dict[Cause, Promise | str] = {
    Cause.ARRIVED: _("The file has arrived after all. Confirm it."),
    Cause.UNREACHABLE: _("The bucket does not answer this site either. Wait a moment, then try again."),
    Cause.CLOCK: _(
        "The clocks of this site and of the bucket disagree, so no upload can be allowed. Tell whoever runs this site."
    ),
    Cause.ORIGIN: _(
        "The bucket does not take uploads from the address of this site. Tell whoever runs this site: its CORS rule is missing "
        "or out of date."
    ),
    Cause.EXPIRED: _("The upload link was over before the file had arrived. Try again to get a new one."),
    Cause.UNKNOWN: _("The bucket works from here, so your connection was cut. Try again when it is better."),
}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    cause: Cause

    @property
    def message(self) -> str:
        return str(SENTENCES[self.cause])


def diagnose(owner_id: str, key: str, origin: str) -> Diagnosis:
    """Why the PUT of a page of `origin` (like https://files.example.com) failed. Raises uploads.NotFound."""
    return Diagnosis(_cause(uploads.fetch(owner_id, key), origin))


def _cause(file: File, origin: str) -> Cause:
    try:
        return Cause.ARRIVED if file.status == Status.READY or uploads.has_arrived(file) else _of_preflight(file, origin)
    except storage.BucketError as error:
        # It may have refused us for our clock, which its answer to anybody shows.
        logger.warning("the bucket refused to say what it has of %s: %s", file.key, error)
        return Cause.CLOCK if _of_preflight(file, origin) == Cause.CLOCK else Cause.UNREACHABLE
    except storage.Error:
        return Cause.UNREACHABLE


def _of_preflight(file: File, origin: str) -> Cause:
    try:
        said = storage.preflight(file.key, origin, checksum=bool(file.sha256))
    except storage.Error:
        return Cause.UNREACHABLE
    moment = uploads.now()
    if said.date and not -AHEAD <= said.date - moment <= BEHIND:
        return Cause.CLOCK
    if not said.allowed:
        return Cause.ORIGIN
    return Cause.EXPIRED if moment > file.created_at + timedelta(seconds=storage.URL_LIVES) else Cause.UNKNOWN
