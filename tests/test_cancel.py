"""POST /api/uploads/cancel: give up an upload that is not confirmed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from files import storage, sweeps, uploads
from files.documents import File, SpentKey, Status
from files.names import made_of

from .conftest import Cast, post_json
from .corpus.make import saved
from .lifecycle import age_spent_keys, backdate, own_bucket

URL = "/api/uploads/cancel"


def cancel(client: Client, key: object) -> Any:
    return post_json(client, URL, {"key": key})


def test_the_object_goes_and_the_upload_can_never_be_confirmed(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)
    cast.put(signed)

    answer = cancel(as_alice, signed.key)

    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert storage.head(signed.key) is None
    assert post_json(as_alice, "/api/uploads/confirm", {"key": signed.key}).status_code == 404


def test_the_document_goes_at_once_and_its_key_is_remembered(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)

    cancel(as_alice, signed.key)

    assert not File.objects.keyed([signed.key])
    assert SpentKey.objects.get(key=signed.key).signed_at > uploads.now() - timedelta(minutes=1)


def test_what_is_canceled_is_not_found_again(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)

    assert [cancel(as_alice, signed.key).status_code for _ in range(3)] == [200, 404, 404]


def test_a_cancel_that_won_is_told_so_whatever_a_sweep_does_next(
    as_alice: Client, alice: User, cast: type[Cast], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = cast.sign(alice).key
    turn = File.compare_and_set

    def turn_before_a_sweep(*change: Any, **fields: Any) -> File | None:
        turned = turn(*change, **fields)
        sweeps.sweep(older_than=timedelta(hours=1))
        assert not File.objects.keyed([key])
        return turned

    monkeypatch.setattr(File, "compare_and_set", turn_before_a_sweep)

    assert post_json(as_alice, "/api/uploads/cancel", {"key": key}).status_code == 200


def test_a_ready_file_is_not_canceled(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)

    answer = cancel(as_alice, file.key)

    assert (answer.status_code, answer.json()["code"]) == (409, "already_ready")
    assert File.objects.get(key=file.key).status == Status.READY
    assert storage.head(file.key) is not None


def test_another_users_upload_is_404_and_stays(as_bob: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)
    cast.put(signed)

    answer = cancel(as_bob, signed.key)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert File.objects.get(key=signed.key).status == Status.PENDING
    assert storage.head(signed.key) is not None


def test_a_stranger_is_401(stranger: Client, alice: User, cast: type[Cast]) -> None:
    assert cancel(stranger, cast.sign(alice).key).status_code == 401


@pytest.mark.parametrize(
    ("key", "status"), [("u/1/unknown", 404), ("../..", 404), ("", 400), (7, 400), (None, 400), ("\x00", 400)]
)
def test_a_bad_key_is_refused(as_alice: Client, key: object, status: int) -> None:
    assert cancel(as_alice, key).status_code == status


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
def test_any_method_but_post_is_405(as_alice: Client, method: str) -> None:
    answer = getattr(as_alice, method)(URL)

    assert (answer.status_code, answer["Allow"]) == (405, "POST")


def test_with_the_bucket_down_it_is_given_up_all_the_same_and_a_later_sweep_removes_it(
    as_alice: Client, alice: User, cast: type[Cast], settings: Any, tmp_path: Path
) -> None:
    with own_bucket(settings, tmp_path) as server:
        signed = cast.sign(alice)
        cast.put(signed)
        server.kill()

        assert cancel(as_alice, signed.key).status_code == 200
        assert File.objects.get(key=signed.key).status == Status.DELETING

        server.start()
        server.wait_until_ready()
        backdate([signed.key])
        call_command("cleanup_pending")
        assert not File.objects.keyed([signed.key])
        assert storage.head(signed.key) is None


def test_a_put_after_the_cancel_through_the_url_that_is_still_good_is_removed_by_a_later_sweep(
    as_alice: Client, alice: User, cast: type[Cast]
) -> None:
    signed = cast.sign(alice)
    cancel(as_alice, signed.key)
    assert cast.put(signed).status_code == 200
    age_spent_keys(sweeps.URL_DEAD)

    sweeps.sweep(older_than=timedelta(hours=1))

    assert storage.head(signed.key) is None


def test_a_file_under_its_checks_is_canceled_and_what_was_made_of_it_goes_too(
    as_alice: Client, alice: User, cast: type[Cast]
) -> None:
    picture = saved("PNG")
    signed = cast.sign(alice, filename="a.png", content_type="image/png", size=len(picture))
    cast.put(signed, picture)
    uploads.confirm(str(alice.pk), signed.key)
    thumbnail = made_of(signed.key, "thumbnail")
    storage.write(thumbnail, b"RIFF", content_type="image/webp")
    File.update_if(signed.key, Status.CHECKING, made=[thumbnail])

    assert cancel(as_alice, signed.key).status_code == 200

    assert storage.head(signed.key) is None and storage.head(thumbnail) is None
    assert not File.objects.keyed([signed.key])


def test_what_was_rejected_is_canceled_no_more(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice, filename="a.png", content_type="image/png")
    cast.put(signed)
    with pytest.raises(uploads.Rejected):
        uploads.confirm(str(alice.pk), signed.key)

    assert cancel(as_alice, signed.key).status_code == 404
    assert File.objects.get(key=signed.key).status == Status.REJECTED
