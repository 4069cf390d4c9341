"""A month of an installation that is in use, as its dashboard shows it."""

from __future__ import annotations

import random
from datetime import timedelta

from django.contrib.auth.models import User

from files import limits, redis_client, rollups, runs
from files.documents import File, Status
from files.kinds import Kind
from files.runs import By, Run
from files.trail import now

KINDS = {Kind.IMAGE: (46, 3_100_000), Kind.DOCUMENT: (31, 640_000), Kind.VIDEO: (6, 38_000_000), Kind.ARCHIVE: (3, 21_000_000)}
REASONS = {"type": 41, "malware": 3, "broken_image": 17, "unscannable": 2}


def a_month(*owners: User) -> None:
    chance = random.Random(6)
    _days(chance)
    _waiting(owners[0])
    _refusals(chance, owners)
    _sweeps(chance)
    accounts = File._get_db()["accounts"]
    for place, owner in enumerate(owners):
        accounts.insert_one({"_id": str(owner.pk), "files": 4_210 // (place + 1), "bytes": 18_402_511_004 // (place + 1) ** 2})
    accounts.insert_one({"_id": "7000", "files": 12, "bytes": 930_112})


def _days(chance: random.Random) -> None:
    today = rollups.midnight(now())
    for back in range(30):
        busy = (0.25 if (today - rollups.DAY * back).weekday() > 4 else 1) * (0.4 if back == 0 else 1)
        kinds = {}
        for kind, (number, size) in KINDS.items():
            files = round(number * busy * chance.uniform(15, 28))
            kinds[kind.value] = {"files": files, "bytes": round(files * size * chance.uniform(0.7, 1.4))}
        rejected = {reason: chance.randint(0, number // 3 + 1) for reason, number in REASONS.items()}
        until = now() - timedelta(minutes=3) if back == 0 else today - rollups.DAY * (back - 1)
        rollups._days().insert_one({"_id": today - rollups.DAY * back, "until": until, "kinds": kinds, "rejected": rejected})


def _waiting(owner: User) -> None:
    ages = [*[2] * 31, *[9] * 14, *[40] * 6, *[200] * 3, 60 * 29]
    waiting = [(Status.PENDING, minutes) for minutes in ages] + [(Status.CHECKING, minutes) for minutes in (1, 1, 2, 3, 7)]
    for number, (status, minutes) in enumerate(waiting):
        created_at = now() - timedelta(minutes=minutes)
        fields = {"owner_id": str(owner.pk), "name": "a.png", "content_type": "image/png", "size": 5, "kind": "image"}
        File(key=f"u/{owner.pk}/{number}", **fields, status=status, created_at=created_at).save(force_insert=True)


def _refusals(chance: random.Random, owners: tuple[User, ...]) -> None:
    redis = redis_client.connection()
    for back in (0, 1, 2, 3, 7, 8, 9, 14, 21, 22):
        refused = {str(owner.pk): chance.randint(1, 400 // (place + 1)) for place, owner in enumerate(owners)}
        redis.zadd(limits._refusals(now() - timedelta(days=back)), {**refused, limits.ALL: sum(refused.values())})


def _sweeps(chance: random.Random) -> None:
    for by, every, number in ((By.BEAT, 15, 12), (By.TRASH, 4, 6)):
        for back in range(1, number):
            at = now() - timedelta(minutes=every * back)
            done = {"expired": chance.randint(0, 40), "removed": chance.randint(40, 2_400), "refused": 3 if back == 3 else 0}
            failed = by is By.BEAT and back == 6
            error = "EndpointConnectionError: Could not connect to the endpoint URL: “http://127.0.0.1:8333/uploadkit?delete”"
            known = {"error": error} if failed else done
            seconds = round(chance.uniform(0.1, 4), 3)
            Run(at=at, by=by, seconds=seconds, expires_at=at + runs.KEPT_OTHERWISE, **known).save(force_insert=True)
