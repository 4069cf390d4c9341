"""Whoever comes first: real processes act on the same file at the same moment, and one is killed at every line.

What must hold after each round: no READY or TRASHED document without its object, and after a sweep no object without a
document.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User

from files import storage, sweeps, uploads
from files.documents import File

from .conftest import Cast
from .lifecycle import (
    ALL_OF_AN_HOUR,
    Actor,
    actors,
    at_once,
    backdate,
    disagreements,
    documents,
    drift,
    let_the_trash_lie,
    objects,
    put_object,
    somebody,
)

HOUR = ALL_OF_AN_HOUR / 2


@pytest.fixture(scope="module")
def four() -> Iterator[list[Actor]]:
    with actors(4) as cast:
        yield cast


def settle(owner: User) -> str | None:
    """What the next sweep leaves of the owner's one file, once its URL can be good no more and nothing can be undone; and both
    stores agree on it.
    """
    backdate(documents(owner))
    let_the_trash_lie(documents(owner))
    sweeps.sweep(older_than=HOUR)
    left = documents(owner)
    assert objects(owner) == left.keys(), "a sweep left them in disagreement"
    assert drift(owner) == (0, 0), "something was given back twice, or not at all"
    return next(iter(left.values()), None)


def test_200_interleavings_of_confirm_against_cleanup_on_the_same_key(four: list[Actor], cast: type[Cast]) -> None:
    chance = random.Random(200)
    outcomes = []
    for round_number in range(200):
        alice = somebody()
        signed = cast.sign(alice)
        put_object(signed.key)
        if round_number % 2:
            backdate([signed.key])  # so that the sweep removes the document too, and does not only mark it
        confirm: dict[str, Any] = {"act": "confirm", "owner": str(alice.pk), "key": signed.key}
        sweep: dict[str, Any] = {"act": "sweep", "older_than": 0}

        # SeaweedFS takes up to a second over two deletions of one object at once, hence not in every round.
        orders = [confirm, sweep, confirm, sweep if round_number % 8 < 2 else confirm]
        answers = at_once(four, orders, [chance.uniform(0, 0.012) for _ in four])

        assert disagreements(alice) == []
        outcomes.append(documents(alice).get(signed.key) == "ready")
        told = {answer["did"] for answer, order in zip(answers, orders, strict=True) if order is confirm}
        assert told == {outcomes[-1]}
        assert settle(alice) == ("ready" if outcomes[-1] else None)

    assert len(outcomes) == 200
    assert {True, False} == set(outcomes), "one side always won, so that nothing was interleaved"


def test_confirm_cancel_trash_and_cleanup_at_once(four: list[Actor], cast: type[Cast]) -> None:
    chance = random.Random(60)
    outcomes = set[tuple[bool, ...]]()
    for round_number in range(60):
        alice = somebody()
        signed = cast.sign(alice)
        put_object(signed.key)
        if round_number % 2:
            backdate([signed.key])
        whose = {"owner": str(alice.pk), "key": signed.key}
        orders: list[dict[str, Any]] = [{"act": act, **whose} for act in ("confirm", "cancel", "trash")]
        delays = [chance.uniform(0, 0.01), chance.uniform(0, 0.012), chance.uniform(0.004, 0.016), chance.uniform(0, 0.012)]

        answers = at_once(four, [*orders, {"act": "sweep", "older_than": 0}], delays)

        assert disagreements(alice) == []
        confirmed, canceled, trashed, _ = (answer["did"] for answer in answers)
        assert (documents(alice).get(signed.key) == "trashed") == trashed, "nobody sweeps what can still be undone"
        assert (settle(alice) == "ready") == (confirmed and not canceled and not trashed), answers
        outcomes.add((confirmed, canceled, trashed))

    assert len(outcomes) >= 3, "always the same one won, so that nothing was interleaved"


@pytest.mark.parametrize("emptied_by", ["empty_trash", "sweep"])
def test_100_interleavings_of_restore_against_what_empties_the_trash(
    four: list[Actor], cast: type[Cast], emptied_by: str
) -> None:
    """Either the file is back, with its object, or it is gone; and whoever undid the deletion was told which."""
    chance = random.Random(emptied_by)
    outcomes = []
    for round_number in range(100):
        alice = somebody()
        file = ready(cast, alice)
        uploads.trash(str(alice.pk), [file.key])
        let_the_trash_lie([file.key])
        restore: dict[str, Any] = {"act": "restore", "owner": str(alice.pk), "key": file.key}
        empty: dict[str, Any] = {"act": emptied_by}

        # As above: two deletions of one object are slow.
        orders = [restore, empty, restore, empty if round_number % 8 < 2 else restore]
        answers = at_once(four, orders, [chance.uniform(0, 0.004) for _ in four])

        assert disagreements(alice) == []
        outcomes.append(documents(alice).get(file.key) == "ready")
        told = {answer["did"] for answer, order in zip(answers, orders, strict=True) if order is restore}
        assert told == {outcomes[-1]}
        assert settle(alice) == ("ready" if outcomes[-1] else None)

    assert {True, False} == set(outcomes), "one side always won, so that nothing was interleaved"


def ready(cast: type[Cast], owner: User) -> File:
    """A READY file, without the URL's being used."""
    signed = cast.sign(owner)
    put_object(signed.key)
    return uploads.confirm(str(owner.pk), signed.key)


