"""Files in the Django admin: who may see what, and that nothing is changed but through the lifecycle."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from files import admin_list, storage, uploads
from files.documents import File, Status
from files.kinds import kind_of
from files.models import StoredFile

from .conftest import Cast
from .corpus.make import saved
from .lifecycle import put_object
from .watching import profiled

pytestmark = pytest.mark.django_db(databases=["default", "mongo"])

LIST = "/admin/files/storedfile/"


def page_of(file: File, page: str = "change") -> str:
    return reverse(f"admin:files_storedfile_{page}", args=[file.key if page == "download" else quote(file.key)])


@pytest.fixture
def file(alice: User) -> File:
    return Cast.upload(alice, filename="Quarterly report (final).pdf")


# --- the model is the document ---


# What an owner's list is sorted and searched by; what only a sweep works with; and what the page asks for by itself.
NOT_IN_THE_MODEL = {"sort_name", "words"} | {"made", "leftovers", "charged", "refund"} | {"trail"}


def test_the_model_has_every_field_of_the_document_under_the_same_name() -> None:
    model = {field.name: field.column for field in StoredFile._meta.concrete_fields}
    document = {name: field.db_field for name, field in File._fields.items() if name not in NOT_IN_THE_MODEL}
    assert model == document


@pytest.mark.parametrize("checking", [False, True])
def test_the_model_reads_what_mongoengine_wrote(file: File, checking: bool) -> None:
    if checking:
        times = dict.fromkeys(("trashed_at", "expires_at", "check_at", "rejected_at"), uploads.now())
        more = {"checks": ["scan", "image"], "step": "scan", "attempts": 2, "reason": "malware", "dismissed": True}
        File.objects.keyed([file.key]).update(**times, **more)
    written, stored = File.objects.get(key=file.key), StoredFile.objects.get(pk=file.key)
    for name in File._fields.keys() - NOT_IN_THE_MODEL:
        assert getattr(stored, name) == (getattr(written, name) or None), name


# --- who may come in ---


def pages(file: File) -> list[tuple[str, str]]:
    return [
        ("GET", LIST),
        ("GET", page_of(file)),
        ("GET", page_of(file, "history")),
        ("GET", page_of(file, "download")),
        ("GET", page_of(file, "delete")),
        ("POST", page_of(file, "delete")),
        ("POST", f"{LIST}cleanup/"),
    ]


def test_a_stranger_is_sent_to_sign_in(stranger: Client, file: File) -> None:
    for method, page in pages(file):
        answer = stranger.generic(method, page)
        assert answer.status_code == 302, page
        assert answer["Location"].startswith("/admin/login/"), page


def test_a_user_who_is_not_staff_is_sent_to_sign_in_too(as_alice: Client, file: File) -> None:
    for method, page in pages(file):
        assert as_alice.generic(method, page).status_code == 302, page


def test_staff_without_the_permission_get_403_on_every_page(clerk: Callable[..., Client], file: File) -> None:
    client = clerk()
    for method, page in pages(file):
        assert client.generic(method, page).status_code == 403, page
    assert File.objects.get(key=file.key).status == Status.READY


def test_staff_who_may_view_may_not_delete_or_clean_up(clerk: Callable[..., Client], file: File) -> None:
    client = clerk("view_storedfile")
    assert client.get(LIST).status_code == 200
    assert client.get(page_of(file)).status_code == 200
    assert client.post(page_of(file, "delete"), {"post": "yes"}).status_code == 403
    assert client.post(f"{LIST}cleanup/").status_code == 403
    assert "Clean up now" not in client.get(LIST).text
    assert File.objects.get(key=file.key).status == Status.READY


def test_nobody_adds_or_edits(as_ops: Client, file: File) -> None:
    assert as_ops.get(f"{LIST}add/").status_code == 403
    assert as_ops.post(page_of(file), {"name": "other.pdf"}).status_code == 403
    assert File.objects.get(key=file.key).name == "Quarterly report (final).pdf"


def test_a_superuser_signs_in_by_password(stranger: Client, ops: User) -> None:
    answer = stranger.post("/admin/login/?next=/admin/", {"username": "ops", "password": "a long enough password"})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


def test_the_sign_in_page_offers_github_too(stranger: Client) -> None:
    assert 'href="/login?next=/admin/files/storedfile/"' in stranger.get(f"/admin/login/?next={LIST}").text


# --- the list ---


def names(answer: object) -> set[str]:
    text: str = answer.text  # type: ignore[attr-defined]
    return set(re.findall(r'class="field-name[^"]*"><a [^>]*>([^<]+)</a>', text))


@pytest.fixture
def many(alice: User, bob: User) -> None:
    """a.png, b.txt, e.png and f.gif are alice's, c.pdf is bob's and two hours old, d.pdf is pending for two hours. f.gif is an
    avatar and of the last day of 2024, and a.png is from before there were policies.
    """
    for owner, name, content_type, status, size, age in (
        (alice, "a.png", "image/png", Status.READY, 5, 0),
        (alice, "b.txt", "text/plain", Status.DELETING, 100 * 1024, 0),
        (bob, "c.pdf", "application/pdf", Status.READY, 100 * 1024 + 1, 2),
        (bob, "d.pdf", "application/pdf", Status.PENDING, 2_000_000, 2),
        (alice, "e.png", "image/png", Status.TRASHED, 5, 2),
        (alice, "f.gif", "image/gif", Status.REJECTED, 3_000_000_000, None),
    ):
        created_at = LAST_OF_2024 if age is None else uploads.now() - timedelta(hours=age)
        fields = {"key": f"u/{owner.pk}/{'x' * 21}-{name}", "owner_id": str(owner.pk), "size": size, "created_at": created_at}
        policy = {"a.png": None, "f.gif": "avatars"}.get(name, "default")
        fields |= {"kind": kind_of(content_type, name), "policy": policy}
        File(name=name, content_type=content_type, status=status, **fields).save(force_insert=True)


LAST_OF_2024 = datetime(2024, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
ALL = {"a.png", "b.txt", "c.pdf", "d.pdf", "e.png", "f.gif"}


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", ALL),
        ("status__exact=ready", {"a.png", "c.pdf"}),
        ("status__exact=pending", {"d.pdf"}),
        ("status__exact=trashed", {"e.png"}),
        ("status__exact=rejected", {"f.gif"}),
        ("status__exact=checking", set()),
        ("policy=default", {"a.png", "b.txt", "c.pdf", "d.pdf", "e.png"}),
        ("policy=avatars", {"f.gif"}),
        ("policy=nobodys", set()),
        ("owner=bob", {"c.pdf", "d.pdf"}),
        ("owner=nobody", set()),
        ("kind=image", {"a.png", "e.png", "f.gif"}),
        ("kind=document", {"b.txt", "c.pdf", "d.pdf"}),
        ("kind=nothing", ALL),
        ("size=-100k", {"a.png", "b.txt", "e.png"}),
        ("size=100k-1m", {"c.pdf"}),
        ("size=100m-", {"f.gif"}),
        ("size=5-102400", {"a.png", "b.txt", "e.png"}),
        ("size=2000000-", {"d.pdf", "f.gif"}),
        ("size=0-0", set()),
        ("size=-", ALL),
        ("date=2024", {"f.gif"}),
        ("date=2024-12", {"f.gif"}),
        ("date=2024-12-31", {"f.gif"}),
        ("date=2024-11", set()),
        ("date=2025-01-01", set()),
        ("age=hour", {"a.png", "b.txt"}),
        ("age=overdue", {"d.pdf"}),
        ("q=c.p", {"c.pdf"}),
        ("q=xxx-b", {"b.txt"}),
        ("q=u/", ALL),
        ("q=u/ALICE/", {"a.png", "b.txt", "e.png", "f.gif"}),
        ("q=u/ALICE", {"a.png", "b.txt", "e.png", "f.gif"}),
        ("q=u/ALICE/xxxxxxxxxxxxxxxxxxxxx-b.t", {"b.txt"}),
        ("q=u/ALICE/XXXXX", set()),
        ("q=u/.*", set()),
        ("q=BOB", {"c.pdf", "d.pdf"}),
        ("q=BOB&owner=alice", set()),
        ("q=99999999999999999999", set()),
        ("q=(", set()),
        ("q=.*", set()),
        ("owner=alice&kind=document&status__exact=deleting&size=-100k&policy=default&q=B", {"b.txt"}),
    ],
)
def test_the_list_is_filtered_and_searched(
    as_ops: Client, alice: User, bob: User, many: None, query: str, shown: set[str]
) -> None:
    answer = as_ops.get(f"{LIST}?{query.replace('ALICE', str(alice.pk)).replace('BOB', str(bob.pk))}")
    assert answer.status_code == 200
    assert names(answer) == shown


@pytest.mark.parametrize(
    "query",
    [
        *("o=1", "o=-4", "o=6", "o=99", "p=7", "kind=%00", "age=never", "owner=%00", "policy=%00", "status__exact=no", "x=1"),
        *("date=2026-02-31", "date=0000", "date=9999", "date=2026-1", "date=%00", "created_at__year=9999", "_facets=True"),
        *("size__in=" + "9" * 21, "attempts__in=" + "9" * 20, "size__range=1", "checks__0_" + "9" * 20 + "=x"),
        *("created_at__gte=9999-12-31T23:59:59-10:00", "created_at__lt=0001-01-01T00:00:00%2B10:00"),
        *("name__regex=(", "checks__overlap=a", "status__exact=%00"),
        *("size=9-1", "size=a", "size=%00", "size=" + "9" * 30 + "-", "q=u/%00", "q=%ED%A0%80", "q=" + "9" * 400, "o=0.1.2.3"),
    ],
)
def test_an_odd_address_is_no_error_of_ours(as_ops: Client, many: None, query: str) -> None:
    assert as_ops.get(f"{LIST}?{query}").status_code in (200, 302, 400)


def test_an_owner_named_by_digits_is_never_taken_for_whoever_has_them_as_an_id(
    as_ops: Client, alice: User, bob: User, many: None
) -> None:
    User.objects.filter(pk=bob.pk).update(username=str(alice.pk))
    assert names(as_ops.get(f"{LIST}?owner={alice.pk}")) == {"a.png", "b.txt", "e.png", "f.gif"}
    assert names(as_ops.get(f"{LIST}?owner={bob.pk}")) == {"c.pdf", "d.pdf"}
    assert f"Id {bob.pk} " in as_ops.get(f"{LIST}owner/{bob.pk}/").text, "by which they are found"


def test_filtering_by_owner_keeps_what_else_is_asked(as_ops: Client, many: None) -> None:
    text = as_ops.get(f"{LIST}?q=pdf&o=2&status__exact=ready").text
    for name, value in (("q", "pdf"), ("o", "2"), ("status__exact", "ready")):
        assert f'<input type="hidden" name="{name}" value="{value}">' in text


def test_an_owner_is_shown_by_name_and_a_deleted_one_by_id(as_ops: Client, many: None, alice: User, bob: User) -> None:
    bob_id = bob.pk
    bob.delete()
    text = as_ops.get(LIST).text
    assert f'<a href="{LIST}owner/{alice.pk}/">alice</a>' in text
    assert f'<a href="{LIST}owner/{bob_id}/">{bob_id} (gone)</a>' in text


def test_the_list_goes_from_a_year_to_a_month_to_a_day_that_has_files(as_ops: Client, many: None) -> None:
    def inside(date: str) -> list[str]:
        dates = as_ops.get(f"{LIST}?date={date}&kind=image").text.partition('<ul class="dates">')[2].partition("</ul>")[0]
        return [html.unescape(link) for link in re.findall(r'href="([^"]+)"', dates)]

    this_year = uploads.now().year
    assert inside("") == [f"?date={year}&kind=image" for year in range(2024, this_year + 1)]
    assert inside("2024") == ["?date=2024-12&kind=image"]
    assert inside("2024-12") == ["?date=2024-12-31&kind=image"]
    assert inside("2024-12-31") == []
    assert len(inside("2025")) == 12 and len(inside("2025-02")) == 28


def test_a_list_that_would_be_read_for_long_says_so_instead(
    as_ops: Client, many: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes_its_time = {"$function": {"body": "function() { sleep(100); return true }", "args": [], "lang": "js"}}
    monkeypatch.setattr(admin_list, "query_of", lambda files: {"$expr": takes_its_time})
    monkeypatch.setattr(admin_list, "COUNTS_FOR", 100)
    monkeypatch.setattr(admin_list, "LOOKS_FOR", 100)

    answer = as_ops.get(f"{LIST}?kind=other")

    assert answer.status_code == 200
    assert names(answer) == set()
    assert admin_list.STOPPED in answer.text


def test_a_list_says_when_it_has_more_than_it_counts(as_ops: Client, many: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_list, "COUNTED_AT_MOST", 2)
    text = as_ops.get(f"{LIST}?kind=image").text
    assert "2 or more files" in text and "2 or more results" in text


def test_what_is_asked_for_most_is_read_from_an_index(as_ops: Client, alice: User) -> None:
    """Newest first, an owner's, a status's, a day's, and the beginning of a key. A count goes as far as it is bounded."""
    files = [{**stored(alice, number), "_id": f"u/{number}/x"} for number in range(2_000)]
    File._get_collection().insert_many(files)
    day = f"{uploads.now():%Y-%m-%d}"
    for query in ("", "owner=7", "status__exact=rejected", f"date={day}&p=2", "q=u/7/", "q=u/77", "q=7"):
        with profiled() as asked:
            assert as_ops.get(f"{LIST}?{query}").status_code == 200
        for one in asked:
            assert "COLLSCAN" not in one.get("planSummary", ""), query
            assert one["op"] == "command" or one["docsExamined"] <= 130, (query, one["planSummary"])


