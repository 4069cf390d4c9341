"""What an upload may be, and what becomes of it: a policy, chosen by its name. `settings.UPLOAD_POLICIES` defines them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from django.conf import settings
from django.utils.translation import gettext as _

DEFAULT = "default"


class Images(StrEnum):
    KEEP = "keep"  # as they came, once they were decoded
    CLEAN = "clean"  # encoded anew, without metadata


@dataclass(frozen=True, slots=True)
class Policy:
    """What a policy does not say is as the rest of the settings have it.

    `max_size` is in bytes; `max_files` are signings of one owner in any 24 hours. `content_types` and `extensions` (without the
    dot) may have wildcards. With `scan` nothing becomes READY that the virus scanner has not seen. `pending_lives` and
    `ready_lives` say after what time an upload that nobody confirms, and a file, are removed; None: never.
    """

    max_size: int
    content_types: tuple[str, ...]
    pending_lives: timedelta
    scan: bool
    extensions: tuple[str, ...] = ("*",)
    max_files: int | None = None
    images: Images = Images.KEEP
    ready_lives: timedelta | None = None

    def fault_of_type(self, content_type: str) -> str | None:
        """Why it takes no files of that type, for the person who has one."""
        if any(fnmatchcase(content_type, allowed) for allowed in self.content_types):
            return None
        sentence = _("Files of type %(type)s are not accepted here, only %(allowed)s.")
        return sentence % {"type": content_type, "allowed": ", ".join(self.content_types)}

    def fault_of_name(self, filename: str) -> str | None:
        extension = PurePosixPath(filename).suffix.lower().removeprefix(".")
        if any(fnmatchcase(extension, allowed) for allowed in self.extensions):
            return None
        sentence = _("Files whose names end like this are not accepted here, only %(allowed)s.")
        return sentence % {"allowed": ", ".join(self.extensions)}


class Unknown(LookupError):
    """The settings have no policy of that name."""


def policy_named(name: str) -> Policy:
    """Raises Unknown."""
    if name not in settings.UPLOAD_POLICIES:
        raise Unknown(f"UPLOAD_POLICIES has no {name!r}.")
    said = settings.UPLOAD_POLICIES[name]
    general = {
        "max_size": settings.MAX_UPLOAD_SIZE,
        "content_types": tuple(settings.ALLOWED_CONTENT_TYPES),
        "pending_lives": settings.PENDING_MAX_AGE,
        "scan": bool(settings.CLAMD_URL),
    }
    return Policy(**{**general, **said})


def policy_for(name: str | None) -> Policy:
    """A file's policy; that of `default` where the settings have it no more, or an earlier version wrote none."""
    return policy_named(name if name in settings.UPLOAD_POLICIES else DEFAULT)


def all_named() -> Iterable[tuple[str, Policy]]:
    return [(name, policy_named(name)) for name in settings.UPLOAD_POLICIES]


def without_checks() -> list[str]:
    """The policies by which a file is READY, for good, as soon as its first bytes are what they should be."""
    return [name for name, policy in all_named() if not (policy.scan or policy.ready_lives or policy.images == Images.CLEAN)]
