"""Eight processes of one user at the limit, for a few seconds, and that the judge of `make faults` sees what may go wrong.

The minute that `make faults` waits for is in Redis here: twenty signings that turn a minute old one after the other.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from http.client import HTTPResponse

import pytest
from redis import Redis

from tests.faults import Stack
from tests.faults.limiter import LIMIT, WINDOW, Asked, Crowd, Judge, request

PROCESSES = 8


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("stack"))
    stack.environment["SIGNINGS_PER_MINUTE"] = str(LIMIT)
    with stack.running():
        yield stack


def crowd(stack: Stack, person: int, seconds: float) -> Crowd:
    return Crowd(stack, stack.sessions[person], PROCESSES, seconds, seed=8, spread=0, pause=0.02)


def test_of_eight_processes_that_begin_at_once_twenty_signings_pass(stack: Stack) -> None:
    alice = crowd(stack, 0, seconds=2)
    alice.run()

    assert list(alice.judge().faults()) == []
    assert len(alice.judge().signed) == LIMIT
    assert len(alice.judge().refused) > LIMIT


def test_one_comes_in_for_each_that_leaves_and_nobody_earlier_or_later(stack: Stack) -> None:
    """From a second on, for four, the twenty of a minute ago leave; some of them together."""
    dice, bob = random.Random(20), crowd(stack, 1, seconds=6)
    begin = time.time() + 2
    moments = sorted([begin + dice.uniform(0, 4) for _ in range(14)] + [begin + 2] * 6)
    bob.past = [Asked(moment - WINDOW, moment - WINDOW, "200") for moment in moments]
    with Redis.from_url(stack.redis_url) as redis:
        microseconds = {f"signing {number}": round(one.sent * 1_000_000) for number, one in enumerate(bob.past)}
        redis.zadd(f"uploadkit:signings:{stack.owner_id(1)}", microseconds)

    bob.run()

    assert list(bob.judge().faults()) == []
    assert len(bob.judge().signed) == 2 * LIMIT
    wait = bob.judge().longest_wait()
    assert wait is not None and WINDOW - 0.1 < wait < WINDOW + 1


@pytest.mark.parametrize("session", ["a user at the limit", "nobody"])
def test_who_is_refused_before_the_body_came_can_go_on_with_the_same_connection(stack: Stack, session: str) -> None:
    crowd(stack, 2, seconds=1).run()  # carol is at the limit from here on
    host, port = stack.site.removeprefix("http://").split(":")
    head, body = request(host, stack.sessions[2] if session != "nobody" else "").split("\r\n\r\n")
    statuses = set()
    with socket.create_connection((host, int(port)), timeout=10) as site:
        for _ in range(5):
            site.sendall(f"{head}\r\n\r\n".encode())
            time.sleep(0.05)  # time enough for an answer that does not wait for the body
            site.sendall(body.encode())
            answer = HTTPResponse(site, method="POST")
            answer.begin()
            answer.read()
            statuses.add(answer.status)

    assert statuses == {401 if session == "nobody" else 429}


# --- what it would see ----------------------------------------------------------------------------------------------

TWENTY = [Asked(number, number + 0.1, "200") for number in range(LIMIT)]  # one a second, from 0 on


def signed(sent: float) -> Asked:
    return Asked(sent, sent + 0.1, "200")


def refused(sent: float, retry_after: str) -> Asked:
    return Asked(sent, sent + 0.1, "429", retry_after)


ONCE = refused(30, "30")


def test_twenty_a_minute_and_true_refusals_are_no_fault() -> None:
    asked = [*TWENTY, ONCE, refused(59.5, "1"), signed(60.2), refused(60.4, "1"), signed(61.1)]
    assert list(Judge(asked).faults()) == []


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ([*TWENTY, ONCE, signed(59.8)], "21 signings within 60 s"),
        ([*TWENTY[1:], ONCE], "somebody was refused after 19 signings in 60 s"),
        ([*TWENTY, ONCE, refused(60.3, "1")], "somebody was refused after 19 signings in 60 s"),
        ([*TWENTY, refused(30, "29")], "1 answers had no true Retry-After"),
        ([*TWENTY, refused(30, "32")], "1 answers had no true Retry-After"),
        ([*TWENTY, refused(30, "")], "1 answers had no true Retry-After"),
        ([*TWENTY, ONCE, Asked(31, 31, "503")], "1 answers were 503"),
        (TWENTY, "nobody was refused, so that nothing is shown"),
    ],
)
def test_what_is_wrong_is_named(asked: list[Asked], fault: str) -> None:
    assert any(fault in said for said in Judge(asked).faults()), list(Judge(asked).faults())


def test_an_alarm_is_never_a_false_one() -> None:
    """What may have been 61 s apart is not held against the limiter, nor is what may have counted held against a refusal."""
    maybe = [*TWENTY, ONCE, Asked(59.8, 60.5, "200")]
    assert list(Judge(maybe).faults()) == []