def stored(owner: User, number: int) -> dict[str, Any]:
    moment = uploads.now() - timedelta(seconds=number)
    known = {"owner_id": str(number), "name": "a", "content_type": "a/a", "size": 5, "kind": "other", "status": "ready"}
    return {**known, "created_at": moment, "ready_at": moment}


def test_the_list_asks_a_bounded_number_of_questions(as_ops: Client, many: None, django_assert_max_num_queries: object) -> None:
    with django_assert_max_num_queries(5):  # type: ignore[operator]  # session, user, owners, and two for the facets' content type
        as_ops.get(LIST)


# --- the detail page ---


def test_the_detail_page_has_the_object_beside_the_document(as_ops: Client, file: File) -> None:
    text = as_ops.get(page_of(file)).text
    assert file.key in text
    assert "5 bytes of application/pdf" in text
    assert ": as signed" in text


def test_the_detail_page_takes_the_type_that_a_bucket_makes_up_for_one_that_was_signed_without(
    as_ops: Client, alice: User
) -> None:
    file = Cast.upload(alice, b"hello", filename="a.txt", content_type="application/octet-stream")
    put_object(file.key, b"hello", "text/plain")
    assert "5 bytes of text/plain" in as_ops.get(page_of(file)).text
    assert ": as signed" in as_ops.get(page_of(file)).text
    put_object(file.key, b"hello!", "text/plain")
    assert "NOT what was signed" in as_ops.get(page_of(file)).text