def test_60_interleavings_of_trash_restore_rename_and_sweep(four: list[Actor], cast: type[Cast]) -> None:
    """What was just trashed is never swept, and a file has the one name or the other, never a name without its words."""
    chance = random.Random(60)
    outcomes = set[tuple[str, bool]]()
    for _ in range(60):
        alice = somebody()
        file = ready(cast, alice)
        whose = {"owner": str(alice.pk), "key": file.key}
        orders = [{"act": "trash", **whose}, {"act": "restore", **whose}, {"act": "rename", "name": "New name.pdf", **whose}]

        answers = at_once(four, [*orders, {"act": "sweep"}], [chance.uniform(0, 0.004) for _ in four])

        trashed, restored, renamed, _ = (answer["did"] for answer in answers)
        assert trashed and restored, "it was READY or TRASHED all the time"
        left = File.objects.get(key=file.key)
        assert disagreements(alice) == [] and left.status in ("ready", "trashed")
        assert (left.name, left.sort_name, left.words) == (
            ("New name.pdf", "new name.pdf", ["new", "name", "pdf"])
            if renamed
            else ("report.pdf", "report.pdf", ["report", "pdf"])
        )
        assert settle(alice) == ("ready" if left.status == "ready" else None)
        outcomes.add((left.status, renamed))

    assert len(outcomes) >= 3, "always the same one won, so that nothing was interleaved"


def test_of_four_confirms_at_once_all_get_the_same_file(four: list[Actor], cast: type[Cast]) -> None:
    alice = somebody()
    for _ in range(10):
        signed = cast.sign(alice)
        put_object(signed.key)

        answers = at_once(four, [{"act": "confirm", "owner": str(alice.pk), "key": signed.key}] * 4, [0] * 4)

        assert all(answer["did"] for answer in answers)
        assert len({answer["ready_at"] for answer in answers}) == 1


LINES = 200  # more than any of them has


# Of the upload and the file, what each finds.
FINDS = {
    "confirm": "pending",
    "cancel": "pending",
    "trash": "ready",
    "restore": "trashed",
    "rename": "ready",
    "empty_trash": "trashed",
    "sweep": "pending",
}


@pytest.mark.long
@pytest.mark.parametrize("act", FINDS)
def test_killed_before_any_line_it_leaves_what_the_next_sweep_finishes(act: str, cast: type[Cast]) -> None:
    alice = somebody()
    order: dict[str, Any] = {"older_than": 3600} if act == "sweep" else {}
    with Actor() as actor:
        for line in range(1, LINES):
            signed = cast.sign(alice)
            put_object(signed.key)
            if FINDS[act] != "pending":
                uploads.confirm(str(alice.pk), signed.key)
            if FINDS[act] == "trashed":
                uploads.trash(str(alice.pk), [signed.key])
                let_the_trash_lie([signed.key])
            backdate([signed.key])
            if act not in ("sweep", "empty_trash"):
                order = {"owner": str(alice.pk), "key": signed.key, "name": "renamed.pdf"}

            killed = actor.ask(act, **order, die_at_line=line)["killed"]

            assert disagreements(alice) == [], f"killed before line {line}"
            let_the_trash_lie([signed.key])
            assert is_finished_by_a_sweep(signed.key), f"killed before line {line}"
            assert drift(alice) == (0, 0), f"killed before line {line}"
            if not killed:
                break
    assert 3 < line < LINES - 1, "it was killed at every line, and then no more"


def is_finished_by_a_sweep(key: str) -> bool:
    sweeps.sweep(older_than=HOUR)
    file = File.objects.keyed([key]).first()
    stored = storage.head(key) is not None
    return stored if file is not None and file.status == "ready" else file is None and not stored
