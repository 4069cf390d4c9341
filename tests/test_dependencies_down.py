"""MongoDB, Redis, the bucket or the relational database is down, or frozen with its port open.

What needs it answers 503 within three seconds and says which it is. What does not need it works, as if nothing were.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx
import pytest

from uploadkit.localstack import HOST

from .place import Manner, Place, silent_listener, visitor
from .sites import running_site

BUCKET = httpx.Client(timeout=60, trust_env=False)  # making one takes longer than a PUT
WITHIN = 3  # seconds
AT_ONCE = 4  # requests; the site has twice as many threads, so that none waits for another
CROWD = 40  # requests; five for each of its threads
WISH = {"filename": "report.pdf", "contentType": "application/pdf", "size": 5}
MANNERS: tuple[Manner, ...] = ("down", "frozen")


@dataclass
class House:
    """A site among servers of its own, and who is signed in there."""

    place: Place
    origin: str
    alice: httpx.Client
    ops: httpx.Client


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with ExitStack() as stack, BUCKET:
        place = stack.enter_context(Place(tmp_path_factory.mktemp("house"), SIGNINGS_PER_MINUTE="100000").running())
        sessions = place.prepare("alice", "ops")
        origin = stack.enter_context(place.site())
        alice, ops = (stack.enter_context(visitor(origin, session)) for session in sessions.values())
        yield House(place, origin, alice, ops)


@pytest.fixture
def stranger(house: House) -> Iterator[httpx.Client]:
    with visitor(house.origin) as client:
        yield client


# --- what alice has before it happens -------------------------------------------------------------------------------


def signed(client: httpx.Client) -> dict[str, Any]:
    answer = client.post("/api/uploads/sign", json=WISH)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def arrived(client: httpx.Client) -> str:
    """The key of an upload that is in the bucket and not confirmed."""
    body = signed(client)
    assert BUCKET.put(body["url"], headers=body["headers"], content=b"%PDF-").status_code == 200
    key: str = body["key"]
    return key


def uploaded(client: httpx.Client) -> str:
    key = arrived(client)
    assert client.post("/api/uploads/confirm", json={"key": key}).status_code == 200
    return key


# --- requests, each with the shape of its answers -------------------------------------------------------------------


class Ask(NamedTuple):
    method: str
    path: str
    options: dict[str, Any]
    reader: str  # "page", "fragment" or "api"

    def __str__(self) -> str:
        return f"{self.method} {self.path} as {self.reader}"


def page(method: str, path: str, **form: str) -> Ask:
    return Ask(method, path, {"data": form} if form else {}, "page")


def fragment(method: str, path: str, **form: str) -> Ask:
    return Ask(method, path, {"headers": {"HX-Request": "true"}, **({"data": form} if form else {})}, "fragment")


def api(path: str, **body: object) -> Ask:
    return Ask("POST", f"/api/uploads/{path}", {"json": body}, "api")


LIST = [page("GET", "/files/"), fragment("GET", "/files/")]
SIGN = api("sign", **WISH)
LANDING = page("GET", "/")
SIGN_IN = page("GET", "/login")
TO_GITHUB = page("POST", "/accounts/github/login/")


class Answered(NamedTuple):
    ask: Ask
    response: httpx.Response
    seconds: float


def ask_all(client: httpx.Client, asks: list[Ask], at_once: int = AT_ONCE) -> list[Answered]:
    def one(ask: Ask) -> Answered:
        start = time.monotonic()
        response = client.request(ask.method, ask.path, **ask.options)
        return Answered(ask, response, time.monotonic() - start)

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(one, asks))


def sentence_of(answered: Answered) -> str:
    """What the answer says, checked to be in the shape that its reader expects."""
    response = answered.response
    kind = response.headers["Content-Type"]
    if answered.ask.reader == "api":
        assert kind == "application/json", answered.ask
        assert set(response.json()) == {"error", "code"}
        assert response.json()["code"] == "unavailable"
        return str(response.json()["error"])
    if answered.ask.reader == "fragment":
        assert kind == "text/plain; charset=utf-8", answered.ask
        return response.text
    assert kind == "text/html; charset=utf-8", answered.ask
    assert "<h1>Service Unavailable</h1>" in response.text
    return response.text.partition("<h1>Service Unavailable</h1>")[2].split("<p>")[1].split("</p>")[0]


def assert_all_say_unavailable(client: httpx.Client, asks: list[Ask], name: str, at_once: int = AT_ONCE) -> None:
    for answered in ask_all(client, asks, at_once):
        assert answered.response.status_code == 503, (
            f"{answered.ask}: {answered.response.status_code} {answered.response.text[:200]}"
        )
        assert answered.response.headers["Retry-After"] == "5"
        assert answered.response.headers["Cache-Control"] == "no-store"
        assert sentence_of(answered) == f"{name} does not answer. Nothing is lost; try again in a few seconds."
        assert answered.seconds < WITHIN, f"{answered.ask} took {answered.seconds:.1f} s"


def assert_all_work(client: httpx.Client, asks: list[tuple[Ask, int]]) -> None:
    for (_, status), answered in zip(asks, ask_all(client, [ask for ask, _ in asks]), strict=True):
        assert answered.response.status_code == status, (
            f"{answered.ask}: {answered.response.status_code} {answered.response.text[:200]}"
        )
        assert answered.seconds < WITHIN, f"{answered.ask} took {answered.seconds:.1f} s"


def eventually(condition: Callable[[], bool], within: float = 5) -> bool:
    """Whether it comes true within what Retry-After promises."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