def test_the_detail_page_says_what_its_owner_deleted_and_when(as_ops: Client, alice: User, file: File) -> None:
    uploads.trash(str(alice.pk), [file.key])
    text = as_ops.get(page_of(file)).text
    assert '<div class="readonly">trashed</div>' in text
    assert "Deleted by the owner" in text
    assert "Only ready files can be downloaded." in text
    assert as_ops.get(page_of(file, "download")).status_code == 404


def test_the_detail_page_says_what_is_being_checked(as_ops: Client, alice: User) -> None:
    signed = Cast.sign(alice, filename="a.png", content_type="image/png")
    Cast.put(signed, b"\x89PNG\r\n\x1a\n"[:5])
    File.compare_and_set(
        signed.key, Status.PENDING, Status.CHECKING, who="1", what="confirmed", checks=["scan", "image"], step="scan"
    )
    text = as_ops.get(page_of(File.objects.get(key=signed.key))).text
    for name, shown in (("status", "checking"), ("checks", "scan, image"), ("step", "scan"), ("policy", "default")):
        assert re.search(rf'field-{name}">.*?<div class="readonly">{shown}</div>', text, re.DOTALL), name
    assert "Only ready files can be downloaded." in text


def test_the_detail_page_says_why_a_file_was_rejected_and_offers_nothing_of_it(as_ops: Client, alice: User) -> None:
    signed = Cast.sign(alice, filename="a.png", content_type="image/png")
    Cast.put(signed)
    with pytest.raises(uploads.Rejected):
        uploads.confirm(str(alice.pk), signed.key)
    file = File.objects.get(key=signed.key)
    text = as_ops.get(page_of(file)).text
    for name, shown in (("status", "rejected"), ("reason", "type"), ("detected", "application/pdf")):
        assert re.search(rf'field-{name}">.*?<div class="readonly">{shown}</div>', text, re.DOTALL), name
    assert "There is no object under this key." in text
    assert "Only ready files can be downloaded." in text
    assert as_ops.get(page_of(file, "download")).status_code == 404


