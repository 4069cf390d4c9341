"""GET /files/?q=…&kind=…&sort=…: the owner's files by the beginnings of their words, of one kind, in three orders."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from files import documents, names, uploads
from files.documents import File, Status
from files.kinds import Kind
from files.listing import Cursor, Order, Wanted

from .conftest import Cast
from .lifecycle import keys_in
from .test_list import HTMX, PAGE, encoded, files_of, read_on
from .watching import profiled


def named(owner: User, *wanted: str, **fields: Any) -> None:
    for name in wanted:
        files_of(owner, 1, **documents.name_fields(name), **fields)


def found(client: Client, **asked: str) -> list[str]:
    """The names of the files that the list shows, in their order."""
    answer = client.get("/files/", asked, headers=HTMX)
    assert answer.status_code == 200, answer.text
    return re.findall(r"<bdi>([^<]*)</bdi>", answer.text)


# --- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("Annual Report 2024.pdf", "report"),
        ("Annual Report 2024.pdf", "REP"),
        ("Annual Report 2024.pdf", "2024"),
        ("Annual Report 2024.pdf", "pdf"),
        ("Annual Report 2024.pdf", "  2024   ann  "),
        ("Annual Report 2024.pdf", "annual-report_2024.pdf"),
        ("Über Größe.txt", "uber"),
        ("Über Größe.txt", "ÜBER grosse"),
        ("U\u0308ber.txt", "über"),
        ("resume.doc", "résumé"),
        ("Ελλάδα.png", "ελλαδα"),
        ("Москва.png", "моск"),
        ("İstanbul.png", "istanbul"),
        ("ﬁne.txt", "fine"),
        ("℡ list.txt", "tel"),
        ("IMG_2041.jpg", "img 2041"),
        ("IMG2041.jpg", "2041"),
        ("report2024final.pdf", "final"),
        ("snake_case_name.py", "case"),
        ("camelCaseName.py", "case"),
        ("camelCaseName.py", "camelcase"),
        ("camelCaseName.py", "camelCaseN"),
        ("日本語のファイル.pdf", "日本"),
        ("日本語のファイル.pdf", "本"),
        ("日本語のファイル.pdf", "ファ"),
        ("한국어 문서.hwp", "한국"),
        ("한국어 문서.hwp", "문"),
        ("x².txt", "x2"),
        ("١٢٣.txt", "١٢"),
        ("a" * 200 + ".txt", "a" * 100),
    ],
)
def test_a_file_is_found_by_the_beginning_of_a_word(as_alice: Client, alice: User, name: str, query: str) -> None:
    named(alice, name)

    assert found(as_alice, q=query) == [name]


@pytest.mark.parametrize(
    "query", ["eport", "port", "202 5", "report annual x", "reports", "20240", "日", "ann.*xrep", "x" * 256]
)
def test_a_file_is_not_found_by_anything_else(as_alice: Client, alice: User, query: str) -> None:
    named(alice, "Annual Report 2024.pdf")

    assert found(as_alice, q=query) == []


def test_every_word_must_be_there(as_alice: Client, alice: User) -> None:
    named(alice, "red apple.txt", "red pear.txt", "green apple.txt")

    assert sorted(found(as_alice, q="red")) == ["red apple.txt", "red pear.txt"]
    assert found(as_alice, q="red app") == ["red apple.txt"]
    assert found(as_alice, q="red green") == []


@pytest.mark.parametrize("query", ["", "  ", "!?", "💥", "_", "^.*", "[", "\\", "$where", "{}", "(?i)", "*"])
def test_what_has_no_word_in_it_narrows_nothing_and_is_never_a_pattern(as_alice: Client, alice: User, query: str) -> None:
    named(alice, "where.txt", "i.txt")

    expected = {"$where": ["where.txt"], "(?i)": ["i.txt"]}.get(query, ["i.txt", "where.txt"])
    assert sorted(found(as_alice, q=query)) == expected


@pytest.mark.parametrize("query", ["a.c", "a(c", "a|zz", "a{1}c", "[a]c", "a\\wc", "a+c", "a?c", "(a+)+$c"])
def test_no_character_of_a_pattern_means_anything(as_alice: Client, alice: User, query: str) -> None:
    named(alice, "abc.txt", "aac.txt")

    assert found(as_alice, q=query) == []


def test_nothing_found_is_said_with_a_way_back(as_alice: Client, alice: User) -> None:
    named(alice, "a.pdf")

    page, fragment = (as_alice.get("/files/", {"q": "<b>"}, headers=headers).text for headers in ({}, HTMX))

    for said in (page, fragment):
        assert "No file of yours has a word that begins with “&lt;b&gt;”." in said
        assert '<a href="/files/">Show all files</a>' in said
    assert 'value="&lt;b&gt;"' in page, "what was asked is there to be changed"
    assert "You have no files of this kind." in as_alice.get("/files/", {"kind": "video"}).text
    assert "Nothing here yet." not in as_alice.get("/files/", {"kind": "video"}).text


def test_neither_others_files_nor_those_that_are_not_ready_are_found(as_alice: Client, alice: User, bob: User) -> None:
    named(bob, "secret.pdf")
    for status in set(Status) - {Status.READY}:
        named(alice, "secret.pdf", status=status)

    for sort in Order:
        assert found(as_alice, q="secret", sort=sort) == found(as_alice, q="secret", sort=sort, kind="document") == []


BAD = {
    "300 characters": ("q", "x" * 300),
    "a NUL": ("q", "a\x00b"),
    "a kind that is none": ("kind", "picture"),
    "a kind in capitals": ("kind", "IMAGE"),
    "a NUL in a kind": ("kind", "\x00"),
    "an order that is none": ("sort", "oldest"),
    "a field for an order": ("sort", "-size"),
    "an operator for an order": ("sort", "{'$gt': 1}"),
    "a NUL in a place": ("after", "\x00"),
}


@pytest.mark.parametrize(("field", "value"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "fragment"])
def test_what_cannot_be_understood_is_400_with_a_sentence(
    as_alice: Client, field: str, value: str, headers: dict[str, str]
) -> None:
    answer = as_alice.get("/files/", {field: value}, headers=headers)

    assert answer.status_code == 400
    sentence = answer.text if headers else re.sub(r"<[^>]+>", " ", answer.text.partition("<main")[2])
    assert re.search(r"[A-Z][^.]{10,}\.", sentence), sentence


@pytest.mark.parametrize("query", ["%ED%A0%80", "%FF%FE", "a%ED%A0%80b", "%F0%9F%92%A5", "%E2%80%AE", "%EF%BF%BD", "%2500"])
def test_bytes_that_are_no_text_are_no_error_of_ours(as_alice: Client, alice: User, query: str) -> None:
    named(alice, *(f"a{number}.pdf" for number in range(PAGE + 1)))

    for more in ("", "&sort=name", "&kind=document", "&x[$ne]=1"):
        assert as_alice.get(f"/files/?q={query}{more}").status_code == 200


def test_the_form_takes_a_lone_surrogate_for_no_word() -> None:
    assert names.words("a\ud800b \udfff") == ["a", "b"]


def test_words_are_folded_whatever_the_character() -> None:
    """Else a search for the very name of a file would not find it."""
    for code in range(0x30000):
        char = chr(code)
        folded = names.fold(char)
        if folded != char:
            assert names.fold(folded) == folded, f"U+{code:04X}"
    everything = "".join(word for code in range(0x30000) for word in names.words(chr(code)))
    assert re.escape(everything) == everything, "a word goes into a pattern as it is"


def test_a_long_name_has_its_first_words_only() -> None:
    """So that an index has no more than 64 KiB of a file."""
    assert names.words_of_name(" ".join(f"w{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(80))) == [
        f"w{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(names.WORDS)
    ]


# --- orders and kinds -----------------------------------------------------------------------------------------------


def test_names_are_sorted_as_people_do(as_alice: Client, alice: User) -> None:
    ordered = ["1.txt", "2.txt", "10.txt", "a.txt", "Äb.txt", "ac.txt", "file 2.txt", "file 010 b.txt", "File 10.txt", "z.txt"]
    shuffled = random.Random(3).sample(ordered, len(ordered))
    named(alice, *shuffled)

    assert found(as_alice, sort="name") == ordered


def test_sizes_are_sorted_from_the_largest(as_alice: Client, alice: User) -> None:
    for size in (5, 2**40, 1, 1_000):
        named(alice, f"{size}.bin", size=size)

    assert found(as_alice, sort="size") == [f"{2**40}.bin", "1000.bin", "5.bin", "1.bin"]


def test_the_newest_are_first_unless_another_order_is_asked_for(as_alice: Client, alice: User) -> None:
    for hours, name in enumerate(("b.txt", "c.txt", "a.txt")):
        named(alice, name, ready_at=uploads.now() - timedelta(hours=hours))

    assert found(as_alice) == found(as_alice, sort="newest") == found(as_alice, sort="") == ["b.txt", "c.txt", "a.txt"]


def test_one_kind_alone_and_all_that_is_asked_for_at_once(as_alice: Client, alice: User) -> None:
    named(alice, "red b.png", "red a.png", "blue.png", kind="image", size=7)
    named(alice, "red.mp3", kind="audio", size=9)

    assert sorted(found(as_alice, kind="image")) == ["blue.png", "red a.png", "red b.png"]
    assert found(as_alice, kind="image", q="red", sort="name") == ["red a.png", "red b.png"]
    assert found(as_alice, q="red", sort="size")[0] == "red.mp3"
    assert found(as_alice, kind="video", q="red") == []


def test_the_page_shows_what_was_asked_for(as_alice: Client, alice: User) -> None:
    page = as_alice.get("/files/", {"q": "Über", "kind": "image", "sort": "size"}).text

    assert '<option value="image" selected>' in page and '<option value="size" selected>' in page
    assert 'name="q" value="Über"' in page
    assert page.count(" selected>") == 2


def test_an_uploaded_file_is_found_sorted_and_filtered_at_once(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice, filename="Grüße 10.pdf")

    assert file.kind == "document" and file.sort_name == names.sorting("Grüße 10.pdf")
    assert found(as_alice, q="grusse", kind="document", sort="name") == ["Grüße 10.pdf"]


# --- pages ----------------------------------------------------------------------------------------------------------

MANY = 170


def many(owner: User, dice: random.Random) -> None:
    """Files with ties in everything that a list is sorted by, most of them with a word in common."""
    files_of(owner, MANY)
    now = uploads.now()
    for file in File.objects.owned_by(str(owner.pk)):
        name = f"{dice.choice(['red', 'Réd', 'blue'])} {dice.randrange(12)}.pdf"
        fields = {
            **documents.name_fields(name),
            "kind": dice.choice(["image", "document", "other"]),
            "size": dice.randrange(1, 9),
        }
        fields["ready_at"] = now - timedelta(minutes=dice.randrange(12))
        File._get_collection().update_one({"_id": file.key}, {"$set": fields})


def place_of(file: File, order: Order) -> tuple[Any, str]:
    return getattr(file, order.field), file.key


def in_order(owner: User, order: Order, wanted: Callable[[File], bool]) -> list[str]:
    files = [file for file in File.objects.owned_by(str(owner.pk)).ready() if wanted(file)]
    return [file.key for file in sorted(files, key=lambda file: place_of(file, order), reverse=order is not Order.NAME)]


NARROWED: dict[str, tuple[dict[str, str], Callable[[File], bool]]] = {
    "all": ({}, lambda file: True),
    "of a kind": ({"kind": "image"}, lambda file: file.kind == "image"),
    "with a word": ({"q": "re"}, lambda file: "red" in file.words),
    "with two words, of a kind": (
        {"q": "red 1", "kind": "other"},
        lambda file: "red" in file.words and file.kind == "other" and any(word.startswith("1") for word in file.words),
    ),
}


@pytest.mark.parametrize("order", Order)
def test_pages_have_each_file_once_and_in_order(as_alice: Client, alice: User, order: Order) -> None:
    many(alice, random.Random(f"{order}"))

    for asked, wanted in NARROWED.values():
        read = list(read_on(as_alice, as_alice.get("/files/", {**asked, "sort": order}).text))

        assert [key for page in read for key in keys_in(page)] == in_order(alice, order, wanted)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("asked", ["all", "with a word"])
def test_no_file_is_skipped_or_repeated_while_others_come_and_go(
    as_alice: Client, alice: User, order: Order, asked: str, seed: int
) -> None:
    dice = random.Random(f"{order} {seed}")
    many(alice, dice)
    query, wanted = NARROWED[asked]
    keys = in_order(alice, order, wanted)
    gone: set[str] = set()
    shown: list[str] = []
    for page in read_on(as_alice, as_alice.get("/files/", {**query, "sort": order}).text):
        shown += keys_in(page)
        # The last of the page, where the next one starts, goes every other time.
        leaving = set(dice.sample(keys, 20)) | ({shown[-1]} if dice.random() < 0.5 else set())
        uploads.trash(str(alice.pk), leaving)
        gone |= leaving - set(shown)
        named(alice, "red new.pdf", ready_at=uploads.now() + timedelta(minutes=1), size=10)

    old = [key for key in shown if key in keys]
    assert len(shown) == len(set(shown)), "a file was repeated"
    assert set(keys) - gone <= set(shown), "a file was skipped"
    assert [key for key in keys if key in old] == old, "the order was lost"


def test_the_next_pages_address_asks_for_the_same(as_alice: Client, alice: User) -> None:
    many(alice, random.Random(1))
    html = as_alice.get("/files/", {"q": "r&é d", "kind": "", "sort": "name", "x": "y"}).text
    named(alice, *(f"r é d {number}.pdf" for number in range(PAGE + 1)))
    html = as_alice.get("/files/", {"q": "r&é d", "kind": "", "sort": "name", "x": "y"}).text

    (following,) = re.findall(r'href="(/files/\?[^"]+)"', html)

    assert following.startswith("/files/?q=r%26%C3%A9+d&amp;sort=name&amp;after=")


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("other", Order)
def test_a_place_of_one_order_is_400_in_another(as_alice: Client, alice: User, order: Order, other: Order) -> None:
    files_of(alice, 3)
    place = File.page(str(alice.pk), None, 1, Wanted(order=order))[0].place(order).encode()

    assert as_alice.get("/files/", {"sort": other, "after": place}).status_code == (200 if other == order else 400)


@pytest.mark.parametrize(
    ("sort", "place"),
    [
        ("name", ["name", 1, "a"]),
        ("name", ["name", None, "a"]),
        ("name", ["name", {"$gt": ""}, "a"]),
        ("name", ["name", "\ud800", "a"]),
        ("size", ["size", "1", "a"]),
        ("size", ["size", -1, "a"]),
        ("size", ["size", 2**63, "a"]),
        ("size", ["size", 1.0, "a"]),
        ("size", ["size", True, "a"]),
        ("size", ["size", {"$gt": 0}, "a"]),
    ],
)
def test_a_malformed_place_of_any_order_is_400_with_a_sentence(as_alice: Client, sort: str, place: object) -> None:
    answer = as_alice.get("/files/", {"sort": sort, "after": encoded(place)})

    assert answer.status_code == 400
    assert "Reload the page and try again." in answer.text


@pytest.mark.parametrize(
    ("sort", "place"),
    [
        ("name", ["", ""]),
        ("name", ["\x00", "\x00"]),
        ("name", ["a" * 5000, ""]),
        ("size", [0, ""]),
        ("size", [2**63 - 1, "zzz"]),
    ],
)
def test_a_place_of_somebodys_making_shows_no_more_than_the_owners_files(
    as_alice: Client, bob: User, sort: str, place: list[object]
) -> None:
    files_of(bob, 3)

    answer = as_alice.get("/files/", {"sort": sort, "after": encoded([sort, *place])})

    assert (answer.status_code, keys_in(answer.text)) == (200, [])


# --- what MongoDB does for it ---------------------------------------------------------------------------------------


def test_every_list_is_read_from_an_index_and_without_a_search_no_further_than_it_shows(alice: User, bob: User) -> None:
    owner = str(alice.pk)
    for kind in Kind:
        files_of(alice, 400, kind=kind, size=3, **documents.name_fields("common.pdf"))
        files_of(alice, 30, kind=kind, **documents.name_fields("rare thing.pdf"))
    files_of(alice, 300, status=Status.TRASHED, **documents.name_fields("rare thing.pdf"))
    files_of(bob, 500, **documents.name_fields("rare thing.pdf"))
    lists = [
        Wanted(words, kind, order) for order in Order for kind in (None, *Kind) for words in ((), ("rar",), ("thing", "r"))
    ]

    for wanted in lists:
        first = File.page(owner, None, PAGE + 1, wanted)
        for after in (None, first[-2].place(wanted.order)):
            with profiled() as asked:
                rows = File.page(owner, after, PAGE + 1, wanted)

            *counts, query = asked
            assert len(counts) == (len(wanted.words) if len(wanted.words) > 1 else 0), "which of several words is the rarest"
            assert all(count["planSummary"] == "IXSCAN { owner_id: 1, status: 1, words: 1 }" for count in counts)
            told = f"{wanted} behind {after}: {query['planSummary']}, {query['docsExamined']} documents"
            assert re.fullmatch(
                r"IXSCAN { owner_id: 1, status: 1, [^}]+}(, IXSCAN { owner_id: 1, [^}]+})*", query["planSummary"]
            ), told
            assert rows, told
            if not wanted.words:
                assert "hasSortStage" not in query, told
                assert query["docsExamined"] <= PAGE + 2, told
                assert query["keysExamined"] <= PAGE + 3 * len(Kind) + 2, told


# --- files of an earlier version ------------------------------------------------------------------------------------


def of_an_earlier_version(owner: User, count: int, **fields: Any) -> list[str]:
    keys = files_of(owner, count, **fields)
    for field in ("kind", "words", "sort_name"):
        File._get_collection().update_many({"_id": {"$in": keys}}, {"$unset": {field: ""}})
    return keys


def test_files_of_an_earlier_version_are_filled_in_by_a_release(as_alice: Client, alice: User) -> None:
    of_an_earlier_version(alice, 1, name="Grüße 7.png", content_type="image/png")
    of_an_earlier_version(alice, 1, name="backup.zip", content_type="application/octet-stream")
    of_an_earlier_version(alice, 1, name="💥", content_type="application/pdf", status=Status.PENDING)
    named(alice, "new.pdf")
    said = io.StringIO()

    call_command("ensure_indexes", stdout=said)

    assert "Files filled in: 3." in said.getvalue()
    assert found(as_alice, q="grusse", kind="image") == ["Grüße 7.png"]
    assert found(as_alice, sort="name") == ["backup.zip", "Grüße 7.png", "new.pdf"]
    assert File.objects.get(name="backup.zip").kind == "archive"
    assert File.objects.get(name="💥").words == []
    assert File.fill_in() == 0, "once is enough, for names without words too"


def test_a_release_goes_through_all_files_once_and_again_when_told(alice: User) -> None:
    call_command("ensure_indexes", stdout=io.StringIO())
    of_an_earlier_version(alice, 1)
    said = io.StringIO()

    with profiled() as asked:
        call_command("ensure_indexes", stdout=said)
    assert not asked and "filled in" not in said.getvalue()
    call_command("ensure_indexes", "--again", stdout=said)
    assert "Files filled in: 1." in said.getvalue()


def test_as_many_as_there_are_are_filled_in_and_each_is_looked_at_once(alice: User) -> None:
    of_an_earlier_version(alice, 2_500)

    with profiled() as asked:
        assert File.fill_in() == 2_500

    assert sum(query["docsExamined"] for query in asked) <= 2 * 2_500
    assert not list(File._get_collection().find({"words": {"$exists": False}}))


def test_who_is_renamed_while_it_is_filled_in_keeps_the_new_name(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    (key,) = of_an_earlier_version(alice, 1, name="old.pdf")
    made = documents.name_fields

    def renamed_meanwhile(name: str) -> dict[str, Any]:
        monkeypatch.setattr(documents, "name_fields", made)
        uploads.rename(str(alice.pk), key, "new name.pdf")
        return made(name)

    monkeypatch.setattr(documents, "name_fields", renamed_meanwhile)

    assert File.fill_in() == 0
    file = File.objects.get(key=key)
    assert (file.name, file.words, file.sort_name) == ("new name.pdf", ["new", "name", "pdf"], "new name.pdf")


def test_a_place_in_a_list_by_name_follows_from_the_row(alice: User) -> None:
    named(alice, "Grüße 10.pdf")

    (row,) = File.page(str(alice.pk), None, 1, Wanted(order=Order.NAME))

    assert row.place(Order.NAME) == Cursor(File.objects.get(key=row.key).sort_name, row.key)


def test_of_several_words_the_rarest_is_looked_up(as_alice: Client, alice: User) -> None:
    """Whichever comes first: the files that have a common one are not all read."""
    keys = files_of(alice, 2000)
    for number, key in enumerate(keys[:2]):
        File.objects.keyed([key]).update(**documents.name_fields(f"photo {number}.pdf"))

    with profiled() as asked:
        found = [keys_in(as_alice.get("/files/", {"q": q}).content.decode()) for q in ("pdf photo", "photo pdf")]

    assert found == [keys[:2]] * 2
    assert max(query["docsExamined"] for query in asked if query["op"] == "query") <= 10
