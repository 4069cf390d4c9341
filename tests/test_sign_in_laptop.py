"""Signing in by name alone: on a laptop without a GitHub app, and nowhere else."""

from __future__ import annotations

import getpass
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from allauth.socialaccount import urls as allauth_urls
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.test import Client

from .conftest import ROOT, signed_in
from .processes import manage, run, without_configuration
from .sites import PRODUCTION, Browser, running_site, settings_over_ours

pytestmark = pytest.mark.django_db(transaction=True)

LAPTOP = "/accounts/laptop"
NO_GITHUB = {"GITHUB_CLIENT_ID": "", "GITHUB_CLIENT_SECRET": ""}
DUMMY = "allauth.socialaccount.providers.dummy"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_site(tmp_path_factory.mktemp("laptop"), DEBUG="1", **NO_GITHUB) as origin:
        yield origin


@pytest.fixture
def agent(site: str) -> Iterator[Browser]:
    with Browser(site) as agent:
        yield agent


@pytest.fixture
def other_agent(site: str) -> Iterator[Browser]:
    with Browser(site) as agent:
        yield agent


def sign_in(agent: Browser, name: str | None = None, following: str = "") -> httpx.Response:
    """Press the button, or ask for another name than the one that it has."""
    if agent.user():
        agent.submit(agent.get("/files/"), "/logout")
    page = agent.get("/login", params={"next": following} if following else {})
    return agent.submit(page, LAPTOP, **({} if name is None else {"name": name}))


# --- on a laptop ----------------------------------------------------------------------------------------------------


def test_one_button_signs_in_whoever_started_the_site(agent: Browser) -> None:
    page = agent.get("/login")
    assert page.text.count("<button") == 1
    assert f"Sign in as {getpass.getuser()}" in page.text

    answer = sign_in(agent)

    assert (answer.status_code, answer.headers["Location"]) == (302, "/files/")
    user = agent.user()
    assert user is not None
    assert user.username == getpass.getuser()
    assert not user.has_usable_password()
    assert not (user.is_staff or user.is_superuser)
    assert agent.get("/files/").status_code == 200


def test_a_name_is_the_same_user_each_time(agent: Browser, other_agent: Browser) -> None:
    sign_in(agent, "alice")
    sign_in(other_agent, "alice")

    assert agent.user() == other_agent.user() == User.objects.get()


def test_two_names_are_two_users(agent: Browser, other_agent: Browser) -> None:
    sign_in(agent, "alice")
    sign_in(other_agent, "bob")

    assert sorted(User.objects.values_list("username", flat=True)) == ["alice", "bob"]
    assert agent.user() != other_agent.user()


@pytest.mark.parametrize("name", ["ops", "OPS"])
def test_the_name_of_an_administrator_is_not_the_administrator(name: str, agent: Browser) -> None:
    call_command("createsuperuser", username="ops", email="ops@example.com", interactive=False, verbosity=0)
    ops = User.objects.get()

    sign_in(agent, name)

    user = agent.user()
    assert user is not None and user != ops
    assert not (user.is_staff or user.is_superuser)
    assert not SocialAccount.objects.filter(user=ops).exists()


@pytest.mark.parametrize(
    "name", ["alice liddell", "<script>", "alice\n", "alice/../bob", "a" * 65, " ", "alice\0", "'; --"], ids=repr
)
def test_a_name_that_cannot_be_one_is_told_what_a_name_is(name: str, agent: Browser) -> None:
    answer = sign_in(agent, name)

    assert answer.status_code == 400
    assert "A name has letters, digits and . @ + - _ only." in answer.text
    assert agent.user() is None
    assert not User.objects.exists()


@pytest.mark.parametrize("name", ["a", "a" * 64, "alice.liddell+test@example-1.com", "Дарья"])
def test_any_other_name_comes_in(name: str, agent: Browser) -> None:
    assert sign_in(agent, name).headers["Location"] == "/files/"
    assert SocialAccount.objects.get().uid == name


def test_who_was_stopped_on_the_way_arrives_there_but_never_on_another_site(agent: Browser) -> None:
    assert sign_in(agent, "alice", "/files/?after=x").headers["Location"] == "/files/?after=x"
    for following in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"):
        assert sign_in(agent, "alice", following).headers["Location"] == "/files/"

        agent.submit(agent.get("/files/"), "/logout")
        form = {"csrfmiddlewaretoken": agent.cookies["csrftoken"], "name": "alice", "next": following}
        assert agent.post(LAPTOP, data=form, headers={"Origin": agent.origin}).headers["Location"] == "/files/"


def test_a_link_and_a_form_on_another_site_sign_nobody_in(agent: Browser) -> None:
    agent.get("/login")
    form = {"csrfmiddlewaretoken": agent.cookies["csrftoken"], "name": "alice"}

    assert agent.get(LAPTOP, params={"name": "alice"}).status_code == 405
    assert agent.post(LAPTOP, data=form, headers={"Origin": "https://evil.example"}).status_code == 403
    assert agent.post(LAPTOP, data={"name": "alice"}, headers={"Origin": agent.origin}).status_code == 403
    assert not User.objects.exists()


def test_signing_in_changes_the_session_and_the_csrf_secret(agent: Browser) -> None:
    sign_in(agent, "alice")
    page, before = agent.get("/files/"), dict(agent.cookies)

    form = {"csrfmiddlewaretoken": before["csrftoken"], "name": "bob"}
    agent.post(LAPTOP, data=form, headers={"Origin": agent.origin})

    user = agent.user()
    assert page.status_code == 200
    assert user is not None and user.username == "bob"
    assert agent.cookies["csrftoken"] != before["csrftoken"]
    assert not Session.objects.filter(session_key=before["sessionid"]).exists()