def test_of_a_picture_that_was_cleaned_it_is_the_clean_one_that_is_looked_at_and_downloaded(
    as_ops: Client, alice: User
) -> None:
    body = saved("PNG")
    wish = {"filename": "me.png", "content_type": "image/png", "size": len(body), "policy": "avatars"}
    signed = uploads.sign(str(alice.pk), **wish)  # type: ignore[arg-type]
    Cast.put(signed, body)
    file = Cast.checked(uploads.confirm(str(alice.pk), signed.key))
    assert file.cleaned and storage.head(file.key) is None
    text = as_ops.get(page_of(file)).text
    assert f"{file.size:,} bytes of image/png" in text and ": as cleaned" in text
    assert str(file.thumbnail) in text and str(file.sha256) in text
    assert file.cleaned in as_ops.get(page_of(file, "download"))["Location"]


def test_the_detail_page_has_what_happened_and_who_did_it(as_ops: Client, as_alice: Client, alice: User, file: File) -> None:
    request = as_alice.post(f"/files/{file.key}/delete").headers["X-Request-ID"]
    File.compare_and_set(file.key, Status.TRASHED, Status.READY, who="ops:99", what="restored")
    table = as_ops.get(page_of(file)).text.partition('<table class="trail">')[2].partition("</table>")[0]
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in table.split("<tr>")[2:]]
    link = f'<a href="/admin/auth/user/{alice.pk}/change/">alice</a>'
    assert [row[1:6] for row in rows] == [
        [link, "signed", "", "pending", ""],
        [link, "confirmed", "pending", "ready", ""],
        [link, "deleted", "ready", "trashed", ""],
        ["99 (gone)", "restored", "trashed", "ready", ""],
    ]
    assert [row[6] for row in rows] == ["", "", request, ""]


