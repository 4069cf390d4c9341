"""The bar at the top of the list: how much space an owner's files take, by kind."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches
from django.test import Client

from files import uploads, usage
from files.documents import File, Status, Used
from files.kinds import Kind

from .conftest import Cast
from .test_list import files_of
from .watching import profiled


def counted(owner_id: str) -> usage.Usage:
    found = usage.usage_of(owner_id)
    assert found is not None, "they could not be counted"
    return found


def test_the_ready_files_are_summed_by_kind_and_the_owners_alone(alice: User, bob: User) -> None:
    files_of(alice, 3, kind="image", size=100)
    files_of(alice, 2, kind="document", size=7)
    for status in set(Status) - {Status.READY}:
        files_of(alice, 1, kind="image", status=status, size=1_000)
    files_of(bob, 1, kind="image", size=10_000)

    assert File.usage(str(alice.pk)) == {Kind.IMAGE: Used(3, 300), Kind.DOCUMENT: Used(2, 14)}


def test_the_parts_are_the_largest_first_and_fill_the_bar(alice: User) -> None:
    files_of(alice, 2, kind="image", size=10)
    files_of(alice, 1, kind="video", size=60)
    files_of(alice, 1, kind="other", size=20)

    found = counted(str(alice.pk))

    assert (found.files, found.bytes) == (4, 100)
    assert (found.parts[0].kind, found.parts[0].bytes) == ("video", 60)
    assert [(part.start, part.width) for part in found.parts] == [(0, 60), (60, 20), (80, 20)]


def test_whoever_has_no_files_uses_no_space(as_alice: Client, alice: User) -> None:
    found = counted(str(alice.pk))

    assert (found.files, found.bytes, found.parts) == (0, 0, [])
    assert "No space is used." in as_alice.get("/files/").text


def test_more_bytes_than_32_bits_count(alice: User) -> None:
    files_of(alice, 3, kind="video", size=2**40)

    assert counted(str(alice.pk)).bytes == 3 * 2**40


def test_the_page_says_it_and_the_fragment_of_rows_does_not(as_alice: Client, alice: User) -> None:
    files_of(alice, 1, kind="image", size=1024)
    files_of(alice, 1, kind="audio", size=3 * 1024)

    page = as_alice.get("/files/").text

    assert "4.0\xa0KB in 2 files" in page
    assert 'aria-label="Audio: 3.0\xa0KB, Images: 1.0\xa0KB"' in page
    assert '<rect class="kind-image" x="75.0%" width="25.0%"' in page
    with profiled() as asked:
        assert "KB in 2 files" not in as_alice.get("/files/", headers={"HX-Request": "true"}).text
    assert len(asked) == 1, "the rows, and no sums"


def test_what_is_uploaded_trashed_and_restored_is_counted_at_once(alice: User, cast: type[Cast]) -> None:
    owner = str(alice.pk)
    key = cast.upload(alice).key
    assert counted(owner).files == 1
    uploads.trash(owner, [key])
    assert counted(owner).files == 0
    uploads.restore(owner, [key])
    assert counted(owner).files == 1


def test_it_is_answered_from_the_index_alone(alice: User, bob: User) -> None:
    files_of(alice, 300, size=5)
    files_of(alice, 200, kind="image")
    files_of(bob, 200)

    with profiled() as asked:
        File.usage(str(alice.pk))

    (query,) = asked
    assert query["docsExamined"] == 0
    assert query["keysExamined"] <= 500 + 2 * len(Kind)
    assert "IXSCAN { owner_id: 1, status: 1, kind: 1, size: -1, _id: -1 }" in query["planSummary"]


def test_a_large_owners_sums_are_kept_for_a_while_and_a_small_ones_are_not(
    alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "COUNTED_ANEW", 50)
    files_of(alice, 50)
    files_of(bob, 49)

    with profiled() as asked:
        sums: list[Any] = [counted(str(owner.pk)).files for owner in (alice, alice, bob, bob)]

    assert sums == [50, 50, 49, 49]
    assert len(asked) == 3, "alice's once, bob's twice"
    assert caches["local"].get(f"usage/{bob.pk}") is None


def test_what_is_kept_is_forgotten_after_a_second_for_every_thousand_files(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, int] = {}
    monkeypatch.setattr(caches["local"], "set", lambda key, value, timeout: kept.update({key: timeout}))
    many = {Kind.IMAGE: Used(3_500, 10)}
    monkeypatch.setattr(File, "usage", lambda owner_id: many)

    counted(str(alice.pk))

    assert kept == {f"usage/{alice.pk}": 3}


def test_files_that_cannot_be_counted_take_no_list_with_them(as_alice: Client, alice: User) -> None:
    """By an index that is missing, as by a count that takes longer than a page may."""
    (key,) = files_of(alice, 1)
    File._get_collection().drop_index("owner_id_1_status_1_kind_1_size_-1__id_-1")
    try:
        page = as_alice.get("/files/")
    finally:
        File.ensure_indexes()

    assert page.status_code == 200
    assert key in page.content.decode() and 'class="usage"' not in page.content.decode()
