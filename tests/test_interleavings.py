"""Whoever comes first: real processes act on the same file at the same moment, and one is killed at every line.

What must hold after each round: no READY document without its object, and after a sweep no object without a document.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User

from files import storage, uploads
from files.documents import File

from .conftest import Cast
from .lifecycle import ALL_OF_AN_HOUR, Actor, actors, at_once, backdate, disagreements, documents, objects, put_object, somebody

HOUR = ALL_OF_AN_HOUR / 2


@pytest.fixture(scope="module")
def four() -> Iterator[list[Actor]]:
    with actors(4) as cast:
        yield cast


def settle(owner: User) -> str | None:
    """What the next sweep leaves of the owner's one file, once its URL can be good no more; and both stores agree on it."""
    backdate(documents(owner))
    uploads.sweep(older_than=HOUR)
    left = documents(owner)
    assert objects(owner) == left.keys(), "a sweep left them in disagreement"
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


def test_confirm_cancel_delete_and_cleanup_at_once(four: list[Actor], cast: type[Cast]) -> None:
    chance = random.Random(60)
    outcomes = set[tuple[bool, ...]]()
    for round_number in range(60):
        alice = somebody()
        signed = cast.sign(alice)
        put_object(signed.key)
        if round_number % 2:
            backdate([signed.key])
        whose = {"owner": str(alice.pk), "key": signed.key}
        orders: list[dict[str, Any]] = [{"act": act, **whose} for act in ("confirm", "cancel", "delete")]
        delays = [chance.uniform(0, 0.01), chance.uniform(0, 0.012), chance.uniform(0.004, 0.016), chance.uniform(0, 0.012)]

        answers = at_once(four, [*orders, {"act": "sweep", "older_than": 0}], delays)

        assert disagreements(alice) == []
        confirmed, canceled, deleted, _ = (answer["did"] for answer in answers)
        assert (settle(alice) == "ready") == (confirmed and not canceled and not deleted), answers
        outcomes.add((confirmed, canceled, deleted))

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


@pytest.mark.parametrize("act", ["confirm", "cancel", "delete", "sweep"])
def test_killed_before_any_line_it_leaves_what_the_next_sweep_finishes(act: str, cast: type[Cast]) -> None:
    alice = somebody()
    whose: dict[str, Any] = {"older_than": 3600} if act == "sweep" else {"owner": str(alice.pk)}
    with Actor() as actor:
        for line in range(1, LINES):
            signed = cast.sign(alice)
            put_object(signed.key)
            if act == "delete":
                uploads.confirm(str(alice.pk), signed.key)
            backdate([signed.key])
            if act != "sweep":
                whose["key"] = signed.key

            killed = actor.ask(act, **whose, die_at_line=line)["killed"]

            assert disagreements(alice) == [], f"killed before line {line}"
            assert is_finished_by_a_sweep(signed.key), f"killed before line {line}"
            if not killed:
                break
    assert 5 < line < LINES - 1, "it was killed at every line, and then no more"


def is_finished_by_a_sweep(key: str) -> bool:
    uploads.sweep(older_than=HOUR)
    file = File.objects.keyed([key]).first()
    stored = storage.head(key) is not None
    return stored if file is not None and file.status == "ready" else file is None and not stored