# --- Redis ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manner", MANNERS)
def test_without_redis_nothing_is_signed_and_all_else_works(house: House, stranger: httpx.Client, manner: Manner) -> None:
    alice = house.alice
    ready, doomed, gone, several = uploaded(alice), uploaded(alice), uploaded(alice), uploaded(alice)
    waiting, shown, given_up = arrived(alice), arrived(alice), arrived(alice)

    with house.place.without("Redis", manner):
        assert_all_say_unavailable(alice, [SIGN, SIGN], "Redis")
        assert_all_work(
            alice,
            [
                *((ask, 200) for ask in LIST),
                (LANDING, 200),
                (page("GET", f"/files/{ready}/download"), 302),
                (page("GET", f"/files/{ready}/delete"), 200),
                (page("POST", f"/files/{doomed}/delete"), 200),
                (fragment("POST", f"/files/{gone}/delete"), 200),
                (fragment("POST", "/files/delete", key=several), 200),
                (fragment("POST", "/files/restore", key=ready), 200),
                (fragment("POST", f"/files/{ready}/rename", name="a.pdf"), 200),
                (api("confirm", key=waiting), 200),
                (fragment("POST", "/files/confirm", key=shown), 200),
                (api("cancel", key=given_up), 200),
                (fragment("GET", "/files/unfinished"), 200),
                (api("diagnose", key=ready), 200),
            ],
        )
        assert_all_work(stranger, [(LANDING, 200), (SIGN_IN, 200), (LIST[0], 302), (TO_GITHUB, 302)])
        assert_all_work(house.ops, [(page("GET", "/admin/"), 200), (page("GET", "/admin/files/storedfile/"), 200)])
        dashboard = house.ops.get("/admin/").text
        assert "Redis does not answer, so it is not known how many were refused" in dashboard and "Top owners" in dashboard


@pytest.mark.parametrize("manner", MANNERS)
def test_without_redis_no_password_is_tried(house: House, stranger: httpx.Client, manner: Manner) -> None:
    # Nothing else stands between the admin's form and whoever guesses.
    guess = page("POST", "/admin/login/", username="ops", password="a guess")

    with house.place.without("Redis", manner):
        assert_all_say_unavailable(stranger, [guess], "Redis")
        assert_all_work(stranger, [(page("GET", "/admin/login/"), 200)])


