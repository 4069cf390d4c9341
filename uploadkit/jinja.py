"""What the compiled templates know: addresses, and sizes and times in words."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

from django.contrib.humanize.templatetags.humanize import naturaltime
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import get_language, gettext, ngettext
from jinja2 import Environment

from files import names

MINUTE = 60  # seconds


def environment(**options: Any) -> Environment:
    made = Environment(**options)  # noqa: S701  Django turns autoescape on
    made.install_gettext_callables(gettext, ngettext, newstyle=True)  # type: ignore[attr-defined]  # of jinja2.ext.i18n
    made.globals |= {"url": reverse, "clock": timezone.now}
    made.filters |= {"ago": ago, "ending": names.ending, "iso": datetime.isoformat, "size": size, "spelled_out": spelled_out}
    return made


def size(count: int) -> str:
    return _size(count, get_language())


@lru_cache(maxsize=1_000)
def _size(count: int, language: str | None) -> str:
    """`language` is there for the cache alone, as it is in `_ago`."""
    return filesizeformat(count)


def spelled_out(moment: datetime) -> str:
    return _spelled_out(moment.replace(second=0, microsecond=0), get_language())


@lru_cache(maxsize=10_000)
def _spelled_out(moment: datetime, language: str | None) -> str:
    # Translators: how a moment is written, in the letters of Django's template filter "date"
    moment_format = gettext("j F Y, H:i")
    return f"{date_format(moment, moment_format)} UTC"


def ago(moment: datetime, now: datetime) -> str:
    """How long before `now` that was. Nothing shows seconds from a minute on, so a minute's files share their words."""
    seconds = int((now - moment).total_seconds())
    return _ago(seconds if seconds < MINUTE else seconds - seconds % MINUTE, now.date(), get_language())


@lru_cache(maxsize=1_000)
def _ago(seconds: int, today: date, language: str | None) -> str:
    """`today` is there for the cache alone: months are not of one length."""
    return naturaltime(timezone.now() - timedelta(seconds=seconds))
