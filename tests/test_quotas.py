"""What an owner may have in all: charged by signing, given back when the bytes are gone, and never too much or twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from pymongo.errors import AutoReconnect

from files import quotas, reconciling, storage, sweeps, uploads
from files.documents import File, Past, Status, Used
from files.quotas import Account

from .conftest import Cast, post_json
from .lifecycle import ALL_OF_AN_HOUR, Actor, actors, age_what_is_held, backdate, drift, let_the_trash_lie, somebody
from .place import visitor
from .sites import running_site

SIGN = "/api/uploads/sign"


@pytest.fixture(autouse=True)
def no_limits(settings: Any) -> None:
    settings.QUOTA_FILES = settings.QUOTA_BYTES = None


def wish(size: int) -> dict[str, Any]:
    return {"filename": "report.pdf", "contentType": "application/pdf", "size": size}


def used(owner: User) -> Used:
    return quotas.standing_of(str(owner.pk)).used


# --- what is refused ----------------------------------------------------------------------------------------------------


def test_more_bytes_than_are_left_are_413_and_it_says_what_is_left(as_alice: Client, alice: User, settings: Any) -> None:
    settings.QUOTA_BYTES = 5_000_000
    assert post_json(as_alice, SIGN, wish(3_000_000)).status_code == 200
    answer = post_json(as_alice, SIGN, wish(2_000_001))
    assert answer.status_code == 413
    sentence = "This file is 1.9\xa0MB, but only 1.9\xa0MB of your 4.8\xa0MB are left. Delete some files, then try again."
    assert answer.json() == {"error": sentence, "code": "quota", "left": {"files": None, "bytes": 2_000_000}}
    assert File.objects.count() == 1, "what is refused leaves nothing"
    assert post_json(as_alice, SIGN, wish(2_000_000)).status_code == 200, "to the last byte"
    assert used(alice) == (2, 5_000_000)


def test_one_file_more_than_the_most_is_413(as_alice: Client, alice: User, settings: Any) -> None:
    settings.QUOTA_FILES = 1
    assert post_json(as_alice, SIGN, wish(5)).status_code == 200
    answer = post_json(as_alice, SIGN, wish(5))
    assert answer.status_code == 413
    assert answer.json()["error"] == "You have reached the most files that you can have here: 1. Delete some, then try again."
    assert answer.json()["left"] == {"files": 0, "bytes": None}


def test_each_has_their_own_account(as_alice: Client, as_bob: Client, settings: Any) -> None:
    settings.QUOTA_FILES = 1
    assert [post_json(client, SIGN, wish(5)).status_code for client in (as_alice, as_bob, as_alice)] == [200, 200, 413]


@pytest.mark.parametrize(("most", "allowed"), [(0, 0), (3, 3), (None, 1)])
def test_an_owners_own_limit_takes_the_place_of_everybodys(alice: User, settings: Any, most: int | None, allowed: int) -> None:
    settings.QUOTA_FILES = 1
    quotas.set_limits(str(alice.pk), max_files=most, max_bytes=None)
    for _ in range(allowed):
        Cast.sign(alice)
    with pytest.raises(quotas.Full):
        Cast.sign(alice)
    assert used(alice).files == allowed


def test_an_own_limit_in_bytes_can_be_taken_back(alice: User, settings: Any) -> None:
    quotas.set_limits(str(alice.pk), max_files=7, max_bytes=4)
    assert quotas.standing_of(str(alice.pk)) == (Used(0, 0), 7, 4, (7, 4))
    with pytest.raises(quotas.Full):
        Cast.sign(alice)
    quotas.set_limits(str(alice.pk), max_files=None, max_bytes=None)
    assert quotas.standing_of(str(alice.pk)) == (Used(0, 0), None, None, (None, None))
    Cast.sign(alice)


def test_of_two_first_signings_at_once_both_pass(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither finds an account, and one of them makes it."""
    original = quotas._ensure_account

    def overtaken(owner_id: str) -> None:
        monkeypatch.undo()
        Cast.sign(alice)
        original(owner_id)

    monkeypatch.setattr(quotas, "_ensure_account", overtaken)
    Cast.sign(alice)
    assert used(alice) == (2, 10)


# --- what is given back -------------------------------------------------------------------------------------------------


def ready(owner: User) -> str:
    return str(Cast.upload(owner).key)


def given_up(owner: User) -> None:
    backdate([Cast.sign(owner).key])
    sweeps.sweep()


def cancelled(owner: User) -> None:
    uploads.cancel(str(owner.pk), Cast.sign(owner).key)


def trashed_and_emptied(owner: User) -> None:
    key = ready(owner)
    uploads.trash(str(owner.pk), [key])
    assert used(owner) == (2, 10), "as long as it can be undone"
    let_the_trash_lie([key])
    sweeps.empty_trash()