def shared(client: httpx.Client, **wanted: str) -> str:
    """The address of a link to a new file."""
    address = f"/files/{uploaded(client)}/share"
    assert client.post(address, data={"expires": "day", **wanted}).status_code == 302
    found = re.search(r'value="http://[^/]+(/s/[^"]+)"', client.get(address).text)
    assert found
    return found[1]


@pytest.mark.parametrize("manner", MANNERS)
def test_without_redis_links_work_but_no_password_of_one_is_tried(house: House, stranger: httpx.Client, manner: Manner) -> None:
    opened, locked = shared(house.alice), shared(house.alice, password="open sesame")

    with house.place.without("Redis", manner):
        asks = [page("POST", link, password="open sesame") for link in (locked, "/s/AAAAAAAAAAAAAAAAAAAAAA")]
        assert_all_say_unavailable(stranger, asks, "Redis")
        assert_all_work(stranger, [(page("GET", opened), 200), (page("GET", locked), 200)])
        assert_all_work(stranger, [(page("POST", f"{opened}/download"), 302)])


# --- MongoDB --------------------------------------------------------------------------------------------------------


def test_without_mongo_a_crowd_is_refused_before_long_and_nobody_else_waits_behind_it(
    house: House, stranger: httpx.Client
) -> None:
    crowd = [SIGN] * CROWD

    with house.place.without("MongoDB", "down"):
        assert_all_say_unavailable(house.alice, [SIGN], "MongoDB")
        assert eventually(lambda: ask_all(house.alice, [SIGN])[0].seconds < 1, within=15)
        with ThreadPoolExecutor(1) as behind:
            landing = behind.submit(assert_all_work, stranger, [(LANDING, 200)])
            assert_all_say_unavailable(house.alice, crowd, "MongoDB", at_once=CROWD)
            landing.result()

    assert eventually(lambda: ask_all(house.alice, [SIGN])[0].response.status_code == 200)


@pytest.mark.parametrize("manner", MANNERS)
def test_without_mongo_no_file_is_touched_and_the_rest_stands(house: House, stranger: httpx.Client, manner: Manner) -> None:
    alice = house.alice
    ready, waiting, link = uploaded(alice), arrived(alice), shared(alice)

    with house.place.without("MongoDB", manner):
        assert_all_say_unavailable(
            alice,
            [
                *LIST,
                SIGN,
                api("confirm", key=waiting),
                fragment("POST", "/files/confirm", key=waiting),
                api("cancel", key=waiting),
                api("diagnose", key=waiting),
                fragment("GET", "/files/unfinished"),
                page("POST", "/files/discard", key=waiting),
                page("GET", f"/files/{ready}/download"),
                page("GET", f"/files/{ready}/delete"),
                page("POST", f"/files/{ready}/delete"),
                fragment("POST", f"/files/{ready}/delete"),
                fragment("POST", "/files/delete", key=ready),
                fragment("POST", "/files/restore", key=ready),
                fragment("GET", f"/files/{ready}/rename"),
                fragment("POST", f"/files/{ready}/rename", name="a.pdf"),
                fragment("GET", f"/files/{ready}/row"),
                fragment("GET", "/files/?q=report&kind=document&sort=name"),
                page("GET", link),
                page("POST", f"{link}/download"),
                *(ask("POST", f"/files/{ready}/share", expires="day") for ask in (page, fragment)),
            ],
            "MongoDB",
        )
        assert_all_work(alice, [(LANDING, 200), (SIGN_IN, 302)])
        assert_all_work(stranger, [(LANDING, 200), (SIGN_IN, 200), (LIST[0], 302), (TO_GITHUB, 302)])
        assert_all_work(house.ops, [(page("GET", "/admin/"), 200), (page("GET", "/admin/auth/user/"), 200)])
        dashboard = house.ops.get("/admin/").text
        assert "MongoDB does not answer, so there are no figures" in dashboard and "Nobody was refused" in dashboard

    # Nothing was lost: what was there before is there now.
    assert eventually(lambda: alice.get("/files/").status_code == 200)
    assert_all_work(alice, [(api("confirm", key=waiting), 200), (page("GET", f"/files/{ready}/download"), 302)])


