"""manage.py reconcile: what it finds between the bucket and MongoDB, what it mends, and what it leaves alone."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from files import names, reconciling, storage, sweeps, uploads
from files.documents import File, SpentKey, Status
from uploadkit import localstack

from .conftest import Cast
from .corpus.make import picture, saved
from .lifecycle import ask_the_bucket_anew, backdate, documents, objects, own_mongod, put_object, somebody

DAYS = timedelta(days=2)


@pytest.fixture(autouse=True)
def bucket_of_its_own(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others leave objects in theirs. Those here count as old, since nobody can say when an object was written."""
    settings.R2_BUCKET = f"reconcile-{secrets.token_hex(8)}"
    storage._client().create_bucket(Bucket=settings.R2_BUCKET)
    monkeypatch.setattr(reconciling, "YOUNG", timedelta())
    monkeypatch.setattr(reconciling, "WAITS", ())


def reconcile(*options: str) -> str:
    """What the command prints, and "status 1: …" where it ends with that."""
    out = StringIO()
    try:
        call_command("reconcile", *options, stdout=out, stderr=out)
    except CommandError as error:
        out.write(f"status {error.returncode}: {error}\n")
    return out.getvalue()


def row(printed: str, title: str) -> list[str]:
    """The figures of a line of the table: found, bytes, owners."""
    (line,) = [line for line in printed.splitlines() if line.startswith(title + "  ")]
    return line.removeprefix(title).split()


def orphan(owner_id: str, name: str = "a.pdf") -> str:
    """The key of an object that no document knows."""
    key = names.new_key(owner_id, name)
    put_object(key)
    return key


def ready(cast: type[Cast]) -> File:
    """A file from long ago, whose key nobody remembers when it goes."""
    file = cast.upload(somebody())
    backdate([file.key], DAYS)
    return file


def portrait(cast: type[Cast], policy: str) -> File:
    """A READY picture."""
    alice, body = somebody(), saved("JPEG", picture())
    owner_id = str(alice.pk)
    signed = uploads.sign(owner_id, filename="a.jpg", content_type="image/jpeg", size=len(body), policy=policy)
    assert cast.put(signed, body).status_code == 200
    return cast.checked(uploads.confirm(owner_id, signed.key))


# --- what is found ------------------------------------------------------------------------------------------------------


def test_what_agrees_is_no_finding_whatever_its_status(cast: type[Cast]) -> None:
    alice = somebody()
    pending, trashed, cancelled = cast.sign(alice), cast.upload(alice), cast.sign(alice)
    cast.upload(alice)
    uploads.trash(str(alice.pk), [trashed.key])
    uploads.cancel(str(alice.pk), cancelled.key)
    portrait(cast, "default")
    cleaned = portrait(cast, "avatars")
    assert cleaned.cleaned and cleaned.thumbnail and pending

    printed = reconcile()

    assert "status" not in printed and "too young" not in printed
    # The uploads of three files, two thumbnails, and the cleaned picture in the place of its upload.
    assert "Compared 6 objects, 5 documents" in printed


def test_an_object_that_no_document_knows_is_an_orphan_and_one_of_a_cleaned_picture_too(cast: type[Cast]) -> None:
    ready(cast)
    keys = [orphan("1"), orphan("1", "b.pdf"), orphan("10"), names.made_of(names.new_key("2", "c.jpg"), "cleaned")]
    put_object(keys[-1])

    printed = reconcile()

    assert all(f"orphan object  {key}  5 bytes, last modified 20" in printed for key in keys)
    assert row(printed, "orphan objects") == ["4", "20", "3"]
    assert "status 1: Not mended: 4 findings." in printed
    assert all(storage.head(key) for key in keys)