def deleted_by_ops(owner: User) -> None:
    sweeps.delete_many([ready(owner)], who="ops:1")


def rejected(owner: User) -> None:
    signed = Cast.sign(owner)
    Cast.put(signed, b"GIF89")
    with pytest.raises(uploads.Rejected):
        uploads.confirm(str(owner.pk), signed.key)
    assert File.objects.get(key=signed.key).status == Status.REJECTED, "of which a record stays"


@pytest.mark.parametrize("gone", [given_up, cancelled, trashed_and_emptied, deleted_by_ops, rejected])
def test_what_is_gone_is_given_back_once(alice: User, gone: Callable[[User], None]) -> None:
    ready(alice)
    gone(alice)
    assert used(alice) == (1, 5)
    long_ago = uploads.now() - timedelta(days=99)
    File.objects(status=Status.REJECTED).update(created_at=long_ago, rejected_at=long_ago)
    sweeps.sweep()
    sweeps.sweep()
    assert used(alice) == (1, 5)
    assert drift(alice) == (0, 0)


def test_confirm_changes_nothing(alice: User) -> None:
    signed = Cast.sign(alice)
    before = used(alice)
    Cast.put(signed)
    uploads.confirm(str(alice.pk), signed.key)
    assert used(alice) == before == (1, 5)


def test_with_the_bucket_down_nothing_is_given_back_yet(alice: User, settings: Any) -> None:
    key = ready(alice)
    settings.R2_ENDPOINT_URL, endpoint = "http://127.0.0.1:1", settings.R2_ENDPOINT_URL
    storage._client.cache_clear()
    sweeps.delete_many([key], who="ops:1")
    assert used(alice) == (1, 5)
    settings.R2_ENDPOINT_URL = endpoint
    storage._client.cache_clear()
    sweeps.sweep()
    assert used(alice) == (0, 0)


def test_an_account_keeps_nothing_of_what_is_settled_or_gone(alice: User) -> None:
    for _ in range(3):
        ready(alice)
    cancelled(alice)
    quotas.settle()
    account = Account._get_collection().find_one({"_id": str(alice.pk)})
    assert len(account["held"]) == 3 and "signed_at" in account, "what is young may be under way"
    age_what_is_held()
    quotas.settle()
    account = Account._get_collection().find_one({"_id": str(alice.pk)})
    assert (account["held"], account["leaving"], account.get("signed_at")) == ({}, {}, None)
    assert used(alice) == (3, 15)


def test_what_was_charged_for_no_document_is_given_back_when_it_can_come_no_more(alice: User) -> None:
    quotas.charge(str(alice.pk), f"u/{alice.pk}/{'x' * 21}-report.pdf", 5)
    quotas.settle()
    assert used(alice) == (1, 5)
    age_what_is_held()
    quotas.settle()
    quotas.settle()
    assert used(alice) == (0, 0)


def test_clean_up_now_settles_nothing_and_the_command_everything(alice: User, as_ops: Client) -> None:
    """Whoever waits for a page does not wait for the accounts of everybody; a site without beat has the command alone."""
    quotas.charge(str(alice.pk), f"u/{alice.pk}/{'x' * 21}-report.pdf", 5)
    age_what_is_held()
    assert as_ops.post("/admin/files/storedfile/cleanup/").status_code == 302
    assert used(alice) == (1, 5)
    call_command("cleanup_pending", "--dry-run")
    assert used(alice) == (1, 5)
    call_command("cleanup_pending")
    assert used(alice) == (0, 0)


def test_files_of_an_earlier_version_are_charged_by_ensure_indexes_and_given_back_like_others(alice: User, capsys: Any) -> None:
    ready(alice), ready(alice)
    File.objects.update(unset__charged=True)
    Account.objects.delete()
    call_command("ensure_indexes")
    call_command("ensure_indexes")
    assert used(alice) == (2, 10)
    deleted_by_ops(alice)
    assert used(alice) == (2, 10) and drift(alice) == (0, 0)


