"""The pages around signing in: what a stranger sees first, the way in, and the way out."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from .conftest import signed_in


def test_the_landing_page_says_what_this_is_and_leads_in(stranger: Client) -> None:
    answer = stranger.get("/")

    assert answer.status_code == 200
    page = answer.content.decode()
    assert "Send a file." in page
    assert "Nobody else sees them, unless you share a link." in page
    assert 'href="/files/"' in page


@pytest.mark.parametrize("who", ["a stranger", "alice", "somebody with a made-up session"])
def test_the_landing_page_asks_no_database(
    who: str, stranger: Client, as_alice: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client = as_alice if who == "alice" else stranger
    if who == "somebody with a made-up session":
        client.cookies["sessionid"] = "x" * 32

    with django_assert_num_queries(0):
        assert client.get("/").status_code == 200


@pytest.mark.parametrize("path", ["/", "/accounts/inactive"])
def test_pages_that_only_tell_something_cannot_be_posted_to(path: str, stranger: Client) -> None:
    assert stranger.head(path).status_code in (200, 403)
    assert stranger.post(path).status_code == 405


def test_the_sign_in_page_has_one_button_that_posts_to_github(stranger: Client) -> None:
    answer = stranger.get("/login")

    assert answer.status_code == 200
    page = answer.content.decode()
    assert page.count("<button") == 1
    assert "Sign in with GitHub" in page
    assert 'action="/accounts/github/login/' in page and 'method="post"' in page
    assert "csrfmiddlewaretoken" in page
    assert "password" not in page.lower()
    assert "no-store" in answer.headers["Cache-Control"]


def test_the_sign_in_page_cannot_be_posted_to(stranger: Client) -> None:
    assert stranger.post("/login").status_code == 405


def test_the_sign_in_page_carries_where_one_was_going(stranger: Client) -> None:
    assert b"next=%2Ffiles%2F%3Fafter%3Dx" in stranger.get("/login", {"next": "/files/?after=x"}).content


@pytest.mark.parametrize("following", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_the_sign_in_page_carries_no_other_site(following: str, stranger: Client) -> None:
    assert b"next=" not in stranger.get("/login", {"next": following}).content


def test_who_is_signed_in_is_sent_on_from_the_sign_in_page(as_alice: Client) -> None:
    assert as_alice.get("/login").headers["Location"] == "/files/"
    assert as_alice.get("/login", {"next": "/files/?after=x"}).headers["Location"] == "/files/?after=x"
    assert as_alice.get("/login", {"next": "//evil.example"}).headers["Location"] == "/files/"


def test_a_stranger_is_sent_to_the_sign_in_page_and_back_to_where_they_were_going(stranger: Client) -> None:
    answer = stranger.get("/files/?after=x")

    assert (answer.status_code, answer.headers["Location"]) == (302, "/login?next=/files/%3Fafter%3Dx")


def test_signing_out_ends_the_session_and_leads_to_the_landing_page(as_alice: Client) -> None:
    assert as_alice.get("/files/").status_code == 200
    key = as_alice.cookies["sessionid"].value

    answer = as_alice.post("/logout")

    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    assert not Session.objects.filter(session_key=key).exists(), "a copy of the cookie must be worth nothing"
    assert as_alice.get("/files/").status_code == 302


def test_signing_out_where_nobody_is_signed_in_does_no_harm(stranger: Client) -> None:
    assert stranger.post("/logout").headers["Location"] == "/"


def test_a_link_signs_nobody_out(as_alice: Client) -> None:
    assert as_alice.get("/logout").status_code == 405
    assert as_alice.get("/files/").status_code == 200


def test_a_form_on_another_site_signs_nobody_out(alice: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)

    assert client.post("/logout").status_code == 403
    assert client.get("/files/").status_code == 200


def test_who_is_signed_in_sees_who_that_is_and_the_way_out(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(first_name="Alice", last_name="<Liddell>")

    page = signed_in(alice).get("/files/").content.decode()

    assert "Alice &lt;Liddell&gt;" in page
    assert 'action="/logout" method="post"' in page


def test_a_closed_account_is_a_stranger_at_once(as_alice: Client, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)

    assert as_alice.get("/files/").headers["Location"].startswith("/login")
    wish = {"filename": "report.pdf", "contentType": "application/pdf", "size": 5}
    answer: Any = as_alice.post("/api/uploads/sign", wish, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (401, "signed_out")


def test_a_closed_account_is_told_whom_to_ask(stranger: Client) -> None:
    answer = stranger.get("/accounts/inactive")

    assert answer.status_code == 403
    assert b"This account was closed. Ask whoever runs this site." in answer.content


@pytest.mark.parametrize(
    "path",
    [
        *("/accounts/laptop", "/accounts/dummy/login/", "/accounts/dummy/authenticate/?state=x"),
        *("/accounts/login/", "/accounts/signup/", "/accounts/password/reset/", "/accounts/email/"),
    ],
)
def test_there_is_no_way_in_without_github(path: str, stranger: Client) -> None:
    answers = [stranger.get(path), stranger.post(path, {"name": "alice", "username": "alice", "id": "1"})]

    assert answers[0].status_code in (404, 405)
    assert answers[1].status_code == 404
    assert not User.objects.exists()
