"""Somebody at the page itself: static/files.js in a real Chromium, and a finger on "Try again"."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from playwright.sync_api import FilePayload, Page, Response, sync_playwright

from tests import chromium
from tests.faults.people import Acknowledged, Traffic

SETTLED_WITHIN = 60  # seconds after everything works again

# [the address of its page, its name] of each row that the server says is a file.
FINISHED = (
    """() => [...document.querySelectorAll("#files > .file a.name")].map((a) => [a.getAttribute("href"), a.textContent])"""
)
TRY_AGAIN = (
    """() => document.querySelectorAll("[data-upload][data-state=failed] [data-act=retry]").forEach((it) => it.click())"""
)


@dataclass
class AtThePage:
    traffic: Traffic
    session: str
    bodies: dict[str, str] = field(default_factory=dict)  # name of the file -> its SHA-256
    finished: int = 0

    @contextlib.contextmanager
    def uploading(self) -> Iterator[AtThePage]:
        ready, stopping = threading.Event(), threading.Event()
        thread = threading.Thread(target=self._live, args=(ready, stopping))
        thread.start()
        ready.wait(60)
        try:
            yield self
        finally:
            stopping.set()
            thread.join()

    def _live(self, ready: threading.Event, stopping: threading.Event) -> None:
        try:
            with a_page(self.traffic.stack.site, self.session) as page:
                page.on("response", self._hear)
                page.on("pageerror", lambda error: self.traffic.bugs.append(f"the page's script failed: {error}"))
                page.goto("/files/")
                ready.set()
                self._upload(page, stopping)
        except Exception as error:  # a thread that ends in silence would let the test pass
            self.traffic.bugs.append(f"the page: {error!r}")
            raise
        finally:
            ready.set()

    def _upload(self, page: Page, stopping: threading.Event) -> None:
        dice = random.Random(f"{self.traffic.seed}/page")
        while not stopping.is_set():
            if page.locator("[data-upload]").count() < 6:
                page.locator("#chooser").set_input_files([self._a_file(dice) for _ in range(dice.randint(1, 3))])
            page.wait_for_timeout(200)
            self._note(page)
        deadline = time.monotonic() + SETTLED_WITHIN
        while page.locator("[data-upload]").count():
            if time.monotonic() > deadline:
                self.traffic.bugs.append(f"the page does not get done: {page.locator('#files').inner_text()[:500]}")
                return
            page.wait_for_timeout(100)
            self._note(page)

    def _a_file(self, dice: random.Random) -> FilePayload:
        body = dice.randbytes(dice.choice(self.traffic.sizes))
        name = f"page-{len(self.bodies)}-{dice.randrange(10**9)}.bin"
        self.bodies[name] = hashlib.sha256(body).hexdigest()
        return {"name": name, "mimeType": "application/octet-stream", "buffer": body}

    def _note(self, page: Page) -> None:
        """What the page says has arrived is acknowledged."""
        for address, name in page.evaluate(FINISHED):
            if name in self.bodies:
                key = address.removeprefix("/files/").removesuffix("/")
                self.finished += key not in self.traffic.acknowledged
                self.traffic.acknowledged[key] = Acknowledged(self.session, self.bodies[name])
        page.evaluate(TRY_AGAIN)

    def _hear(self, answer: Response) -> None:
        if not answer.url.startswith(self.traffic.stack.site):
            return
        self.traffic.answers[answer.status] += 1
        if answer.status in (401, 403) or (answer.status >= 500 and answer.status != 503):
            self.traffic.bugs.append(f"the page got {answer.status} of {answer.url}")


@contextlib.contextmanager
def a_page(site: str, session: str) -> Iterator[Page]:
    executable = chromium.find()
    assert executable, chromium.MISSING
    args = ["--disable-gpu", "--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=executable, args=args) as browser,
        browser.new_context(base_url=site) as context,
    ):
        context.add_cookies([{"name": "sessionid", "value": session, "url": site}])
        page = context.new_page()
        page.on("dialog", lambda dialog: dialog.accept())
        yield page
