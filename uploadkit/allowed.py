"""Who may sign in with GitHub: active members of the organisations, and the users, that the settings name.

It is asked at every sign-in, before anything is written, and not in between: somebody who may no longer come in stays signed in
for as long as their session lives. That is two weeks (SESSION_COOKIE_AGE) from when it was last written: by signing in, or by
beginning to do so anew. To end it at once, take "Active" from the account in the admin, at which every request looks.

A login can be given up and then be somebody else's, an organisation's too; an id is one account's for good. So a user may be
named by their id, which `https://api.github.com/users/alice` has, and better is.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from django.conf import settings
from django.utils.text import get_text_list
from django.utils.translation import gettext as _


class Membership(StrEnum):
    """Of one person in one organisation. GitHub says the first two in these words."""

    ACTIVE = "active"
    PENDING = "pending"  # invited
    NONE = "none"
    UNTOLD = "untold"  # the organisation does not let GitHub tell us


def why_not(uid: str, login: str, membership: Callable[[str], Membership]) -> str:
    """Why this user of GitHub may not sign in, in a sentence for them; nothing if they may.

    `membership` asks GitHub about one organisation. It is not called for those who may come in without.
    """
    if everybody_may() or is_named(uid, login):
        return ""
    found: dict[str, Membership] = {}
    for organisation in settings.GITHUB_ALLOWED_ORGS:
        found[organisation] = membership(organisation)
        if found[organisation] is Membership.ACTIVE:
            return ""
    return _sentence(found)


def everybody_may() -> bool:
    """Where that is said; and on a laptop, where nothing is."""
    nothing_said = not settings.GITHUB_ALLOWED_USERS and not settings.GITHUB_ALLOWED_ORGS
    return settings.GITHUB_ALLOWED_USERS == ["*"] or (settings.DEBUG and nothing_said)


def is_named(uid: str, login: str) -> bool:
    """Digits alone are an id: a login that looks like somebody's id can be had by anybody."""
    named = {user.lower() for user in settings.GITHUB_ALLOWED_USERS}
    return uid in named or (login.lower() in named and not login.isdecimal())


def _sentence(found: dict[str, Membership]) -> str:
    """What kept somebody out, and what to do. It names no users."""
    if organisation := _first(Membership.PENDING, found):
        sentence = _(
            "You are invited to %(organisation)s, but not a member yet. Accept the invitation at GitHub, then sign in again."
        )
        return sentence % {"organisation": organisation}
    if organisation := _first(Membership.UNTOLD, found):
        sentence = _(
            "GitHub does not tell this site whether you are a member of %(organisation)s. Ask one of its owners to approve "
            "this site at GitHub. If it has a sign-in of its own there, use that first. Then sign in again."
        )
        return sentence % {"organisation": organisation}
    if not found:
        return _("This site is not open to everybody. Ask whoever runs it to let you in, then sign in again.")
    sentence = _("This site is for members of %(organisations)s. Ask whoever runs it to let you in, then sign in again.")
    return sentence % {"organisations": get_text_list(list(found))}


def _first(kind: Membership, found: dict[str, Membership]) -> str | None:
    return next((organisation for organisation, membership in found.items() if membership is kind), None)
