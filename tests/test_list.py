"""GET /files/: the owner's ready files, newest first, a page at a time."""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from files import documents, names, uploads
from files.documents import File, Status
from files.listing import Order

from .conftest import Cast
from .lifecycle import keys_in
from .watching import profiled

HTMX = {"HX-Request": "true"}
PAGE = 50


def files_of(owner: User, count: int, *, same_moment: bool = False, **fields: Any) -> list[str]:
    """READY files, the newest first; or all ready in one millisecond, the greatest key first."""
    moment = uploads.now()
    made = [
        File(
            key=names.new_key(str(owner.pk), "a.pdf"),
            owner_id=str(owner.pk),
            **documents.name_fields(f"{number}.pdf"),
            kind="document",
            content_type="application/pdf",
            size=5,
            created_at=moment,
            ready_at=moment if same_moment else moment - timedelta(minutes=number),
            status=Status.READY,
        )
        for number in range(count)
    ]
    for file in made:
        for field, value in fields.items():
            setattr(file, field, value)
    if made:
        File.objects.insert(made, load_bulk=False)
    return sorted((file.key for file in made), reverse=True) if same_moment else [file.key for file in made]


def more(page: str) -> str | None:
    """Where the link to the next page leads."""
    found = re.search(r'class="button"\s+href="([^"]+)"', page)
    return found and unescape(found[1])


def read_on(client: Client, page: str, **headers: str) -> Iterator[str]:
    """The page, and every page that follows it."""
    yield page
    while following := more(page):
        page = client.get(following, headers=headers).content.decode()
        yield page


def test_only_the_owners_ready_files_are_listed_newest_first(
    as_alice: Client, alice: User, bob: User, cast: type[Cast]
) -> None:
    older, newer = cast.upload(alice), cast.upload(alice)
    File.objects.keyed([older.key]).update(ready_at=uploads.now() - timedelta(seconds=5))
    cast.sign(alice)
    uploads.trash(str(alice.pk), [cast.upload(alice).key])
    cast.upload(bob)

    assert keys_in(as_alice.get("/files/").content.decode()) == [newer.key, older.key]


def test_a_row_says_name_size_type_and_age(as_alice: Client, alice: User) -> None:
    files_of(alice, 1, name="Grüße & <b>.pdf", size=3_355_443, ready_at=uploads.now() - timedelta(hours=3, minutes=1))

    html = as_alice.get("/files/").content.decode()

    assert "<bdi>Grüße &amp; &lt;b&gt;.pdf</bdi>" in html
    assert "<span>3.2\xa0MB</span>" in html
    assert '<span class="type">application/pdf</span>' in html
    assert ">3\xa0hours ago</time>" in html


@pytest.mark.parametrize(
    ("size", "human"), [(1, "1\xa0byte"), (1023, "1023\xa0bytes"), (1024, "1.0\xa0KB"), (50 * 1024 * 1024, "50.0\xa0MB")]
)
def test_sizes_are_in_human_units(as_alice: Client, alice: User, size: int, human: str) -> None:
    files_of(alice, 1, size=size)

    assert f"<span>{human}</span>" in as_alice.get("/files/").content.decode()


@pytest.mark.parametrize(
    ("ago", "age"),
    [
        (timedelta(hours=1, seconds=30), "an hour ago"),
        (timedelta(minutes=5), "5\xa0minutes ago"),
        (timedelta(days=15), "2\xa0weeks, 1\xa0day ago"),
    ],
)
def test_ages_are_in_human_units(as_alice: Client, alice: User, ago: timedelta, age: str) -> None:
    files_of(alice, 1, ready_at=uploads.now() - ago)

    assert f">{age}</time>" in as_alice.get("/files/").content.decode()


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (1, 1), (49, 1), (50, 1), (51, 2), (100, 2), (101, 3)])
@pytest.mark.parametrize("same_moment", [False, True], ids=["one a minute", "all in one millisecond"])
def test_fifty_a_page_and_each_file_once(as_alice: Client, alice: User, count: int, pages: int, same_moment: bool) -> None:
    keys = files_of(alice, count, same_moment=same_moment)

    read = list(read_on(as_alice, as_alice.get("/files/").content.decode()))

    assert [len(keys_in(page)) for page in read[:-1]] == [PAGE] * (pages - 1)
    assert [key for page in read for key in keys_in(page)] == keys


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("same_moment", [False, True], ids=["one a minute", "all in one millisecond"])
def test_no_file_is_skipped_or_repeated_while_others_come_and_go_between_pages(
    as_alice: Client, alice: User, seed: int, same_moment: bool
) -> None:
    chance = random.Random(seed)
    keys = files_of(alice, 170, same_moment=same_moment)
    gone: set[str] = set()
    shown: list[str] = []
    for page in read_on(as_alice, as_alice.get("/files/").content.decode()):
        shown += keys_in(page)
        # The last of the page, where the next one starts, goes every other time.
        leaving = set(chance.sample(keys, 20)) | ({shown[-1]} if chance.random() < 0.5 else set())
        File.objects.keyed(leaving).update(status=Status.DELETING)
        gone |= leaving - set(shown)
        files_of(alice, chance.randrange(3), ready_at=uploads.now() + timedelta(minutes=1))

    assert len(shown) == len(set(shown)), "a file was repeated"
    assert set(keys) - gone <= set(shown), "a file was skipped"
    assert [key for key in keys if key in shown] == shown, "the order was lost"


