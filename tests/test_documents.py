"""What is kept of a file: its place in the list, its indexes, and which modules alone change its status."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from files import storage, uploads
from files.documents import File, Status
from files.listing import Cursor, Order
from files.reasons import Reason
from files.refusals import Refusal

from .conftest import ROOT, Cast

WRITERS = [ROOT / "files" / "uploads.py", ROOT / "files" / "sweeps.py"]


@pytest.mark.parametrize("year", [1970, 2026, 2037, 2038, 2039, 2100])
def test_a_place_survives_being_written_and_read_to_the_millisecond(year: int) -> None:
    start = datetime(year, 3, 1, 12, 59, 59, tzinfo=UTC)
    places = [Cursor(start + timedelta(milliseconds=number * 7919), f"u/1/{number}") for number in range(1000)]

    assert [Cursor.decode(place.encode()) for place in places] == places


@pytest.mark.parametrize("value", ["", "ü💥", "日本", '"\\', "0" * 128, 0, 1, 2**63 - 1])
def test_a_place_survives_whatever_it_is_sorted_by(value: str | int) -> None:
    place = Cursor(value, "u/1/a")

    assert Cursor.decode(place.encode(), Order.NAME if isinstance(value, str) else Order.SIZE) == place


PLACES = {
    Order.NEWEST: Cursor(datetime(2026, 1, 1, tzinfo=UTC), "u/1/a"),
    Order.NAME: Cursor("report.pdf", "u/1/a"),
    Order.SIZE: Cursor(1_767_225_600_000, "u/1/a"),
}


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("other", Order)
def test_a_place_of_one_order_is_none_of_another(order: Order, other: Order) -> None:
    """A size and a time are both numbers: taken for one another they would skip files."""
    with pytest.raises(ValueError, match="not a cursor") if other != order else contextlib.nullcontext():
        assert Cursor.decode(PLACES[order].encode(), other) == PLACES[order]


@pytest.mark.parametrize("key", ["u/1/a", "", "ü💥", '"\\', "\x00"])
def test_a_place_survives_whatever_the_key(key: str) -> None:
    place = Cursor(datetime(2026, 1, 1, tzinfo=UTC), key)

    assert Cursor.decode(place.encode()) == place
    assert place.encode().replace("-", "").replace("_", "").isalnum(), "it goes into an address as it is"


@pytest.mark.usefixtures("django_db_setup")
def test_a_place_is_that_of_the_file_as_mongodb_keeps_it() -> None:
    moment = uploads.now()
    File(
        key="u/1/a",
        owner_id="1",
        name="a",
        content_type="a/a",
        size=1,
        status=Status.READY,
        created_at=moment,
        ready_at=moment,
        kind="other",
    ).save(force_insert=True)

    assert [row.place(Order.NEWEST) for row in File.page("1", None, 2)] == [Cursor(moment, "u/1/a")]


@pytest.mark.usefixtures("django_db_setup")
def test_the_indexes_are_those_that_the_queries_need() -> None:
    indexes = {tuple(index["key"]) for index in File._get_collection().index_information().values()}

    assert indexes == {
        (("_id", 1),),
        (("owner_id", 1), ("status", 1), ("kind", 1), ("ready_at", -1), ("_id", -1)),
        (("owner_id", 1), ("status", 1), ("kind", 1), ("sort_name", 1), ("_id", 1)),
        (("owner_id", 1), ("status", 1), ("kind", 1), ("size", -1), ("_id", -1)),
        (("owner_id", 1), ("status", 1), ("words", 1)),
        (("status", 1), ("created_at", 1), ("_id", 1)),
        (("created_at", -1), ("_id", -1)),
        (("owner_id", 1), ("status", 1), ("created_at", -1), ("_id", -1)),
        (("check_at", 1),),
        (("expires_at", 1),),
        (("leftovers", 1),),
        (("ready_at", 1),),
        (("rejected_at", 1),),
        (("cleaned", 1),),
    }


@pytest.mark.usefixtures("django_db_setup")
def test_only_files_that_are_asked_for_by_it_are_in_an_index() -> None:
    """So that a signing, and the deletion of what was never confirmed, write to four indexes and not to twelve."""
    new: dict[str, Any] = {"key": "u/1/a", "owner_id": "1", "name": "a", "content_type": "a/a", "size": 1}
    File.insert(**new, created_at=uploads.now(), policy="default", sha256="0" * 64)
    written = File._get_collection().find_one({"_id": "u/1/a"})

    indexes = File._get_collection().index_information().values()
    filters = [index.get("partialFilterExpression", {}) for index in indexes]

    assert len([only for only in filters if all(takes(written, *condition) for condition in only.items())]) == 4


def takes(document: dict[str, Any], field: str, wanted: object) -> bool:
    return field in document if wanted == {"$exists": True} else document[field] == wanted


def test_an_owners_unfinished_uploads_are_found_by_their_index() -> None:
    moment = uploads.now()
    for number in range(600):
        status = Status.PENDING if number % 10 == 0 else Status.READY
        File.objects.insert(
            File(
                key=f"u/1/{number}",
                owner_id=str(number // 10 % 3),
                name="a",
                content_type="a/a",
                size=1,
                status=status,
                created_at=moment - timedelta(seconds=number),
                ready_at=moment,
            )
        )
    wanted = {"find": "files", "filter": {"owner_id": "0", "status": "pending"}, "sort": {"created_at": -1}, "limit": 20}

    plan = File._get_db().command("explain", wanted, verbosity="executionStats")

    found = plan["executionStats"]
    assert "owner_id_1_status_1_created_at_-1__id_-1" in str(plan["queryPlanner"]["winningPlan"])
    assert "'SORT'" not in str(plan["queryPlanner"]["winningPlan"])
    assert (found["nReturned"], found["totalDocsExamined"]) == (20, 20)
    assert [file.key for file in File.unfinished("0", 3)] == ["u/1/0", "u/1/30", "u/1/60"]


# --- who changes a status -------------------------------------------------------------------------------------------


def modules() -> list[Path]:
    return sorted(path for room in ("files", "uploadkit") for path in (ROOT / room).rglob("*.py"))


def names_in(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def calls(tree: ast.AST, *methods: str) -> Iterator[tuple[ast.Call, ast.Attribute]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in methods:
            yield node, node.func


WRITES = (
    *("save", "compare_and_set", "update_if", "modify", "update", "update_one", "upsert_one"),
    *("insert", "delete", "bulk_write", "aggregate", "find_one_and_update"),
)
# Reads files, and writes what happened to them into another collection.
READS = "{'$merge': {'into': cls._get_collection_name(), 'whenMatched': 'replace'}}"


def writes_to_files(source: str) -> list[str]:
    """Where the source writes a File or assigns a status, other than to itself as an exception does."""
    tree = ast.parse(source)
    if "documents" not in source:
        return []
    found = [
        ast.unparse(call)
        for call, chain in calls(tree, *WRITES)
        if names_in(chain) & {"File", "file"} and READS not in ast.unparse(call)
    ]
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        found += [
            ast.unparse(node)
            for target in targets
            if isinstance(target, ast.Attribute) and target.attr == "status" and ast.unparse(target.value) != "self"
        ]
    return found


@pytest.mark.parametrize(
    "path", [path for path in modules() if path not in WRITERS], ids=lambda path: str(path.relative_to(ROOT))
)
def test_no_other_module_writes_a_file(path: Path) -> None:
    assert writes_to_files(path.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "file.status = Status.READY",
        "file.save()",
        "File(key='a').save()",
        "File.objects.ready().update(status='x')",
        "File.objects.delete()",
    ],
)
def test_a_module_that_did_would_be_found(line: str) -> None:
    assert writes_to_files(f"from .documents import File, Status\n{line}") == [ast.unparse(ast.parse(line))]


def test_a_status_is_changed_by_turn_alone_which_names_the_status_it_expects() -> None:
    for path in WRITERS:
        tree = ast.parse(path.read_text())
        others = calls(tree, "modify", "update", "update_one", "note", "find_one_and_update", "bulk_write")

        assert len(list(calls(tree, "compare_and_set"))) >= 2
        assert [ast.unparse(call) for call, _ in others if any(word.arg == "status" for word in call.keywords)] == []


def test_a_document_is_inserted_once_when_it_is_new() -> None:
    """Saving is an upsert: it would bring back a document that a sweep just removed."""
    trees = [ast.parse(path.read_text()) for path in WRITERS]

    assert not [call for tree in trees for call in calls(tree, "save")]
    assert len([call for tree in trees for call in calls(tree, "insert")]) == 1


def test_nothing_leaves_deleting(alice: User, cast: type[Cast]) -> None:
    """Whoever claimed a file may delete its object at any later time, so that the claim must be for good."""
    me = str(alice.pk)
    file = cast.upload(alice)
    ticket = uploads.now() + timedelta(hours=1)
    File.objects.keyed([file.key]).update(status=Status.DELETING, check_at=ticket, trashed_at=uploads.now())
    before = File.objects.get(key=file.key)
    acts: list[Callable[[], object]] = [
        *(lambda: uploads.confirm(me, file.key), lambda: uploads.rename(me, file.key, "b.pdf")),
        *(lambda: uploads.trash(me, [file.key]), lambda: uploads.restore(me, [file.key])),
        *(lambda: uploads.dismiss(me, file.key), lambda: uploads.claim_check(file.key, ticket)),
        *(uploads.due_checks, lambda: uploads.postpone_check(before, timedelta())),
    ]
    # As it was when somebody looked at it, a moment before it was claimed.
    for status in (Status.PENDING, Status.CHECKING):
        was = File(key=file.key, owner_id=me, status=status, check_at=ticket)
        acts += [partial(uploads.pass_checks, was), partial(uploads.reject, was, Reason.MALWARE)]

    for act in acts:
        with contextlib.suppress(Refusal):
            act()
        assert File.objects.get(key=file.key) == before

    assert storage.head(file.key)
