"""A real Chromium in front of the whole site. Each test fails on an error in the console that it did not foresee."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.http import HttpRequest
from django.middleware.csrf import rotate_token
from django.test import Client
from playwright.sync_api import BrowserContext, ConsoleMessage, FilePayload, Locator, Page, Request, Route, expect

from files import checking, storage
from files.documents import File
from tests import chromium

from .line import Line

# Playwright's sync API keeps an event loop in the main thread until the run ends, where Django sees an async context.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

WITHIN = 20  # seconds; the slowest that anything may be on a busy machine
expect.set_options(timeout=WITHIN * 1000)

DROP = """(files) => {
    const transfer = new DataTransfer();
    for (const { name, mimeType, text } of files) transfer.items.add(new File([text], name, { type: mimeType }));
    return transfer;
}"""

# What the row's status, its bar and the announcer said, in order.
LISTEN = """() => {
    window.said = { status: [], percent: [], announced: [] };
    const note = (list, value) => { if (value !== "" && list.at(-1) !== value) list.push(value); };
    new MutationObserver(() => {
        const row = document.querySelector("[data-upload]");
        note(said.announced, document.querySelector("#announcer").lastElementChild?.textContent ?? "");
        if (!row) return;
        note(said.status, row.querySelector("[data-part=status]").textContent);
        note(said.percent, row.querySelector("progress").value);
    }).observe(document.querySelector("main"), { subtree: true, childList: true, characterData: true, attributes: true });
}"""


# Layout shifts that nobody's click or key brought about, as browsers count them (https://web.dev/articles/cls).
SHIFTS = """() => {
    window.shifts = [];
    const where = ({ node, previousRect, currentRect }) => `${node?.className}: ${previousRect.y} to ${currentRect.y}`;
    new PerformanceObserver((list) => {
        for (const it of list.getEntries()) if (!it.hadRecentInput) window.shifts.push(it.sources.map(where));
    }).observe({ type: "layout-shift", buffered: true });
}"""


# --- the browser --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def the_line() -> Iterator[Line]:
    line = Line(urlsplit(settings.R2_ENDPOINT_URL).port or 80)
    yield line
    line.close()


@pytest.fixture
def line(the_line: Line) -> Iterator[Line]:
    """The line to the bucket, to cut."""
    yield the_line
    the_line.mend()


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any], the_line: Line) -> dict[str, Any]:
    path = chromium.find()
    if path is None:
        pytest.fail(chromium.MISSING, pytrace=False)
    # Chromium believes that it talks to the bucket; that it goes over the line changes no address and no signature.
    to_the_bucket = f"MAP {urlsplit(settings.R2_ENDPOINT_URL).netloc} 127.0.0.1:{the_line.port}"
    args = ["--disable-gpu", "--disable-dev-shm-usage", f"--host-resolver-rules={to_the_bucket}"]
    if os.geteuid() == 0:
        args.append("--no-sandbox")  # Chromium refuses to start it as root
    return {**browser_type_launch_args, "executable_path": path, "args": args}


@pytest.fixture(scope="session")
def base_url(site: Site) -> str:
    return site.origin


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    return {**browser_context_args, "locale": "en-GB"}


# --- the site -----------------------------------------------------------------------------------------------------------


class Counted:
    """The application, and how many requests it is working on."""

    def __init__(self) -> None:
        self.application = WSGIHandler()
        self.changed = threading.Condition()
        self.under_way = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        self._count(1)
        try:
            return self.application(environ, start_response)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self.changed:
            self.under_way += change
            self.changed.notify_all()


@dataclass
class Site:
    origin: str
    application: Counted

    def wait_until_idle(self) -> None:
        with self.application.changed:
            assert self.application.changed.wait_for(lambda: self.application.under_way == 0, timeout=WITHIN)


@pytest.fixture(scope="session")
def site(static_root: None, django_db_setup: None) -> Iterator[Site]:
    """The site in threads of this process, so that a test can turn its settings. Whitenoise serves the manifest's files.

    Not pytest-django's live_server, which serves static files by their plain names alone.
    """
    application = Counted()
    with ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler) as server:
        server.set_app(application)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield Site(f"http://127.0.0.1:{server.server_port}", application)
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def many_signings(settings: Any) -> None:
    """What is tried again is signed again; where the limit is the matter, a test says so."""
    settings.SIGNINGS_PER_MINUTE = 600


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks of a file are made before it is said that it has some. Its row shows them until it looks again."""

    def check(file: File) -> None:
        assert file.check_at
        checking.check(file.key, file.check_at)

    monkeypatch.setattr(checking, "queue", check)