def test_with_mongo_down_the_admin_s_list_of_files_says_so(house: House) -> None:
    with house.place.without("MongoDB", "down"):
        assert_all_say_unavailable(house.ops, [page("GET", "/admin/files/storedfile/")], "MongoDB")

    assert eventually(lambda: house.alice.get("/files/").status_code == 200)


# --- the bucket -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manner", MANNERS)
def test_without_the_bucket_nothing_is_confirmed_and_the_rest_stands(
    house: House, stranger: httpx.Client, manner: Manner
) -> None:
    alice = house.alice
    ready, waiting, given_up = uploaded(alice), arrived(alice), arrived(alice)

    with house.place.without("The bucket", manner):
        asks = [api("confirm", key=waiting), fragment("POST", "/files/confirm", key=waiting)]
        assert_all_say_unavailable(alice, asks, "The bucket")
        assert_all_work(
            alice,
            [
                *((ask, 200) for ask in LIST),
                (SIGN, 200),  # a signature needs no network
                (page("GET", f"/files/{ready}/download"), 302),
                (page("GET", f"/files/{ready}/delete"), 200),
                (api("confirm", key=ready), 200),  # it is known to be there
                (api("diagnose", key=waiting), 200),  # says so
                (fragment("GET", "/files/unfinished"), 200),
                (api("cancel", key=given_up), 200),
            ],
        )
        assert_all_work(stranger, [(LANDING, 200), (SIGN_IN, 200), (TO_GITHUB, 302)])

    assert eventually(lambda: alice.post("/api/uploads/confirm", json={"key": waiting}).status_code == 200, within=15)


LET_THE_TRASH_LIE = """
import django
django.setup()
from files.documents import File
from tests.lifecycle import let_the_trash_lie
let_the_trash_lie(File.objects.scalar("key"))
"""


@pytest.mark.parametrize("manner", MANNERS)
def test_a_file_deleted_without_the_bucket_is_gone_for_its_owner_and_the_sweep_does_the_rest(
    house: House, manner: Manner
) -> None:
    alice = house.alice
    deleted, restored, given_up = uploaded(alice), uploaded(alice), arrived(alice)
    # The only way to see an object: a link from before.
    link = alice.get(f"/files/{deleted}/download").headers["Location"]
    assert BUCKET.get(link).status_code == 200

    with house.place.without("The bucket", manner):
        assert_all_work(alice, [(fragment("POST", f"/files/{deleted}/delete"), 200), (api("cancel", key=given_up), 200)])
        assert_all_work(alice, [(page("GET", f"/files/{deleted}/download"), 404)])
        assert_all_work(alice, [(fragment("POST", f"/files/{restored}/delete"), 200)])
        assert_all_work(alice, [(fragment("POST", "/files/restore", key=restored), 200)])
        listed = alice.get("/files/").text
        assert deleted not in listed and restored in listed

    # A bucket that thaws may find the request that it was sent before; one that was killed cannot.
    assert eventually(lambda: BUCKET.get(link).status_code in ((200,) if manner == "down" else (200, 404)), within=15)
    house.place.run("-c", LET_THE_TRASH_LIE)
    house.place.manage("cleanup_pending")
    assert BUCKET.get(link).status_code == 404


# --- the relational database ----------------------------------------------------------------------------------------

ALL_THAT_NEED_A_SESSION = [
    *LIST,
    SIGN_IN,
    SIGN,
    api("confirm", key="u/1/x"),
    api("cancel", key="u/1/x"),
    fragment("POST", "/files/confirm", key="u/1/x"),
    api("diagnose", key="u/1/x"),
    fragment("GET", "/files/unfinished"),
    fragment("POST", "/files/discard", key="u/1/x"),
    page("GET", "/files/u/1/x/download"),
    page("GET", "/files/u/1/x/delete"),
    page("POST", "/files/u/1/x/delete"),
    fragment("POST", "/files/restore", key="u/1/x"),
    fragment("POST", "/files/u/1/x/rename", name="a"),
    page("POST", "/logout"),
    page("GET", "/admin/"),
    TO_GITHUB,
]


