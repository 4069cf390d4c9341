"""What staff do to many files at once: chosen on the list, looked at, started, and done by whichever worker lives."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from files import checking, documents, jobs, storage, sweeps, tasks, trail, uploads
from files.documents import File, Past, Status, name_fields
from files.jobs import Action, Job, State
from files.reasons import Reason

from .conftest import Cast
from .corpus.make import picture, saved
from .lifecycle import Actor, ask_the_bucket_anew, backdate, disagreements, objects, put_object, somebody
from .watching import profiled

pytestmark = pytest.mark.django_db(databases=["default", "mongo"])

LIST = "/admin/files/storedfile/"
ACTIONS = {Action.DELETE: "delete_selected", Action.CHECK_AGAIN: "check_again", Action.EXPIRE: "expire_now"}
PERMISSIONS = {Action.DELETE: "delete", Action.CHECK_AGAIN: "recheck", Action.EXPIRE: "expire"}


# --- as a person does it --------------------------------------------------------------------------------------------


def choose(client: Client, action: Action, *files: File | str, across: bool = False, query: str = "") -> Any:
    keys = [file if isinstance(file, str) else file.key for file in files]
    choice = {"action": ACTIONS[action], "_selected_action": keys, **({"select_across": "1"} if across else {})}
    return client.post(f"{LIST}?{query}", choice)


def asked(client: Client, action: Action, *files: File | str, **more: Any) -> Job:
    """The job that was asked for, and that a page asks about."""
    answer = choose(client, action, *files, **more)
    assert answer.status_code == 302, answer.text
    return job(answer["Location"].rstrip("/").rpartition("/")[2])


def job(key: str) -> Job:
    found = Job.find(key)
    assert found is not None
    return found


def address(job: Job, act: str = "") -> str:
    return f"{LIST}jobs/{job.key}/{act and act + '/'}"


def start(client: Client, job: Job) -> Job:
    assert client.post(address(job, "start")).status_code == 302
    return again(job)


def again(known: Job) -> Job:
    return job(known.key)


def work(known: Job) -> Job:
    """The job after one worker has done what it can."""
    known = again(known)
    if known.state in jobs.LIVING and known.due_at:
        jobs.work(known.key, known.due_at)
    return again(known)


def done(client: Client, action: Action, *files: File | str, **more: Any) -> Job:
    return work(start(client, asked(client, action, *files, **more)))


def let_the_lease_end(known: Job) -> Job:
    """As the beat sees it later: nobody works on it, and it is given to the next."""
    Job.objects(key=known.key).update(due_at=trail.now())
    jobs.queue_due()
    return again(known)


def counts(known: Job) -> tuple[str, int, int, int]:
    return known.state, known.done, known.changed, known.refused


def status(file: File | str) -> str | None:
    found = File.objects(key=file if isinstance(file, str) else file.key).first()
    return str(found.status) if found else None


def texts(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text.partition('id="content"')[2]))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of three."""
    for action, act in jobs.ACTS.items():
        monkeypatch.setitem(jobs.ACTS, action, jobs.Act(act.do, act.event, act.takes, 3, act.at_once and 3))


def many(owner: User, count: int, **fields: Any) -> list[str]:
    """Files of which the bucket has nothing, a second apart, in no order of their keys."""
    keys = []
    for number in range(count):
        created_at = trail.now() - timedelta(seconds=count - number)
        known = {"content_type": "text/plain", "size": 5, "kind": "document", "status": "ready", "ready_at": created_at}
        key = fields.get("key", f"u/{owner.pk}/{(7 * number) % 10}{number:020}-a")
        File(**{**known, "owner_id": str(owner.pk), **name_fields("a"), "created_at": created_at, **fields, "key": key}).save()
        keys.append(key)
    return keys