def test_who_is_killed_while_old_files_are_charged_for_does_it_again(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    ready(alice)
    File.objects.update(unset__charged=True)
    Account.objects.delete()

    def killed(*arguments: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as during:
        during.setattr(quotas, "recount", killed)
        with pytest.raises(KeyboardInterrupt):
            call_command("ensure_indexes")
    call_command("ensure_indexes")
    assert used(alice) == (1, 5)


def test_who_uploads_all_the_time_is_counted_by_the_next_release(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    ready(alice)
    File.objects.update(unset__charged=True)
    Account.objects.delete()
    monkeypatch.setattr(quotas, "RECOUNTS", 0)
    call_command("ensure_indexes")
    assert used(alice) == (0, 0)
    monkeypatch.undo()
    call_command("ensure_indexes")
    assert used(alice) == (1, 5)


# --- whoever comes first ------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_2000_parallel_signings_against_a_quota_of_100_exactly_100_pass(
    as_alice: Client, alice: User, tmp_path: Path
) -> None:
    session = as_alice.cookies["sessionid"].value
    limits = {"QUOTA_FILES": "100", "SIGNINGS_PER_MINUTE": "100000"}

    def sign(_number: int) -> int:
        """As the browser does, which asks again where a server was too slow to answer: here all of them share two cores."""
        while (answer := client.post(SIGN, json=wish(5))).status_code == 503:
            time.sleep(0.2)
        return answer.status_code

    with running_site(tmp_path, **limits) as origin, visitor(origin, session) as client, ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(sign, range(2000)))
    assert {status: answers.count(status) for status in set(answers)} == {200: 100, 413: 1900}
    assert File.objects.count() == 100
    assert used(alice) == (100, 500) and drift(alice) == (0, 0)


@pytest.mark.parametrize("act", ["sign", "settle"])
def test_killed_before_any_line_it_leaves_what_is_settled_later(act: str) -> None:
    alice = somebody()
    with Actor() as actor:
        for line in range(1, 100):
            if act == "settle":
                Cast.sign(alice)
                quotas.charge(str(alice.pk), f"u/{alice.pk}/{line:021}-report.pdf", 5)
                age_what_is_held()
            killed = actor.ask(act, owner=str(alice.pk), die_at_line=line)["killed"]
            age_what_is_held()
            quotas.settle()
            files = File.objects.owned_by(str(alice.pk)).count()
            assert used(alice) == (files, 5 * files), f"killed before line {line}"
            if not killed:
                break
    assert 10 < line < 99, "it was killed at every line, and then no more"


@pytest.mark.parametrize("place", ["_offer", "_accept", "_pay"])
def test_who_is_overtaken_anywhere_gives_nothing_back_twice(place: str, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who removes the same file comes in between, and is done before the other goes on."""
    kept, key = ready(alice), ready(alice)
    File.compare_and_set(key, Status.READY, Status.DELETING, who="1", what="deleted")
    original = getattr(quotas, place)

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.undo()
        quotas.refund([key])
        File.objects.deleting().delete()
        return original(*arguments)

    monkeypatch.setattr(quotas, place, overtaken)
    quotas.refund([key])
    assert [file.key for file in File.objects] == [kept]
    assert used(alice) == (1, 5)
    assert Account._get_collection().find_one({"_id": str(alice.pk)})["leaving"] == {}


def over_and_over(actor: Actor, act: str, owner_id: str, stop: threading.Event) -> None:
    """At a pace that leaves moments in which nothing changes, or nothing could be counted."""
    while not stop.wait(0.03):
        some: list[str | None] = [None]
        if act == "cancel":
            some = list(File.objects.owned_by(owner_id).pending().limit(3).scalar("key"))
        if act == "settle":
            age_what_is_held(written=True)  # no signing that is under way takes half a minute
        for key in some:
            actor.ask(act, owner=owner_id, key=key)


def test_among_signings_cancels_and_settlings_at_once_no_count_ever_differs() -> None:
    """Five processes: two sign, two give back, one settles; and here it is counted all the time, for five seconds."""
    alice, stop = somebody(), threading.Event()
    counted: list[tuple[int, int]] = []
    acts = ("sign", "sign", "cancel", "cancel", "settle")
    with actors(5) as cast, ThreadPoolExecutor(5) as threads:
        running = [
            threads.submit(over_and_over, actor, act, str(alice.pk), stop) for actor, act in zip(cast, acts, strict=True)
        ]
        ends = time.monotonic() + 5
        try:
            while time.monotonic() < ends:
                with suppress(quotas.Busy):
                    counted.append(drift(alice))
        finally:
            stop.set()
        assert [each.result() for each in running] == [None] * 5
    assert set(counted) == {(0, 0)} and len(counted) > 5
    assert drift(alice) == (0, 0)
    assert Past.objects(owner_id=str(alice.pk)).count() > 5, "something was going on"


# --- manage.py reconcile_quota ------------------------------------------------------------------------------------------


def test_reconcile_quota_finds_no_drift_where_there_is_none(alice: User, bob: User, capsys: Any) -> None:
    ready(alice)
    cancelled(bob)
    call_command("reconcile_quota")
    assert capsys.readouterr().out == "Owners: 2. Wrong: 0.\n"


def test_reconcile_quota_says_what_is_wrong_and_changes_it_when_told(alice: User, bob: User, capsys: Any) -> None:
    ready(alice), ready(bob)
    Account._get_collection().update_one({"_id": str(alice.pk)}, {"$inc": {"files": 2, "bytes": 70}})
    with pytest.raises(CommandError, match="Run this again with --fix"):
        call_command("reconcile_quota")
    assert f"Owner {alice.pk}: 1 files of 5 bytes, not 3 of 75.\nOwners: 2. Wrong: 1." in capsys.readouterr().out
    assert used(alice) == (3, 75)
    call_command("reconcile_quota", "--fix")
    assert "Corrected: 1." in capsys.readouterr().out
    assert used(alice) == (1, 5)
    call_command("reconcile_quota", "--owner", str(alice.pk))
    assert capsys.readouterr().out == "Owners: 1. Wrong: 0.\n"


def test_reconcile_quota_makes_an_account_where_there_is_none(alice: User, capsys: Any) -> None:
    ready(alice)
    Account.objects.delete()
    call_command("reconcile_quota", "--fix")
    assert used(alice) == (1, 5)


def test_reconcile_quota_finds_what_was_never_charged_and_charges_it(alice: User, capsys: Any) -> None:
    """What an older `web` signed after this release's `ensure_indexes`, or what a backup brought back."""
    call_command("ensure_indexes")
    ready(alice), ready(alice)
    File.objects.update(unset__charged=True)
    File.compare_and_set(ready(alice), Status.READY, Status.DELETING, who="1", what="deleted")  # still charged
    File.compare_and_set(dead := ready(alice), Status.READY, Status.DELETING, who="1", what="deleted")
    File.objects.keyed([dead]).update(unset__charged=True)  # about to go, and so no more
    Account._get_collection().update_one({"_id": str(alice.pk)}, {"$set": {"files": 1, "bytes": 5, "held": {}}})

    with pytest.raises(CommandError, match="--fix"):
        call_command("reconcile_quota")
    assert f"Owner {alice.pk}: 3 files of 15 bytes, not 1 of 5." in capsys.readouterr().out
    call_command("reconcile_quota", "--fix")
    assert used(alice) == (3, 15)
    call_command("reconcile_quota")

    deleted_by_ops(alice)
    sweeps.delete_many(File.objects.owned_by(str(alice.pk)).scalar("key"), who="ops:1")
    sweeps.sweep()
    assert used(alice) == (0, 0) and drift(alice) == (0, 0)


def three_owners() -> list[User]:
    """In the order in which they are counted; the last has an account alone."""
    whose = [User(pk=1), User(pk=10), User(pk=2)]
    Cast.sign(whose[0]), Cast.sign(whose[1])
    quotas.set_limits("2", max_files=7, max_bytes=None)
    return whose


def test_everybody_is_counted_once_and_by_ids_as_text() -> None:
    three_owners()
    assert list(quotas.owners()) == ["1", "10", "2"]
    assert list(quotas.owners(after="1")) == ["10", "2"]


def failing(monkeypatch: pytest.MonkeyPatch, times: int, error: BaseException) -> None:
    """From the second owner on counting fails that often."""
    original, errors = quotas.recount, [error] * times

    def recount(owner_id: str, **more: Any) -> quotas.Count:
        if owner_id != "1" and errors:
            raise errors.pop()
        return original(owner_id, **more)

    monkeypatch.setattr(quotas, "recount", recount)


@pytest.mark.parametrize("error", [AutoReconnect("it is away"), KeyboardInterrupt()])
def test_reconcile_quota_that_is_cut_says_where_to_go_on(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    three_owners()
    monkeypatch.setattr(reconciling, "WAITS", ())
    failing(monkeypatch, 1, error)
    with pytest.raises(CommandError, match=r"Owners so far: 1\. Wrong: 0\. Go on with --after 1$"):
        call_command("reconcile_quota")
    call_command("reconcile_quota", "--after", "1")
    assert capsys.readouterr().out == "Owners: 2. Wrong: 0.\n"


def test_reconcile_quota_outlasts_a_mongodb_that_comes_back(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    three_owners()
    monkeypatch.setattr(reconciling, "sleep", lambda seconds: None)
    failing(monkeypatch, 2, AutoReconnect("it is away"))
    call_command("reconcile_quota")
    assert capsys.readouterr().out == "Owners: 3. Wrong: 0.\n"


def test_a_sweep_at_any_time_leaves_the_count_right(alice: User) -> None:
    keys = [Cast.sign(alice).key for _ in range(20)]
    backdate(keys[:10])
    sweeps.sweep(batch=3)
    assert used(alice) == (10, 50) and drift(alice) == (0, 0)
    sweeps.sweep(older_than=-ALL_OF_AN_HOUR)
    assert used(alice) == (0, 0)
