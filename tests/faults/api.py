"""Whatever may be sent to the JSON endpoints: never a 500, and never an answer that the OpenAPI document does not describe.

    python -m tests.faults.api --cases 20000 --seed 1

Half of the cases are of hypothesis strategies of our own, which write the request down to its bytes: method, target, headers,
framing, body. The other half is what schemathesis makes of the document: data that fit it, data that do not, and uploads
that go from sign to confirm or cancel by the document's links. All are judged by the document that the site serves.

A request names people and uploads by their state, like `@alice@` and `@ready@`; each case makes the upload anew, so that it
fails again when it is sent again, and can be made smaller.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import random
import re
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

import httpx
import hypothesis
import jsonschema_rs
import requests
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from schemathesis import GenerationMode

from tests.faults import CSRF, Stack
from tests.faults.load import stack_of_our_own
from uploadkit import localstack

PATIENCE = 20  # seconds; who waits longer hangs
A_ROUND = 500  # cases of one seed: hypothesis remembers all that it tried
STEPS = 8  # that schemathesis takes along the document's links
WITH_TOKEN = {"X-CSRFToken": CSRF}
BODY = b"%PDF-"
WISH = {"filename": "report.pdf", "contentType": "application/pdf", "size": len(BODY)}
PNG = b"\x89PNG\r\n\x1a\n"  # enough to be looked at
PICTURE = {"filename": "a.png", "contentType": "image/png", "size": len(PNG)}
SETTINGS = {  # of the site: no limit in the way, and a type that is refused
    "SIGNINGS_PER_MINUTE": "100000",
    "ADDRESS_RATE": "1000000/s",
    "ALLOWED_CONTENT_TYPES": "application/*,image/png,text/plain",
}


# --- a request, down to its bytes -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    framing: str = "length"  # or chunked, none, short: more is announced than comes

    def wire(self, host: str) -> bytes:
        names = {name.lower() for name, _ in self.headers}
        headers = [*self.headers, *(() if b"host" in names else [(b"Host", host.encode())]), *self._frame()]
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (self.method, self.target, head, self._content())

    def _frame(self) -> list[tuple[bytes, bytes]]:
        if self.framing == "chunked":
            return [(b"Transfer-Encoding", b"chunked")]
        length = len(self.body) + (self.framing == "short")
        return [] if self.framing == "none" else [(b"Content-Length", b"%d" % length)]

    def _content(self) -> bytes:
        if self.framing == "chunked":
            return (b"%x\r\n%b\r\n" % (len(self.body), self.body) if self.body else b"") + b"0\r\n\r\n"
        return b"" if self.framing == "none" else self.body

    @property
    def path(self) -> bytes:
        return unquote_to_bytes(self.target.partition(b"?")[0])

    def __str__(self) -> str:
        """As a command, with the people and uploads by their names."""
        names = {name.lower() for name, _ in self.headers}
        headers = [*self.headers] if b"content-type" in names or not self.body else [*self.headers, (b"Content-Type", b"")]
        framing = [(b"Transfer-Encoding", b"chunked")] if self.framing == "chunked" else []
        told = " ".join(f"-H {quoted(name + b': ' + value if value else name + b':')}" for name, value in [*headers, *framing])
        pipe = f"printf {quoted(self.body.replace(b'%', b'%%'))} | " if self.body else ""
        data = " --data-binary @-" if self.body else ""
        url = quoted(b"http://127.0.0.1:8000" + self.target)
        return f"{pipe}curl -i --path-as-is -X {quoted(self.method)} {told}{data} {url}"


def quoted(raw: bytes) -> str:
    """For bash."""
    safe = "".join(chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\x{byte:02x}" for byte in raw)
    return f"$'{safe}'"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


# --- the site, and what is there --------------------------------------------------------------------------------------


@dataclass
class Site:
    """`put` writes an object of a type past its upload URL; `log` is what the site wrote."""

    origin: str
    sessions: dict[str, str]
    put: Callable[[str, bytes, str], object]
    log: Path

    def __post_init__(self) -> None:
        self.people = {name: self._client(name) for name in self.sessions}

    def cookies(self, name: str) -> dict[str, str]:
        return {"sessionid": self.sessions[name], "csrftoken": CSRF}

    def _client(self, name: str) -> httpx.Client:
        return httpx.Client(
            base_url=self.origin, cookies=self.cookies(name), headers=WITH_TOKEN, timeout=PATIENCE, trust_env=False
        )

    def close(self) -> None:
        for client in self.people.values():
            client.close()

    def document(self) -> dict[str, Any]:
        return httpx.get(f"{self.origin}/api/openapi.json", trust_env=False).json()  # type: ignore[no-any-return]

    def filled(self, request: Request) -> Request:
        """With session keys and uploads for their names."""
        headers = tuple((name, NAMED.sub(self._of, value)) for name, value in request.headers)
        return replace(request, headers=headers, body=NAMED.sub(self._of, request.body))

    def _of(self, found: re.Match[bytes]) -> bytes:
        name = found[1].decode()
        return (self.sessions[name] if name in self.sessions else self.upload(name)).encode()

    def upload(self, state: str) -> str:
        """The key of a new upload in that state."""
        owner = self.people["bob" if state == "bobs" else "alice"]
        wish = PICTURE if state in ("picture", "checking", "spoofed") else WISH
        key: str = owner.post("/api/uploads/sign", json=wish).raise_for_status().json()["key"]
        if state in ARRIVE:
            self.put(key, ARRIVE[state], str(wish["contentType"]))
        if state in ("ready", "checking", "canceled"):
            owner.post(f"/api/uploads/{'cancel' if state == 'canceled' else 'confirm'}", json={"key": key}).raise_for_status()
        return key

    def send(self, request: Request) -> Answer | None:
        """What the site answers; None if it ends the connection without a word."""
        host = urlsplit(self.origin).netloc
        with socket.create_connection(tuple(host.split(":")), timeout=PATIENCE) as connection:  # type: ignore[arg-type]
            with contextlib.suppress(ConnectionError):  # it may answer before it has read everything
                connection.sendall(request.wire(host))
            if request.framing == "short":
                return None
            try:
                answer = http.client.HTTPResponse(connection, method=request.method.decode("latin-1"))
                answer.begin()
                return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
            except (ConnectionError, http.client.BadStatusLine):
                return None

    def bugs(self) -> int:
        """How many requests ended by an exception that nobody caught, by the log: also those that got no answer."""
        return len(
            re.findall(r"Internal Server Error|Application callable raised|panicked", self.log.read_text(errors="replace"))
        )


# What is in the bucket of an upload in that state. A spoofed one is no picture, and so is rejected when it is confirmed.
ARRIVE = {
    "arrived": BODY,
    "ready": BODY,
    "other": BODY * 2,
    "picture": PNG,
    "checking": PNG,
    "spoofed": b"%PDF-1.7",
}
STATES = ["pending", *ARRIVE, "canceled", "bobs"]
NAMED = re.compile(rf"@(alice|bob|{'|'.join(STATES)})@".encode())


# --- the judge --------------------------------------------------------------------------------------------------------


class Contract:
    """The document, as a judge of answers."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.validators: dict[str, jsonschema_rs.Validator] = {}

    def named(self) -> list[tuple[str, str]]:
        """Each path and status that a run can reach: the limits are high, and all servers are up."""
        paths = self.document["paths"].items()
        named = [(path, status) for path, methods in paths for method in methods.values() for status in method["responses"]]
        return [(path, status) for path, status in named if status not in ("429", "503")]

    def fault(self, request: Request, answer: Answer | None) -> str | None:
        """What is wrong with the answer, as a sentence; None if nothing is."""
        if answer is None:
            return None if request.framing == "short" else "the connection ended without an answer"
        if self.of_the_server(answer):
            return None
        response = self.response(request, answer.status)
        if response is None:
            return f"{answer.status} is not in the document: {answer.body[:200]!r}"
        if answer.status == http.client.SERVICE_UNAVAILABLE:
            return "503, though all servers are up"
        return self.of_headers(response, answer) or self.of_body(request, response, answer)

    @staticmethod
    def of_the_server(answer: Answer) -> bool:
        """Whether granian refused it before there was a request: its answers to malformed HTTP have no body and no type."""
        return answer.status in (400, 414, 431) and not answer.body and "content-type" not in answer.headers

    def status(self, answer: Answer | None) -> str:
        if answer is None:
            return "cut off"
        return "granian's own" if self.of_the_server(answer) else str(answer.status)

    def endpoint(self, request: Request) -> str:
        path = request.path.decode(errors="replace")
        return path if path in self.document["paths"] else "elsewhere in /api/"

    def response(self, request: Request, status: int) -> dict[str, Any] | None:
        """What the document says of that status for such a request."""
        operations = self.document["paths"].get(request.path.decode(errors="replace"))
        method = request.method.decode("latin-1").upper()  # Django knows "post" too
        if operations is None:
            return {404: self.error("not_found"), 400: self.error("bad_request")}.get(status)
        operation = operations.get("get" if method == "HEAD" else method.lower())
        if operation is None:
            return {405: self.error("method_not_allowed", "Allow"), 400: self.error("bad_request")}.get(status)
        found: dict[str, Any] | None = operation["responses"].get(str(status))
        return None if status == http.client.METHOD_NOT_ALLOWED else found

    @staticmethod
    def error(code: str, *headers: str) -> dict[str, Any]:
        schema = {"$ref": "#/components/schemas/Error", "properties": {"code": {"const": code}}}
        described = {name: {"$ref": f"#/components/headers/{name}"} for name in ("Cache-Control", *headers)}
        return {"headers": described, "content": {"application/json": {"schema": schema}}}

    def of_headers(self, response: dict[str, Any], answer: Answer) -> str | None:
        if answer.headers.get("content-type") != "application/json":
            return f"{answer.status} is of type {answer.headers.get('content-type')}"
        for name in response.get("headers", {}):
            described = self.document["components"]["headers"][name]
            value = answer.headers.get(name.lower())
            if value is None and described.get("required"):
                return f"{answer.status} without {name}"
            if value is not None and not self.valid(described["schema"], number_or_text(described["schema"], value)):
                return f"{answer.status} with {name}: {value}"
        return None

    def of_body(self, request: Request, response: dict[str, Any], answer: Answer) -> str | None:
        if request.method == b"HEAD":
            return None  # http.client would not read one
        try:
            body = json.loads(answer.body)
        except ValueError:
            return f"{answer.status} is not JSON: {answer.body[:200]!r}"
        if not self.valid(response["content"]["application/json"]["schema"], body):
            return f"{answer.status} is not of its schema: {answer.body[:300]!r}"
        return None

    def valid(self, schema: dict[str, Any], value: object) -> bool:
        text = json.dumps(schema)
        if text not in self.validators:
            whole = {**schema, "components": self.document["components"]}
            self.validators[text] = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        return self.validators[text].is_valid(value)


