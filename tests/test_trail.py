"""What happened to a file: every change of its status is one event, whoever brings it about."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from files import documents, names, storage, sweeps, tasks, trail, uploads
from files.documents import File, Past, SpentKey, Status
from files.reasons import Reason

from .conftest import ROOT, Cast, post_json
from .corpus.make import saved
from .lifecycle import backdate, let_the_trash_lie

PICTURE = saved("PNG")
AN_AGE = timedelta(days=400)
Told = tuple[str, str, str | None, str, str | None]


def happened(key: str) -> list[Told]:
    """Who, what, from, to and why, the oldest first."""
    history = documents.history(key)
    return [(event.who, event.what, event.before, event.after, event.reason) for event in history.events] if history else []


# --- every transition of a life -----------------------------------------------------------------------------------------


class Life:
    """An upload, and what can become of it. Each method is one act."""

    def __init__(self, alice: User, cast: type[Cast], picture: bool) -> None:
        self.owner, self.cast = str(alice.pk), cast
        name, kind, self.body = ("a.png", "image/png", PICTURE) if picture else ("a.pdf", "application/pdf", b"%PDF-")
        self.signed = cast.sign(alice, filename=name, content_type=kind, size=len(self.body))
        self.key = self.signed.key

    def confirm(self) -> None:
        self.cast.put(self.signed, self.body)
        uploads.confirm(self.owner, self.key)

    def send_something_else(self) -> None:
        self.cast.put(self.signed, b"MZ\x90\0\x03"[: len(self.body)].ljust(len(self.body), b"\0"))
        with pytest.raises(uploads.Rejected):
            uploads.confirm(self.owner, self.key)

    def check(self) -> None:
        self.cast.checked(File.objects.get(key=self.key))

    def find_a_virus(self) -> None:
        assert uploads.reject(File.objects.get(key=self.key), Reason.MALWARE)

    def rename(self) -> None:
        uploads.rename(self.owner, self.key, f"b.{self.key.rpartition('.')[2]}")

    def delete(self) -> None:
        assert uploads.trash(self.owner, [self.key]) == 1

    def restore(self) -> None:
        assert uploads.restore(self.owner, [self.key]) == 1

    def cancel(self) -> None:
        uploads.cancel(self.owner, self.key)

    def sweep_the_trash(self) -> None:
        let_the_trash_lie([self.key])
        assert sweeps.empty_trash().removed == 1

    def outlive(self) -> None:
        File.objects.keyed([self.key]).update(expires_at=uploads.now())
        assert sweeps.sweep().removed == 1

    def grow_old(self) -> None:
        backdate([self.key], AN_AGE)
        assert sweeps.sweep().removed == 1

    def delete_by_ops(self) -> None:
        assert sweeps.delete_many([self.key], who="ops:7") == 0


SIGNED: Told = ("me", "signed", None, "pending", None)
REMOVED = ("sweep", "removed", "deleting", "gone", None)
CONFIRMED = ("me", "confirmed", "pending", "ready", None)
WAITS = ("me", "confirmed", "pending", "checking", None)
PASSED = ("checker", "passed", "checking", "ready", None)
REJECTED = ("checker", "rejected", "checking", "rejected", "malware")
DELETED = ("me", "deleted", "ready", "trashed", None)

LIVES: dict[str, list[tuple[Callable[[Life], None], tuple[Told, ...]]]] = {
    "kept": [
        (Life.confirm, (CONFIRMED,)),
        (Life.rename, (("me", "renamed", "ready", "ready", None),)),
        (Life.delete, (DELETED,)),
        (Life.restore, (("me", "restored", "trashed", "ready", None),)),
        (Life.delete, (DELETED,)),
        (Life.sweep_the_trash, (("sweep", "emptied", "trashed", "deleting", None), REMOVED)),
    ],
    "checked": [
        (Life.confirm, (WAITS,)),
        (Life.check, (PASSED,)),
        (Life.outlive, (("sweep", "outlived", "ready", "deleting", None), REMOVED)),
    ],
    "found out at once": [
        (Life.send_something_else, (("me", "rejected", "pending", "rejected", "type"),)),
        (Life.delete_by_ops, (("ops:7", "deleted", "rejected", "deleting", None), REMOVED)),
    ],
    "found out by a check": [
        (Life.confirm, (WAITS,)),
        (Life.find_a_virus, (REJECTED,)),
        (Life.grow_old, (("sweep", "forgotten", "rejected", "deleting", None), REMOVED)),
    ],
    "given up": [(Life.cancel, (("me", "cancelled", "pending", "deleting", None), REMOVED))],
    "given up while it is checked": [
        (Life.confirm, (WAITS,)),
        (Life.cancel, (("me", "cancelled", "checking", "deleting", None), REMOVED)),
    ],
    "never confirmed": [(Life.grow_old, (("sweep", "expired", "pending", "deleting", None), REMOVED))],
    "deleted by operations": [
        (Life.confirm, (CONFIRMED,)),
        (Life.delete_by_ops, (("ops:7", "deleted", "ready", "deleting", None), REMOVED)),
    ],
}
CHECKED = ("checked", "found out at once", "found out by a check", "given up while it is checked")


@pytest.mark.parametrize("name", LIVES)
def test_each_act_of_a_life_is_an_event_and_none_is_lost_when_the_file_goes(alice: User, cast: type[Cast], name: str) -> None:
    life = Life(alice, cast, picture=name in CHECKED)
    written = [SIGNED]
    assert happened(life.key) == as_told_by(alice, written)

    for act, events in LIVES[name]:
        act(life)
        written += events
        assert happened(life.key) == as_told_by(alice, written), act.__name__
        status = File.objects.keyed([life.key]).scalar("status").first()
        assert status == (written[-1][3] if written[-1][3] != "gone" else None)


def as_told_by(alice: User, events: list[Told]) -> list[Told]:
    return [(str(alice.pk) if who == "me" else who, *rest) for who, *rest in events]  # type: ignore[misc]


def test_these_lives_have_every_change_there_is() -> None:
    """As they stand in the sources: a new `what` needs its line above."""
    sources = "".join((ROOT / "files" / f"{name}.py").read_text() for name in ("uploads", "sweeps", "documents"))
    known = re.findall(r'what="(\w+)"|_turn_of\(.*?"(\w+)"|claim\(.*, "(\w+)"\)|event\(\w+, "(\w+)"', sources)

    shown = {event[1] for life in LIVES.values() for _, events in life for event in events} | {SIGNED[1]}
    assert {next(filter(None, names)) for names in known} == shown


def test_confirming_again_and_what_is_refused_are_no_events(alice: User, bob: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)
    before = happened(file.key)

    uploads.confirm(str(alice.pk), file.key)
    for refused in (
        lambda: uploads.cancel(str(alice.pk), file.key),
        lambda: uploads.confirm(str(bob.pk), file.key),
        lambda: uploads.rename(str(bob.pk), file.key, "b.pdf"),
        lambda: uploads.dismiss(str(alice.pk), file.key),
    ):
        with pytest.raises((uploads.NotFound, uploads.AlreadyReady)):
            refused()
    uploads.trash(str(bob.pk), [file.key])
    sweeps.sweep()

    assert happened(file.key) == before


def test_only_the_newest_200_events_are_kept(alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)
    old = trail.event("sweep", "old", Status.READY)
    File.objects.keyed([file.key]).update(trail=[{**old, "request": str(number)} for number in range(trail.MOST)])

    uploads.rename(str(alice.pk), file.key, "b.pdf")
    uploads.trash(str(alice.pk), [file.key])

    events = documents.history(file.key).events  # type: ignore[union-attr]
    assert len(events) == trail.MOST
    assert [event.request for event in events[:2]] == ["2", "3"]
    assert [event.what for event in events[-3:]] == ["old", "renamed", "deleted"]


@pytest.mark.parametrize("name", ["$status", "a.b.pdf", "$$REMOVE", "$trail", "$$ROOT.key", "{'$set': 1}"])
def test_a_name_that_looks_like_mongodbs_own_is_a_name(alice: User, cast: type[Cast], name: str) -> None:
    me, file = str(alice.pk), cast.upload(alice)

    uploads.rename(me, file.key, name)
    renamed = File.objects.get(key=file.key)
    uploads.trash(me, [file.key])
    uploads.restore(me, [file.key])

    restored = File.objects.get(key=file.key)
    assert restored.name == name and restored.sort_name == names.sorting(name)
    assert restored.trail[:-2] == renamed.trail
    restored.trail = renamed.trail
    assert restored == renamed and restored.to_mongo() == renamed.to_mongo()


# --- by which request ---------------------------------------------------------------------------------------------------


def requests(key: str) -> list[str | None]:
    history = documents.history(key)
    return [event.request for event in history.events] if history else []


def test_an_answer_has_the_id_under_which_its_event_is_written(as_alice: Client, cast: type[Cast]) -> None:
    signed = post_json(as_alice, "/api/uploads/sign", {"filename": "a.pdf", "contentType": "application/pdf", "size": 5})
    key = signed.json()["key"]
    storage._client().put_object(Bucket=settings.R2_BUCKET, Key=key, Body=b"%PDF-", ContentType="application/pdf")
    answers = [
        signed,
        post_json(as_alice, "/api/uploads/confirm", {"key": key}),
        as_alice.post(f"/files/{key}/rename", {"name": "b.pdf"}),
        as_alice.post(f"/files/{key}/delete"),
    ]
    sweeps.delete_many([key], who="ops:1")

    ids = [answer.headers["X-Request-ID"] for answer in answers]
    assert requests(key) == [*ids, None, None], "what no request brought about has no id of one"
    assert len(set(ids)) == 4 and all(re.fullmatch("[0-9a-f]{16}", one) for one in ids)


@pytest.mark.parametrize("page", ["/", "/nowhere", "/files/", "/api/openapi.json", "/static/nowhere.css"])
def test_every_answer_has_an_id(stranger: Client, page: str) -> None:
    assert re.fullmatch("[0-9a-f]{16}", stranger.get(page).headers["X-Request-ID"])


@pytest.mark.parametrize(
    ("proxies", "given", "taken"),
    [
        (0, "from-outside", False),
        (1, "5f0d.A_b-9", True),
        (1, "x" * 64, True),
        (1, "x" * 65, False),
        (1, "", False),
        (1, "a b", False),
        (1, "a\nX: y", False),
        (1, "<script>", False),
        (1, "\u0663", False),
    ],
)
def test_the_id_of_a_proxy_is_taken_where_it_is_trusted_and_one(
    stranger: Client, settings: Any, proxies: int, given: str, taken: bool
) -> None:
    settings.TRUSTED_PROXY_COUNT = proxies
    answered = stranger.get("/", headers={"X-Request-ID": given}).headers["X-Request-ID"]

    assert (answered == given) is taken
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", answered)


def test_a_check_that_the_release_before_queued_has_its_request_in_its_arguments(alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice, filename="a.png", content_type="image/png", size=len(PICTURE))
    cast.put(signed, PICTURE)
    file = uploads.confirm(str(alice.pk), signed.key)
    assert file.check_at

    tasks.check(file.key, file.check_at.isoformat(), "a-request")

    assert requests(file.key) == [None, None, "a-request"]
    uploads.trash(str(alice.pk), [signed.key])
    assert requests(signed.key)[-1] is None, "what the same process does next has another origin"


# --- manage.py file_history ---------------------------------------------------------------------------------------------


def told(key: str) -> str:
    out = io.StringIO()
    call_command("file_history", key, stdout=out)
    return out.getvalue()


def test_the_command_tells_of_a_file_that_is_there(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)
    request = as_alice.post(f"/files/{file.key}/delete").headers["X-Request-ID"]

    first, *lines = told(file.key).splitlines()

    assert first == f"{file.key}, owner {alice.pk}, policy default"
    assert [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC  ", "", line) for line in lines] == [
        f"signed by {alice.pk}: nothing -> pending",
        f"confirmed by {alice.pk}: pending -> ready",
        f"deleted by {alice.pk}: ready -> trashed  (request {request})",
    ]


def test_the_command_tells_of_a_file_that_is_gone(alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)
    sweeps.delete_many([file.key], who="ops:7")
    assert not File.objects.keyed([file.key])

    lines = told(file.key).splitlines()

    assert "deleted by ops:7: ready -> deleting" in lines[-2] and "removed by sweep: deleting -> gone" in lines[-1]


def test_the_command_says_why_a_file_was_rejected(alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice, filename="a.png", content_type="image/png")
    cast.put(signed)
    with pytest.raises(uploads.Rejected):
        uploads.confirm(str(alice.pk), signed.key)

    assert "pending -> rejected, type" in told(signed.key)


@pytest.mark.parametrize("key", ["u/1/unknown", "", "\x00", "💥", "$where", "u/1/" + "a" * 5000])
def test_a_key_that_nobody_knows_is_said_to_be_one(db: None, key: str) -> None:
    with pytest.raises(CommandError, match="Nothing is known of"):
        told(key)


def test_neither_a_url_nor_a_secret_is_in_it(alice: User, cast: type[Cast]) -> None:
    """The signature of the URL is made of the secret key, so neither may be there, nor what opens a link."""
    file = cast.upload(alice)
    uploads.download_url(file)
    sweeps.delete_many([file.key], who="ops:1")
    written = told(file.key) + str(Past.objects.get(key=file.key).to_mongo()) + str(SpentKey.objects.as_pymongo())

    for secret in ("http", "X-Amz", settings.R2_ACCESS_KEY_ID + "/", settings.R2_SECRET_ACCESS_KEY, settings.SECRET_KEY):
        assert secret not in written
    kept = {"_id", "owner_id", "policy", "gone_at", "trail"} | {"kind", "size", "ready_at"}
    assert set(Past.objects.get(key=file.key).to_mongo()) == kept


def test_what_is_gone_is_forgotten_after_90_days(db: None) -> None:
    indexes = Past._get_collection().index_information().values()

    assert [index["expireAfterSeconds"] for index in indexes if index["key"] == [("gone_at", 1)]] == [90 * 24 * 60 * 60]


def test_with_mongodb_down_the_command_says_so_and_fails() -> None:
    env = {**os.environ, "MONGODB_URI": "mongodb://127.0.0.1:1/x"}
    argv = [sys.executable, "manage.py", "file_history", "u/1/a"]

    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("CommandError: MongoDB does not answer, so ask again later")
    assert "Traceback" not in done.stderr