@pytest.fixture(autouse=True)
def open_site(transactional_db: None, site: Site) -> Iterator[Site]:
    """The site with browsers let into the bucket; at the end it has finished all requests before the databases are emptied."""
    storage.set_up(["http://testserver", site.origin])
    yield site
    site.wait_until_idle()


# --- what happened in the browser ---------------------------------------------------------------------------------------


@dataclass
class Watch:
    """Every request, and every error that the browser reported."""

    requests: list[Request] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    foreseen: list[str] = field(default_factory=list)

    def observe(self, context: BrowserContext) -> None:
        context.on("request", self._ask)
        context.on("weberror", lambda error: self.errors.append(f"uncaught: {error.error}"))
        context.on("console", self._hear)

    def _ask(self, request: Request) -> None:
        # Playwright marks its handlers, which a built-in method like append does not let it do.
        self.requests.append(request)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def foresee(self, *patterns: str) -> None:
        """Errors that the browser logs because of what the test breaks on purpose."""
        self.foreseen += patterns

    def unforeseen(self) -> list[str]:
        return [error for error in self.errors if not any(re.search(pattern, error) for pattern in self.foreseen)]

    def sent(self, method: str, path: str) -> list[Request]:
        """The requests whose address has `path` in it."""
        return [request for request in self.requests if request.method == method and path in request.url]

    def hosts(self) -> set[str]:
        # chrome:// is the browser's own viewer of PDF.
        origins = (re.match(r"(?!chrome)\w+://[^/]+", request.url) for request in self.requests)
        return {origin[0] for origin in origins if origin}


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture(autouse=True)
def calm(watch: Watch, site: Site) -> Iterator[None]:
    """After every test: no unforeseen error, and nobody was asked but the site and the bucket."""
    yield
    assert watch.unforeseen() == []
    assert watch.hosts() <= {site.origin, settings.R2_ENDPOINT_URL}


# --- who looks at it ----------------------------------------------------------------------------------------------------

Visit = Callable[..., Page]


@pytest.fixture
def visit(calm: None, open_site: Site, new_context: Any, watch: Watch) -> Visit:
    """Open a browser of somebody's own: `visit(alice)`, `visit(None)` for a stranger; the rest goes to new_context."""

    def visit(user: User | None, path: str | None = "/files/", **options: Any) -> Page:
        context: BrowserContext = new_context(**options)
        context.set_default_timeout(WITHIN * 1000)
        watch.observe(context)
        if user:
            sign_in(context, user, open_site)
        page = context.new_page()
        if path:
            page.goto(path)
        return page

    return visit


@pytest.fixture
def page(visit: Visit, alice: User) -> Page:
    """Alice's list of files."""
    page = visit(alice)
    page.evaluate(LISTEN)
    hurry(page)
    return page


def sign_in(context: BrowserContext, user: User, site: Site) -> None:
    """As in another tab: with a session and, as Django's login() has it, with another CSRF token."""
    client = Client()
    client.force_login(user)
    rotated = HttpRequest()
    rotate_token(rotated)
    cookies = {"sessionid": client.cookies["sessionid"].value, "csrftoken": rotated.META["CSRF_COOKIE"]}
    context.add_cookies([{"name": name, "value": value, "url": site.origin} for name, value in cookies.items()])


def end_sessions() -> None:
    Session.objects.all().delete()


# --- files and rows -----------------------------------------------------------------------------------------------------