def number_or_text(schema: dict[str, Any], value: str) -> int | str:
    return int(value) if schema["type"] == "integer" and value.isdecimal() else value


# --- requests of our own ----------------------------------------------------------------------------------------------

ENDPOINTS = [b"/api/uploads/sign", b"/api/uploads/confirm", b"/api/uploads/cancel", b"/api/uploads/diagnose"]
FOLDERS = [b"", b"uploads", b"uploads/", b"uploads/sign/", b"../files/", b"/"]
CHARSETS = ["utf-8", "utf-16", "utf-7", "hex", "idna", "punycode", "base64", "unicode_escape", "nonsense", "", "\xff", "%00"]
TEXT = st.text(st.characters(), max_size=300)  # lone surrogates too
HEADER_BYTES = st.binary(max_size=60).map(lambda raw: bytes(b for b in raw if b >= 32 and b != 127))
SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    st.sampled_from([2**31, 2**63, 2**64, 10**400, -(10**400), 1e308, "", "\0", "\ud800", "a" * 2000, "\u0958" * 200]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=8
)
NAMES = st.one_of(TEXT, st.sampled_from(["report.pdf", "a/b\\c.txt", "..", "/", "\u202e", "\u200d", "e\u0301.png", "x" * 257]))
TYPES = st.sampled_from([None, "", " ", "application/pdf", "text/html", "IMAGE/png; q=1", "x", "a/b;\r\n", "text/" + "x" * 128])
UPLOADS = st.sampled_from(STATES).map("@{}@".format)
NO_UPLOADS = st.one_of(
    st.from_regex(r"u/[0-9]{1,20}/[A-Za-z0-9_-]{21}-[a-z0-9_.-]{1,80}", fullmatch=True),
    NAMES,
    st.sampled_from(["u/1/../../x", {"$ne": None}, {"$gt": ""}, ["@ready@"]]),
)
KEYS = st.integers(0, 3).flatmap(lambda dice: UPLOADS if dice else NO_UPLOADS)  # one_of takes each strategy once


