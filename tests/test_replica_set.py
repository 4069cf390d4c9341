"""MongoDB as a replica set of three: its primary is killed, and no file that was acknowledged is lost with it."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from uploadkit import localstack

from .faults.people import picture
from .place import Place, visitor
from .processes import wait_until
from .scale.servers import ReplicaSet

ELECTION, SLOW_ELECTION = 1_500, 10_000  # milliseconds
WITHIN = 3.5  # seconds, of any answer
REFUSED, TAKEN = 503, (200, 202)


@pytest.fixture(scope="module")
def replica_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicaSet]:
    replica_set, group = ReplicaSet(tmp_path_factory.mktemp("replica-set"), election=ELECTION), localstack.Group()
    try:
        group.start(*replica_set.nodes)
        replica_set.initiate()
        yield replica_set
    finally:
        group.stop()


@pytest.fixture(scope="module")
def alice(replica_set: ReplicaSet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    place = Place(tmp_path_factory.mktemp("place"), MONGODB_URI=replica_set.uri(), SIGNINGS_PER_MINUTE="100000")
    del place.servers["MongoDB"]
    with place.running():
        session = place.prepare("alice")["alice"]
        with place.site() as origin, visitor(origin, session) as alice:
            yield alice


def sign(alice: httpx.Client, name: str, content_type: str, body: bytes) -> httpx.Response:
    return alice.post("/api/uploads/sign", json={"filename": name, "contentType": content_type, "size": len(body)})


def arrived(alice: httpx.Client, name: str = "a.bin", content_type: str = "application/octet-stream", body: bytes = b"") -> str:
    """The key of a file that is in the bucket and not confirmed."""
    body = body or random.randbytes(2_000)
    signed: dict[str, Any] = sign(alice, name, content_type, body).json()
    assert httpx.put(signed["url"], content=body, headers=signed["headers"]).status_code == 200
    return str(signed["key"])


def confirm(alice: httpx.Client, key: str) -> httpx.Response:
    return alice.post("/api/uploads/confirm", json={"key": key})


def assert_it_says_when_to_come_again(answer: httpx.Response) -> None:
    assert answer.status_code == REFUSED, answer.text
    assert answer.headers["Retry-After"] == "5"
    assert answer.json()["error"].startswith("MongoDB does not answer.")


def test_a_primary_that_is_killed_costs_seconds_and_no_file_that_was_acknowledged(
    replica_set: ReplicaSet, alice: httpx.Client
) -> None:
    confirmed = {key for key in (arrived(alice) for _ in range(5)) if confirm(alice, key).status_code == 200}
    waiting, primary = arrived(alice), replica_set.primary()
    assert len(confirmed) == 5

    primary.kill()
    answers: list[httpx.Response] = []
    while not answers or answers[-1].status_code == REFUSED:
        assert len(answers) < 60, "another primary is elected"
        answers.append(confirm(alice, waiting))
    primary.start()

    for answer in answers[:-1]:
        assert_it_says_when_to_come_again(answer)
        assert answer.elapsed.total_seconds() < WITHIN
    assert answers[-1].status_code == 200
    assert all(confirm(alice, key).status_code == 200 for key in {*confirmed, waiting})
    assert all(alice.get(f"/files/{key}/download").status_code == 302 for key in {*confirmed, waiting})
    assert alice.get("/files/").status_code == 200
    wait_until(replica_set.is_whole, "the old primary is a secondary")


def test_a_confirm_that_one_node_alone_has_written_is_not_acknowledged_however_often_it_is_asked(
    replica_set: ReplicaSet, alice: httpx.Client
) -> None:
    """The second confirm finds the file as the first one left it, on a primary that is about to be lost with what it has."""
    replica_set.set_election(SLOW_ELECTION)
    keys = [arrived(alice), arrived(alice, "a.png", "image/png", picture(random.randbytes(500)))]
    primary = replica_set.primary()
    others = [node for node in replica_set.nodes if node is not primary]

    for node in others:
        os.killpg(pid(node), signal.SIGSTOP)
    answers = [confirm(alice, key) for _ in range(2) for key in keys]
    primary.kill()
    for node in others:
        os.killpg(pid(node), signal.SIGCONT)
    with replica_set.client(others[0]) as client:
        wait_until(lambda: client.admin.command("replSetStepUp")["ok"], "another is elected")

    for answer in answers:
        assert_it_says_when_to_come_again(answer)
    primary.start()
    wait_until(lambda: all(confirm(alice, key).status_code in TAKEN for key in keys), "both are confirmed in the end")


def pid(process: localstack.Process) -> int:
    assert process.popen is not None
    return process.popen.pid
