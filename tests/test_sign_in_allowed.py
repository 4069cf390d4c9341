"""Who may sign in with GitHub, and what those see who may not: sites of their own, against the GitHub look-alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from marshmallow import ValidationError

from uploadkit import allowed
from uploadkit.settings import github_organisations, github_users

from .github import CLIENT_ID, CLIENT_SECRET, HANGS_UP, MEMBERSHIPS, GitHub, Person
from .sites import Browser, running_site
from .test_sign_in_github import ALICE, AT_WORK, BOB, CALLBACK, LOGIN, consent, query_of, refused, sign_in, start, ways_in

pytestmark = pytest.mark.django_db(transaction=True)

CAROL = Person(404, "Carol-Danvers")
MALLORY = Person(666, "mallory")
NAMED = f"carol-danvers, {AT_WORK.id}"  # the one by login, the other by id


class Site:
    """One whose people come from a GitHub of its own."""

    def __init__(self, github: GitHub, origin: str, log: Path) -> None:
        self.github, self.origin, self.log = github, origin, log


def run_site(folder: Path, **environment: str) -> Iterator[Site]:
    github = GitHub(visitor=ALICE)
    github.start()
    client = {"GITHUB_CLIENT_ID": CLIENT_ID, "GITHUB_CLIENT_SECRET": CLIENT_SECRET, "GITHUB_URL": github.url}
    try:
        with running_site(folder, **client, **environment) as origin:
            github.callback = origin + CALLBACK
            yield Site(github, origin, folder / "site.log")
    finally:
        github.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("organisations")
    yield from run_site(folder, GITHUB_ALLOWED_ORGS="acme, Globex", GITHUB_ALLOWED_USERS=NAMED)


@pytest.fixture(scope="module")
def site_of_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from run_site(tmp_path_factory.mktemp("users"), GITHUB_ALLOWED_USERS=NAMED)


@pytest.fixture
def github(site: Site) -> Iterator[GitHub]:
    """Where alice is a member of acme, and bob of globex."""
    site.github.visitor = ALICE
    site.github.members = {"acme": {ALICE.id: "active"}, "globex": {BOB.id: "active"}}
    yield site.github
    site.github.reset()


@pytest.fixture
def agent(site: Site) -> Iterator[Browser]:
    with Browser(site.origin) as agent:
        yield agent


@pytest.fixture
def other_agent(site: Site) -> Iterator[Browser]:
    with Browser(site.origin) as agent:
        yield agent


def asked_about(github: GitHub) -> list[str]:
    return [asked.path.removeprefix(MEMBERSHIPS) for asked in github.asked if asked.path.startswith(MEMBERSHIPS)]


def assert_let_in(answer: httpx.Response, agent: Browser) -> None:
    assert (answer.status_code, answer.headers.get("Location")) == (302, "/files/"), answer.text
    assert agent.user() is not None


def assert_not_let_in(answer: httpx.Response, agent: Browser, sentence: str) -> None:
    assert (answer.status_code, "Not let in" in answer.text) == (403, True), answer.text
    assert sentence in answer.text
    assert agent.user() is None
    assert not User.objects.exists()
    assert not SocialAccount.objects.exists()


# --- who comes in ---------------------------------------------------------------------------------------------------


def test_a_member_of_one_organisation_comes_in_and_the_next_is_not_asked(agent: Browser, github: GitHub) -> None:
    assert_let_in(sign_in(agent), agent)
    assert asked_about(github) == ["acme"]


def test_a_member_of_the_second_organisation_comes_in_too(agent: Browser, github: GitHub) -> None:
    github.visitor = BOB

    assert_let_in(sign_in(agent), agent)
    assert asked_about(github) == ["acme", "Globex"]


@pytest.mark.parametrize("person", [CAROL, AT_WORK], ids=["by login, in another case", "by id"])
def test_who_is_named_comes_in_and_no_organisation_is_asked(person: Person, agent: Browser, github: GitHub) -> None:
    github.visitor = person
    github.answer(MEMBERSHIPS + "acme", 500)

    assert_let_in(sign_in(agent), agent)
    assert asked_about(github) == []


@pytest.mark.parametrize(
    ("debug", "users", "organisations", "everybody"),
    [
        (False, ["*"], [], True),
        (True, [], [], True),
        (False, [], [], False),
        (True, ["alice"], [], False),
        (True, [], ["acme"], False),
    ],
    ids=["said", "a laptop where nothing is said", "nothing said", "a laptop with users", "a laptop with organisations"],
)
def test_everybody_may_where_it_is_said_and_on_a_laptop_where_nothing_is(
    settings: Any, debug: bool, users: list[str], organisations: list[str], everybody: bool
) -> None:
    """As in tests/test_sign_in_github.py, whose site is open to everybody."""
    settings.DEBUG, settings.GITHUB_ALLOWED_USERS, settings.GITHUB_ALLOWED_ORGS = debug, users, organisations

    sentence = allowed.why_not("666", "mallory", lambda organisation: allowed.Membership.NONE)

    assert (sentence == "") == everybody


# --- who does not ---------------------------------------------------------------------------------------------------


def test_a_stranger_is_told_whom_the_site_is_for_and_leaves_no_trace(agent: Browser, github: GitHub, site: Site) -> None:
    github.visitor = MALLORY

    answer = sign_in(agent)

    sentence = "This site is for members of acme or Globex. Ask whoever runs it to let you in, then sign in again."
    assert_not_let_in(answer, agent, sentence)
    assert "carol" not in answer.text.lower()
    assert 'href="/login"' in answer.text
    assert "_auth_user_id" not in SessionStore(agent.cookies.get("sessionid"))
    assert agent.get("/files/").is_redirect
    assert "user 666, 'mallory', may not sign in here" in site.log.read_text()


def test_a_stranger_is_told_so_in_german(agent: Browser, github: GitHub) -> None:
    github.visitor = MALLORY
    back = consent(agent, start(agent))

    answer = agent.get(back, headers={"Accept-Language": "de"})

    assert answer.status_code == 403
    assert "Diese Seite ist für Mitglieder von acme oder Globex." in answer.text


@pytest.mark.parametrize("login", [str(AT_WORK.id), "carol", "carol-danvers-2", ""])
def test_a_login_that_is_like_one_that_is_named_opens_nothing(login: str, agent: Browser, github: GitHub) -> None:
    """Somebody may call themselves by the digits of another's id."""
    github.visitor = Person(666, login)

    assert_not_let_in(sign_in(agent), agent, "for members of acme or Globex")


