"""System checks on settings. No network: `manage.py check` must work before anything else does."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register

from .names import CONTENT_TYPE
from .policies import DEFAULT, Images, Policy, all_named

START = "start"  # the tag of what no process of production starts with; all of it asks the settings alone


LAPTOPS_SECRET = "uploadkit-local"  # noqa: S105  of uploadkit.localstack
LAPTOPS = ("localhost", ".localhost", ".local", ".internal", ".test")
SHORTEST_KEY, FEWEST_CHARACTERS = 50, 5  # as Django's own warning has it


def refuse_to_start() -> None:
    """End a process of web, worker or beat that a setting makes unsafe or useless, with a sentence that names the setting.

    On standard error, which a process manager shows. By the settings alone, since the beat has no apps.
    """
    faults = [fault for fault in checks.run_checks(tags=[START]) if fault.level >= checks.ERROR]
    if faults:
        raise SystemExit("\n".join(f"uploadkit does not start: {fault.msg} {fault.hint or ''}".rstrip() for fault in faults))


@register(START, Tags.security)
def secret_key(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Whoever guesses it makes sessions of anybody."""
    key = settings.SECRET_KEY
    weak = len(key) < SHORTEST_KEY or len(set(key)) < FEWEST_CHARACTERS or key.startswith("django-insecure-")
    if settings.DEBUG or not weak:
        return []
    return [
        Error(
            f"SECRET_KEY can be guessed: it has fewer than {SHORTEST_KEY} characters, or is a laptop's.",
            hint='Make one: python -c "import secrets; print(secrets.token_urlsafe(50))"',
            id="files.E020",
        )
    ]