# --- who may ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", Action)
def test_each_action_has_a_permission_of_its_own(
    clerk: Callable[..., Client], as_ops: Client, alice: User, action: Action
) -> None:
    (key,) = many(alice, 1, status="pending" if action == Action.EXPIRE else "ready")
    of_others = {f"{name}_storedfile" for name in PERMISSIONS.values()} - {f"{PERMISSIONS[action]}_storedfile"}
    client = clerk("view_storedfile", *of_others)
    assert f'value="{ACTIONS[action]}"' not in client.get(LIST).text
    assert choose(client, action, key)["Location"].startswith(LIST), "back to the list"
    assert not Job.objects

    known = asked(as_ops, action, key)
    for act in ("start", "cancel"):
        assert client.post(address(known, act)).status_code == 403
    assert again(known).state == State.ASKED

    able = clerk("view_storedfile", f"{PERMISSIONS[action]}_storedfile", name="able")
    assert able.post(address(known, "start")).status_code == 403, "who did not ask for it does not start it"
    assert work(start(able, asked(able, action, key))).changed == 1


def test_who_may_not_look_sees_no_job_and_a_stranger_is_sent_to_sign_in(
    clerk: Callable[..., Client], as_ops: Client, as_alice: Client, stranger: Client, alice: User
) -> None:
    known = asked(as_ops, Action.DELETE, *many(alice, 1))
    pages = [
        ("GET", f"{LIST}jobs/"),
        ("GET", address(known)),
        ("POST", address(known, "start")),
        ("POST", address(known, "cancel")),
    ]
    unable = clerk("delete_storedfile")
    for method, page in pages:
        assert stranger.generic(method, page)["Location"].startswith("/admin/login/"), page
        assert as_alice.generic(method, page)["Location"].startswith("/admin/login/"), page
        assert unable.generic(method, page).status_code == 403, page
    assert again(known).state == State.ASKED


def test_a_job_that_is_not_there_and_a_wrong_method_are_no_errors_of_ours(as_ops: Client, alice: User) -> None:
    known = asked(as_ops, Action.DELETE, *many(alice, 1))
    for act in ("start", "cancel"):
        assert as_ops.get(address(known, act)).status_code == 405
        assert as_ops.post(f"{LIST}jobs/nothing/{act}/").status_code == 404
    assert as_ops.get(f"{LIST}jobs/nothing/").status_code == 404
    assert as_ops.post(address(known)).status_code == 405
    assert as_ops.get(f"{LIST}jobs/%00/").status_code in (302, 404)
    assert as_ops.post(LIST, {"action": "format_the_disk", "_selected_action": ["a"]}).status_code == 302


# --- it asks first ----------------------------------------------------------------------------------------------------


def test_deleting_asks_first_takes_no_other_and_is_in_the_history(as_ops: Client, ops: User, alice: User, bob: User) -> None:
    file, of_bob = Cast.upload(alice, filename="Quarterly report (final).pdf"), Cast.upload(bob, filename="b.pdf")
    kept = Cast.upload(alice, filename="kept.pdf")

    known = asked(as_ops, Action.DELETE, file, of_bob)
    text = texts(as_ops.get(address(known)).text)
    assert "Delete 2 files of 2 owners (2 selected)?" in text
    assert "Quarterly report (final).pdf" in text and "kept.pdf" not in text
    assert status(file) == Status.READY and not LogEntry.objects.exists()

    known = work(start(as_ops, known))

    assert counts(known) == (State.FINISHED, 2, 2, 0)
    assert storage.head(file.key) is None and status(file) is None
    assert status(kept) == Status.READY and storage.head(kept.key)
    assert [event.who for event in history(file)][2:] == [f"ops:{ops.pk}", "sweep"]
    assert history(file)[2].request == known.cause
    entries = LogEntry.objects.order_by("pk")
    assert {entry.object_id for entry in entries if entry.object_id} == {file.key, of_bob.key}
    assert [entry.change_message.partition(".")[0] for entry in entries if not entry.object_id] == [
        "Asked to start: delete, 2 selected",
        "Finished: delete, 2 selected",
    ]
    assert "changed: 2" in entries.last().change_message  # type: ignore[union-attr]


