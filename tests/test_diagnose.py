"""POST /api/uploads/diagnose: why a browser, which saw no more than "network error", could not send its bytes."""

from __future__ import annotations

import itertools
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from files import bucket_rules, storage, uploads
from files.diagnosis import SENTENCES

from .conftest import Cast, post_json
from .lifecycle import backdate, own_bucket, put_object
from .test_confirm import assert_refused

URL = "/api/uploads/diagnose"


def own_rule() -> bucket_rules.Rule:
    return bucket_rules.cors([], ["http://testserver"], storage.CORS_HEADERS).after[0]


def diagnose(client: Client, key: object) -> Any:
    return post_json(client, URL, {"key": key})


def cause(client: Client, key: str, **environ: str) -> str:
    answer = client.post(URL, {"key": key}, content_type="application/json", **environ)  # type: ignore[arg-type]
    assert answer.status_code == 200
    assert answer.json()["message"] == SENTENCES[answer.json()["cause"]]
    return str(answer.json()["cause"])


def test_where_all_is_well_it_was_the_clients_own_network(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    assert cause(as_alice, cast.sign(alice).key) == "unknown"


def test_a_url_that_is_over(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)
    backdate([signed.key], timedelta(seconds=storage.URL_LIVES + 1))

    assert cause(as_alice, signed.key) == "expired"


def test_what_has_arrived_as_signed_confirmed_or_not(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)
    cast.put(signed)

    assert cause(as_alice, signed.key) == "arrived"
    uploads.confirm(str(alice.pk), signed.key)
    assert cause(as_alice, signed.key) == "arrived"


def test_what_arrived_otherwise_than_signed_has_not_arrived(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)
    put_object(signed.key, b"something else")

    assert cause(as_alice, signed.key) == "unknown"


@pytest.mark.parametrize(
    ("ours", "found"),
    [
        (timedelta(seconds=-90), "clock"),
        (timedelta(seconds=-30), "unknown"),
        (timedelta(minutes=10), "unknown"),
        (timedelta(minutes=20), "clock"),
    ],
)
def test_clocks_that_are_further_apart_than_a_url_can_bear(
    as_alice: Client, alice: User, cast: type[Cast], monkeypatch: pytest.MonkeyPatch, ours: timedelta, found: str
) -> None:
    real = uploads.now
    monkeypatch.setattr(uploads, "now", lambda: real() + ours)

    assert cause(as_alice, cast.sign(alice).key) == found


def test_a_bucket_that_does_not_let_this_sites_pages_in(
    as_alice: Client, alice: User, cast: type[Cast], settings: Any, tmp_path: Path
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    with own_bucket(settings, tmp_path):
        signed = cast.sign(alice)
        assert cause(as_alice, signed.key) == "unknown"
        assert cause(as_alice, signed.key, HTTP_HOST="elsewhere.example") == "origin"
        assert cause(as_alice, signed.key, **{"wsgi.url_scheme": "https"}) == "origin"

        storage._client().delete_bucket_cors(Bucket=settings.R2_BUCKET)
        assert cause(as_alice, signed.key) == "origin"


@pytest.mark.parametrize("missing", ["AllowedMethods", "AllowedHeaders"])
def test_a_rule_that_allows_too_little_is_as_good_as_none(
    as_alice: Client, alice: User, cast: type[Cast], settings: Any, tmp_path: Path, missing: str
) -> None:
    rule: dict[str, Any] = {**own_rule()}
    rule[missing] = ["GET"] if missing == "AllowedMethods" else ["content-type"]
    with own_bucket(settings, tmp_path):
        storage._client().put_bucket_cors(Bucket=settings.R2_BUCKET, CORSConfiguration={"CORSRules": [rule]})  # type: ignore[list-item]

        assert cause(as_alice, cast.sign(alice).key) == "origin"


def test_a_rule_from_before_there_were_checksums_is_at_fault_where_a_file_has_one_and_only_there(
    as_alice: Client, alice: User, cast: type[Cast], settings: Any, tmp_path: Path
) -> None:
    rule: dict[str, Any] = {**own_rule(), "AllowedHeaders": ["content-type", "if-none-match"]}
    with own_bucket(settings, tmp_path):
        storage._client().put_bucket_cors(Bucket=settings.R2_BUCKET, CORSConfiguration={"CORSRules": [rule]})  # type: ignore[list-item]

        assert cause(as_alice, cast.sign(alice, sha256="0" * 64).key) == "origin"
        assert cause(as_alice, cast.sign(alice).key) == "unknown"


def test_a_bucket_that_does_not_answer_us_either(
    as_alice: Client, alice: User, cast: type[Cast], settings: Any, tmp_path: Path
) -> None:
    with own_bucket(settings, tmp_path) as server:
        signed = cast.sign(alice)
        server.kill()

        assert cause(as_alice, signed.key) == "unreachable"


def test_a_bucket_that_refuses_us(as_alice: Client, alice: User, cast: type[Cast], settings: Any, tmp_path: Path) -> None:
    with own_bucket(settings, tmp_path, may_write="nowhere/"):
        signed = cast.sign(alice)
        settings.R2_SECRET_ACCESS_KEY = "not the right one"
        storage._signer.cache_clear()

        assert cause(as_alice, signed.key) == "unreachable"


def test_a_diagnosis_changes_nothing(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)
    for _ in range(2):
        assert cause(as_alice, signed.key) == "unknown"
    cast.put(signed)

    assert uploads.confirm(str(alice.pk), signed.key).key == signed.key


# --- who may ask, and how ---------------------------------------------------------------------------------------------


def test_another_users_upload_is_404(as_bob: Client, alice: User, cast: type[Cast]) -> None:
    assert_refused(diagnose(as_bob, cast.sign(alice).key), 404, "not_found")


def test_what_was_given_up_is_404(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)
    uploads.cancel(str(alice.pk), signed.key)

    assert_refused(diagnose(as_alice, signed.key), 404, "not_found")


@pytest.mark.parametrize(
    ("key", "status"), [("u/1/unknown", 404), ("../..", 404), ("", 400), (7, 400), (None, 400), ("\x00", 400)]
)
def test_a_bad_key_is_refused(as_alice: Client, key: object, status: int) -> None:
    assert diagnose(as_alice, key).status_code == status


def test_a_stranger_is_401(stranger: Client, alice: User, cast: type[Cast]) -> None:
    assert_refused(diagnose(stranger, cast.sign(alice).key), 401, "signed_out")


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
def test_any_method_but_post_is_405(as_alice: Client, method: str) -> None:
    answer = getattr(as_alice, method)(URL)

    assert (answer.status_code, answer["Allow"]) == (405, "POST")


def test_each_cause_has_a_sentence_that_says_what_to_do() -> None:
    assert len(SENTENCES) == 6
    for one, other in itertools.combinations(SENTENCES.values(), 2):
        assert str(one) != str(other)
