"""People who upload through the public API meanwhile, and write down all that they were told for certain. Where there are
pictures, one file of five is one: the worker checks it, and what is accepted for that has to be READY in the end.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx

from tests.faults.stack import Stack
from tests.processes import wait_until

PART_OF_A_SECOND = 0.02
SIZES = (10, 5_000, 100_000)
UNDO_FOR = 10  # seconds


@dataclass
class Acknowledged:
    owner: str  # the session key
    sha256: str


@dataclass
class Traffic:
    """People, one thread each, until they are told to stop. `seed` says what they do, though not when."""

    stack: Stack
    seed: str = ""
    pause: float = PART_OF_A_SECOND
    sizes: tuple[int, ...] = SIZES
    pictures: bool = False
    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    canceled: set[str] = field(default_factory=set)
    restored: set[str] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)  # made overdue meanwhile, so that a sweep may take it
    answers: Counter[int] = field(default_factory=Counter)  # of the site, by status
    bugs: list[str] = field(default_factory=list)
    cut_off: int = 0  # requests that got no answer, or one of 503
    refused_by_the_bucket: int = 0

    @contextlib.contextmanager
    def flowing(self) -> Iterator[Traffic]:
        with contextlib.ExitStack() as exits:
            # Told to stop all at once, then waited for.
            stopping = threading.Event()
            for number, session in enumerate(self.stack.sessions):
                exits.enter_context(self._thread(self._live, number, session, stopping))
            exits.callback(stopping.set)
            yield self

    @contextlib.contextmanager
    def somebody_at(self, site: str) -> Iterator[Person]:
        """One more, who asks another web server of the same site."""
        stopping, session = threading.Event(), self.stack.sessions[0]
        with self.person(session, site) as person, self._thread(self._go_on, person, random.Random(f"{self.seed}+"), stopping):
            try:
                yield person
            finally:
                stopping.set()

    def wait_for_more(self, count: int = 20) -> None:
        wanted = len(self.acknowledged) + count
        wait_until(lambda: len(self.acknowledged) >= wanted, f"{count} more files acknowledged, {self.answers}")

    def wait_to_be_cut_off(self) -> None:
        wanted = self.cut_off + self.refused_by_the_bucket + 3
        wait_until(lambda: self.cut_off + self.refused_by_the_bucket >= wanted, "somebody notices")

    @contextlib.contextmanager
    def person(self, session: str, site: str | None = None) -> Iterator[Person]:
        with self.stack.client(session, site) as client, httpx.Client(timeout=10) as outside:
            yield Person(self, session, client, outside, elsewhere=site is not None)

    def _live(self, number: int, session: str, stopping: threading.Event) -> None:
        with self.person(session) as person:
            self._go_on(person, random.Random(f"{self.seed}/{number}"), stopping)

    def _go_on(self, person: Person, dice: random.Random, stopping: threading.Event) -> None:
        try:
            while not stopping.is_set():
                person.upload(dice.randbytes(dice.choice(self.sizes)), dice.random(), stopping)
                time.sleep(self.pause)
        except Exception as error:  # a thread that ends in silence would let the test pass
            self.bugs.append(repr(error))
            raise

    @staticmethod
    @contextlib.contextmanager
    def _thread(target: Callable[..., None], *args: object) -> Iterator[None]:
        thread = threading.Thread(target=target, args=args)
        thread.start()
        try:
            yield
        finally:
            thread.join()


def picture(noise: bytes) -> bytes:
    """A PNG of one grey row with these bytes (PNG specification, section 11.2)."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    noise = noise[:5_000]
    header = struct.pack(">IIBBBBB", len(noise), 1, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" + noise, 1)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@dataclass
class Person:
    traffic: Traffic
    session: str
    client: httpx.Client
    outside: httpx.Client  # to the bucket: without the cookies
    elsewhere: bool = False  # at a web server of their own, whose clock may be wrong
    signed: int = 0
    arrived: int = 0

    def upload(self, body: bytes, mood: float, stopping: threading.Event) -> None:
        """Sign, send and confirm; some give up on the way, look again, rename and share, or delete what they just sent, or
        undo that.
        """
        if self.traffic.pictures and mood * 1000 % 5 < 1:
            self.upload_picture(picture(body), stopping)
        elif signed := self.sign("päper.bin", "application/octet-stream", body):
            self.finish(signed, body, mood, stopping)

    def finish(self, signed: dict[str, Any], body: bytes, mood: float, stopping: threading.Event) -> None:
        key = signed["key"]
        if mood < 0.05:
            self.cancel(key)
        elif self.send(signed, body) and mood > 0.10:
            if mood < 0.15:
                self.cancel(key)
            else:
                self.confirm(key, hashlib.sha256(body).hexdigest(), stopping)
        if 0.7 < mood < 0.8 and key in self.traffic.acknowledged:
            self.rename_and_share(key)
        if mood > 0.8 and key in self.traffic.acknowledged:
            self.look_again(key)
        if mood > 0.9 and key in self.traffic.acknowledged:
            self.delete(key, undo=mood > 0.95)

    def upload_picture(self, body: bytes, stopping: threading.Event) -> None:
        """It is being checked once it is confirmed, so that nothing else can be done with it for a while."""
        signed = self.sign("pïcture.png", "image/png", body)
        if signed and self.send(signed, body):
            self.confirm(signed["key"], hashlib.sha256(body).hexdigest(), stopping)

    def sign(self, name: str, content_type: str, body: bytes) -> dict[str, Any] | None:
        wish = {"filename": name, "contentType": content_type, "size": len(body)}
        signed = self.ask("/api/uploads/sign", json=wish)
        if signed is None or signed.status_code != HTTPStatus.OK:
            return None
        self.signed += 1
        return signed.json()  # type: ignore[no-any-return]

    def send(self, signed: dict[str, Any], body: bytes) -> bool:
        """Whoever is cut off tries once more, and learns by a 412 that all of it had arrived."""
        welcome: tuple[int, ...] = (HTTPStatus.OK,)
        for _ in range(2):
            with contextlib.suppress(httpx.TransportError):
                if self.outside.put(signed["url"], content=body, headers=signed["headers"]).status_code in welcome:
                    self.arrived += 1
                    return True
                break
            welcome = (HTTPStatus.OK, HTTPStatus.PRECONDITION_FAILED)
        self.traffic.refused_by_the_bucket += 1
        return False

    def confirm(self, key: str, sha256: str, stopping: threading.Event) -> None:
        """Again and again until there is an answer, as a network that fails asks for."""
        while not stopping.is_set():
            answer = self.ask("/api/uploads/confirm", json={"key": key})
            if answer is None or answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
                time.sleep(0.1)
                continue
            if answer.status_code in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
                self.traffic.acknowledged[key] = Acknowledged(self.session, sha256)
            elif answer.status_code != HTTPStatus.NOT_FOUND or key not in self.traffic.given_up:
                self.traffic.bugs.append(f"{key} arrived, yet its confirm was {answer.status_code} {answer.text}")
            return

    def look_again(self, key: str) -> None:
        """What was acknowledged once is acknowledged again, and there to download."""
        self.expect(self.ask("/api/uploads/confirm", json={"key": key}), HTTPStatus.OK, f"{key} was confirmed")
        self.expect(self.ask(f"/files/{key}/download", "GET"), HTTPStatus.FOUND, f"{key} was confirmed")

    def rename_and_share(self, key: str) -> None:
        """A link that somebody got leads to the file, by whatever name it goes."""
        htmx = {"HX-Request": "true"}
        renamed = self.ask(f"/files/{key}/rename", data={"name": "plän.bin"}, headers=htmx)
        self.expect(renamed, HTTPStatus.OK, f"{key} was confirmed")
        shared = self.ask(f"/files/{key}/share", data={"expires": "day"}, headers=htmx)
        self.expect(shared, HTTPStatus.OK, f"{key} was confirmed")
        if shared is not None and (link := re.search(r"/s/[\w-]{22}", shared.text)):
            self.expect(self.ask(f"{link[0]}/download"), HTTPStatus.FOUND, f"{key} was shared")

    def cancel(self, key: str) -> None:
        answer = self.ask("/api/uploads/cancel", json={"key": key})
        if answer is not None and answer.status_code == HTTPStatus.OK:
            self.traffic.canceled.add(key)
            self.expect(self.ask("/api/uploads/confirm", json={"key": key}), HTTPStatus.NOT_FOUND, f"{key} was canceled")

    def delete(self, key: str, undo: bool) -> None:
        file = self.traffic.acknowledged.pop(key)  # from here on it may be gone, whether or not there is an answer
        began = time.monotonic()
        answer = self.ask(f"/files/{key}/delete", headers={"HX-Request": "true"})
        if answer is not None and answer.status_code == HTTPStatus.OK:
            self.expect(self.ask(f"/files/{key}/download", "GET"), HTTPStatus.NOT_FOUND, f"{key} was deleted")
            if undo:
                self.restore(key, file, began)
            else:
                self.traffic.deleted.add(key)

    def restore(self, key: str, file: Acknowledged, deleted: float) -> None:
        """Without an answer it may be either. `deleted` is when, by the monotonic clock."""
        answer = self.ask("/files/restore", data={"key": key}, headers={"HX-Request": "true"})
        if answer is None or answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            return
        if answer.status_code == HTTPStatus.OK:
            self.traffic.acknowledged[key] = file
            self.traffic.restored.add(key)
            self.look_again(key)
        elif key in self.traffic.given_up or self.elsewhere or time.monotonic() - deleted > UNDO_FOR:
            self.traffic.deleted.add(key)
        else:
            self.traffic.bugs.append(f"{key} was just deleted, yet to undo it was {answer.status_code} {answer.text[:200]}")

    def expect(self, answer: httpx.Response | None, status: HTTPStatus, since: str) -> None:
        if answer is not None and answer.status_code not in (status, HTTPStatus.SERVICE_UNAVAILABLE):
            self.traffic.bugs.append(f"{since}, then {answer.request.url.path} was {answer.status_code} {answer.text[:200]}")

    def ask(self, path: str, method: str = "POST", **options: Any) -> httpx.Response | None:
        try:
            answer = self.client.request(method, path, **options)
        except httpx.TransportError:
            self.traffic.cut_off += 1
            return None
        self.traffic.answers[answer.status_code] += 1
        if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            self.traffic.cut_off += 1
        elif answer.is_server_error or answer.status_code in (401, 403):
            self.traffic.bugs.append(f"{path}: {answer.status_code} {answer.text}")
        return answer