SIZES = st.sampled_from([5, 1, 0, -1, 60_000_000]) | st.integers(1, 10**6)
POLICIES = st.sampled_from([None, "", "default", "avatars", "nobodys", "__class__"])
RIGHT: dict[str, st.SearchStrategy[Any]] = {
    "filename": NAMES,
    "contentType": TYPES,
    "size": SIZES,
    "policy": POLICIES,
    "key": KEYS,
}
ODD = {name: right | VALUES for name, right in RIGHT.items()}
WISHES = [("filename", "contentType", "size"), ("filename", "size"), ("filename", "size", "policy"), tuple(RIGHT)]


@st.composite
def a_body(draw: st.DrawFn, target: bytes) -> bytes:
    """JSON that is meant, and things in its place."""
    kinds = draw(st.sampled_from([RIGHT, RIGHT, ODD]))
    names = draw(st.sampled_from(WISHES)) if b"sign" in target else ("key",)
    data: Any = {name: draw(kinds[name]) for name in names}
    if draw(st.integers(0, 9)) == 0:
        data = draw(VALUES | st.dictionaries(TEXT, VALUES, max_size=3).map(lambda more: {**data, **more}))
    return draw(written(json.dumps(data, ensure_ascii=draw(st.booleans()))))


NO_JSON = [
    *[b"[" * 16_000, b'{"a":' * 3_000, b'{"size":' + b"9" * 5_000 + b"}", b'{"size":1e999}', b'{"size":-NaN}'],
    b'--x\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n\xff\r\n--x--\r\n',
    b"csrfmiddlewaretoken=%ff",
]


