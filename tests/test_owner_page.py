"""One owner in the admin: what they have, what they may have, and what happened lately."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.test import Client

from files import admin_owner, quotas, sweeps, trail, uploads
from files.documents import File, Past, Status

from .conftest import Cast, signed_in
from .watching import profiled

pytestmark = pytest.mark.django_db(databases=["default", "mongo"])

LIST = "/admin/files/storedfile/"


def page_of(owner: User | str) -> str:
    return f"{LIST}owner/{owner if isinstance(owner, str) else owner.pk}/"


def texts(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text.partition('id="content"')[2]))


@pytest.fixture
def looking(as_ops: Client) -> Callable[[User | str], str]:
    def look(owner: User | str) -> str:
        answer = as_ops.get(page_of(owner))
        assert answer.status_code == 200
        return answer.text

    return look


def test_it_has_what_the_owner_has_and_what_happened_to_it(
    looking: Callable[[User | str], str], alice: User, bob: User, ops: User
) -> None:
    kept = Cast.upload(alice, filename="kept.pdf")
    trashed, gone = Cast.upload(alice, filename="trashed.pdf"), Cast.upload(alice, filename="gone.pdf")
    uploads.trash(str(alice.pk), [trashed.key])
    sweeps.delete_many([gone.key], who=f"ops:{ops.pk}")
    Cast.sign(alice, filename="pending.pdf")
    Cast.upload(bob, filename="of bob.pdf")

    html = looking(alice)

    text = texts(html)
    assert "Pending 1 Checking 0 Ready 1 Rejected 0 Trashed 1 Deleting 0" in text
    assert "Documents 5" in text and "in 1 file " in text
    assert "kept.pdf" in text and "trashed.pdf" in text and "of bob.pdf" not in text
    assert "Bytes 15 bytes, no limit Files 3, no limit" in text, "what is in the trash or pending counts as well"
    assert f'href="/admin/auth/user/{alice.pk}/change/"' in html and f'href="{LIST}?owner={alice.pk}"' in html
    assert f'href="{LIST}?owner={alice.pk}&amp;status__exact=trashed"' in html
    newest = html.partition("Newest files")[2]
    assert newest.index("pending.pdf") < newest.index("trashed.pdf") < newest.index("kept.pdf")
    assert re.search(rf"<td class=\"name\">{re.escape(gone.key)}</td>\s*<td>ops</td>\s*<td>deleted</td>", html)
    cells = ("alice", "deleted", "ready", "trashed")
    assert re.search(r">trashed.pdf</bdi></a></td>" + "".join(rf"\s*<td>{cell}</td>" for cell in cells), html)
    assert f'href="{LIST}{quote(kept.key)}/change/"' in html


def test_it_has_the_account_that_signings_are_held_against(looking: Callable[[User | str], str], alice: User) -> None:
    Cast.upload(alice)
    assert "Bytes 5 bytes, no limit Files 1, no limit" in texts(looking(alice))
    quotas.set_limits(str(alice.pk), max_files=2_000, max_bytes=3 * 1024**2)
    assert "Bytes 5 bytes of 3.0 MB Files 1 of 2,000" in texts(looking(alice))


def test_an_owner_who_is_gone_has_a_page_as_long_as_anything_is_known(as_ops: Client, bob: User) -> None:
    file, known = Cast.upload(bob), page_of(bob)
    owner_id = str(bob.pk)
    bob.delete()
    assert "There is no such user any more" in as_ops.get(known).text
    sweeps.delete_many([file.key], who="ops:1")
    assert file.key in as_ops.get(known).text
    Past.objects(owner_id=owner_id).delete()
    assert as_ops.get(known).status_code == 404


@pytest.mark.parametrize("owner_id", ["0", "999999999", "9" * 20, "9" * 21, "alice", "1%00", "-1"])
def test_who_never_was_is_no_page_and_no_error_of_ours(as_ops: Client, owner_id: str) -> None:
    assert as_ops.get(page_of(owner_id), follow=True).status_code in (200, 404)
    assert "Newest files" not in as_ops.get(page_of(owner_id), follow=True).text


def test_only_who_may_view_files_sees_it(as_alice: Client, stranger: Client, alice: User) -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)
    assert signed_in(clerk).get(page_of(alice)).status_code == 403
    clerk.user_permissions.set(Permission.objects.filter(codename="view_storedfile"))
    seen = signed_in(clerk).get(page_of(alice))
    assert seen.status_code == 200
    assert "/admin/auth/user/" not in seen.text.partition('id="content"')[2], "who may not see users has no link to them"
    assert signed_in(clerk).post(page_of(alice)).status_code == 405
    for client in (as_alice, stranger):
        assert client.get(page_of(alice))["Location"].startswith("/admin/login/")


def test_it_reads_no_more_than_it_shows(looking: Callable[[User | str], str], alice: User) -> None:
    moment = trail.now()
    happened = [trail.event(str(alice.pk), "signed", Status.PENDING)]

    def stored(number: int) -> dict[str, Any]:
        at = moment - timedelta(seconds=number)
        status = ("ready", "ready", "rejected", "trashed", "pending")[number % 5]
        known = {
            "name": "a",
            "content_type": "a/a",
            "size": 5,
            "kind": "other",
            "status": status,
            "created_at": at,
            "ready_at": at,
        }
        return {"_id": f"u/{alice.pk}/{number}", "owner_id": str(alice.pk), **known, "trail": happened}

    File._get_collection().insert_many([stored(number) for number in range(1_000)])
    with profiled() as asked:
        html = looking(alice)
    assert len(re.findall("<tr>", html)) == 2 + 2 * admin_owner.RECENT, "a row for each file, and for what happened to it"
    for one in asked:
        assert one["planSummary"].startswith("IXSCAN") or "COUNT_SCAN" in one["planSummary"], one["planSummary"]
        assert one["docsExamined"] <= admin_owner.RECENT + 6, one["command"]


# --- limits of their own ------------------------------------------------------------------------------------------------


def test_ops_give_an_owner_limits_and_take_them_back(as_ops: Client, alice: User) -> None:
    Cast.upload(alice)
    answer = as_ops.post(f"{page_of(alice)}quota/", {"max_files": "1", "max_megabytes": "1.5"}, follow=True)
    assert "Quota: 1 files of 1.5\xa0MB in all." in answer.text
    assert "Bytes 5 bytes of 1.5 MB Files 1 of 1" in texts(answer.text)
    assert 'name="max_megabytes" value="1.5"' in answer.text
    with pytest.raises(quotas.Full):
        Cast.sign(alice)
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.object_repr) == (str(alice.pk), "alice")
    assert entry.change_message.startswith("Quota: 1 files")

    answer = as_ops.post(f"{page_of(alice)}quota/", {"max_files": "", "max_megabytes": ""}, follow=True)
    assert "Quota: any number of files of any size in all." in answer.text
    Cast.sign(alice)


@pytest.mark.parametrize("wrong", [{"max_files": "-1"}, {"max_megabytes": "many"}, {"max_files": "9" * 30}])
def test_a_limit_that_is_none_is_refused_with_a_sentence_and_nothing_changes(
    as_ops: Client, alice: User, wrong: dict[str, str]
) -> None:
    answer = as_ops.post(f"{page_of(alice)}quota/", wrong)
    assert 'class="errorlist"' in answer.text
    assert quotas.standing_of(str(alice.pk)).own == (None, None)
    assert not LogEntry.objects.exists()


def test_limits_are_set_by_those_who_may(alice: User, as_bob: Client, as_ops: Client, clerk: Callable[..., Client]) -> None:
    client = clerk("view_storedfile")
    assert "Set the limits" not in client.get(page_of(alice)).text
    assert client.post(f"{page_of(alice)}quota/", {"max_files": "1"}).status_code == 403
    assert as_bob.post(f"{page_of(alice)}quota/", {"max_files": "1"}).status_code == 302
    assert as_ops.get(f"{page_of(alice)}quota/").status_code == 405
    assert quotas.standing_of(str(alice.pk)).own == (None, None)


def test_nobody_has_no_limits(as_ops: Client) -> None:
    assert as_ops.post(f"{page_of('999')}quota/", {"max_files": "1"}).status_code == 404
    assert not quotas.Account.objects
