"""System checks on settings. No network: `manage.py check` must work before anything else does."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from .names import CONTENT_TYPE


@register(Tags.security)
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


@register(Tags.security)
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


@register()
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
def content_types(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    return [
        Error(
            f"ALLOWED_CONTENT_TYPES has {allowed!r}, which is no type.", hint="Write image/png, image/* or */*", id="files.E006"
        )
        for allowed in settings.ALLOWED_CONTENT_TYPES
        if not (match := CONTENT_TYPE.fullmatch(allowed)) or match[1].lower() != allowed
    ]
