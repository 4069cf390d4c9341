"""Links to a file for people without an account."""

from __future__ import annotations

import html
import io
import logging
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.test import Client
from django.utils.log import configure_logging

from files import limits, shares, sweeps, uploads
from files.documents import File, Share, Status

from .conftest import Cast

HTMX = {"HX-Request": "true"}
PASSWORD = "open sesame, please"
NEVER_MADE = "AAAAAAAAAAAAAAAAAAAAAA"


@pytest.fixture
def file(alice: User, cast: type[Cast]) -> File:
    return cast.upload(alice, b"%PDF-", filename="Größe <1>.pdf")


@pytest.fixture
def fast_hasher(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def made(file: File, **wanted: Any) -> Share:
    return shares.create(file.owner_id, file.key, **{"lives": timedelta(hours=1), **wanted})


def expire(share: Share) -> None:
    Share.objects(token=share.token).update(expires_at=uploads.now())


def page_of(share: Share) -> str:
    return f"/s/{share.token}"


def download(client: Client, share: Share) -> Any:
    return client.post(f"{page_of(share)}/download")


def is_live(client: Client, share: Share) -> bool:
    return "Download" in client.get(page_of(share)).content.decode()


def bytes_behind(answer: Any) -> bytes:
    assert answer.status_code == 302
    assert "X-Amz-Signature" in answer["Location"], answer["Location"]
    return httpx.get(answer["Location"]).content


# --- the owner makes a link ---------------------------------------------------------------------------------------------


def test_a_link_is_made_and_listed_with_its_address_its_end_and_its_count(as_alice: Client, file: File) -> None:
    answer = as_alice.post(f"/files/{file.key}/share", {"expires": "day", "password": PASSWORD, "limit": "10"})
    assert (answer.status_code, answer["Location"]) == (302, f"/files/{file.key}/share")

    (share,) = Share.objects
    page = as_alice.get(answer["Location"]).content.decode()
    assert f'value="http://testserver/s/{share.token}"' in page
    assert "Ends in 23\xa0hours" in page
    assert "<span>password</span>" in page
    assert "0 of 10 downloads" in page
    assert share.expires_at - share.created_at == timedelta(days=1)


@pytest.mark.parametrize(("choice", "hours"), [("hour", 1), ("day", 24), ("week", 7 * 24), ("month", 30 * 24)])
def test_a_link_lives_for_as_long_as_was_chosen(as_alice: Client, file: File, choice: str, hours: int) -> None:
    as_alice.post(f"/files/{file.key}/share", {"expires": choice})

    (share,) = Share.objects
    assert share.expires_at - share.created_at == timedelta(hours=hours)


def test_a_token_has_128_random_bits_and_the_password_is_kept_as_a_hash_alone(file: File) -> None:
    tokens = {made(file).token for _ in range(10)}
    kept = made(file, password=PASSWORD).to_mongo().to_dict()

    assert all(shares.TOKEN.fullmatch(token) for token in tokens)
    assert len(tokens) == 10
    assert shares.RANDOM_BYTES * 8 == 128
    assert kept["password"].startswith("pbkdf2_sha256$")
    assert PASSWORD not in str(kept)


FAULTS: list[tuple[dict[str, str], str]] = [
    ({}, "Choose how long the link is good for."),
    ({"expires": "year"}, "Choose one of the list."),
    ({"expires": "day", "password": "short"}, "The password is too short: take 8 characters or more."),
    ({"expires": "day", "password": "x" * 129}, "The password is too long: 128 characters are the most."),
    ({"expires": "day", "password": "long enough\x00"}, "Null characters are not allowed."),
    ({"expires": "day", "limit": "0"}, "Write a number from 1 to 1000, or nothing."),
    ({"expires": "day", "limit": "1001"}, "Write a number from 1 to 1000, or nothing."),
    ({"expires": "day", "limit": "many"}, "Write a number from 1 to 1000, or nothing."),
    ({"expires": "day", "limit": "9" * 5000}, "Write a number from 1 to 1000, or nothing."),
]


def test_what_cannot_be_is_said_beside_the_form_on_the_page_and_in_the_dialog(as_alice: Client, file: File) -> None:
    for fields, sentence in FAULTS:
        page = as_alice.post(f"/files/{file.key}/share", fields)
        dialog = as_alice.post(f"/files/{file.key}/share", fields, headers=HTMX)

        assert page.status_code == 400
        assert dialog.status_code == 200, "HTMX swaps in nothing else"
        for answer in (page, dialog):
            assert re.search(rf'role="alert">{re.escape(sentence)}<', answer.content.decode()), fields
    assert not Share.objects


def test_a_file_has_so_many_links_and_no_more(as_alice: Client, file: File) -> None:
    for _ in range(shares.LINKS_AT_MOST):
        made(file)

    answer = as_alice.post(f"/files/{file.key}/share", {"expires": "day"}, headers=HTMX)

    assert "The file has 20 links, which is the most. Revoke one first." in answer.content.decode()
    assert Share.objects.count() == shares.LINKS_AT_MOST
    expire(Share.objects.first())
    as_alice.post(f"/files/{file.key}/share", {"expires": "day"}, headers=HTMX)
    assert len(shares.links_to(file.owner_id, file.key)) == shares.LINKS_AT_MOST


def test_the_dialog_has_the_same_as_the_page_and_stays_what_it_is_after_each_act(as_alice: Client, file: File) -> None:
    opened = as_alice.get(f"/files/{file.key}/share", headers=HTMX).content.decode()
    after = as_alice.post(f"/files/{file.key}/share", {"expires": "hour"}, headers=HTMX).content.decode()
    (share,) = Share.objects
    revoked = as_alice.post(f"/files/{file.key}/share/revoke", {"token": share.token}, headers=HTMX).content.decode()

    assert all('id="dialog-title"' in each and "<html" not in each for each in (opened, after, revoked))
    assert [share.token in each for each in (opened, after, revoked)] == [False, True, False]
    assert "Gr\xf6\xdfe &lt;1&gt;.pdf" in opened


def test_a_stranger_and_bob_get_no_link_of_alices_and_revoke_none(
    stranger: Client, as_bob: Client, alice: User, bob: User, file: File, cast: type[Cast]
) -> None:
    share, bobs = made(file), cast.upload(bob)
    for path, fields in [("share", {"expires": "day"}), ("share/revoke", {"token": share.token})]:
        assert as_bob.post(f"/files/{file.key}/{path}", fields).status_code == 404
        assert stranger.post(f"/files/{file.key}/{path}", fields)["Location"].startswith("/login")
    # Nor by way of a file of his own.
    as_bob.post(f"/files/{bobs.key}/share/revoke", {"token": share.token})

    assert [each.token for each in Share.objects] == [share.token]


@pytest.mark.parametrize(("path", "method"), [("share", "put"), ("share/revoke", "get")])
def test_another_method_is_refused(as_alice: Client, file: File, path: str, method: str) -> None:
    assert getattr(as_alice, method)(f"/files/{file.key}/{path}").status_code == 405


# --- a visitor ----------------------------------------------------------------------------------------------------------


def test_a_visitor_without_an_account_sees_the_file_and_downloads_it(stranger: Client, file: File) -> None:
    share = made(file)

    page = stranger.get(page_of(share))
    body = page.content.decode()

    assert page.status_code == 200
    assert "<bdi>Größe &lt;1&gt;.pdf</bdi>" in body
    assert html.unescape("5&nbsp;bytes") in body
    assert "application/pdf" in body
    assert f"Available until {share.expires_at:%-d %B %Y, %H:%M} UTC." in body
    answer = download(stranger, share)
    assert bytes_behind(answer) == b"%PDF-"
    saved_as = httpx.get(answer["Location"]).headers["Content-Disposition"]
    assert saved_as.startswith("attachment; filename*=utf-8''Gr%C3%B6%C3%9Fe")
    assert Share.objects.get(token=share.token).downloads == 1


def test_a_visitor_sees_what_the_file_looks_like_unless_downloads_are_counted(
    stranger: Client, alice: User, cast: type[Cast]
) -> None:
    note = cast.upload(alice, b"%PDF-1.7 Guten Tag", filename="note.pdf")
    page = stranger.get(page_of(made(note))).content.decode()

    address = html.unescape(re.findall(r'<iframe src="([^"]+)"', page)[0])
    seen = httpx.get(address)
    assert (seen.content, seen.headers["Content-Type"]) == (b"%PDF-1.7 Guten Tag", "application/pdf")
    assert seen.headers["Content-Disposition"].startswith("inline")
    counted = stranger.get(page_of(made(note, limit=1000))).content.decode()
    assert "iframe" not in counted
    assert "X-Amz-Signature" not in counted


def test_a_link_of_two_downloads_gives_two_and_says_how_many_are_left(stranger: Client, as_alice: Client, file: File) -> None:
    share = made(file, limit=2)

    assert "It can be downloaded 2 more times." in stranger.get(page_of(share)).content.decode()
    assert bytes_behind(download(stranger, share)) == b"%PDF-"
    assert "It can be downloaded once more." in stranger.get(page_of(share)).content.decode()
    assert bytes_behind(download(stranger, share)) == b"%PDF-"

    assert download(stranger, share)["Location"] == page_of(share)
    assert not is_live(stranger, share)
    assert "2 of 2 downloads" in as_alice.get(f"/files/{file.key}/share").content.decode()


def test_what_follows_links_by_itself_uses_up_no_download(stranger: Client, file: File) -> None:
    share = made(file, limit=1)

    assert stranger.get(f"{page_of(share)}/download").status_code == 405
    assert stranger.head(f"{page_of(share)}/download").status_code == 405
    assert stranger.head(page_of(share)).status_code == 200
    assert Share.objects.get(token=share.token).downloads == 0


def test_two_visitors_who_want_the_last_download_at_one_moment_get_one(file: File) -> None:
    for _ in range(20):
        share, gate = made(file, limit=3), threading.Barrier(8)
        link = shares.find(share.token)
        assert link is not None

        def want(link: shares.Link = link, gate: threading.Barrier = gate) -> str | None:
            gate.wait()
            return shares.download_url(link)

        with ThreadPoolExecutor(8) as visitors:
            urls = [visitor.result() for visitor in [visitors.submit(want) for _ in range(8)]]

        assert sum(url is not None for url in urls) == 3
        assert Share.objects.get(token=share.token).downloads == 3
        shares.revoke(file.owner_id, file.key, share.token)


def test_a_link_that_ends_between_the_page_and_the_download_gives_nothing(file: File) -> None:
    share = made(file)
    link = shares.find(share.token)
    assert link is not None

    expire(share)
    assert shares.download_url(link) is None
    share = made(file)
    link = shares.find(share.token)
    assert link is not None
    shares.revoke(file.owner_id, file.key, share.token)
    assert shares.download_url(link) is None


def test_the_page_asks_no_session_of_its_database_and_leaves_no_cookie(
    as_bob: Client, file: File, django_assert_num_queries: Any
) -> None:
    share = made(file)

    with django_assert_num_queries(0):
        page = as_bob.get(page_of(share))
        answer = download(as_bob, share)

    assert not page.cookies
    assert not answer.cookies
    assert "bob" not in page.content.decode()


@pytest.mark.parametrize("password", ["", PASSWORD])
@pytest.mark.usefixtures("fast_hasher")
def test_a_page_is_kept_and_indexed_by_nobody_and_its_address_told_to_nobody(
    stranger: Client, file: File, password: str
) -> None:
    share = made(file, password=password)

    for answer in (stranger.get(page_of(share)), download(stranger, share), stranger.post(page_of(share), {"password": "?"})):
        assert answer["Cache-Control"] == "no-store"
        assert answer["Referrer-Policy"] == "no-referrer"
        assert answer["X-Robots-Tag"] == "noindex, nofollow"


# --- passwords ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("fast_hasher")
def test_the_right_password_opens_the_link_for_an_hour_in_this_browser_alone(
    stranger: Client, file: File, time_machine_hour: Callable[[], None]
) -> None:
    share, another = made(file, password=PASSWORD, lives=timedelta(days=1)), made(file, password=PASSWORD)
    assert not is_live(stranger, share)
    assert download(stranger, share)["Location"] == page_of(share)

    answer = stranger.post(page_of(share), {"password": PASSWORD})

    assert (answer.status_code, answer["Location"]) == (302, page_of(share))
    cookie = answer.cookies["share"]
    assert (cookie["path"], cookie["samesite"], cookie["httponly"], cookie["max-age"]) == (page_of(share), "Lax", True, 3600)
    assert is_live(stranger, share)
    assert bytes_behind(download(stranger, share)) == b"%PDF-"
    Share.objects(token=another.token).update(password=share.password)
    assert not is_live(stranger, another), "the cookie is of one link"
    assert not is_live(Client(), share)
    time_machine_hour()
    assert not is_live(stranger, share)


@pytest.fixture
def time_machine_hour(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let an hour pass for signatures; no server is asked for theirs."""

    def pass_by() -> None:
        later = time.time() + 3601
        monkeypatch.setattr("django.core.signing.time.time", lambda: later)

    return pass_by


@pytest.mark.usefixtures("fast_hasher")
def test_the_cookie_is_for_https_alone_where_the_session_is(stranger: Client, file: File, settings: Any) -> None:
    settings.SESSION_COOKIE_SECURE = True

    answer = stranger.post(page_of(made(file, password=PASSWORD)), {"password": PASSWORD})

    assert answer.cookies["share"]["secure"]


@pytest.mark.parametrize("ended", ["expired", "revoked", "used up", "in the trash"])
@pytest.mark.usefixtures("fast_hasher")
def test_who_knew_the_password_gets_nothing_once_the_link_has_ended(stranger: Client, file: File, ended: str) -> None:
    share = made(file, password=PASSWORD, limit=1)
    stranger.post(page_of(share), {"password": PASSWORD})
    assert is_live(stranger, share)

    end(share, ended)

    assert not is_live(stranger, share)
    assert download(stranger, share)["Location"] == page_of(share)
    assert stranger.post(page_of(share), {"password": PASSWORD}).status_code == 403


@pytest.mark.usefixtures("fast_hasher")
def test_a_cookie_is_of_the_password_that_was_typed(stranger: Client, file: File) -> None:
    share = made(file, password=PASSWORD)
    stranger.post(page_of(share), {"password": PASSWORD})

    Share.objects(token=share.token).update(password=made(file, password="another password").password)

    assert not is_live(stranger, share)


def end(share: Share, how: str) -> None:
    if how == "expired":
        expire(share)
    elif how == "revoked":
        shares.revoke(share.owner_id, share.key, share.token)
    elif how == "used up":
        Share.objects(token=share.token).update(limit=1, downloads=1)
    elif how == "in the trash":
        uploads.trash(share.owner_id, [share.key])


@pytest.mark.usefixtures("fast_hasher")
def test_what_a_link_is_that_does_not_open_cannot_be_told_from_outside(
    stranger: Client, alice: User, cast: type[Cast], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PASSWORDS_OF_ADDRESS", "1000/m")
    tokens = {"never made": NEVER_MADE, "no token at all": "x\x00" * 40, "with a password": ""}
    tokens["with a password"] = made(cast.upload(alice), password=PASSWORD).token
    for how in ("expired", "revoked", "used up", "in the trash"):
        for password in ("", PASSWORD):
            share = made(cast.upload(alice), password=password)
            end(share, how)
            tokens[f"{how} {password}"] = share.token

    def told(token: str) -> list[tuple[int, str, str, bytes]]:
        """All that a visitor can see, before and after a wrong password."""
        here = f"/s/{token}"
        answers = [
            stranger.get(here),
            stranger.head(here),
            stranger.post(f"{here}/download"),
            stranger.post(here, {"password": "wrong password"}),
            stranger.post(here, {"password": ""}),
            stranger.post(here),
            stranger.get(here),
        ]
        for answer in answers:
            del answer.headers["X-Request-ID"]  # another each time, and of the request alone
        return [
            (answer.status_code, str(answer.headers).replace(token, "…"), str(answer.cookies), answer.content)
            for answer in answers
        ]

    looks = {how: told(token) for how, token in tokens.items()}

    first = looks["with a password"]
    assert b"This link needs a password, or it has ended" in first[0][3]
    assert [status for status, *_ in first] == [200, 200, 302, 403, 403, 403, 200]
    assert {how for how, look in looks.items() if look != first} - {"no token at all"} == set()
    # Its address is quoted in the one redirect, as whoever asked wrote it.
    assert [look for look in looks["no token at all"] if look[0] != 302] == [look for look in first if look[0] != 302]


def test_a_wrong_password_takes_as_long_for_a_link_that_never_was(
    stranger: Client, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PASSWORDS_OF_ADDRESS", "1000/m")
    opened, locked = made(file), made(file, password=PASSWORD)
    expire(opened)

    def cost(token: str) -> float:
        """The least of two, in seconds of this thread alone: a busy machine adds to none of them."""
        costs = []
        for _ in range(2):
            began = time.thread_time()
            assert stranger.post(f"/s/{token}", {"password": "wrong password"}).status_code == 403
            costs.append(time.thread_time() - began)
        return min(costs)

    a_hash = cost(locked.token)
    assert a_hash > 0.05, "or there is nothing to compare"
    for token in (NEVER_MADE, opened.token):
        assert 0.7 < cost(token) / a_hash < 1.4


# --- how often ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("fast_hasher")
def test_an_address_tries_ten_passwords_a_minute_whatever_the_links(stranger: Client, file: File) -> None:
    share = made(file, password=PASSWORD)
    for number in range(10):
        assert stranger.post(f"/s/{number:022}", {"password": "?"}).status_code == 403

    answer = stranger.post(page_of(share), {"password": PASSWORD})

    assert answer.status_code == 429
    assert 1 <= int(answer["Retry-After"]) <= 61
    assert "Too many requests from your address." in answer.content.decode()
    assert stranger.get(page_of(share)).status_code == 200
    assert stranger.post(page_of(share), {"password": PASSWORD}, REMOTE_ADDR="192.0.2.1").status_code == 302


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.usefixtures("fast_hasher")
def test_a_link_takes_sixty_passwords_an_hour_wherever_they_come_from(
    stranger: Client, file: File, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    assert limits.PASSWORDS_OF_LINK == "60/h"
    monkeypatch.setattr(limits, "PASSWORDS_OF_LINK", "3/h")
    token = made(file, password=PASSWORD).token if exists else NEVER_MADE
    for number in range(3):
        answer = stranger.post(f"/s/{token}", {"password": "?"}, REMOTE_ADDR=f"192.0.2.{number}")
        assert answer.status_code == 403

    answer = stranger.post(f"/s/{token}", {"password": PASSWORD}, REMOTE_ADDR="192.0.2.100")

    assert answer.status_code == 429
    assert 1 <= int(answer["Retry-After"]) <= 3601
    assert "Too many passwords were tried on this link." in answer.content.decode()


def test_the_pages_are_counted_for_their_address_signed_in_or_not(
    stranger: Client, as_bob: Client, file: File, settings: Any
) -> None:
    settings.ADDRESS_RATE = "3/m"
    share = made(file)

    assert [stranger.get(page_of(share)).status_code, as_bob.get(page_of(share)).status_code] == [200, 200]
    assert download(as_bob, share).status_code == 302

    for answer in (stranger.get(page_of(share)), download(as_bob, share)):
        assert answer.status_code == 429
        assert int(answer["Retry-After"]) >= 1


# --- its file goes ------------------------------------------------------------------------------------------------------


def test_a_file_in_the_trash_has_dead_links_that_live_again_when_it_is_restored(stranger: Client, file: File) -> None:
    share = made(file)

    uploads.trash(file.owner_id, [file.key])
    assert not is_live(stranger, share)
    assert download(stranger, share)["Location"] == page_of(share)

    uploads.restore(file.owner_id, [file.key])
    assert bytes_behind(download(stranger, share)) == b"%PDF-"


@pytest.mark.parametrize("by", ["its owner", "operations"])
def test_a_file_that_is_deleted_takes_its_links_along_and_no_others(alice: User, file: File, cast: type[Cast], by: str) -> None:
    made(file), made(file)
    other = made(cast.upload(alice))

    if by == "operations":
        sweeps.delete_many([file.key], who="ops:1")
    else:
        uploads.trash(file.owner_id, [file.key])
        File.objects(key=file.key).update(trashed_at=uploads.now() - timedelta(minutes=1))
        sweeps.empty_trash()

    assert not File.objects(key=file.key)
    assert [share.token for share in Share.objects] == [other.token]


def test_a_deletion_that_was_cut_before_the_document_went_leaves_what_the_sweep_finds(file: File) -> None:
    made(file)
    File.objects(key=file.key).update(status=Status.DELETING)
    Share.forget([file.key])  # and the power fails
    made_meanwhile = Share(token=NEVER_MADE, key=file.key, owner_id=file.owner_id, created_at=uploads.now())
    made_meanwhile.expires_at = uploads.now() + timedelta(days=1)
    made_meanwhile.save(force_insert=True)

    assert shares.find(NEVER_MADE) is None
    sweeps.sweep(older_than=timedelta(hours=1))
    assert not File.objects(key=file.key)
    assert not Share.objects


@pytest.mark.usefixtures("django_db_setup")
def test_mongodb_removes_what_has_expired_and_finds_the_rest_by_their_file() -> None:
    indexes = Share._get_collection().index_information().values()

    assert {tuple(index["key"]): index.get("expireAfterSeconds") for index in indexes} == {
        (("_id", 1),): None,
        (("key", 1), ("created_at", -1)): None,
        (("expires_at", 1),): 0,
    }


# --- what is down, and what is written down -------------------------------------------------------------------------------


def test_no_link_is_in_the_log_whatever_is_refused(stranger: Client, file: File, settings: Any) -> None:
    settings.ADDRESS_RATE = "2/m"
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    share = made(file)
    configure_logging(django_settings.LOGGING_CONFIG, django_settings.LOGGING)
    formatter = logging.getLogger().handlers[0].formatter
    handler.setFormatter(formatter)
    logging.getLogger().addHandler(handler)
    try:
        stranger.get(f"{page_of(share)}/download")
        stranger.get(page_of(share))
        stranger.get(page_of(share))
    finally:
        logging.getLogger().removeHandler(handler)

    assert "GET /s/…/download 405" in lines.getvalue()
    assert "GET /s/… 429" in lines.getvalue()
    assert share.token not in lines.getvalue()


def test_a_preview_ends_with_its_link(alice: User, stranger: Client, cast: type[Cast]) -> None:
    file = cast.upload(alice, filename="talk.pdf")  # which would be looked at for an hour
    ends_soon = shares.create(str(alice.pk), file.key, lives=timedelta(minutes=5))

    page = stranger.get(f"/s/{ends_soon.token}").content.decode()

    (lives,) = set(re.findall(r"X-Amz-Expires=(\d+)", page))
    assert 290 <= int(lives) <= 300


def test_a_visitor_who_breaks_off_while_sending_is_no_bug_of_ours(stranger: Client) -> None:
    """granian gives what came by then; other servers raise."""

    class BrokenOff(io.BytesIO):
        def read(self, *size: Any) -> bytes:
            raise OSError("connection reset")

    form: Any = {"CONTENT_TYPE": "application/x-www-form-urlencoded", "CONTENT_LENGTH": "1000", "wsgi.input": BrokenOff()}

    assert stranger.generic("POST", "/s/AAAAAAAAAAAAAAAAAAAAAA", **form).status_code == 400
