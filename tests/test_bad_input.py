"""Whatever is sent to the JSON endpoints of a running site is answered as the OpenAPI document says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client

from .conftest import signed_in
from .faults.api import ALICE, SETTINGS, Answer, Contract, Request, Site, bad_input
from .lifecycle import put_object
from .sites import running_site

SIGN = b"/api/uploads/sign"
FORM = b'--x\r\nContent-Disposition: form-data; name="filename"\r\n\r\nreport.pdf\r\n--x--\r\n'


@pytest.fixture
def site(transactional_db: None, alice: User, bob: User, tmp_path: Path) -> Iterator[Site]:
    sessions = {user.username: signed_in(user).cookies["sessionid"].value for user in (alice, bob)}
    with running_site(tmp_path, **SETTINGS) as origin:
        yield Site(origin, sessions, put_object, tmp_path / "site.log")


def test_500_requests_of_any_kind_are_answered_as_the_document_says(site: Site) -> None:
    report = bad_input(site, cases=500, seed=1)

    assert not report.failed, report
    assert report.cases >= 500
    assert report.statuses >= {"200", "202", "400", "401", "403", "404", "405", "409", "422"}, report


TYPES = {
    "a parameter in a charset that nobody knows": b"application/json; x*=nope''v",
    "a charset with a NUL": b"application/json; charset*=utf-8''%00",
    "a parameter's part of a number without end": b"application/json; x*%b=1" % (b"9" * 5000),
    "a parameter with and without a number": b"application/json; x*=a; x*0=b",
    "a charset that is no text": b"multipart/form-data; boundary=x; charset=hex",
    "a charset that cannot replace what it cannot read": b"multipart/form-data; boundary=x; charset=idna",
}


def test_a_content_type_that_cannot_be_read_is_refused_as_any_body_that_is_no_json(site: Site) -> None:
    contract = Contract(site.document())
    answers = {}
    for name, kind in TYPES.items():
        request = Request(b"POST", SIGN, (*ALICE, (b"Content-Type", kind)), FORM)
        answer = site.send(site.filled(request))
        answers[name] = contract.fault(request, answer) or (answer and answer.status)

    assert answers == dict.fromkeys(TYPES, 400)
    assert not site.bugs()


# --- the judge --------------------------------------------------------------------------------------------------------

JSON = {"content-type": "application/json", "cache-control": "no-store"}


def refused(status: int, code: str, sentence: str = "No.", **headers: str) -> Answer:
    return Answer(status, {**JSON, **headers}, json.dumps({"error": sentence, "code": code}).encode())


WRONG = {
    "a 500": refused(500, "bug"),
    "a status that is not in the document": refused(418, "invalid"),
    "a 503 though nothing is down": refused(503, "unavailable", **{"retry-after": "5"}),
    "another status's code": refused(400, "signed_out"),
    "an error that is no sentence": refused(401, "signed_out", "Signed out"),
    "no Retry-After": refused(429, "rate_limited"),
    "a Retry-After that is no number": refused(429, "rate_limited", **{"retry-after": "soon"}),
    "a page": Answer(400, {"content-type": "text/html"}, b"<h1>Bad Request</h1>"),
    "JSON that is none": Answer(400, JSON, b"{"),
    "a field too many": Answer(400, JSON, b'{"error": "No.", "code": "invalid", "more": 1}'),
    "a reason that nobody knows": Answer(422, JSON, b'{"error": "No.", "code": "rejected", "reason": "ugly"}'),
    "an upload without its URL": Answer(200, JSON, b'{"key": "x"}'),
    "a 405 to a POST": refused(405, "method_not_allowed", allow="POST"),
    "no answer": None,
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG)
def test_the_judge_sees(stranger: Client, answer: Answer | None) -> None:
    contract = Contract(stranger.get("/api/openapi.json").json())

    assert contract.fault(Request(b"POST", SIGN), answer)


def test_the_judge_lets_pass_what_is_described(stranger: Client) -> None:
    contract = Contract(stranger.get("/api/openapi.json").json())

    assert contract.fault(Request(b"POST", SIGN), refused(401, "signed_out")) is None
    assert contract.fault(Request(b"GET", SIGN), refused(405, "method_not_allowed", allow="POST")) is None
    assert contract.fault(Request(b"POST", b"/api/nowhere"), refused(404, "not_found")) is None
    assert contract.fault(Request(b"POST", SIGN), Answer(400, {}, b"")) is None, "granian's own, to what is no HTTP"