def test_the_fragment_has_the_pages_rows_and_nothing_else(as_alice: Client, alice: User) -> None:
    files_of(alice, PAGE + 10)

    page, fragment = (as_alice.get("/files/", headers=headers) for headers in ({}, HTMX))

    assert keys_in(fragment.content.decode()) == keys_in(page.content.decode())
    assert "<html" in page.content.decode() and "<html" not in fragment.content.decode()
    assert fragment.content.decode().strip() in page.content.decode()
    assert {header.strip() for header in page["Vary"].split(",")} >= {"HX-Request", "Cookie"}
    assert "HX-Request" in fragment["Vary"]
    assert "no-store" in page["Cache-Control"] and "private" in page["Cache-Control"]


def test_fragments_lead_on_to_the_same_files(as_alice: Client, alice: User) -> None:
    keys = files_of(alice, 120)

    read = read_on(as_alice, as_alice.get("/files/", headers=HTMX).content.decode(), **HTMX)

    assert [key for page in read for key in keys_in(page)] == keys


def encoded(place: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


MALFORMED = {
    "no base64": "§",
    "one letter": "A",
    "no JSON": base64.urlsafe_b64encode(b"nothing").decode(),
    "no UTF-8": base64.urlsafe_b64encode(b'["newest", 1, "\xff"]').decode(),
    "NUL": "%00",
    "a number": encoded(1),
    "an object": encoded({"a": 1, "b": 2}),
    "two items": encoded([1, "a"]),
    "four items": encoded(["newest", 1, "a", 2]),
    "an order that is none": encoded(["oldest", 1, "a"]),
    "a list for an order": encoded([["newest"], 1, "a"]),
    "of another order": encoded(["size", 1, "a"]),
    "a true": encoded(["newest", True, "a"]),
    "a float": encoded(["newest", 1.5, "a"]),
    "a list for a key": encoded(["newest", 1, ["a"]]),
    "an operator for a key": encoded(["newest", 1, {"$ne": ""}]),
    "an operator for a time": encoded(["newest", {"$gt": 0}, "a"]),
    "no number": base64.urlsafe_b64encode(b'["newest", NaN, "a"]').decode(),
    "a year after 9999": encoded(["newest", 10**15, "a"]),
    "a year before 1": encoded(["newest", -(10**15), "a"]),
    "a huge number": encoded(["newest", 10**400, "a"]),
    "more digits than Python reads": base64.urlsafe_b64encode(b'["newest", ' + b"1" * 5000 + b', "a"]').decode(),
    "a lone surrogate": encoded(["newest", 1, "\ud800"]),
    "deeply nested": base64.urlsafe_b64encode(b"[" * 30_000).decode(),
}


@pytest.mark.parametrize("after", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "fragment"])
def test_a_malformed_place_is_400_with_a_sentence(as_alice: Client, after: str, headers: dict[str, str]) -> None:
    answer = as_alice.get("/files/", {"after": after}, headers=headers)

    assert answer.status_code == 400
    assert "Reload the page and try again." in answer.content.decode()


@pytest.mark.parametrize(
    "place", [[0, ""], [0, "\x00"], [-1, "a"], [253402300799999, "\U0010ffff"], [1, "a" * 5000], [1, "$where"]]
)
def test_a_place_of_somebodys_making_shows_no_more_than_the_owners_files(
    as_alice: Client, bob: User, place: list[object]
) -> None:
    files_of(bob, 3)

    answer = as_alice.get("/files/", {"after": encoded(["newest", *place])})

    assert answer.status_code == 200
    assert keys_in(answer.content.decode()) == []


def test_a_place_within_anothers_files_shows_ones_own(as_alice: Client, alice: User, bob: User) -> None:
    files_of(bob, 60)
    place = File.page(str(bob.pk), None, 1)[0].place(Order.NEWEST)
    keys = files_of(alice, 5, ready_at=uploads.now() - timedelta(days=1))

    shown = keys_in(as_alice.get("/files/", {"after": place.encode()}).content.decode())

    assert sorted(shown) == sorted(keys)


def test_a_stranger_is_sent_to_sign_in_and_back(stranger: Client) -> None:
    answer = stranger.get("/files/?after=x")

    assert (answer.status_code, answer["Location"]) == (302, "/login?next=/files/%3Fafter%3Dx")


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_other_methods_are_405(as_alice: Client, method: str) -> None:
    assert getattr(as_alice, method)("/files/").status_code == 405


@pytest.mark.parametrize("same_moment", [False, True], ids=["one a minute", "all in one millisecond"])
def test_a_page_reads_what_it_shows_from_the_index_and_no_more(
    as_alice: Client, alice: User, bob: User, same_moment: bool
) -> None:
    keys = files_of(alice, 2000, same_moment=same_moment)
    files_of(bob, 1000)
    files_of(alice, 1000, status=Status.DELETING)
    deep = File.objects.get(key=keys[1000]).row().place(Order.NEWEST)

    with profiled() as asked:
        page = as_alice.get("/files/", {"after": deep.encode()})

    assert keys_in(page.content.decode()) == keys[1001 : 1001 + PAGE]
    query, _ = asked  # the rows; and the sums, for which see tests/test_usage.py
    scan = r"IXSCAN { owner_id: 1, status: 1, kind: 1, ready_at: -1, _id: -1 }"
    assert re.fullmatch(rf"{scan}(, {scan})*", query["planSummary"])
    assert "hasSortStage" not in query
    assert query["docsExamined"] <= PAGE + 2