@register(START, Tags.security)
def laptop_in_public(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """DEBUG shows settings and source to whoever causes an error, and lets anybody sign in."""
    public = [site for site in settings.SITE_ORIGINS if not _is_near(site)]
    if not settings.DEBUG or not public:
        return []
    return [
        Error(
            f"DEBUG is on, and SITE_ORIGINS has {public[0]}, which others can reach.",
            hint="Unset DEBUG, or SITE_ORIGINS on a laptop.",
            id="files.E021",
        )
    ]


@register(START, Tags.security)
def without_tls(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    plain = [site for site in settings.SITE_ORIGINS if site.startswith("http://")]
    if settings.DEBUG or not plain:
        return []
    if settings.SECURE_SSL_REDIRECT:
        return [
            Error(
                f"SITE_ORIGINS has {plain[0]}, and SECURE_SSL_REDIRECT sends everybody from there to https.",
                hint="Write https:// in SITE_ORIGINS.",
                id="files.E022",
            )
        ]
    if public := [site for site in plain if not _is_near(site)]:
        return [
            Error(
                f"SITE_ORIGINS has {public[0]}: sessions would cross the network for everybody to read.",
                hint="Put a proxy with TLS in front, write https://, and leave SECURE_SSL_REDIRECT on.",
                id="files.E023",
            )
        ]
    return []


@register(Tags.security, deploy=True)
def endless_redirect(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """What a proxy says of TLS is believed where there is one, and a web process that speaks TLS itself needs none."""
    if not settings.SECURE_SSL_REDIRECT or settings.TRUSTED_PROXY_COUNT:
        return []
    return [
        checks.Warning(
            "SECURE_SSL_REDIRECT is on, and TRUSTED_PROXY_COUNT is 0: behind a proxy with TLS each page redirects to itself.",
            hint="Set TRUSTED_PROXY_COUNT to the number of proxies in front, or have the web process speak TLS itself.",
            id="files.W030",
        )
    ]


@register(START, Tags.security)
def laptop_bucket(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """The credentials of `make run` are in the source. On this machine's own loopback nobody else can use them."""
    known = settings.R2_SECRET_ACCESS_KEY == LAPTOPS_SECRET
    if settings.DEBUG or not known or _is_loopback(urlsplit(settings.R2_ENDPOINT_URL).hostname or ""):
        return []
    return [
        Error(
            "R2_SECRET_ACCESS_KEY is the one of `make run`, which everybody knows.",
            hint="Make a token for the bucket and set R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY.",
            id="files.E024",
        )
    ]


@register(START)
def mixed_content(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Browsers block what a page of https sends to http, but for this machine's own loopback."""
    secure = [site for site in settings.SITE_ORIGINS if site.startswith("https:")]
    bucket = urlsplit(settings.R2_ENDPOINT_URL)
    if not secure or bucket.scheme == "https" or _is_loopback(bucket.hostname or ""):
        return []
    return [
        Error(
            f"R2_ENDPOINT_URL is {settings.R2_ENDPOINT_URL}, where no browser sends a file to from {secure[0]}.",
            hint="Give the bucket TLS, and write https:// in R2_ENDPOINT_URL.",
            id="files.E030",
        )
    ]


def _is_near(site: str) -> bool:
    """Whether an origin is of this machine or of a network that is not the internet."""
    host = urlsplit(site).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith(LAPTOPS)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.endswith(LAPTOPS[:2])


@register(START, Tags.security)
def laptop_sign_in(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Signing in by name alone is for a laptop."""
    installed = "allauth.socialaccount.providers.dummy" in settings.INSTALLED_APPS
    if installed and not settings.DEBUG:
        return [
            Error(
                "Anybody can sign in as anybody: allauth's dummy provider is installed with DEBUG off.",
                hint="Remove allauth.socialaccount.providers.dummy from INSTALLED_APPS.",
                id="files.E001",
            )
        ]
    if installed and settings.GITHUB_CLIENT_ID:
        return [
            Error(
                "Anybody can sign in as anybody: allauth's dummy provider is installed beside a GitHub client.",
                hint="Remove allauth.socialaccount.providers.dummy from INSTALLED_APPS, or unset GITHUB_CLIENT_ID.",
                id="files.E002",
            )
        ]
    return []


@register(START, Tags.security)
def sign_in_exists(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Half a GitHub client signs nobody in."""
    if bool(settings.GITHUB_CLIENT_ID) != bool(settings.GITHUB_CLIENT_SECRET):
        missing = "GITHUB_CLIENT_SECRET" if settings.GITHUB_CLIENT_ID else "GITHUB_CLIENT_ID"
        return [Error(f"{missing} is not set, though its other half is.", hint="Set both, or neither.", id="files.E003")]
    if not settings.GITHUB_CLIENT_ID and not settings.DEBUG:
        return [
            Error(
                "Nobody can sign in: GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET are not set.",
                hint="Make an OAuth app at https://github.com/settings/developers and set both.",
                id="files.E004",
            )
        ]
    return []


@register(START, Tags.security)
def who_may_sign_in(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Everybody can have an account at GitHub, so who may fill the bucket has to be said."""
    users, organisations = settings.GITHUB_ALLOWED_USERS, settings.GITHUB_ALLOWED_ORGS
    if users == ["*"] and organisations:
        return [
            Error(
                "GITHUB_ALLOWED_USERS is *, so that GITHUB_ALLOWED_ORGS keeps nobody out.",
                hint="Unset one of them.",
                id="files.E026",
            )
        ]
    if settings.GITHUB_CLIENT_ID and not settings.DEBUG and not users and not organisations:
        return [
            Error(
                "Nobody may sign in: neither GITHUB_ALLOWED_ORGS nor GITHUB_ALLOWED_USERS is set.",
                hint="Name organisations or users of GitHub. GITHUB_ALLOWED_USERS=* lets in whoever has an account there.",
                id="files.E025",
            )
        ]
    return []


@register(START)
def sites(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.SITE_ORIGINS:
        return []
    return [
        Error(
            "SITE_ORIGINS is not set, so every request would be refused.",
            hint="Set it to where people reach this site, like https://files.example.com",
            id="files.E005",
        )
    ]


@register()
def admin_keys(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Half a pair would be taken for none, and the app's own used."""
    if bool(settings.R2_ADMIN_ACCESS_KEY_ID) == bool(settings.R2_ADMIN_SECRET_ACCESS_KEY):
        return []
    missing = "R2_ADMIN_SECRET_ACCESS_KEY" if settings.R2_ADMIN_ACCESS_KEY_ID else "R2_ADMIN_ACCESS_KEY_ID"
    return [Error(f"{missing} is not set, though its other half is.", hint="Set both, or neither.", id="files.E013")]


@register()
def content_types(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    return [
        Error(
            f"ALLOWED_CONTENT_TYPES has {allowed!r}, which is no type.", hint="Write image/png, image/* or */*", id="files.E006"
        )
        for allowed in settings.ALLOWED_CONTENT_TYPES
        if not _is_type(allowed)
    ]


def _is_type(allowed: str) -> bool:
    match = CONTENT_TYPE.fullmatch(allowed)
    return match is not None and match[1].lower() == allowed


@register()
def time_to_check(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A check is ended when its lease is over, and a file that is never through is rejected in the end."""
    if not settings.CLAMD_URL or settings.CHECK_LEASE > settings.CLAMD_TIMEOUT:
        return []
    return [
        Error(
            "CHECK_LEASE is over before CLAMD_TIMEOUT, so that the check of a file ends before its scan may.",
            hint="Set CHECK_LEASE to a few times CLAMD_TIMEOUT, like 15m.",
            id="files.E014",
        )
    ]


# --- policies -----------------------------------------------------------------------------------------------------------

POLICY_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
KNOWN = [field.name for field in fields(Policy)]
LARGEST = 5_363_000_000  # bytes of one PUT, as for MAX_UPLOAD_SIZE


@register()
def policies(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A typo in a policy is named, with what was meant."""
    written: object = settings.UPLOAD_POLICIES
    if not isinstance(written, dict):
        return [Error("UPLOAD_POLICIES is no dict of dicts.", hint='Write {"default": {}}.', id="files.E015")]
    faults = [fault for name, said in written.items() for fault in _faults(name, said)]
    if DEFAULT not in written:
        faults.append(Error("UPLOAD_POLICIES has no 'default'.", hint='Add "default": {}.', id="files.E007"))
    return faults or [fault for name, policy in all_named() for fault in _unscannable(name, policy)]


def _unscannable(name: str, policy: Policy) -> Iterator[CheckMessage]:
    """What the scanner is never asked about would be rejected, each time after it was uploaded."""
    if policy.scan and policy.max_size > settings.CLAMD_MAX_SIZE:
        yield Error(
            f"The policy {name!r} takes {policy.max_size} bytes, and the virus scanner only {settings.CLAMD_MAX_SIZE}.",
            hint='Lower its "max_size" or MAX_UPLOAD_SIZE, raise CLAMD_MAX_SIZE and what clamd.conf has, or say "scan": False.',
            id="files.E012",
        )


def _faults(name: str, said: Any) -> Iterator[CheckMessage]:
    if not POLICY_NAME.fullmatch(str(name)):
        yield Error(f"UPLOAD_POLICIES has {name!r}: small letters, digits, - and _ make a name.", id="files.E008")
    if not isinstance(said, dict):
        yield Error(f"UPLOAD_POLICIES[{name!r}] is no dict.", hint='Write {"max_size": 1048576}, say.', id="files.E009")
        return
    for field, value in said.items():
        if field not in KNOWN:
            near = difflib.get_close_matches(str(field), KNOWN, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(KNOWN)}."
            yield Error(f"UPLOAD_POLICIES[{name!r}] has {field!r}, which is nothing a policy says.", hint=hint, id="files.E010")
        elif hint := _wrong(field, value):
            yield Error(f"UPLOAD_POLICIES[{name!r}][{field!r}] is {value!r}.", hint=hint, id="files.E011")


def _wrong(field: str, value: Any) -> str:
    """What to write instead, or nothing."""
    if field in ("max_size", "max_files"):
        right = (type(value) is int and 0 < value <= LARGEST) or (field == "max_files" and value is None)
        return "" if right else f"Write a whole number from 1 to {LARGEST}."
    if field in ("content_types", "extensions"):
        right = isinstance(value, tuple) and bool(value) and all(isinstance(each, str) for each in value)
        if right and field == "content_types":
            right = all(_is_type(each) for each in value)
        if right and field == "extensions":
            right = all(each == each.lower() and "." not in each for each in value)
        return "" if right else 'Write a tuple like ("image/*",) or ("jpg", "png"), in small letters; of tar.gz write gz.'
    if field in ("pending_lives", "ready_lives"):
        right = (isinstance(value, timedelta) and value > timedelta()) or (field == "ready_lives" and value is None)
        return "" if right else "Write a timedelta, like timedelta(hours=1)."
    if field == "images":
        return "" if value in list(Images) else f"Write one of {', '.join(Images)}."
    if not isinstance(value, bool):
        return "Write True or False."
    return "Nothing scans here: set CLAMD_URL." if value and not settings.CLAMD_URL else ""