def a_file(name: str = "report.txt", size: int = 24, *, kind: str = "text/plain") -> FilePayload:
    # Not one byte over and over: what arrives in the wrong order must not look right.
    first = b"%PDF-1.7\n" if kind == "application/pdf" else b""
    body = (first + b"".join(b"%d," % number for number in range(size // 2 + 1)))[:size]
    return {"name": name, "mimeType": kind, "buffer": body}


def choose(page: Page, *files: FilePayload) -> None:
    page.locator("#chooser").set_input_files(files)


def drop(page: Page, *files: FilePayload) -> None:
    plain = [{"name": it["name"], "mimeType": it["mimeType"], "text": it["buffer"].decode()} for it in files]
    transfer = page.evaluate_handle(DROP, plain)
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event(".drop", event, {"dataTransfer": transfer})


def row(page: Page, name: str) -> Locator:
    return page.locator("#files > .row").filter(has_text=name)


def status(row: Locator) -> Locator:
    return row.locator("[data-part=status]")


def button(row: Locator, words: str) -> Locator:
    return row.get_by_role("button", name=words)


def finished(page: Page, name: str) -> Locator:
    return page.locator("#files > .file").filter(has=page.get_by_role("link", name=name, exact=True))


def expect_failed(row: Locator, sentence: str | re.Pattern[str]) -> None:
    """The row says what happened and offers both ways on."""
    expect(status(row)).to_have_text(sentence)
    expect(row).to_have_attribute("data-state", "failed")
    expect(button(row, "Try again")).to_be_visible()
    expect(button(row, "Remove")).to_be_visible()
    expect(button(row, "Cancel")).to_be_hidden()
    expect(row.locator("progress")).to_be_hidden()


def names(page: Page) -> list[str]:
    return page.locator("#files .file .name").all_inner_texts()


def hurry(page: Page) -> None:
    """Have uploads that may yet succeed tried again at once: the five tries then take less than a second."""
    page.evaluate("() => { document.querySelector('#uploader').dataset.backoff = 10; }")


def said(page: Page, kind: str) -> list[Any]:
    heard: list[Any] = page.evaluate(f"() => said.{kind}")
    return heard


# --- the network --------------------------------------------------------------------------------------------------------


def until(page: Page, happened: Callable[[], object]) -> None:
    """Wait for what the page alone does not show."""
    deadline = time.monotonic() + WITHIN
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        page.wait_for_timeout(20)


def upload_at(page: Page, bytes_per_second: int) -> None:
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_second}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", conditions)


class Held:
    """Requests to some address, each of which waits until the test lets it go."""

    def __init__(self, page: Page, address: str, method: str = "PUT") -> None:
        self.page = page
        self.method = method
        self.waiting: list[Route] = []
        self.open = False
        page.route(address, self._hold)

    def _hold(self, route: Route) -> None:
        if route.request.method == self.method and not self.open:
            self.waiting.append(route)
        else:
            route.fallback()

    def wait_for(self, count: int = 1) -> None:
        until(self.page, lambda: len(self.waiting) >= count)

    def let_one_go(self) -> None:
        self.waiting.pop(0).continue_()

    def let_go(self) -> None:
        """All of them, and whatever comes later."""
        self.open = True
        while self.waiting:
            self.let_one_go()


def bucket() -> str:
    return f"{settings.R2_ENDPOINT_URL}/**"


def refuse(page: Page, address: str, status: int, sentence: str, code: str = "unavailable") -> None:
    """Have the site refuse once, in the words of its contract."""
    as_json = "/api/" in address
    body = json.dumps({"error": sentence, "code": code}) if as_json else sentence
    kind = "application/json" if as_json else "text/plain; charset=utf-8"
    page.route(address, lambda route: route.fulfill(status=status, body=body, content_type=kind), times=1)


def download(page: Page, link: Locator, folder: Path) -> tuple[str, bytes]:
    """The name that the browser saves the file by, and what is in it."""
    with page.expect_download() as started:
        link.click()
    path = folder / "downloaded"
    started.value.save_as(path)
    return started.value.suggested_filename, path.read_bytes()