def test_who_has_not_accepted_the_invitation_is_told_to(agent: Browser, github: GitHub) -> None:
    github.visitor = MALLORY
    github.members["acme"][MALLORY.id] = "pending"

    assert_not_let_in(sign_in(agent), agent, "You are invited to acme, but not a member yet.")


def test_an_organisation_that_has_not_approved_the_app_is_named_and_what_github_says_is_logged(
    agent: Browser, github: GitHub, site: Site
) -> None:
    github.unapproved = {"acme"}

    assert_not_let_in(sign_in(agent), agent, "Ask one of its owners to approve this site at GitHub.")

    assert "GitHub does not tell who is a member of acme" in site.log.read_text()
    assert "has enabled OAuth App access restrictions" in site.log.read_text()
    github.visitor = BOB
    assert_let_in(sign_in(agent), agent)  # by the other organisation


def test_a_permission_that_was_taken_out_on_the_way_to_github_lets_nobody_in(agent: Browser, github: GitHub) -> None:
    to_github = start(agent).headers["Location"].replace("read%3Aorg", "")

    answer = agent.get(agent.get(to_github).headers["Location"])

    assert_not_let_in(answer, agent, "GitHub does not tell this site whether you are a member of acme.")


def test_where_no_organisation_is_set_strangers_learn_no_names_and_github_is_asked_no_more_than_before(
    site_of_users: Site,
) -> None:
    github = site_of_users.github
    with Browser(site_of_users.origin) as agent:
        github.visitor = MALLORY
        page = agent.get("/login")
        started = start(agent)

        assert "read:org" not in query_of(started.headers["Location"])["scope"]
        assert "We read your name and email address, nothing else." in page.text
        answer = agent.get(consent(agent, started))
        assert_not_let_in(answer, agent, "This site is not open to everybody.")
        assert "carol" not in answer.text.lower()
        github.visitor = CAROL
        assert_let_in(sign_in(agent), agent)
    assert asked_about(github) == []


