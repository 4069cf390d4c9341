"""How often somebody may ask: a user sign uploads, an address come without a session or try to sign in.

Nobody waits for a minute here: the moments at which a user signed are in Redis, and a test that wants time to pass makes them
older.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as configured
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from redis import Redis

from files import limits
from files.trail import now

from .conftest import ROOT, post_json
from .test_sign import SIGN, WISH

LIMIT = 20


class Past:
    """The moments at which a user signed, newest first, as Redis has them."""

    def __init__(self, user_id: object) -> None:
        self.redis = Redis.from_url(configured.REDIS_URL, decode_responses=True)
        self.user_id = user_id
        self.key = f"uploadkit:signings:{user_id}"

    def moments(self) -> list[float]:
        entries = self.redis.zrange(self.key, 0, -1, desc=True, withscores=True)
        return [score / 1_000_000 for _, score in entries]  # type: ignore[union-attr]

    def write(self, moments: list[float]) -> None:
        self.redis.delete(self.key)
        self.redis.zadd(self.key, {f"signing {number}": round(at * 1_000_000) for number, at in enumerate(moments)})
        self.redis.expire(self.key, 60)

    def age(self, seconds: float) -> None:
        """Let `seconds` pass for this user."""
        if moments := self.moments():
            self.write([moment - seconds for moment in moments])


@pytest.fixture
def past(alice: User) -> Past:
    return Past(alice.pk)


def sign(client: Client) -> Any:
    return post_json(client, SIGN, WISH)


def window(answer: Any) -> tuple[int, int]:
    """What RateLimit says: how many are left, and in how many seconds the next one is."""
    match = re.fullmatch(r'"sign";r=(\d+);t=(\d+)', answer.headers["RateLimit"])
    assert match
    return int(match[1]), int(match[2])


def seconds_until(moment: float, *, asked: float, answered: float) -> list[int]:
    """All true answers to "in how many seconds", rounded up, given between `asked` and `answered`; 1 at the least."""
    return list(range(max(1, math.ceil(moment - answered)), max(1, math.ceil(moment - asked)) + 1))


# --- twenty in any minute -------------------------------------------------------------------------------------------


def test_twenty_pass_and_the_next_is_refused(as_alice: Client) -> None:
    assert configured.SIGNINGS_PER_MINUTE == LIMIT
    assert [sign(as_alice).status_code for _ in range(LIMIT + 2)] == [200] * LIMIT + [429, 429]


def test_the_refusal_is_json_with_a_sentence_that_says_how_long(as_alice: Client, past: Past) -> None:
    past.write([time.time()] * LIMIT)

    answer = sign(as_alice)

    assert answer.status_code == 429
    assert answer.json() == {
        "error": f"You can start 20 uploads a minute. Try again in {answer.headers['Retry-After']} s.",
        "code": "rate_limited",
    }


def test_alice_s_limit_is_not_bob_s(as_alice: Client, as_bob: Client, past: Past) -> None:
    past.write([time.time()] * LIMIT)

    assert sign(as_alice).status_code == 429
    assert sign(as_bob).status_code == 200
    assert window(sign(as_bob))[0] == LIMIT - 2


def test_signing_in_anew_gives_no_new_minute(alice: User, as_alice: Client, past: Past) -> None:
    past.write([time.time()] * LIMIT)

    another = Client()
    another.force_login(alice)
    assert sign(another).status_code == 429


def test_the_same_user_from_another_address_has_no_new_minute(as_alice: Client, past: Past) -> None:
    past.write([time.time()] * LIMIT)

    assert as_alice.post(SIGN, WISH, content_type="application/json", REMOTE_ADDR="198.51.100.7").status_code == 429


def test_confirming_listing_and_deleting_are_not_signing(as_alice: Client, past: Past) -> None:
    past.write([time.time()] * LIMIT)

    assert as_alice.get("/files/").status_code == 200
    assert post_json(as_alice, "/api/uploads/confirm", {"key": "nothing"}).status_code == 404
    assert post_json(as_alice, "/api/uploads/cancel", {"key": "nothing"}).status_code == 404


@pytest.mark.parametrize("age", [0, 1, 15, 30, 58])
def test_a_burst_is_followed_by_no_other_within_the_minute(as_alice: Client, past: Past, age: float) -> None:
    # A fixed window would let one in every minute through: at its boundary.
    past.write([time.time() - age - number / 100 for number in range(LIMIT)])

    assert {sign(as_alice).status_code for _ in range(3)} == {429}


def test_one_leaves_and_one_comes_in(as_alice: Client, past: Past) -> None:
    past.write([time.time() - 61, *[time.time()] * (LIMIT - 1)])

    assert [sign(as_alice).status_code for _ in range(3)] == [200, 429, 429]


def test_refused_attempts_do_not_keep_the_door_shut(as_alice: Client, past: Past) -> None:
    past.write([time.time() - 30] * LIMIT)
    before = past.moments()

    refused = [sign(as_alice) for _ in range(30)]

    assert {answer.status_code for answer in refused} == {429}
    assert past.moments() == before
    assert int(refused[-1].headers["Retry-After"]) <= int(refused[0].headers["Retry-After"])


def test_over_many_minutes_there_are_never_more_than_the_limit_in_any_sixty_seconds(past: Past, settings: Any) -> None:
    settings.SIGNINGS_PER_MINUTE = 5
    chance = random.Random(20)
    passed: list[tuple[float, float]] = []  # just before and just after
    skipped = 0.0

    for _ in range(400):
        pause = chance.choice([0, 0, 0, 0.3, 2, 11, 29.5, 59.9, 60])
        skipped += pause
        past.age(pause)
        before = time.time() + skipped
        try:
            limits.spend_signing(str(past.user_id))
        except limits.TooMany:
            # And never fewer: the five of the last minute are what it was refused for.
            assert sum(after >= before - 60 for _, after in passed) >= 5
        else:
            passed.append((before, time.time() + skipped))

    assert len(passed) > 100
    assert all(last[1] - first[0] > 60 for first, last in zip(passed, passed[5:], strict=False))


# --- many at once ---------------------------------------------------------------------------------------------------


def test_of_many_threads_at_once_twenty_pass(past: Past) -> None:
    def attempt(_: int) -> bool:
        try:
            limits.spend_signing(str(past.user_id))
        except limits.TooMany:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(200))) == LIMIT


HAMMER = """
import json, sys, threading, time, django
django.setup()
from files import limits