def written(text: str) -> st.SearchStrategy[bytes]:
    """The text as bytes: mostly as it is, sometimes spoiled."""
    raw = text.encode("utf-8", "surrogatepass")
    spoiled = st.one_of(
        st.binary(max_size=100),
        st.integers(0, len(raw)).map(lambda end: raw[:end]),
        st.tuples(st.integers(0, len(raw)), st.binary(max_size=3)).map(lambda cut: raw[: cut[0]] + cut[1] + raw[cut[0] :]),
        st.sampled_from(["utf-16", "utf-32", "utf-8-sig"]).map(lambda name: text.encode(name, "surrogatepass")),
        st.sampled_from([16 * 1024, 16 * 1024 + 1, 70_000]).map(raw.ljust),
        st.just(raw[:-1] + b', "size": 1, "size": 5, "key": 1, "key": "@ready@"}'),
        st.sampled_from(NO_JSON),
    )
    return st.integers(0, 4).flatmap(lambda dice: st.just(raw) if dice else spoiled)


KINDS = ["application/json", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "", "x", "a/b"]
PARAMETERS = st.sampled_from(["charset", "charset*", "boundary", "boundary*", "x*", "x*0", "x*1*", f"x*{'9' * 5000}", "", "q"])
PARAMETER_VALUES = st.sampled_from([*CHARSETS, *(f"{charset}''%00" for charset in CHARSETS), "x", '"', "\\", "a" * 300])