def test_the_detail_page_of_a_file_without_a_trail_says_so(as_ops: Client, file: File) -> None:
    File.objects.keyed([file.key]).update(unset__trail=True)
    assert "it is from before there was a trail" in as_ops.get(page_of(file)).text


def test_the_detail_page_says_that_there_is_no_object(as_ops: Client, file: File) -> None:
    storage.delete(file.key)
    assert "There is no object under this key." in as_ops.get(page_of(file)).text


def test_a_download_is_short_lived_and_in_the_history(as_ops: Client, ops: User, file: File) -> None:
    answer = as_ops.get(page_of(file, "download"))
    assert answer.status_code == 302
    assert answer["Location"].startswith(settings.R2_ENDPOINT_URL)
    assert "X-Amz-Expires=60" in answer["Location"]
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id, entry.get_change_message()) == (ops, file.key, "Downloaded.")
    assert "Downloaded." in as_ops.get(page_of(file, "history")).text


def test_every_key_has_its_download(as_ops: Client, alice: User) -> None:
    # "_23" is how the admin quotes a "#".
    file = Cast.upload(alice, filename="IMG_2345_5F.jpg")
    link = re.search(r'href="([^"]+/download/)"', as_ops.get(page_of(file)).text)
    assert link is not None
    assert as_ops.get(link[1]).status_code == 302


def test_only_ready_files_are_downloaded(as_ops: Client, alice: User) -> None:
    signed = Cast.sign(alice)
    pending = File.objects.get(key=signed.key)
    assert "Only ready files can be downloaded." in as_ops.get(page_of(pending)).text
    assert as_ops.get(page_of(pending, "download")).status_code == 404
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("page", ["change", "delete", "download", "history"])
def test_a_key_that_is_not_there_is_no_error_of_ours(as_ops: Client, page: str) -> None:
    answer = as_ops.get(reverse(f"admin:files_storedfile_{page}", args=["u/1/nothing-here"]))
    assert answer.status_code in (302, 404)


# --- deleting ---


def test_deleting_goes_through_the_lifecycle_and_into_the_history(as_ops: Client, file: File) -> None:
    assert "Quarterly report (final).pdf" in as_ops.get(page_of(file, "delete")).text
    assert as_ops.post(page_of(file, "delete"), {"post": "yes"}).status_code == 302
    assert storage.head(file.key) is None
    assert File.objects.count() == 0
    assert LogEntry.objects.get().object_id == file.key


def test_deleting_what_is_in_the_trash_is_for_good(as_ops: Client, alice: User, file: File) -> None:
    uploads.trash(str(alice.pk), [file.key])
    assert as_ops.post(page_of(file, "delete"), {"post": "yes"}).status_code == 302
    assert storage.head(file.key) is None
    assert uploads.restore(str(alice.pk), [file.key]) == 0


# --- clean up now ---


def test_clean_up_now_sweeps_says_what_it_did_and_is_in_the_history(as_ops: Client, alice: User) -> None:
    overdue, young = Cast.sign(alice), Cast.sign(alice)
    Cast.put(overdue)
    File.objects(key=overdue.key).update(created_at=uploads.now() - timedelta(hours=2))

    answer = as_ops.post(f"{LIST}cleanup/", follow=True)

    assert "Uploads given up: 1. Documents removed, with their objects: 1." in answer.text
    assert storage.head(overdue.key) is None
    assert [file.key for file in File.objects] == [young.key]
    assert "Uploads given up: 1." in LogEntry.objects.get().change_message


def test_clean_up_is_no_link(as_ops: Client) -> None:
    assert as_ops.get(f"{LIST}cleanup/").status_code == 405