def history(file: File) -> list[trail.Event]:
    found = documents.history(file.key)
    assert found is not None
    return found.events


def test_what_is_asked_about_and_not_started_does_nothing(as_ops: Client, alice: User) -> None:
    known = asked(as_ops, Action.DELETE, *many(alice, 2), query="owner=alice")
    assert jobs.queue_due() == 0

    assert as_ops.post(address(known, "cancel"))["Location"] == f"{LIST}?owner=alice"

    assert again(known).state == State.CANCELLED
    assert as_ops.post(address(known, "start")).status_code == 302
    assert again(known).state == State.CANCELLED and File.objects.count() == 2
    assert not LogEntry.objects.exists()


def test_starting_twice_starts_once(as_ops: Client, alice: User) -> None:
    known = start(as_ops, asked(as_ops, Action.DELETE, *many(alice, 1)))
    start(as_ops, known)
    assert [entry.object_id is None for entry in LogEntry.objects.order_by("pk")] == [True, False]


def test_the_page_that_asks_says_what_will_be_skipped(as_ops: Client, alice: User) -> None:
    keys = many(alice, 2) + many(alice, 1, status="trashed", key=f"u/{alice.pk}/{'t' * 21}-t")
    text = texts(as_ops.get(address(asked(as_ops, Action.CHECK_AGAIN, *keys))).text)
    assert "Check again 3 files of 1 owner" in text and "2 ready, 1 trashed (skipped)" in text
    gone = texts(as_ops.get(address(asked(as_ops, Action.DELETE, "u/1/gone"))).text)
    assert "Delete 0 files" in gone


# --- across pages ------------------------------------------------------------------------------------------------------


def test_a_filter_across_pages_takes_all_of_it_no_other_and_nothing_later(
    as_ops: Client, alice: User, bob: User, small: None
) -> None:
    wanted = many(alice, 70)
    others = many(bob, 3) + many(alice, 1, status="trashed", key=f"u/{alice.pk}/{'t' * 21}-t")
    query = f"owner=alice&status__exact=ready&size=4-&kind=document&q=u/{alice.pk}/&date={trail.now():%Y}"

    known = asked(as_ops, Action.DELETE, wanted[0], across=True, query=query)
    assert "Delete 70 files of 1 owner (owner alice, status ready" in texts(as_ops.get(address(known)).text)
    later = many(alice, 1, key=f"u/{alice.pk}/{'l' * 21}-l", created_at=trail.now() + timedelta(milliseconds=2))
    known = work(start(as_ops, known))

    assert counts(known) == (State.FINISHED, 70, 70, 0)
    assert {file.key for file in File.objects} == {*others, *later}
    assert known.total == 70
    assert not LogEntry.objects.exclude(object_id=None).exists(), "a filter has the job's entries alone"


def test_everything_can_be_chosen(as_ops: Client, alice: User, bob: User, small: None) -> None:
    keys = many(alice, 4) + many(bob, 4)
    known = done(as_ops, Action.DELETE, keys[0], across=True)
    assert (known.chosen, known.changed, File.objects.count()) == ("all files", 8, 0)