def test_a_young_object_is_left_to_the_sweep_and_so_is_one_that_a_sweep_remembers(
    cast: type[Cast], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(cast)
    remembered = orphan("1")
    SpentKey(key=remembered, signed_at=uploads.now() - DAYS, look_at=uploads.now()).save(force_insert=True)
    assert "or about to be looked at by a sweep: 1." in reconcile("--fix")

    monkeypatch.setattr(reconciling, "YOUNG", timedelta(days=1))
    young = orphan("1")
    assert "or about to be looked at by a sweep: 2." in reconcile("--fix")
    assert storage.head(young) and storage.head(remembered)


@pytest.mark.parametrize("status", [Status.READY, Status.TRASHED, Status.CHECKING])
def test_a_document_without_the_object_that_it_holds_is_told_and_stays_as_it_is(cast: type[Cast], status: Status) -> None:
    lost, pending = ready(cast), cast.sign(somebody())
    File.objects.keyed([lost.key]).update(status=status)
    storage.delete(lost.key)

    printed = reconcile("--fix")

    assert f"document without object  {lost.key}  {status}, 5 bytes" in printed
    assert row(printed, "documents without object") == ["1", "5", "1"] and pending
    assert "comes back by a copy" in printed and "status 1: Not mended: 1 finding." in printed
    assert File.objects.get(key=lost.key).status == status


def test_of_a_cleaned_picture_that_object_is_missed_which_is_downloaded(cast: type[Cast]) -> None:
    file = portrait(cast, "avatars")
    assert file.cleaned
    storage.delete(file.cleaned)

    printed = reconcile()

    assert f"document without object  {file.cleaned}  ready, {file.size:,} bytes" in printed
    assert row(printed, "documents without object")[0] == "1"


def test_sizes_that_differ_are_told_of_the_object_that_is_downloaded(cast: type[Cast]) -> None:
    file, cleaned = ready(cast), portrait(cast, "avatars")
    assert cleaned.cleaned
    put_object(file.key, b"longer than it was")
    put_object(cleaned.cleaned, b"")

    printed = reconcile("--fix")

    assert f"sizes differ  {file.key}  18 bytes in the bucket, 5 in MongoDB" in printed
    assert f"sizes differ  {cleaned.cleaned}  0 bytes in the bucket, {cleaned.size:,} in MongoDB" in printed
    assert row(printed, "sizes that differ") == ["2", f"{13 + cleaned.size:,}", "2"]


@pytest.mark.parametrize("key", ["u/readme.txt", "u/1/readme.txt", "u/x/" + "a" * 21 + "-a.pdf", "u/1/é.pdf", "u/1/\U0001f600"])
def test_a_key_that_is_not_of_ours_is_told_and_never_deleted(settings: Any, cast: type[Cast], key: str) -> None:
    ready(cast), ready(cast)
    put_object(key)
    put_object("backup/of-somebody-else")

    printed = reconcile("--fix")

    assert f"object not of ours  {key}  5 bytes" in printed and "backup" not in printed
    assert storage._client().head_object(Bucket=settings.R2_BUCKET, Key=key)


def test_both_sides_have_one_order_so_that_nothing_has_to_be_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """By bytes: "-" before "/" before digits, capitals before small letters."""
    keys = [f"u/{owner}/{char}{'x' * 20}-a.pdf" for owner in ("1", "10", "2") for char in "-_09AZaczt"]
    keys += [names.made_of(key, "cleaned") for key in keys[:10]]
    for key in keys[:30]:
        File.insert(key=key, owner_id="1", name="a", content_type="a/a", size=5, created_at=uploads.now() - DAYS)
        File.objects.keyed([key]).update(status=Status.READY)
    for key in keys[:10]:
        File.objects.keyed([key]).update(cleaned=names.made_of(key, "cleaned"))
    for key in keys[10:]:
        put_object(key)

    looked_at: list[str] = []
    monkeypatch.setattr(storage, "head", looked_at.append)
    printed = reconcile()

    assert "Compared 30 objects, 30 documents" in printed and "status" not in printed
    assert not looked_at
    assert [item.key for item in storage.listed("u/", "")] == sorted(keys[10:])
    assert [raw["_id"] for raw in reconciling._page("_id", "u/")] == sorted(keys[:30])


# --- what changes meanwhile ---------------------------------------------------------------------------------------------


def before(monkeypatch: pytest.MonkeyPatch, room: Any, verb: str, act: Any) -> None:
    """Do something the first time that the verb was called, before its answer is used."""
    called, acts = getattr(room, verb), [act]

    def and_act(*args: Any) -> Any:
        answer = called(*args)
        if acts:
            acts.pop()()
        return answer

    monkeypatch.setattr(room, verb, and_act)


def test_what_goes_or_comes_while_the_bucket_is_listed_is_no_finding(cast: type[Cast], monkeypatch: pytest.MonkeyPatch) -> None:
    gone, alice = ready(cast), somebody()

    def act() -> None:
        sweeps.delete_many([gone.key], who="ops:1")
        assert documents(alice) == {}
        cast.upload(alice)

    before(monkeypatch, storage, "listed", act)

    assert "status" not in reconcile()
    assert len(objects(alice)) == 1


def test_what_goes_while_its_object_is_looked_for_is_no_loss(cast: type[Cast], monkeypatch: pytest.MonkeyPatch) -> None:
    file = ready(cast)
    storage.delete(file.key)
    before(monkeypatch, storage, "head", lambda: sweeps.delete_many([file.key], who="ops:1"))

    assert "status" not in reconcile()


# --- mending ------------------------------------------------------------------------------------------------------------


def test_orphans_are_deleted_when_told_and_nothing_else(cast: type[Cast]) -> None:
    kept, doomed = [ready(cast).key, ready(cast).key], [orphan("1"), orphan("2")]

    printed = reconcile("--fix")

    assert "Deleted 2 orphan objects." in printed and "status" not in printed
    assert [bool(storage.head(key)) for key in (*kept, *doomed)] == [True, True, False, False]
    assert row(reconcile(), "orphan objects") == ["0", "0", "0"]


def test_an_orphan_that_has_a_document_by_then_is_not_deleted(cast: type[Cast], monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a backup of MongoDB is being restored."""
    ready(cast), ready(cast)
    key = orphan("1")

    def act() -> None:
        File.insert(key=key, owner_id="1", name="a", content_type="a/a", size=5, created_at=uploads.now())

    before(monkeypatch, storage, "head", act)
    reconcile("--fix")

    assert storage.head(key)


def test_where_most_objects_are_orphans_nothing_is_deleted_without_force(cast: type[Cast]) -> None:
    """So it looks when MONGODB_URI is that of another site."""
    ready(cast)
    keys = [orphan("1"), orphan("2")]

    printed = reconcile("--fix")

    assert "status 1: Nothing was deleted: of 3 objects 2 have no document." in printed
    assert all(storage.head(key) for key in keys)
    assert "Deleted 2 orphan objects." in reconcile("--fix", "--force")


# --- printing -----------------------------------------------------------------------------------------------------------


def test_of_many_findings_the_first_are_printed_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("files.management.commands.reconcile.SHOWN", 2)
    monkeypatch.setattr(reconciling, "PAGE", 2)  # so that they are met in several steps
    for _ in range(5):
        orphan("1")

    printed = reconcile()

    assert printed.count("orphan object  ") == 2 and "… and 3 more, which --all prints." in printed
    assert row(printed, "orphan objects") == ["5", "25", "1"]
    assert reconcile("--all").count("orphan object  ") == 5


# --- servers that are down ----------------------------------------------------------------------------------------------


@pytest.fixture
def bucket_down(settings: Any) -> Iterator[Any]:
    """A way to take the bucket away, and to bring it back."""
    there = settings.R2_ENDPOINT_URL

    def switch(down: bool) -> None:
        settings.R2_ENDPOINT_URL = f"http://{localstack.HOST}:{localstack.free_port()}" if down else there
        storage._client().close()
        ask_the_bucket_anew()

    yield switch
    switch(down=False)


def test_a_bucket_that_goes_away_ends_it_with_the_key_to_go_on_from(
    cast: type[Cast], monkeypatch: pytest.MonkeyPatch, bucket_down: Any
) -> None:
    known = ready(cast)
    late = orphan("9" * 20)
    before(monkeypatch, storage, "listed", lambda: bucket_down(down=True))

    printed = reconcile()

    assert "status 1: The bucket does not answer" in printed and f"Go on with --after {known.key}\n" in printed
    bucket_down(down=False)
    printed = reconcile("--after", known.key)
    assert f"orphan object  {late}" in printed and "Compared 1 objects, 0 documents" in printed


def test_a_bucket_that_comes_back_is_waited_for(
    cast: type[Cast], monkeypatch: pytest.MonkeyPatch, bucket_down: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ready(cast)
    monkeypatch.setattr(reconciling, "WAITS", (1, 2))
    monkeypatch.setattr("files.reconciling.sleep", lambda seconds: bucket_down(down=False))
    before(monkeypatch, storage, "listed", lambda: bucket_down(down=True))

    printed = reconcile()

    assert "Compared 1 objects, 1 documents" in printed and "status" not in printed
    assert "no answer, another attempt in 1 s" in caplog.text


def test_a_mongodb_that_is_down_is_named(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reconciling, "PATIENCE", 1)
    with own_mongod(settings, tmp_path) as server:
        server.kill()
        printed = reconcile()

    assert "status 1: MongoDB does not answer" in printed and 'Go on with --after ""' in printed


def test_a_slow_bucket_is_not_taken_for_a_mongodb_that_is_down(cast: type[Cast], monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand questions to it may take longer than MongoDB has for one answer."""
    monkeypatch.setattr(reconciling, "PATIENCE", 0.5)
    lost = ready(cast)
    storage.delete(lost.key)
    before(monkeypatch, storage, "head", lambda: sleep(0.6))

    assert f"document without object  {lost.key}" in reconcile()