@st.composite
def a_content_type(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(KINDS))
    for name, value in draw(st.lists(st.tuples(PARAMETERS, PARAMETER_VALUES), max_size=3)):
        kind += f"; {name}={value}"
    return kind.encode("latin-1")


TOKEN = (b"X-CSRFToken", CSRF.encode())
COOKIES = (b"Cookie", b"sessionid=@alice@; csrftoken=" + CSRF.encode())
ALICE = (COOKIES, TOKEN)
WHO = st.sampled_from(
    [
        *[ALICE] * 8,
        (COOKIES,),
        ((b"Cookie", b"sessionid=@alice@"), TOKEN),
        (COOKIES, (b"X-CSRFToken", b"\xff" * 32)),
        ((b"Cookie", b"sessionid=gonegonegonegonegonegonegonegone"),),
        (),
    ]
)
ODD_COOKIES = [
    b'sessionid="12345678\\000"',
    b'sessionid="\\377\\376aaaaaaaa"',
    b"sessionid=\xff\xff\xff\xff\xff\xff\xff\xff",
    b"sessionid=",
    b"=;;=",
    b"csrftoken=\xff",
]
ODD_ORIGINS = [b"null", b"http://[", b"http://evil.example", b"\xff", b"http://127.0.0.1:99999", b"file://"]
ODD_HOSTS = [b"", b"evil.example", b"a b", b"[::1", b"127.0.0.1:99999", b"localhost", b"\xff"]
ODD_LENGTHS = [b"-1", b"1, 2", b"9" * 30, b"0x5", b"", b"+5"]
READ_BY_SOMEBODY = [
    *[b"Accept", b"Accept-Language", b"Accept-Encoding", b"Range", b"HX-Request", b"If-None-Match", b"If-Modified-Since"],
    *[b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-HTTP-Method-Override", b"Content-Encoding"],
    *[b"Upgrade", b"Connection"],
]


def header(names: list[bytes], *values: bytes) -> st.SearchStrategy[tuple[bytes, bytes]]:
    return st.tuples(st.sampled_from(names), st.sampled_from(values) | HEADER_BYTES if values else HEADER_BYTES)


ODD_HEADERS = st.one_of(
    header([b"Cookie"], *ODD_COOKIES),
    header([b"Origin", b"Referer"], *ODD_ORIGINS),
    header([b"Host"], *ODD_HOSTS),
    header([b"Content-Length", b"content_length"], *ODD_LENGTHS),
    header([b"Transfer-Encoding"], b"chunked", b"gzip", b"identity", b"chunked, chunked"),
    header([b"Expect"], b"100-continue"),
    header(READ_BY_SOMEBODY),
    st.tuples(st.just(b"X-Long"), st.integers(1, 100_000).map(lambda length: b"x" * length)),
    st.tuples(st.binary(min_size=1, max_size=10), st.binary(max_size=20)),
)


@st.composite
def a_target(draw: st.DrawFn) -> bytes:
    target = draw(st.sampled_from([*ENDPOINTS * 3, b"/api/openapi.json"]))
    if draw(st.integers(0, 9)) == 0:
        escaped = st.binary(max_size=30).map(lambda raw: b"".join(b"%%%02x" % byte for byte in raw))
        target = b"/api/" + draw(st.sampled_from(FOLDERS)) + re.sub(rb"[ #?]", b"", draw(escaped | HEADER_BYTES))
    query = draw(HEADER_BYTES) if draw(st.integers(0, 4)) == 0 else b""
    return target + (b"?" + re.sub(rb"[ #]", b"%20", query) if query else b"")


@st.composite
def a_request(draw: st.DrawFn) -> Request:
    target = draw(a_target())
    usual = b"GET" if target.startswith(b"/api/openapi.json") else b"POST"
    other = st.sampled_from(
        [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"PROPFIND", b"post", b"X"]
    )
    method = draw(other) if draw(st.integers(0, 9)) == 0 else usual
    headers = [*draw(WHO)]
    if draw(st.booleans()):
        headers.append((b"Content-Type", draw(st.just(b"application/json") | a_content_type())))
    if draw(st.integers(0, 3)) == 0:
        headers += draw(st.lists(ODD_HEADERS, max_size=3))
    framing = draw(st.sampled_from([*["length"] * 20, "chunked", "none", "short"]))
    return Request(method, target, tuple(headers), draw(a_body(target)), framing)


# --- the requests of schemathesis -------------------------------------------------------------------------------------


def made_by_schemathesis(schema: Any) -> st.SearchStrategy[Request]:
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    return st.one_of(*(schema.as_strategy(generation_mode=mode) for mode in modes)).map(of_case)


def of_case(case: schemathesis.Case[Any]) -> Request:
    """Sent by alice, whatever schemathesis made up for her cookies."""
    arguments = case.as_transport_kwargs(base_url="http://site")
    made = requests.Request(**{**arguments, "cookies": {}}).prepare()
    kept = [name for name in made.headers if name.lower() in ("content-type", "accept")]
    headers = (*ALICE, *((encoded(name), encoded(made.headers[name])) for name in kept))
    return Request(encoded(made.method or ""), encoded(made.path_url), headers, encoded(made.body or b""))


def encoded(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


# --- all of it --------------------------------------------------------------------------------------------------------


class Fault(Exception):
    pass


@dataclass
class Report:
    seed: int
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)  # by endpoint and status
    kinds: Counter[str] = field(default_factory=Counter)  # of cases
    errors: int = 0  # 500s
    out_of_shape: int = 0  # those too
    smallest: dict[str, str] = field(default_factory=dict)  # each fault's sentence, and the request that brings it about
    in_the_log: int = 0
    seconds: float = 0
    never: list[str] = field(default_factory=list)  # what the document names and nothing brought about

    @property
    def cases(self) -> int:
        return sum(self.kinds.values())

    @property
    def statuses(self) -> set[str]:
        return {status for _, status in self.answers}

    @property
    def failed(self) -> bool:
        return bool(self.smallest or self.errors or self.out_of_shape or self.in_the_log)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds.items())
        endpoints = sorted({endpoint for endpoint, _ in self.answers})
        lines = [
            f"{self.cases} cases in {self.seconds:.0f} s, seed {self.seed} ({kinds})",
            *(f"  {endpoint:22}{by_status(self.answers, endpoint)}" for endpoint in endpoints),
            *([f"  never answered        {', '.join(self.never)}"] if self.never else []),
            f"  500s                  {self.errors} answered, {self.in_the_log} exceptions in the log",
            f"  answers out of shape  {self.out_of_shape}",
            *(f"FAULT: {sentence}\n  {request}" for sentence, request in self.smallest.items()),
        ]
        if self.smallest:
            lines.append(
                "(@alice@ is a session key of somebody signed in; @ready@ and its like the key of an upload in that state)"
            )
        return "\n".join(lines)