@pytest.fixture(scope="module", params=MANNERS)
def without_a_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A site whose Postgres refuses connections, or takes them and never says a word."""
    with ExitStack() as stack:
        port = stack.enter_context(silent_listener()) if request.param == "frozen" else 1
        folder = tmp_path_factory.mktemp("no-database")
        yield stack.enter_context(running_site(folder, DATABASE_URL=f"postgres://u:p@{HOST}:{port}/x"))


def test_without_a_database_whoever_has_a_session_is_told_so(without_a_database: str) -> None:
    with visitor(without_a_database, session="a" * 32) as alice:
        assert_all_say_unavailable(alice, ALL_THAT_NEED_A_SESSION, "The database")


def test_without_a_database_nobody_starts_to_sign_in(without_a_database: str) -> None:
    with visitor(without_a_database) as stranger:
        assert_all_work(stranger, [(SIGN_IN, 200)])
        assert_all_say_unavailable(stranger, [TO_GITHUB], "The database")


def test_without_a_database_the_landing_page_stands_with_and_without_a_session(without_a_database: str) -> None:
    with visitor(without_a_database, session="a" * 32) as alice, visitor(without_a_database) as stranger:
        assert_all_work(alice, [(LANDING, 200), (page("HEAD", "/"), 200), (page("GET", "/nowhere"), 404)])
        assert_all_work(stranger, [(LANDING, 200), (LIST[0], 302), (SIGN, 401)])
        link = page("GET", "/s/AAAAAAAAAAAAAAAAAAAAAA")
        assert_all_work(alice, [(link, 200)])


def test_an_sqlite_file_that_another_holds_is_read_but_not_written(house: House, stranger: httpx.Client) -> None:
    holder = sqlite3.connect(house.place.database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        assert_all_work(house.alice, [*((ask, 200) for ask in LIST), (SIGN, 200)])
        assert_all_say_unavailable(stranger, [TO_GITHUB], "The database")
    finally:
        holder.close()

    assert_all_work(stranger, [(TO_GITHUB, 302)])


# --- all of them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("name", ["MongoDB", "Redis", "The bucket"])
def test_the_site_needs_no_restart_once_it_is_back(house: House, name: str, manner: Manner) -> None:
    with house.place.without(name, manner):
        pass

    def works() -> bool:
        answers = [house.alice.get("/files/"), house.alice.post("/api/uploads/sign", json=WISH)]
        if {answer.status_code for answer in answers} != {200}:
            return False
        body = answers[1].json()
        try:
            put = BUCKET.put(body["url"], headers=body["headers"], content=b"%PDF-").status_code
        except httpx.TransportError:
            return False
        return put == 200 and house.alice.post("/api/uploads/confirm", json={"key": body["key"]}).status_code == 200

    assert eventually(works, within=15)


def test_a_site_that_starts_with_nothing_there_serves_what_needs_nothing(tmp_path: Any) -> None:
    nothing = f"{HOST}:1"
    environment = {
        "MONGODB_URI": f"mongodb://{nothing}/x",
        "REDIS_URL": f"redis://{nothing}/0",
        "R2_ENDPOINT_URL": f"http://{nothing}",
        "DATABASE_URL": f"postgres://u:p@{nothing}/x",
    }

    with running_site(tmp_path, **environment) as origin, visitor(origin) as stranger:
        assert_all_work(stranger, [(LANDING, 200), (LIST[0], 302), (SIGN, 401)])
        assert "uploadkit" in stranger.get("/").text
        assert stranger.get(stranger.get("/").text.partition('rel="stylesheet" href="')[2].split('"')[0]).status_code == 200