def test_where_nothing_matches_for_long_a_job_goes_on_a_bounded_number_of_files_at_a_time(
    ops: User, alice: User, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a part of a name is looked for, and the last file that has it is years old."""
    monkeypatch.setattr(jobs, "WINDOW", 10, raising=False)
    same = trail.now() - timedelta(minutes=5)  # so that a window ends among files of one moment
    keys = [many(alice, 1, created_at=same, key=f"u/{alice.pk}/same-{n:02}")[0] for n in range(15)] + many(alice, 75)
    wanted = [keys[0], *keys[8:13], keys[20]]
    File.objects.keyed(wanted).update(size=7)
    known = jobs.start(jobs.ask(Action.DELETE, str(ops.pk), query={"size": {"$gt": 6}}, chosen="size 7-"))
    assert known

    with profiled() as seen:
        known = work(known)

    assert counts(known) == (State.FINISHED, 7, 7, 0)
    assert {file.key for file in File.objects} == {*keys} - {*wanted}
    looks = [one for one in seen if one["op"] == "query" and one["command"].get("sort") == {"created_at": 1, "_id": 1}]
    assert max(one["docsExamined"] for one in looks) <= 10 + 15, "a window, and what is of the moment in which it ends"


# --- whoever works on it dies, or is not alone -------------------------------------------------------------------------


@pytest.mark.parametrize("action", [Action.DELETE, Action.CHECK_AGAIN])
def test_a_worker_that_is_killed_anywhere_is_followed_by_one_that_goes_on(action: Action, ops: User) -> None:
    alice = somebody()
    keys = [in_the_bucket(alice, number) for number in range(4)]
    known = started(action, ops, keys)
    killed = 0
    with Actor() as actor:
        for line in range(1, 400, 23):
            known = again(known)
            if known.state == State.FINISHED:
                break
            assert known.due_at
            order = {"key": known.key, "ticket": known.due_at.isoformat(), "batch": 2}
            killed += actor.ask("work", **order, die_at_line=line)["killed"]
            assert action == Action.DELETE or disagreements(alice) == []
            known = let_the_lease_end(known)
            Job.objects(key=known.key).update(attempts=0)
            if killed >= 8:
                break
    known = work(known)

    assert killed >= 5
    assert counts(known) == (State.FINISHED, 4, 4, 0)
    if action == Action.DELETE:
        assert objects(alice) == set() and File.objects.count() == 0
    else:
        assert {file.status for file in File.objects} == {Status.CHECKING}
        assert [len(of(key, uploads.CHECK_AGAIN)) for key in keys] == [1, 1, 1, 1], "each once"


def in_the_bucket(owner: User, number: int) -> str:
    signed = Cast.sign(owner, filename=f"{number}.pdf")
    put_object(signed.key)
    return uploads.confirm(str(owner.pk), signed.key).key


def started(action: Action, ops: User, keys: list[str]) -> Job:
    known = jobs.start(jobs.ask(action, str(ops.pk), keys=keys, chosen="some"))
    assert known is not None
    return known


def of(key: str, what: str) -> list[trail.Event]:
    found = documents.history(key)
    return [event for event in found.events if event.what == what] if found else []


def test_of_two_workers_one_stops_and_what_both_did_counts_once(as_ops: Client, alice: User, small: None) -> None:
    keys = many(alice, 8)
    known = start(as_ops, asked(as_ops, Action.DELETE, *keys))
    real, others = jobs.ACTS[Action.DELETE], [True]

    def overtaken(batch: list[str], *, who: str) -> None:
        real.do(batch, who=who)
        if others:
            others.clear()  # the lease of the first ends in the middle of its batch, and the second does all of it
            work(let_the_lease_end(known))

    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(jobs.ACTS, Action.DELETE, jobs.Act(overtaken, real.event, real.takes, 3))
        known = work(known)

    assert counts(known) == (State.FINISHED, 8, 8, 0)
    assert all(len(of(key, "deleted")) == 1 for key in keys)
    stale = known.due_at or trail.now()
    jobs.work(known.key, stale)
    assert counts(again(known)) == (State.FINISHED, 8, 8, 0)
    assert LogEntry.objects.filter(change_message__startswith="Finished").count() == 1


def test_a_job_that_comes_to_nothing_five_times_is_given_up_and_says_so(
    as_ops: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = start(as_ops, asked(as_ops, Action.DELETE, *many(alice, 1)))

    def broken(batch: list[str], *, who: str) -> None:
        raise LookupError("a bug")

    real = jobs.ACTS[Action.DELETE]
    monkeypatch.setitem(jobs.ACTS, Action.DELETE, jobs.Act(broken, real.event, real.takes, 3))
    for _ in range(jobs.ATTEMPTS):
        with pytest.raises(LookupError):
            work(known)
        let_the_lease_end(known)
    assert work(known).state == State.FAILED
    assert "Given up after five attempts" in as_ops.get(address(known)).text
    assert LogEntry.objects.filter(change_message__startswith="Failed").count() == 1


def test_a_job_that_takes_long_lets_others_come_before_it(
    as_ops: Client, alice: User, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "SLICE", 0)
    known = start(as_ops, asked(as_ops, Action.DELETE, *many(alice, 7)))
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(checking, "send", lambda task, **message: sent.append({"task": task, **message}))
    known = work(known)
    assert (known.state, known.done) == (State.RUNNING, 0)
    assert sent == [{"task": "work", "countdown": None, "key": known.key, "ticket": known.due_at.isoformat()}]  # type: ignore[union-attr]
    monkeypatch.setattr(jobs, "SLICE", 10)
    tasks.work(known.key, sent[0]["ticket"])
    assert counts(again(known)) == (State.FINISHED, 7, 7, 0)


def test_a_job_whose_message_was_lost_is_queued_again_by_the_beat(as_ops: Client, alice: User) -> None:
    known = start(as_ops, asked(as_ops, Action.DELETE, *many(alice, 1)))
    assert jobs.queue_due() == 0, "it was queued a moment ago"
    Job.objects(key=known.key).update(due_at=trail.now())
    tasks.queue_jobs()
    later = again(known)
    assert later.due_at and known.due_at and later.due_at != known.due_at
    jobs.work(known.key, known.due_at)
    assert again(known).done == 0, "the ticket of the message that was lost is no longer good"


# --- cancelled, and waiting ----------------------------------------------------------------------------------------------


def test_cancelling_stops_behind_the_batch_in_hand(as_ops: Client, ops: User, alice: User, small: None) -> None:
    keys = many(alice, 9)
    known = start(as_ops, asked(as_ops, Action.DELETE, *keys))
    real = jobs.ACTS[Action.DELETE]

    def cancelled_meanwhile(batch: list[str], *, who: str) -> None:
        assert as_ops.post(address(known, "cancel")).status_code == 302
        real.do(batch, who=who)

    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(jobs.ACTS, Action.DELETE, jobs.Act(cancelled_meanwhile, real.event, real.takes, 3))
        known = work(known)

    assert counts(known) == (State.CANCELLED, 3, 3, 0)
    assert {file.key for file in File.objects} == set(keys[3:]), "in the order of their time"
    assert work(known).done == 3 and jobs.queue_due() == 0
    assert "Cancelled at" in as_ops.get(address(known)).text
    assert "It had ended before." in as_ops.post(address(known, "cancel"), follow=True).text
    assert LogEntry.objects.filter(change_message__startswith="Asked to cancel").count() == 1


def test_with_the_bucket_down_a_job_waits_says_why_and_goes_on(as_ops: Client, alice: User, small: None, settings: Any) -> None:
    keys = [in_the_bucket(alice, number) for number in range(5)]
    known = start(as_ops, asked(as_ops, Action.DELETE, *keys))
    real, bucket = jobs.ACTS[Action.DELETE], settings.R2_ENDPOINT_URL

    def cut_off(batch: list[str], *, who: str) -> None:
        if keys[3] in batch:
            settings.R2_ENDPOINT_URL = "http://127.0.0.1:9"
            ask_the_bucket_anew()
        real.do(batch, who=who)

    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(jobs.ACTS, Action.DELETE, jobs.Act(cut_off, real.event, real.takes, 3))
        known = work(known)

    settings.R2_ENDPOINT_URL = bucket
    ask_the_bucket_anew()
    assert counts(known) == (State.RUNNING, 3, 3, 0)
    assert "The bucket does not answer. It goes on by itself" in as_ops.get(address(known)).text
    assert status(keys[3]) == Status.DELETING, "their owner sees them no more"
    known = work(let_the_lease_end(known))
    assert counts(known) == (State.FINISHED, 5, 5, 0)
    assert known.waits is None and not any(storage.head(key) for key in keys)


# --- expire now ----------------------------------------------------------------------------------------------------------


def test_expiring_gives_up_what_is_pending_and_skips_the_rest(as_ops: Client, ops: User, alice: User) -> None:
    pending, ready = Cast.sign(alice), Cast.upload(alice)
    Cast.put(pending)
    known = done(as_ops, Action.EXPIRE, pending.key, ready)
    assert (counts(known), known.skipped) == ((State.FINISHED, 2, 1, 0), 1)
    assert status(pending.key) is None and storage.head(pending.key) is None
    assert status(ready) == Status.READY and storage.head(ready.key)
    assert of(pending.key, "expired")[0].who == f"ops:{ops.pk}"
    with pytest.raises(uploads.NotFound):
        uploads.confirm(str(alice.pk), pending.key)


# --- check again ---------------------------------------------------------------------------------------------------------


def check() -> None:
    """What workers do with all that is to be checked."""
    for file in File.objects(status=Status.CHECKING):
        checking.check(file.key, file.check_at)


def fresh(file: File) -> File:
    return File.objects.get(key=file.key)  # type: ignore[no-any-return]


PHOTO = saved("JPEG", picture(size=(64, 48)), quality=90)


def photo(owner: User, policy: str = "avatars") -> File:
    """A picture that was cleaned, or one that was not."""
    wish = {"filename": "me.jpg", "content_type": "image/jpeg", "size": len(PHOTO), "policy": policy}
    signed = uploads.sign(str(owner.pk), **wish)  # type: ignore[arg-type]
    put_object(signed.key, PHOTO, "image/jpeg")
    return Cast.checked(uploads.confirm(str(owner.pk), signed.key))


def test_what_is_checked_again_and_passes_is_as_it_was_in_its_old_place(as_ops: Client, ops: User) -> None:
    alice = somebody()
    files = [photo(alice), photo(alice, "default"), Cast.upload(alice, b"%PDF-1.4 a", filename="a.pdf")]
    before, stored = [fresh(file) for file in files], objects(alice)

    known = done(as_ops, Action.CHECK_AGAIN, *files)

    assert counts(known) == (State.FINISHED, 3, 3, 0)
    picture_checks = ["content", "integrity", "image"]
    assert [fresh(file).checks for file in files] == [picture_checks, picture_checks, ["content", "integrity"]]
    assert len(File.in_checking(str(alice.pk), 9)) == 3
    assert File.page(str(alice.pk), None, 9) == []
    check()

    for was, file in zip(before, map(fresh, files), strict=True):
        unchanged = ("status", "ready_at", "expires_at", "size", "sha256", "etag", "cleaned", "thumbnail", "made", "detected")
        assert [getattr(file, name) for name in unchanged] == [getattr(was, name) for name in unchanged]
        assert (file.checks, file.step, file.check_at, file.attempts, file.leftovers) == ([], None, None, None, [])
        assert [(event.who, event.after) for event in history(file)][-2:] == [
            (f"ops:{ops.pk}", "checking"),
            ("checker", "ready"),
        ]
    assert objects(alice) == stored and disagreements(alice) == []


@pytest.mark.parametrize("fault", ["other bytes", "gone", "the original's place"])
def test_what_is_not_what_it_was_is_rejected_and_nothing_is_left_of_it(as_ops: Client, fault: str) -> None:
    alice = somebody()
    file = photo(alice)
    assert file.cleaned
    if fault == "gone":
        storage.delete(file.cleaned)
    elif fault == "other bytes":
        put_object(file.cleaned, PHOTO[: file.size].ljust(file.size, b"\0"), "image/jpeg")
    else:
        put_object(file.key, b"somebody wrote here", "image/jpeg")
    done(as_ops, Action.CHECK_AGAIN, file)
    check()

    rejected = fresh(file)
    if fault == "the original's place":
        assert rejected.status == Status.READY, "what people get is looked at"
        return
    assert (rejected.status, rejected.reason, rejected.leftovers) == (Status.REJECTED, Reason.INTEGRITY, [])
    assert objects(alice) == set() and disagreements(alice) == []


def test_what_is_known_better_today_is_found(as_ops: Client, alice: User) -> None:
    """A file from before there were checks: nothing is known of its bytes."""
    file = Cast.upload(alice, b"%PDF-1.4 a", filename="a.pdf")
    fake = Cast.upload(alice, b"%PDF-1.4 b", filename="b.pdf")
    File.objects(key=file.key).update(unset__detected=True)
    File.objects(key=fake.key).update(content_type="image/png", name="b.png", unset__sha256=True)
    put_object(fake.key, b"%PDF-1.4 b", "image/png")
    done(as_ops, Action.CHECK_AGAIN, file, fake)
    check()
    assert (fresh(file).status, fresh(file).detected) == (Status.READY, "application/pdf")
    assert (fresh(fake).status, fresh(fake).reason) == (Status.REJECTED, Reason.TYPE)


def test_an_old_file_that_is_rejected_has_its_record_for_as_long_as_a_new_one(as_ops: Client, alice: User) -> None:
    file = Cast.upload(alice)
    File.objects(key=file.key).update(created_at=trail.now() - timedelta(days=400))
    storage.delete(file.key)
    done(as_ops, Action.CHECK_AGAIN, file)
    check()
    sweeps.sweep()
    assert fresh(file).status == Status.REJECTED
    backdate([file.key], timedelta(days=31))
    sweeps.sweep()
    assert status(file) is None


def test_a_bucket_that_is_not_there_rejects_nothing(as_ops: Client, alice: User, settings: Any) -> None:
    """It answers 404 too."""
    file = Cast.upload(alice)
    done(as_ops, Action.CHECK_AGAIN, file)
    real = settings.R2_BUCKET
    settings.R2_BUCKET = "another-name"
    ask_the_bucket_anew()
    check()
    settings.R2_BUCKET = real
    ask_the_bucket_anew()
    assert fresh(file).status == Status.CHECKING
    File.objects(key=file.key).update(check_at=trail.now())
    check()
    assert fresh(file).status == Status.READY


def test_a_file_that_lives_for_a_time_lives_no_longer_for_being_checked(as_ops: Client, alice: User, settings: Any) -> None:
    settings.UPLOAD_POLICIES = {**settings.UPLOAD_POLICIES, "fleeting": {"ready_lives": timedelta(days=2)}}
    file = Cast.upload(alice)
    moment = trail.now() - timedelta(days=1)
    File.objects(key=file.key).update(policy="fleeting", ready_at=moment, expires_at=moment + timedelta(days=2))
    done(as_ops, Action.CHECK_AGAIN, file)
    check()
    now = fresh(file)
    assert (now.status, now.ready_at, now.expires_at) == (Status.READY, moment, moment + timedelta(days=2))


def test_a_check_that_is_stuck_is_taken_up_at_once_and_others_are_skipped(as_ops: Client, alice: User) -> None:
    later = trail.now() + timedelta(hours=1)
    stuck = many(alice, 1, status="checking", checks=["scan"], step="scan", attempts=4, check_at=later)[0]
    gone = many(alice, 1, policy="no more", key=f"u/{alice.pk}/{'n' * 21}-n")[0]
    rest = [
        many(alice, 1, status=status, key=f"u/{alice.pk}/{status:x>21}-x")[0]
        for status in ("pending", "rejected", "trashed", "deleting")
    ]
    known = done(as_ops, Action.CHECK_AGAIN, stuck, gone, *rest)
    assert (known.changed, known.skipped) == (1, 5)
    file = File.objects.get(key=stuck)
    assert (file.checks, file.step, file.attempts) == (["scan"], "scan", None)
    assert file.check_at < later
    assert [status(key) for key in (gone, *rest)] == ["ready", "pending", "rejected", "trashed", "deleting"]


def test_no_more_than_some_are_away_at_once(as_ops: Client, alice: User, small: None) -> None:
    many(alice, 7)
    known = start(as_ops, asked(as_ops, Action.CHECK_AGAIN, "x", across=True))
    known = work(known)
    assert (known.state, known.done, File.objects(status=Status.CHECKING).count()) == (State.RUNNING, 3, 3)
    assert "3 files are being checked; the next are taken" in as_ops.get(address(known)).text
    assert work(known).done == 3, "they are not through"
    File.objects(status=Status.CHECKING).update(status=Status.READY, unset__check_at=True)
    assert work(known).done == 6


def test_its_owner_cannot_cancel_away_what_is_checked_again(as_ops: Client, as_alice: Client, alice: User) -> None:
    file = Cast.upload(alice)
    done(as_ops, Action.CHECK_AGAIN, file)
    text = as_alice.get("/files/").text
    assert "report.pdf" in text and "Cancel report.pdf" not in text
    with pytest.raises(uploads.AlreadyReady):
        uploads.cancel(str(alice.pk), file.key)
    answer = as_alice.post("/api/uploads/confirm", {"key": file.key}, content_type="application/json")
    assert (answer.status_code, answer.json()["file"]["readyAt"]) == (202, None)
    check()
    assert fresh(file).status == Status.READY


# --- watching it ----------------------------------------------------------------------------------------------------------


def test_its_page_is_a_page_without_javascript_and_a_piece_of_it_for_htmx(as_ops: Client, alice: User, small: None) -> None:
    known = start(as_ops, asked(as_ops, Action.DELETE, *many(alice, 2)))
    page = as_ops.get(address(known)).text
    assert "It waits for a worker." in page and 'http-equiv="refresh"' in page and f'hx-get="{address(known)}"' in page
    piece = as_ops.get(address(known), headers={"HX-Request": "true"})
    assert piece.status_code == 200 and "<html" not in piece.text and "Cancel the rest" in piece.text

    known = work(known)
    piece = as_ops.get(address(known), headers={"HX-Request": "true"})
    assert piece.status_code == 286, "by which htmx asks no more"
    assert "Finished at" in piece.text and "Cancel the rest" not in piece.text
    page = as_ops.get(address(known)).text
    assert "hx-get" not in page and "refresh" not in page
    listed = texts(as_ops.get(f"{LIST}jobs/").text)
    assert "Delete: 2 selected finished 2 of 2 2" in listed


def test_jobs_are_removed_by_mongodb_when_nobody_needs_them(as_ops: Client, alice: User) -> None:
    indexes = Job._get_collection().index_information().values()
    assert [index["expireAfterSeconds"] for index in indexes if index["key"] == [("gone_at", 1)]] == [0]
    known = asked(as_ops, Action.DELETE, *many(alice, 1))
    assert known.gone_at == known.asked_at + timedelta(days=1)
    known = start(as_ops, known)
    assert known.gone_at is None
    known = work(known)
    assert known.ended_at and known.gone_at == known.ended_at + trail.KEPT


def test_nothing_of_a_job_is_left_to_the_past(as_ops: Client, alice: User) -> None:
    known = done(as_ops, Action.DELETE, *many(alice, 2))
    assert {past.trail[-2]["request"] for past in Past.objects} == {known.cause}