def by_status(answers: Counter[tuple[str, str]], endpoint: str) -> str:
    return "  ".join(f"{status}: {count}" for (where, status), count in sorted(answers.items()) if where == endpoint)


@dataclass
class Run:
    """Cases for a site, judged. A fault is made as small as hypothesis can, once; its likes are counted after that."""

    site: Site
    report: Report

    def __post_init__(self) -> None:
        self.contract = Contract(self.site.document())
        self.schema = schemathesis.openapi.from_dict(self.contract.document)
        self.failing: dict[str, str] = {}  # the smallest so far

    def cases(self, count: int) -> None:
        """A half of them our own, a tenth along links, the rest of schemathesis."""
        ours, linked = count // 2, count // 10
        self.rounds(ours, lambda seed, left: self.requests("of our own", a_request(), seed, left))
        self.rounds(linked, self.linked)
        rest = made_by_schemathesis(self.schema)
        self.rounds(count - ours - linked, lambda seed, left: self.requests("of schemathesis", rest, seed, left))
        self.report.never = [
            f"{path} {status}" for path, status in self.contract.named() if not self.report.answers[path, status]
        ]

    def rounds(self, count: int, one: Callable[[int, int], None]) -> None:
        wanted, seed = self.report.cases + count, self.report.seed
        while self.report.cases < wanted:
            self.failing = {}
            try:
                one(seed, min(A_ROUND, wanted - self.report.cases))
            except Exception:
                if not self.failing:
                    raise
                self.report.smallest |= self.failing
            seed += 1

    def requests(self, kind: str, maker: st.SearchStrategy[Request], seed: int, count: int) -> None:
        @hypothesis.seed(seed)
        @hypothesis.settings(self.settings(count))
        @given(request=maker)
        def judged(request: Request) -> None:
            self.judge(kind, request, lambda: self.site.send(self.site.filled(request)))

        judged()

    def linked(self, seed: int, count: int) -> None:
        """Sign, then what the document links to with the key that was answered, in whatever order and again."""
        run = self

        class Flow(self.schema.as_state_machine()):  # type: ignore[misc]
            def call(self, case: schemathesis.Case[Any], **arguments: Any) -> schemathesis.Response:
                return case.call(
                    base_url=run.site.origin, cookies=run.site.cookies("alice"), headers=WITH_TOKEN, timeout=PATIENCE
                )

            def validate_response(
                self, response: schemathesis.Response, case: schemathesis.Case[Any], **arguments: Any
            ) -> None:
                headers = {name: values[0] for name, values in response.headers.items()}
                answer = Answer(response.status_code, headers, response.content)
                run.judge("along links", of_case(case), lambda: answer)

        steps = min(STEPS, count)
        settings = hypothesis.settings(self.settings(count // steps), stateful_step_count=steps)
        hypothesis.seed(seed)(Flow).run(settings=settings)

    @staticmethod
    def settings(count: int) -> hypothesis.settings:
        checks = list(HealthCheck)
        return hypothesis.settings(max_examples=count, database=None, deadline=None, suppress_health_check=checks)

    def judge(self, kind: str, request: Request, send: Callable[[], Answer | None]) -> None:
        self.report.kinds[kind] += 1
        try:
            answer = send()
            fault = self.contract.fault(request, answer)
        except TimeoutError:
            answer, fault = None, f"no answer within {PATIENCE} s"
        where, status = self.contract.endpoint(request), self.contract.status(answer)
        self.report.answers[where, status] += 1
        self.report.errors += status == "500"
        if fault:
            self.report.out_of_shape += 1
            if not any(known.startswith(f"{where} {status}: ") for known in self.report.smallest):
                self.failing = {f"{where} {status}: {fault}": str(request)}
                raise Fault(f"{where} {status}")


def bad_input(site: Site, cases: int, seed: int) -> Report:
    """Send so many requests to a site that runs."""
    report = Report(seed)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hypothesis-") as folder, contextlib.closing(site):
        set_hypothesis_home_dir(folder)
        before = site.bugs()
        Run(site, report).cases(cases)
        report.in_the_log = site.bugs() - before
    report.seconds = time.monotonic() - began
    return report


def site_of(stack: Stack) -> Site:
    def put(key: str, body: bytes, content_type: str) -> object:
        return stack.bucket.put_object(Bucket=localstack.BUCKET, Key=key, Body=body, ContentType=content_type)

    sessions = dict(zip(("alice", "bob"), stack.sessions, strict=False))
    return Site(stack.site, sessions, put, stack.folder.parent / "log" / "web.log")


def main() -> int:
    parser = argparse.ArgumentParser(description="Send the JSON endpoints whatever may be sent.")
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    with stack_of_our_own(**SETTINGS) as stack:
        report = bad_input(site_of(stack), options.cases, options.seed)
    sys.stdout.write(f"{report}\n")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