passed = []
def hammer(until):
    while (before := time.time()) < until:
        try:
            limits.spend_signing(sys.argv[1])
        except limits.TooMany:
            time.sleep(0.002)
        else:
            passed.append((before, time.time()))

print("ready", flush=True)
until = float(sys.stdin.readline())
threads = [threading.Thread(target=hammer, args=[until]) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps(passed))
"""


@pytest.fixture
def hammers(past: Past) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes of four threads that will sign for alice as often as they can."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", HAMMER, str(past.user_id)],
                    cwd=ROOT,
                    env={**os.environ, "DJANGO_SETTINGS_MODULE": "uploadkit.settings"},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(3)
        ]
        for process in processes:
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield processes


def test_processes_that_hammer_across_the_minute_get_one_in_for_each_that_leaves(
    past: Past, hammers: list[subprocess.Popen[str]]
) -> None:
    # Twenty moments that turn a minute old one after the other, from half a second on and for a second and a half.
    start = time.time() + 0.5
    old = [start - 60 + number * 0.075 for number in range(LIMIT)]
    past.write(old)

    until = start + 1.5 + 1
    answers = [process.communicate(f"{until}\n", timeout=60)[0] for process in hammers]

    passed = sorted((tuple(moment) for answer in answers for moment in json.loads(answer)), key=lambda moment: moment[1])
    assert len(passed) == LIMIT
    assert len(past.moments()) == LIMIT
    all_of_them = [*((moment, moment) for moment in old), *passed]
    assert all(last[1] - first[0] > 60 for first, last in zip(all_of_them, all_of_them[LIMIT:], strict=False))


# --- what it says is true -------------------------------------------------------------------------------------------


def test_every_answer_says_the_policy_and_counts_down(as_alice: Client, past: Past) -> None:
    for remaining in [*reversed(range(LIMIT)), 0]:
        asked = time.time()
        answer = sign(as_alice)
        answered = time.time()

        assert answer.headers["RateLimit-Policy"] == '"sign";q=20;w=60'
        left, reset = window(answer)
        assert left == remaining
        assert reset in seconds_until(past.moments()[-1] + 60, asked=asked, answered=answered)
        assert ("Retry-After" in answer.headers) == (answer.status_code == 429)


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_the_policy_is_what_the_setting_says(as_alice: Client, settings: Any, limit: int) -> None:
    settings.SIGNINGS_PER_MINUTE = limit

    answer = sign(as_alice)

    assert answer.headers["RateLimit-Policy"] == f'"sign";q={limit};w=60'
    assert window(answer)[0] == limit - 1


def test_answers_to_faulty_requests_cost_one_as_well(as_alice: Client) -> None:
    assert post_json(as_alice, SIGN, b"not json").status_code == 400

    assert window(sign(as_alice))[0] == LIMIT - 2


@pytest.mark.parametrize("left", [59.999, 30.5, 3.001, 1.0, 0.6])
def test_whoever_waits_exactly_retry_after_finds_the_door_open(as_alice: Client, past: Past, left: float) -> None:
    # The oldest leaves in `left` seconds, the others later.
    oldest = time.time() - 60 + left
    past.write([oldest, *[time.time()] * (LIMIT - 1)])

    asked = time.time()
    answer = sign(as_alice)
    answered = time.time()

    assert answer.status_code == 429
    retry_after = int(answer.headers["Retry-After"])
    assert window(answer) == (0, retry_after)
    assert retry_after in seconds_until(oldest + 60, asked=asked, answered=answered), "no longer than it takes"
    past.age(retry_after)
    assert sign(as_alice).status_code == 200


# --- what was refused is counted ---------------------------------------------------------------------------------------


def refused(back: int = 0) -> limits.Refusals:
    return limits.refusals([now() - timedelta(days=back)])[0]


def test_refused_signings_are_counted_by_day_and_by_user_and_no_others(
    as_alice: Client, as_bob: Client, alice: User, bob: User, past: Past
) -> None:
    past.write([time.time()] * (LIMIT - 1))
    assert [sign(client).status_code for client in (as_alice, as_alice, as_alice, as_bob)] == [200, 429, 429, 200]
    Past(bob.pk).write([time.time()] * LIMIT)
    sign(as_bob)

    assert refused() == limits.Refusals(3, {str(alice.pk): 2, str(bob.pk): 1})
    assert refused(back=1) == limits.Refusals(0, {})


def test_a_policy_s_limit_of_a_day_is_another_thing(alice: User, settings: Any) -> None:
    settings.UPLOAD_POLICIES = {"default": {}, "few": {"max_files": 1}}
    with limits.spend_day(str(alice.pk), "few"), pytest.raises(limits.TooMany), limits.spend_day(str(alice.pk), "few"):
        pass

    assert refused().number == 0


def test_of_many_at_once_as_many_pass_as_the_day_has_however_many_give_theirs_back(alice: User, settings: Any) -> None:
    settings.UPLOAD_POLICIES = {"default": {}, "few": {"max_files": 5}}

    def attempt(number: int) -> bool:
        with suppress(limits.TooMany, ZeroDivisionError), limits.spend_day(str(alice.pk), "few"):
            return bool(1 / (number % 3))  # of three one fails
        return False

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(90))) == 5


def test_what_was_refused_is_known_for_40_days(as_alice: Client, past: Past) -> None:
    past.write([time.time()] * LIMIT)
    sign(as_alice)

    assert 39 * 24 * 3600 < past.redis.ttl(limits._refusals(now())) <= 40 * 24 * 3600  # type: ignore[operator]


def test_of_very_many_users_those_who_were_refused_most_are_remembered_and_all_are_counted(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SIGNINGS_PER_MINUTE = 1
    monkeypatch.setattr(limits, "REFUSED_OWNERS", 5)
    for number in range(12):
        for _ in range(3 if number < 5 else 2):
            with suppress(limits.TooMany):
                limits.spend_signing(f"{number}")

    assert refused() == limits.Refusals(5 * 2 + 7, {str(number): 2 for number in range(5)})


# --- an address -----------------------------------------------------------------------------------------------------

# A day, since django-ratelimit's windows are fixed and a shorter one could end in the middle of a test.


@pytest.fixture
def three_a_day(settings: Any) -> None:
    settings.ADDRESS_RATE = "3/d"


@pytest.mark.usefixtures("three_a_day")
def test_an_address_without_a_session_may_ask_so_often_and_no_more(stranger: Client) -> None:
    assert [stranger.get("/").status_code for _ in range(5)] == [200, 200, 200, 429, 429]


@pytest.mark.usefixtures("three_a_day")
def test_all_pages_count_together(stranger: Client) -> None:
    assert stranger.get("/").status_code == 200
    assert stranger.get("/login").status_code == 200
    assert stranger.get("/files/").status_code == 302
    assert post_json(stranger, SIGN, WISH).status_code == 429


@pytest.mark.usefixtures("three_a_day")
def test_the_refusal_has_the_shape_that_its_reader_expects(stranger: Client) -> None:
    for _ in range(3):
        stranger.get("/")

    page, fragment, api = stranger.get("/login"), stranger.get("/files/", headers={"HX-Request": "true"}), stranger.get(SIGN)

    for answer in (page, fragment, api):
        assert answer.status_code == 429
        assert f"Try again in {answer.headers['Retry-After']} s." in answer.content.decode()
        assert 1 <= int(answer.headers["Retry-After"]) <= 24 * 60 * 60
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert fragment.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert api.json()["code"] == "rate_limited"


@pytest.mark.usefixtures("three_a_day")
def test_another_address_is_not_held_to_account(stranger: Client) -> None:
    for _ in range(4):
        stranger.get("/")

    assert stranger.get("/", REMOTE_ADDR="198.51.100.7").status_code == 200


@pytest.mark.usefixtures("three_a_day")
def test_an_address_is_one_whole_home_network_where_it_is_ipv6(stranger: Client) -> None:
    # A home has 2**64 addresses to choose from.
    statuses = [stranger.get("/", REMOTE_ADDR=f"2001:db8:1:2::{number}").status_code for number in range(4)]

    assert statuses == [200, 200, 200, 429]
    assert stranger.get("/", REMOTE_ADDR="2001:db8:1:3::1").status_code == 200


@pytest.mark.usefixtures("three_a_day")
def test_who_is_signed_in_is_not_counted_by_address(as_alice: Client) -> None:
    assert {as_alice.get("/files/").status_code for _ in range(5)} == {200}


@pytest.mark.usefixtures("three_a_day")
@pytest.mark.parametrize("path", ["/login", "/", "/api/openapi.json"])
def test_a_session_cookie_that_was_made_up_is_no_way_around_it(stranger: Client, path: str) -> None:
    statuses = []
    for number in range(5):
        stranger.cookies["sessionid"] = f"made-up-{number}"
        statuses.append(stranger.get(path).status_code)

    assert statuses == [200, 200, 200, 429, 429]


def test_retry_after_of_an_address_is_true(stranger: Client, settings: Any) -> None:
    settings.ADDRESS_RATE = "1/2s"

    def ask_until(status: int) -> tuple[Any, list[float]]:
        """The first answer of that status, and when it and all before it were asked for."""
        asked = []
        for _ in range(1000):
            asked.append(time.time())
            answer = stranger.get("/")
            if answer.status_code == status:
                return answer, asked
            time.sleep(0.01)
        raise AssertionError(f"never {status}")

    # At the beginning of a window, where most of it is still to be waited for.
    ask_until(429)
    ask_until(200)
    refused, [*_, first] = ask_until(429)
    answered = time.time()
    retry_after = int(refused.headers["Retry-After"])
    _, [*in_vain, _] = ask_until(200)
    opened = time.time()

    assert max(in_vain, default=0) - answered < retry_after, "whoever waits exactly as long finds the door open"
    assert opened - first > retry_after - 1, "and waits no second too many"


SIGN_IN = ["/accounts/github/login/", "/accounts/github/login/callback/", "/accounts/laptop", "/admin/login/"]


@pytest.mark.parametrize("path", SIGN_IN)
@pytest.mark.parametrize("signed_in", [False, True], ids=["a stranger", "alice"])
def test_trying_to_sign_in_is_limited_by_address(alice: User, settings: Any, path: str, signed_in: bool) -> None:
    settings.SIGN_IN_RATE = "3/d"
    client = Client(raise_request_exception=False)
    if signed_in:
        client.force_login(alice)

    statuses = [client.post(path).status_code for _ in range(5)]

    assert 429 not in statuses[:3]
    assert 500 not in statuses
    assert statuses[3:] == [429, 429]


def test_all_ways_to_sign_in_count_together(stranger: Client, settings: Any) -> None:
    settings.SIGN_IN_RATE = "3/d"
    for path in SIGN_IN[:3]:
        stranger.post(path)

    answer = stranger.post(SIGN_IN[3], {"username": "ops", "password": "guess"})

    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0


# --- X-Forwarded-For ------------------------------------------------------------------------------------------------

CLIENT, PROXY, FORGED = "203.0.113.5", "10.0.0.1", "198.51.100.7"

HOPS = [
    # How many proxies are trusted, what the header says, whom we take the client for.
    (0, "", PROXY),
    (0, CLIENT, PROXY),
    (0, f"{FORGED}, {CLIENT}", PROXY),
    (1, CLIENT, CLIENT),
    (1, f"{FORGED}, {CLIENT}", CLIENT),
    (1, f"{FORGED},{FORGED},{CLIENT}", CLIENT),
    (1, f"  {CLIENT}\t", CLIENT),
    (1, "2001:db8::5", "2001:db8::5"),
    (1, "", PROXY),
    (2, f"{CLIENT}, 10.0.0.2", CLIENT),
    (2, f"{FORGED}, {CLIENT}, 10.0.0.2", CLIENT),
    (3, f"{FORGED}, {CLIENT}, 10.0.0.3, 10.0.0.2", CLIENT),
]


@pytest.mark.parametrize(("count", "header", "address"), HOPS)
def test_only_what_trusted_proxies_wrote_is_believed(
    rf: RequestFactory, settings: Any, count: int, header: str, address: str
) -> None:
    settings.TRUSTED_PROXY_COUNT = count
    headers = {"X-Forwarded-For": header} if header else {}

    assert limits.client_address(rf.get("/", headers=headers, REMOTE_ADDR=PROXY)) == address


@pytest.mark.usefixtures("three_a_day")
@pytest.mark.parametrize("count", [0, 1])
def test_a_forged_header_is_no_way_around_the_limit(stranger: Client, settings: Any, count: int) -> None:
    settings.TRUSTED_PROXY_COUNT = count
    seen_by_the_proxy = f", {CLIENT}" if count else ""

    statuses = [
        stranger.get("/", headers={"X-Forwarded-For": f"198.51.100.{number}{seen_by_the_proxy}"}).status_code
        for number in range(5)
    ]

    assert statuses == [200, 200, 200, 429, 429]


GARBAGE = {
    "nothing": "",
    "a comma": ",",
    "many commas": "," * 5000,
    "a comma at the end": f"{CLIENT},",
    "a word": "unknown",
    "an address and a port": f"{CLIENT}:443",
    "an address in brackets": "[2001:db8::5]:443",
    "an interface": "fe80::1%eth0",
    "an interface without a name": "fe80::1%",
    "a network": "10.0.0.0/8",
    "numbers too large": "999.999.999.999",
    "digits of another script": "٢٠٣.0.113.5",
    "a NUL": "\0",
    "markup": "<script>alert(1)</script>",
    "very long": "1" * 8000,
    "bytes that are no text": "\xff\xfe",
}


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("header", GARBAGE.values(), ids=GARBAGE)
def test_garbage_in_the_header_is_no_500_and_no_way_around_the_limit(
    stranger: Client, settings: Any, count: int, header: str
) -> None:
    settings.TRUSTED_PROXY_COUNT = count
    settings.ADDRESS_RATE = "1/d"
    headers = {"X-Forwarded-For": header}

    assert stranger.get("/", headers=headers).status_code == 200
    assert stranger.get("/login", headers=headers).status_code == 429
    assert stranger.post("/accounts/github/login/", headers=headers).status_code < 500


def test_the_limit_of_an_address_and_that_of_a_user_are_two(as_alice: Client, settings: Any) -> None:
    settings.ADDRESS_RATE = settings.SIGN_IN_RATE = "1/d"

    assert [sign(as_alice).status_code for _ in range(3)] == [200, 200, 200]
