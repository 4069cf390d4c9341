"""The uploader on any page of the site: `{% uploader "avatars" %}` takes what that policy takes. See docs/integrate.md."""

from __future__ import annotations

import mimetypes
from typing import Any

from django import template
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from files import names, policies
from files.kinds import FAMILIES, LABELS

register = template.Library()

register.filter("ending", names.ending)

ANY = ("*", "*/*")


@register.inclusion_tag("files/_uploader_head.html")
def uploader_head() -> dict[str, Any]:
    """What a page with an uploader has in its head."""
    return {}


@register.inclusion_tag("files/_uploader.html")
def uploader(name: str = policies.DEFAULT, *, with_list: bool = True) -> dict[str, Any]:
    """Where files can be dropped for that policy, and a list for what becomes of them unless the page has one: `#files`.

    One a page. Raises ImproperlyConfigured where the settings have no such policy.
    """
    if name not in settings.UPLOAD_POLICIES:
        known = ", ".join(settings.UPLOAD_POLICIES)
        raise ImproperlyConfigured(f"{{% uploader {name!r} %}} names no policy: UPLOAD_POLICIES has {known}.")
    policy = policies.policy_named(name)
    return {
        "name": name,
        "policy": policy,
        "limits": limits(policy),
        "accept": accept(policy),
        "hash_max_size": min(settings.HASH_MAX_SIZE, policy.max_size),  # what is refused need not be read before
        "with_list": with_list,
    }


def limits(policy: policies.Policy) -> str:
    """What the policy takes, in words: Images up to 5.0 MB each, 100 a day at most."""
    if kinds := _kinds(policy):
        sentence = _("%(kinds)s up to %(size)s each")
    else:
        sentence = _("Up to %(size)s each") if policy.max_files else _("As many as you like, up to %(size)s each")
    said = sentence % {"kinds": kinds, "size": filesizeformat(policy.max_size)}
    if policy.max_files:
        said += ngettext(", %(count)d a day at most", ", %(count)d a day at most", policy.max_files) % {
            "count": policy.max_files
        }
    return said


def accept(policy: policies.Policy) -> str:
    """What a browser offers to choose, as an input's attribute: the endings, if the policy lists them, or else the types."""
    if endings := _endings(policy):
        return ",".join(f".{ending}" for ending in endings)
    return "" if set(ANY) & set(policy.content_types) else ",".join(policy.content_types)


def _kinds(policy: policies.Policy) -> str:
    named = [ending.upper() for ending in _endings(policy)]
    if not named and not set(ANY) & set(policy.content_types):
        named = [_kind(content_type) for content_type in policy.content_types]
    return ", ".join(dict.fromkeys(named))


def _endings(policy: policies.Policy) -> list[str]:
    """Those that the policy lists; none where it takes others as well."""
    return [] if any("*" in ending or "?" in ending for ending in policy.extensions) else list(policy.extensions)


def _kind(content_type: str) -> str:
    family, _slash, subtype = content_type.partition("/")
    if subtype == "*":
        return str(LABELS[FAMILIES[family]]) if family in FAMILIES else content_type
    ending = mimetypes.guess_extension(content_type)
    return ending[1:].upper() if ending else content_type
