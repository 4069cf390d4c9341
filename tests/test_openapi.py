"""GET /api/openapi.json: a valid document, and each thing that it says is what the endpoints do."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from django.contrib.auth.models import User
from django.test import Client
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

import files
from files import openapi, shares, urls
from files.forms import Invalid
from files.names import KEY
from files.refusals import Refusal

from .conftest import Cast, post_json, signed_in
from .faults.api import PNG, Answer, Contract, Request
from .lifecycle import put_object
from .place import visitor
from .sites import running_site

HERE = "/api/openapi.json"
SIGN, CONFIRM, CANCEL, DIAGNOSE = ENDPOINTS = tuple(
    f"/api/uploads/{name}" for name in ("sign", "confirm", "cancel", "diagnose")
)
WISH = {"filename": "report.pdf", "contentType": "application/pdf", "size": 5}
NOWHERE = "u/1/aaaaaaaaaaaaaaaaaaaaa-x"


@pytest.fixture
def contract(stranger: Client) -> Contract:
    return Contract(stranger.get(HERE).json())


def parts(document: Any) -> Iterator[dict[str, Any]]:
    """Every object in it, at any depth."""
    if isinstance(document, dict):
        yield document
    if isinstance(document, dict | list):
        for value in document.values() if isinstance(document, dict) else document:
            yield from parts(value)


# --- the document -----------------------------------------------------------------------------------------------------


def test_it_is_openapi_3_1_and_all_its_schemas_are_json_schema(contract: Contract) -> None:
    OPENAPI_31_VALIDATOR.validate(contract.document)
    schemas = [part["schema"] for part in parts(contract.document) if "schema" in part]
    for schema in [*schemas, *contract.document["components"]["schemas"].values()]:
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_every_example_fits_its_schema(contract: Contract) -> None:
    media = [part for part in parts(contract.document) if "schema" in part and ("example" in part or "examples" in part)]
    assert len(media) > 20
    for part in media:
        examples = [one["value"] for one in part.get("examples", {}).values()]
        for example in [*examples, *([part["example"]] if "example" in part else [])]:
            assert contract.valid(part["schema"], example), example


def test_every_route_of_the_api_is_in_it_and_no_other(contract: Contract) -> None:
    routes = {f"/{pattern.pattern}" for pattern in urls.urlpatterns if str(pattern.pattern).startswith("api/")}

    assert contract.document["paths"].keys() == routes


def test_every_refusal_there_is_is_in_it(contract: Contract) -> None:
    """All but those of pages alone."""
    for module in pkgutil.iter_modules(files.__path__, "files."):
        importlib.import_module(module.name)
    of_pages = (shares.TooManyLinks,)
    kinds = {(kind.code, kind.status) for kind in Refusal.__subclasses__() if kind not in (Invalid, *of_pages)}
    kinds |= {("invalid", Invalid.status), *Invalid.KINDS.items()}

    assert {(code, str(int(status))) for code, status in kinds} <= {(code, status) for _, status, code in documented(contract)}


def test_it_is_for_everybody_and_for_caches(stranger: Client) -> None:
    answer = stranger.get(HERE)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
    assert "Vary" not in answer.headers and not answer.cookies
    assert stranger.head(HERE).status_code == 200


def test_whoever_is_signed_in_gets_the_same_without_a_look_at_the_session(
    as_alice: Client, stranger: Client, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0):
        answer = as_alice.get(HERE)

    assert answer.content == stranger.get(HERE).content
    assert "Vary" not in answer.headers


def test_limits_and_types_are_those_of_the_settings(stranger: Client, settings: Any) -> None:
    settings.MAX_UPLOAD_SIZE = 12345
    settings.ALLOWED_CONTENT_TYPES = ["image/png"]
    settings.UPLOAD_POLICIES = {"default": {}, "scans": {"max_size": 99, "extensions": ("pdf", "tiff"), "max_files": 3}}

    fields = body_of(stranger.get(HERE).json(), SIGN)["properties"]

    assert fields["size"]["maximum"] == 12345, "that of the policy which takes most"
    assert fields["policy"]["enum"] == ["default", "scans", "", None]
    assert fields["policy"]["description"].splitlines()[1:] == [
        "- `default`: image/png, up to 12345 bytes",
        "- `scans`: image/png, names that end in pdf, tiff, up to 99 bytes, 3 files a day",
    ]


# --- requests: what fits the schema is taken, and the next that does not is refused -----------------------------------


def body_of(document: dict[str, Any], path: str) -> dict[str, Any]:
    return document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]  # type: ignore[no-any-return]


EDGES: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"more": [1]}, True),
    ({"filename": "a"}, True),
    ({"filename": ""}, False),
    ({"filename": "a" * 256}, True),
    ({"filename": "a" * 257}, False),
    ({"filename": None}, False),
    ({"size": 1}, True),
    ({"size": 0}, False),
    ({"size": 50 * 1024 * 1024}, True),
    ({"size": 50 * 1024 * 1024 + 1}, False),
    ({"size": "5"}, False),
    ({"size": True}, False),
    ({"contentType": None}, True),
    ({"contentType": ""}, True),
    ({"filename": "a.txt", "contentType": "text/plain; charset=utf-8"}, True),
    ({"contentType": "text"}, False),
    ({"contentType": "a" * 127 + "/b"}, True),
    ({"contentType": "a" * 128 + "/b"}, False),
    ({"contentType": "a/b;" + "c" * 1020}, True),
    ({"contentType": "a/b;" + "c" * 1021}, False),
    ({"contentType": 5}, False),
    ({"sha256": None}, True),
    ({"sha256": ""}, True),
    ({"sha256": "0aF9" * 16}, True),
    ({"sha256": "0aF9" * 16 + "\n"}, False),
    ({"sha256": "0" * 63}, False),
    ({"sha256": "0" * 65}, False),
    ({"sha256": "g" * 64}, False),
    ({"sha256": 5}, False),
    ({"policy": None}, True),
    ({"policy": ""}, True),
    ({"policy": "default"}, True),
    ({"policy": "nobodys"}, False),
    ({"policy": ["default"]}, False),
]


@pytest.mark.parametrize(("change", "right"), EDGES, ids=[str(change)[:40] for change, _ in EDGES])
def test_a_wish_is_signed_if_it_fits_the_schema(
    as_alice: Client, contract: Contract, change: dict[str, Any], right: bool
) -> None:
    assert contract.valid(body_of(contract.document, SIGN), WISH | change) is right
    assert (post_json(as_alice, SIGN, WISH | change).status_code == 200) is right


@pytest.mark.parametrize("field", ["filename", "contentType", "size"])
def test_a_field_is_required_if_the_schema_says_so(as_alice: Client, contract: Contract, field: str) -> None:
    wish = {name: value for name, value in WISH.items() if name != field}

    required = field in body_of(contract.document, SIGN)["required"]
    assert (post_json(as_alice, SIGN, wish).status_code == 200) is not required


@pytest.mark.parametrize("key", [None, "", 5, "x" * 1025, "u/1/nowhere"])
@pytest.mark.parametrize("path", [CONFIRM, CANCEL, DIAGNOSE])
def test_a_key_that_does_not_fit_opens_nothing(as_alice: Client, contract: Contract, path: str, key: object) -> None:
    assert not contract.valid(body_of(contract.document, path), {"key": key})
    assert post_json(as_alice, path, {"key": key}).status_code in (400, 404)


# --- answers: each status and code that the document names, from the real thing ---------------------------------------


def documented(contract: Contract) -> set[tuple[str, str, str]]:
    """Path, status and code; for an answer of success the code is empty."""
    found = set()
    for path, operations in contract.document["paths"].items():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                schema = response["content"]["application/json"]["schema"]
                codes = schema["properties"]["code"]["enum"] if int(status) >= 400 else [""]
                found |= {(path, status, code) for code in codes}
    return found


class Asking:
    """Everything that alice was answered, by what she did."""

    def __init__(self, alice: User, cast: type[Cast], settings: Any) -> None:
        self.alice, self.cast, self.settings = alice, cast, settings
        self.signed_in = signed_in(alice)
        self.careful = Client(enforce_csrf_checks=True)
        self.careful.force_login(alice)
        self.stranger = Client()

    def everywhere(self, path: str) -> Iterator[Any]:
        usual = "get" if path == HERE else "post"
        yield getattr(self.signed_in, usual)(path, headers={"Host": "evil.example"})
        yield self.signed_in.put(path)
        self.settings.ADDRESS_RATE = "1/d"
        yield from [getattr(self.stranger, usual)(path) for _ in range(2)]
        self.settings.ADDRESS_RATE = "1000/m"

    def endpoint(self, path: str) -> Iterator[Any]:
        yield from self.everywhere(path)
        yield post_json(self.careful, path, {})
        yield post_json(self.signed_in, path, {})

    def sign(self) -> Iterator[Any]:
        yield from self.endpoint(SIGN)
        yield post_json(self.signed_in, SIGN, WISH)
        yield post_json(self.signed_in, SIGN, WISH | {"size": 10**10})
        self.settings.QUOTA_FILES = 0
        yield post_json(self.signed_in, SIGN, WISH)
        self.settings.QUOTA_FILES = None
        self.settings.ALLOWED_CONTENT_TYPES = ["image/*"]
        yield post_json(self.signed_in, SIGN, WISH)
        self.settings.SIGNINGS_PER_MINUTE = 1
        yield post_json(self.signed_in, SIGN, WISH)

    def confirm(self) -> Iterator[Any]:
        yield from self.endpoint(CONFIRM)
        signed = self.cast.sign(self.alice)
        yield post_json(self.signed_in, CONFIRM, {"key": NOWHERE})
        yield post_json(self.signed_in, CONFIRM, {"key": signed.key})
        put_object(signed.key, b"something else")
        yield post_json(self.signed_in, CONFIRM, {"key": signed.key})
        put_object(signed.key)
        yield post_json(self.signed_in, CONFIRM, {"key": signed.key})
        for body in (PNG, b"%PDF-1.7"):
            picture = self.cast.sign(self.alice, filename="a.png", content_type="image/png", size=len(body))
            self.cast.put(picture, body)
            yield post_json(self.signed_in, CONFIRM, {"key": picture.key})

    def cancel(self) -> Iterator[Any]:
        yield from self.endpoint(CANCEL)
        yield post_json(self.signed_in, CANCEL, {"key": NOWHERE})
        yield post_json(self.signed_in, CANCEL, {"key": self.cast.upload(self.alice).key})
        yield post_json(self.signed_in, CANCEL, {"key": self.cast.sign(self.alice).key})

    def diagnose(self) -> Iterator[Any]:
        yield from self.endpoint(DIAGNOSE)
        yield post_json(self.signed_in, DIAGNOSE, {"key": NOWHERE})
        yield post_json(self.signed_in, DIAGNOSE, {"key": self.cast.sign(self.alice).key})

    def here(self) -> Iterator[Any]:
        yield from self.everywhere(HERE)


@pytest.mark.parametrize(
    ("path", "ask"),
    [
        (HERE, Asking.here),
        (SIGN, Asking.sign),
        (CONFIRM, Asking.confirm),
        (CANCEL, Asking.cancel),
        (DIAGNOSE, Asking.diagnose),
    ],
)
def test_each_answer_that_it_names_is_given_and_is_as_described(
    alice: User, cast: type[Cast], settings: Any, contract: Contract, path: str, ask: Callable[[Asking], Iterator[Any]]
) -> None:
    reached = set()
    for answer in ask(Asking(alice, cast, settings)):
        headers = {name.lower(): value for name, value in answer.headers.items()}
        request = Request(answer.request["REQUEST_METHOD"].encode(), path.encode())
        assert contract.fault(request, Answer(answer.status_code, headers, answer.content)) is None
        code = answer.json().get("code", "")
        reached.add((path, str(answer.status_code), code))
        if code in SAID_ALIKE:
            examples = response_of(contract, path, answer.status_code)["examples"]
            assert answer.json() == examples[code]["value"]

    assert reached == {one for one in documented(contract) if one[0] == path and one[1] != "503"}


# Sentences without a number or a name in them: the document's example is the very answer.
SAID_ALIKE = {"signed_out", "csrf", "method_not_allowed", "not_found", "not_uploaded", "already_ready", "bad_request"}


def response_of(contract: Contract, path: str, status: int) -> dict[str, Any]:
    operations = contract.document["paths"][path].values()
    return next(iter(operations))["responses"][str(status)]["content"]["application/json"]  # type: ignore[no-any-return]


@pytest.mark.django_db(transaction=True)
def test_what_is_down_is_said_as_described(alice: User, contract: Contract, tmp_path: Path) -> None:
    session = signed_in(alice).cookies["sessionid"].value
    nothing = {"MONGODB_URI": "mongodb://127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1/0"}

    with running_site(tmp_path, **nothing) as origin, visitor(origin, session) as client:
        wish = {**WISH, "key": f"u/{alice.pk}/aaaaaaaaaaaaaaaaaaaaa-x"}
        answers = {path: client.post(path, json=wish) for path in ENDPOINTS}

    for path, answer in answers.items():
        assert answer.status_code == 503
        response = response_of(contract, path, 503)
        assert contract.valid(response["schema"], answer.json())
        assert answer.headers["Retry-After"] == openapi.UNAVAILABLE.headers["Retry-After"]  # type: ignore[index]
    assert answers[CONFIRM].json() == response_of(contract, CONFIRM, 503)["examples"]["unavailable"]["value"]


def test_the_links_of_an_upload_lead_to_what_can_be_done_with_its_key(as_alice: Client, contract: Contract) -> None:
    links = contract.document["paths"][SIGN]["post"]["responses"]["200"]["links"].values()
    ids = {
        operation["operationId"]: path for path, methods in contract.document["paths"].items() for operation in methods.values()
    }

    assert [ids[link["operationId"]] for link in links] == [CONFIRM, CANCEL, DIAGNOSE]
    assert all(link["requestBody"] == {"key": "$response.body#/key"} for link in links)
    assert KEY.fullmatch(post_json(as_alice, SIGN, WISH).json()["key"])
