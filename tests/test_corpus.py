"""The corpus of tests/corpus, end to end: signed by the API, put to the bucket, confirmed, checked, downloaded.

The table of what became of each file stands at the end of pytest's output.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx
import pytest
from django.test import Client
from PIL import Image

from files import checking, images, names, scanner
from files.documents import File, Status
from files.reasons import Reason

from .clamd import Clamd
from .conftest import post_json
from .corpus.make import SAMPLES, Sample

HOSTILE = [sample for sample in SAMPLES if sample.hostile]
HONEST = [sample for sample in SAMPLES if not sample.hostile]
PICTURES = [sample for sample in SAMPLES if sample.content_type.startswith("image/")]

LAYERS = {
    "content": (Reason.TYPE, Reason.ACTIVE, Reason.POLYGLOT),
    "image": (Reason.BROKEN, Reason.BOMB, Reason.FRAMES, Reason.UNREADABLE),
    "malware": (Reason.MALWARE, Reason.UNSCANNABLE),
    "integrity": (Reason.INTEGRITY,),
}
LAYER_OF = {reason: layer for layer, reasons in LAYERS.items() for reason in reasons}


@pytest.fixture(autouse=True)
def strict(settings: Any, clamd: Clamd) -> Iterator[None]:
    """A site that scans everything, and has a policy that cleans pictures."""
    settings.CLAMD_URL = clamd.url
    settings.SIGNINGS_PER_MINUTE = 100_000
    settings.UPLOAD_POLICIES = {"default": {}, "clean": {"images": "clean"}}
    yield
    scanner.expect_to_be_told.cache_clear()


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client() as http:
        yield http


@dataclass(frozen=True)
class Outcome:
    """What became of a sample: the layer that refused it, or "ready"."""

    sample: Sample
    layer: str
    reason: str | None = None
    file: File | None = None
    body: bytes = b""

    @property
    def line(self) -> str:
        name = self.sample.name.encode("unicode_escape").decode()
        name = name if len(name) <= 36 else f"{name[:16]}…{name[-19:]}"
        said = self.layer if self.layer == "ready" else f"{self.layer}: {self.reason}"
        changed = ", other bytes" if self.file and self.body != self.sample.body else ""
        return f"{name:36}  {self.sample.content_type[:28]!r:30}  {said + changed:26}  {self.sample.why}"


def outcome(client: Client, http: httpx.Client, sample: Sample, policy: str) -> Outcome:
    wish = {"filename": sample.name, "contentType": sample.content_type, "size": len(sample.body), "policy": policy}
    answer = post_json(client, "/api/uploads/sign", {**wish, "sha256": hashlib.sha256(sample.body).hexdigest()})
    signed = answer.json()
    if answer.status_code != HTTPStatus.OK:
        return Outcome(sample, "sign", signed["code"])
    sent = sample.body if sample.sent is None else sample.sent
    put = http.put(signed["url"], content=sent, headers=signed["headers"])
    confirmed = post_json(client, "/api/uploads/confirm", {"key": signed["key"]})
    if not put.is_success:
        assert confirmed.status_code == HTTPStatus.CONFLICT, "what the bucket refused has not arrived"
        return Outcome(sample, "bucket", str(put.status_code))
    file = File.objects.get(key=signed["key"])
    if file.status == Status.CHECKING:
        checking.check(file.key, file.check_at)
        file.reload()
    if file.status == Status.REJECTED:
        return Outcome(sample, LAYER_OF[Reason(file.reason)], file.reason)
    assert file.status == Status.READY, f"{sample.name!r} is {file.status}"
    there = client.get(f"/files/{file.key}/download")
    return Outcome(sample, "ready", None, file, http.get(there["Location"]).raise_for_status().content)


Run = Callable[..., list[Outcome]]


@pytest.fixture
def run(as_alice: Client, http: httpx.Client, record_property: Callable[[str, object], None]) -> Run:
    def run(title: str, samples: Iterable[Sample], policy: str = "default") -> list[Outcome]:
        outcomes = [outcome(as_alice, http, sample, policy) for sample in samples]
        record_property("table", "\n".join([title, *(one.line for one in outcomes)]))
        return outcomes

    return run


def test_the_corpus_has_what_was_promised() -> None:
    assert len(HOSTILE) >= 60 and len(HONEST) >= 40
    assert len({names.clean_content_type(sample.content_type, sample.name) for sample in HONEST}) >= 25
    assert len({(sample.name, sample.content_type, sample.body) for sample in SAMPLES}) == len(SAMPLES)


def test_no_hostile_file_becomes_ready_and_each_is_refused_by_the_layer_that_is_for_it(run: Run) -> None:
    outcomes = run("hostile", HOSTILE)

    assert [one.line for one in outcomes if one.file] == []
    assert [one.line for one in outcomes if not is_as_expected(one)] == []


def is_as_expected(one: Outcome) -> bool:
    layer, reason = one.sample.expect[:2]
    return one.layer == layer and reason in (None, one.reason)


def test_every_honest_file_becomes_ready_and_is_downloaded_byte_for_byte(run: Run) -> None:
    outcomes = run("honest", HONEST)

    assert [one.line for one in outcomes if not one.file] == []
    assert [one.line for one in outcomes if one.body != one.sample.body] == []


def test_pictures_that_are_cleaned_have_no_metadata_and_what_cannot_be_cleaned_is_refused(run: Run) -> None:
    outcomes = run("pictures, cleaned", PICTURES, "clean")

    for one in outcomes:
        content_type = names.clean_content_type(one.sample.content_type, one.sample.name)
        if one.sample.hostile:
            assert not one.file, one.line
        elif not one.file:
            assert one.reason == Reason.UNREADABLE, one.line
            assert one.sample.expect.changes is None or not images.readable(content_type), one.line
        else:
            assert (one.body != one.sample.body) == one.sample.expect.changes, one.line
            assert metadata_of(one.body) == [], one.line
    assert any(b"Exif" in one.sample.body and metadata_of(one.sample.body) for one in outcomes), "there was some to remove"


def metadata_of(body: bytes) -> list[str]:
    with Image.open(io.BytesIO(body)) as image:
        image.load()
        tags = [f"tag {tag:#x}" for tag in image.getexif() if not (image.format == "TIFF" and tag in OF_PIXELS)]
        place = ["GPS"] if image.getexif().get_ifd(0x8825) else []
        return [*tags, *place, *(name for name in ("exif", "xmp", "comment", "Comment", "photoshop") if image.info.get(name))]


# How a TIFF says where its pixels are and what they mean.
OF_PIXELS = {256, 257, 258, 259, 262, 273, 277, 278, 279, 282, 283, 284, 296, 317, 338, 339}
