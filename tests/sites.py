"""The site in a process of its own, as in production, and a browser that goes there without JavaScript.

A site shares this worker's databases, so a test asks Django's models what a sign-in left behind. It must not hold a transaction
open meanwhile: mark it `django_db(transaction=True)`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import httpx
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session

from uploadkit import localstack

from .conftest import ROOT
from .github import CLIENT_ID, CLIENT_SECRET

PRODUCTION = {
    "DEBUG": "0",
    "SECRET_KEY": "vK9-yqWm3sXzR0dTnbLhJ2uCeFa8gPi5oU7kQxBwYtZr4NlMjEhSf1",
    "SITE_ORIGINS": "https://files.example.com",
    "SECURE_SSL_REDIRECT": "1",
    "TRUSTED_PROXY_COUNT": "1",
    "GITHUB_CLIENT_ID": CLIENT_ID,
    "GITHUB_CLIENT_SECRET": CLIENT_SECRET,
    "GITHUB_ALLOWED_USERS": "*",
    "R2_ACCOUNT_ID": "0123456789abcdef0123456789abcdef",
    "R2_BUCKET": "files",
    "R2_ACCESS_KEY_ID": "an-access-key",
    "R2_SECRET_ACCESS_KEY": "a-secret-key",
    "MONGODB_URI": "mongodb://mongo.example.com/uploadkit",
    "REDIS_URL": "rediss://redis.example.com:6379/0",
    "DATABASE_URL": "postgres://uploadkit:secret@db.example.com/uploadkit",
}

WITHIN = 30  # seconds; the slowest that any page may be on a busy machine


@contextmanager
def running_site(folder: Path, **environment: str) -> Iterator[str]:
    """Where it is: http://127.0.0.1:port. The `environment` goes over what tests.servers set."""
    port = localstack.free_port()
    origin = f"http://{localstack.HOST}:{port}"
    argv = [
        *(str(Path(sys.executable).parent / "granian"), "--interface", "wsgi", "--host", localstack.HOST, "--port", str(port)),
        *("--workers", "1", "--blocking-threads", "8", "uploadkit.wsgi:application"),
    ]
    env = {**settings_over_ours(folder), "SITE_ORIGINS": origin, "NO_PROXY": localstack.HOST, **environment}
    process = localstack.Process("the site", argv, port, folder / "site.log", env=env)
    process.start()
    try:
        process.wait_until_ready()
        yield origin
    finally:
        process.stop()


def settings_over_ours(folder: Path, *lines: str) -> dict[str, str]:
    """The environment for settings that say `lines` after ours, and find the static files that this run collected."""
    source = ["from uploadkit.settings import *  # noqa: F403", f"STATIC_ROOT = {str(settings.STATIC_ROOT)!r}", *lines, ""]
    (folder / "settings_over_ours.py").write_text("\n".join(source))
    path = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {"DJANGO_SETTINGS_MODULE": "settings_over_ours", "PYTHONPATH": path}


class Form(HTMLParser):
    """The first form of a page that goes to a path with `part` in it, with what its hidden fields say."""

    def __init__(self, page: httpx.Response, part: str) -> None:
        super().__init__()
        self.here = page.url
        self.part = part
        self.action: httpx.URL | None = None
        self.fields: dict[str, str] = {}
        self.inside = False
        self.feed(page.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form" and self.action is None:
            # Without an action a form goes to where its page came from, query and all.
            action = self.here.join(values["action"]) if values.get("action") else self.here
            if self.part in action.path:
                self.action, self.inside = action, True
        elif tag == "input" and self.inside and values.get("type") == "hidden":
            self.fields[values["name"]] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "form"


class Browser(httpx.Client):
    """Keeps cookies, follows no redirect by itself, and posts the forms that a page has."""

    def __init__(self, origin: str) -> None:
        super().__init__(base_url=origin, timeout=WITHIN, trust_env=False)
        self.origin = origin

    def submit(self, page: httpx.Response, action: str, **fields: str) -> httpx.Response:
        form = Form(page, action)
        assert form.action is not None, f"no form for {action} on {page.url}:\n{page.text}"
        return self.post(form.action, data=form.fields | fields, headers={"Origin": self.origin})

    def user(self) -> User | None:
        """Whom the site takes this browser for, by its session in the database."""
        session = Session.objects.filter(session_key=self.cookies.get("sessionid")).first()
        pk = session.get_decoded().get("_auth_user_id") if session else None
        return User.objects.get(pk=pk) if pk else None