def test_where_organisations_are_set_people_are_told_what_is_read_and_github_is_asked_for_it(
    agent: Browser, github: GitHub
) -> None:
    page = agent.get("/login")

    assert set(query_of(start(agent).headers["Location"])["scope"].split()) == {"read:user", "user:email", "read:org"}
    assert "your email address and whether you are a member of acme or Globex, nothing else." in page.text


# --- who was here before --------------------------------------------------------------------------------------------


def test_who_left_the_organisation_keeps_a_session_until_it_ends_and_begins_no_other(
    agent: Browser, other_agent: Browser, github: GitHub
) -> None:
    sign_in(agent)
    github.members = {}
    github.visitor = Person(ALICE.id, "alice-elsewhere")

    answer = sign_in(other_agent)

    assert answer.status_code == 403
    assert other_agent.user() is None
    assert SocialAccount.objects.get().extra_data["login"] == "alice", "nothing is written"
    assert agent.get("/files/").status_code == 200

    User.objects.update(is_active=False)  # as the admin does
    assert agent.get("/files/").is_redirect


def test_an_account_of_somebody_who_may_not_come_in_is_no_second_way_in(agent: Browser, github: GitHub) -> None:
    sign_in(agent)
    github.visitor = MALLORY
    page = agent.get(LOGIN, params={"process": "connect"})

    answer = agent.get(consent(agent, agent.submit(page, LOGIN)))

    assert answer.status_code == 403
    assert ways_in(agent.user()) == {str(ALICE.id)}
    assert agent.get("/files/").status_code == 200


# --- GitHub in trouble ----------------------------------------------------------------------------------------------

RUBBISH: list[object] = [[], None, "active", {}, {"state": None}, {"state": ["active"]}, {"state": "excellent"}]
TROUBLE: list[tuple[int, object, str]] = [
    (HANGS_UP, b"", ""),
    (500, b"<!doctype html><title>Unicorn!</title>", ""),
    (401, {"message": "Bad credentials"}, ""),
    (403, {"message": "You have exceeded a secondary rate limit."}, "60"),
    (200, b"<!doctype html>", ""),
    (200, b"\xff\xfe\x00", ""),
    *((200, body, "") for body in RUBBISH),
]


@pytest.mark.parametrize(("status", "body", "retry_after"), TROUBLE)
def test_when_github_does_not_say_who_is_a_member_a_page_says_so_and_the_next_try_works(
    status: int, body: object, retry_after: str, agent: Browser, github: GitHub
) -> None:
    github.answer(MEMBERSHIPS + "acme", status, body, retry_after=retry_after)

    assert refused(sign_in(agent))

    assert asked_about(github) == ["acme"]
    assert agent.user() is None
    assert not User.objects.exists()
    github.canned.clear()
    assert_let_in(sign_in(agent), agent)


# --- the settings ---------------------------------------------------------------------------------------------------


def test_logins_are_those_that_github_gives() -> None:
    right = ["alice", "ALICE", "a", "a-b-c", "3m", "x" * 39, "alice_acme"]
    wrong = ["", "-a", "a-", "a--b", "a b", "a.b", "@alice", "a/b", "x" * 40, "ünder", "a\n", "\u212aate", "٣", "a_b_c"]

    github_users([*right, "583231"])
    github_organisations(right)
    for value in wrong:
        for read in (github_users, github_organisations):
            with pytest.raises(ValidationError, match="is no login") as refusal:
                read(["alice", value])
            assert repr(value) in str(refusal.value)


def test_everybody_is_not_one_of_several_and_no_organisation() -> None:
    github_users(["*"])

    with pytest.raises(ValidationError, match="beside names"):
        github_users(["alice", "*"])
    with pytest.raises(ValidationError, match="is no login"):
        github_organisations(["*"])
    with pytest.raises(ValidationError, match="name an organisation by its login"):
        github_organisations(["583231"])