@pytest.mark.parametrize("path", ["/accounts/dummy/login/", "/accounts/dummy/authenticate/?state=x"])
def test_the_pages_of_allauths_dummy_provider_are_not_there_even_here(path: str, agent: Browser) -> None:
    assert agent.get(path).status_code == 404


PAGES = ["/accounts/3rdparty/" + str(page.pattern) for page in allauth_urls.urlpatterns]
PAGES += ["/accounts/github/login/", "/accounts/github/login/callback/", "/accounts/github/login/callback/?state=x&code=y"]


@pytest.mark.parametrize("who", ["a stranger", "alice"])
@pytest.mark.parametrize("path", PAGES)
def test_allauths_pages_stand_whoever_asks(path: str, who: str, agent: Browser) -> None:
    if who == "alice":
        sign_in(agent, "alice")
    agent.get("/files/" if who == "alice" else "/login")
    form = {"csrfmiddlewaretoken": agent.cookies["csrftoken"]}

    answers = [agent.get(path), agent.post(path, data=form, headers={"Origin": agent.origin})]

    assert [answer.status_code for answer in answers if answer.status_code not in (200, 302, 401, 403, 404, 405)] == []
    assert {urlsplit(answer.headers.get("Location", "")).netloc for answer in answers} == {""}


# --- anywhere else --------------------------------------------------------------------------------------------------


def test_a_user_from_laptop_days_finds_no_broken_page_in_production() -> None:
    user = User.objects.create_user("alice")
    SocialAccount.objects.create(user=user, provider="dummy", uid="alice")
    client = signed_in(user)

    assert client.get("/files/").status_code == 200
    assert client.get("/accounts/3rdparty/").status_code in (200, 302, 404)


def test_with_debug_on_nobody_is_answered_from_the_internet_whatever_host_they_name(db: None, settings: Any) -> None:
    """The Procfile listens everywhere, and the page of a refused Host has the settings on it."""
    settings.DEBUG = True
    addresses = ["127.0.0.1", "::1", "192.168.1.5", "100.64.0.1", "198.18.0.1", "8.8.8.8", "2001:4860:4860::8888"]

    statuses = [Client().get("/", headers={"Host": "localhost"}, REMOTE_ADDR=address).status_code for address in addresses]

    assert statuses == [200] * 5 + [403] * 2
    settings.DEBUG = False
    assert Client().get("/", REMOTE_ADDR="8.8.8.8").status_code == 200


def test_the_address_is_not_there_in_production(stranger: Client) -> None:
    assert stranger.post(LAPTOP, {"name": "alice"}).status_code == 404
    assert stranger.post("/accounts/dummy/login/").status_code == 404
    assert b"Sign in as" not in stranger.get("/login").content
    assert not User.objects.exists()


ASK = """
import json, sys, django
django.setup()
from django.conf import settings
from django.test import Client
client = Client(raise_request_exception=False)
answers = [client.post(path, {"name": "alice"}).status_code for path in ("/accounts/laptop", "/accounts/dummy/login/")]
print(json.dumps({"answers": answers, "apps": settings.INSTALLED_APPS, "login": client.get("/login").content.decode()}))
"""


@pytest.mark.parametrize(
    ("more", "button"),
    [
        ({"DEBUG": "1"}, "Sign in with GitHub"),
        ({"DEBUG": "1", "GITHUB_CLIENT_SECRET": ""}, "Sign in with GitHub"),
        ({"DEBUG": "0", **NO_GITHUB}, "Signing in is not set up yet"),
    ],
    ids=["DEBUG and a GitHub client", "DEBUG and half a GitHub client", "neither"],
)
def test_debug_alone_or_the_missing_client_alone_opens_nothing(more: dict[str, str], button: str, tmp_path: Path) -> None:
    environment = {**os.environ, **settings_over_ours(tmp_path), **more}

    told = json.loads(run([sys.executable, "-c", ASK], ROOT, environment).stdout.splitlines()[-1])

    assert told["answers"] == [404, 404]
    assert DUMMY not in told["apps"]
    assert button in told["login"]
    assert not User.objects.exists()


def checked(**environment: str) -> subprocess.CompletedProcess[str]:
    if environment.get("DEBUG") == "1":
        environment["SITE_ORIGINS"] = "http://127.0.0.1:8000"
    return manage(ROOT, without_configuration(**{**PRODUCTION, **environment}), "check")


def errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(r"\(files\.(E\d+)\)", done.stderr)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, []),
        ({"DEBUG": "1", **NO_GITHUB}, []),
        ({"GITHUB_CLIENT_SECRET": ""}, ["E003"]),
        ({"GITHUB_CLIENT_ID": "", "DEBUG": "1"}, ["E003"]),
        (NO_GITHUB, ["E004"]),
    ],
    ids=["production", "a laptop", "no secret", "no id", "no client"],
)
def test_the_checks_say_whether_anybody_can_sign_in(environment: dict[str, str], expected: list[str]) -> None:
    done = checked(**environment)

    assert errors(done) == expected, done.stderr
    assert (done.returncode == 0) == (not expected)


@pytest.mark.parametrize(
    ("environment", "expected"), [({"DEBUG": "0"}, "E001"), ({"DEBUG": "1"}, "E002")], ids=["DEBUG off", "a GitHub client"]
)
def test_the_checks_refuse_the_dummy_provider_anywhere_but_on_a_laptop(
    environment: dict[str, str], expected: str, tmp_path: Path
) -> None:
    by_hand = settings_over_ours(tmp_path, f"INSTALLED_APPS = [*INSTALLED_APPS, {DUMMY!r}]")

    done = checked(**environment, **by_hand)

    assert errors(done) == [expected], done.stderr
    assert done.returncode == 1
    assert "Anybody can sign in as anybody" in done.stderr
