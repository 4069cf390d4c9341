"""Why a file was rejected: a code that is kept, and a sentence for its owner."""

from __future__ import annotations

from enum import StrEnum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class Reason(StrEnum):
    """Programs read these, so that they never change."""

    TYPE = "type"
    ACTIVE = "active"
    POLYGLOT = "polyglot"
    INTEGRITY = "integrity"
    MALWARE = "malware"
    UNSCANNABLE = "unscannable"
    BROKEN = "broken_image"
    BOMB = "image_too_large"
    FRAMES = "too_many_frames"
    UNREADABLE = "unreadable_image"
    UNCHECKED = "unchecked"


class Rejected(Exception):
    """A file is not accepted, for good: looking again would find the same."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


SENTENCES: dict[Reason, Promise] = {
    Reason.TYPE: _("What is in the file is not what its name or type says. Give it the ending that fits, and upload it again."),
    Reason.ACTIVE: _("There is a script or a web page in a file that says it is something else."),
    Reason.POLYGLOT: _("The file is two kinds of file at once. Save it anew in its program, and upload that."),
    Reason.INTEGRITY: _("The bytes that arrived are not those that were sent. Upload the file again."),
    Reason.MALWARE: _("The virus scanner found something in the file."),
    Reason.UNSCANNABLE: _(
        "The file, or what is packed in it, is larger than the virus scanner takes. Upload it in smaller parts."
    ),
    Reason.BROKEN: _("The picture is damaged or incomplete. Save it anew, and upload that."),
    Reason.BOMB: _("The picture has more pixels than are accepted here. Make it smaller, and upload that."),
    Reason.FRAMES: _("The animation is too long. Shorten it, and upload that."),
    Reason.UNREADABLE: _("Pictures of this kind are not accepted here. Save it as JPEG or PNG, and upload that."),
    Reason.UNCHECKED: _("The file could not be checked, though it was tried several times. Save it anew, and upload that."),
}
