"""A small GitHub: the OAuth pages and the part of the API that a sign-in asks, over real HTTP, as strict as the real one.

Beyond its manners it can misbehave: `answer` puts a canned answer in place of a page, `hold` makes one wait, `down` refuses
connections. `reset` ends all of that.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

AUTHORIZE = "/login/oauth/authorize"
TOKEN = "/login/oauth/access_token"
USER = "/api/v3/user"
EMAILS = "/api/v3/user/emails"
MEMBERSHIPS = "/api/v3/user/memberships/orgs/"

CLIENT_ID = "look-alike-client"
CLIENT_SECRET = "look-alike-secret"


@dataclass
class Person:
    """Somebody with an account at GitHub. Without `emails` the API answers 404, as GitHub's does at times."""

    id: int
    login: str
    name: str | None = None
    email: str | None = None
    emails: list[str] | None = None

    def profile(self) -> dict[str, object]:
        return {"id": self.id, "login": self.login, "name": self.name, "email": self.email, "type": "User"}

    def addresses(self) -> list[dict[str, object]] | None:
        if self.emails is None:
            return None
        return [{"email": email, "primary": email == self.emails[0], "verified": True} for email in self.emails]


HANGS_UP = 0


@dataclass(frozen=True)
class Answer:
    """With the status `HANGS_UP` none at all: the connection ends."""

    status: int
    body: bytes = b""
    content_type: str | None = "application/json; charset=utf-8"
    location: str = ""
    retry_after: str = ""


@dataclass(frozen=True)
class Asked:
    """A request that came in. `values` are its query's, or its form's."""

    path: str
    values: dict[str, str]
    authorization: str


@dataclass
class Grant:
    """What a code stands for, until somebody redeems it."""

    person: Person
    redirect_uri: str
    challenge: str
    scope: list[str]


@dataclass
class GitHub:
    visitor: Person  # who is signed in there, in whichever browser comes
    callback: str = ""  # as registered for the OAuth app
    consents: bool = True
    token_as_json: bool = True
    members: dict[str, dict[int, str]] = field(default_factory=dict)  # of organisations: the states of persons, by their ids
    unapproved: set[str] = field(default_factory=set)  # organisations that have not approved the OAuth app
    asked: list[Asked] = field(default_factory=list)
    grants: dict[str, Grant] = field(default_factory=dict)
    tokens: dict[str, Grant] = field(default_factory=dict)
    canned: dict[str, Answer] = field(default_factory=dict)
    held: dict[str, threading.Event] = field(default_factory=dict)

    def start(self) -> None:
        self.server = self._bound(0)
        self._listen()

    @property
    def port(self) -> int:
        return self.server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.reset()
        self._close()

    def reset(self) -> None:
        """Well-mannered again, and with an empty memory of what was asked."""
        for event in self.held.values():
            event.set()
        self.held, self.canned, self.asked = {}, {}, []
        self.consents = self.token_as_json = True
        self.members, self.unapproved = {}, set()

    def answer(
        self, path: str, status: int, body: object = b"", content_type: str | None = "application/json", retry_after: str = ""
    ) -> None:
        """Answer `path` so from now on. A `body` that is not bytes is sent as JSON."""
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.canned[path] = Answer(status, text, content_type, retry_after=retry_after)

    def hold(self, path: str) -> None:
        """Take requests for `path` and do not answer them before `reset`."""
        self.held[path] = threading.Event()

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections. The port stays ours meanwhile: it is bound, but nobody listens."""
        port = self.port
        self._close()
        self.server = self._bound(port)
        try:
            yield
        finally:
            self._listen()

    def asked_for(self, path: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.path == path]

    def _bound(self, port: int) -> ThreadingHTTPServer:
        github = self

        class Handler(_Handler):
            def setup(self) -> None:
                super().setup()
                self.github = github

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler, bind_and_activate=False)
        server.server_bind()
        return server

    def _listen(self) -> None:
        self.server.server_activate()
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def _close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    # --- its pages --------------------------------------------------------------------------------------------------

    def respond(self, method: str, asked: Asked) -> Answer:
        self.asked.append(asked)
        if asked.path in self.held:
            self.held[asked.path].wait()
        if asked.path in self.canned:
            return self.canned[asked.path]
        match method, asked.path:
            case "GET", "/login/oauth/authorize":
                return self.authorize(asked.values)
            case "POST", "/login/oauth/access_token":
                return self.access_token(asked.values)
            case "GET", "/api/v3/user":
                return self.api(asked, lambda grant: grant.person.profile())
            case "GET", "/api/v3/user/emails":
                return self.api(asked, lambda grant: grant.person.addresses())
        if method == "GET" and asked.path.startswith(MEMBERSHIPS):
            return self.membership(asked, asked.path.removeprefix(MEMBERSHIPS).lower())
        return _json(404, {"message": "Not Found"})

    def authorize(self, query: dict[str, str]) -> Answer:
        wrong = self.fault_of(query)
        if wrong:
            return Answer(400, f"The request is wrong about {wrong}.".encode(), "text/plain")
        if not self.consents:
            error = {"error": "access_denied", "error_description": "The user has denied your application access."}
            return _redirect(query["redirect_uri"], **error, state=query["state"])
        code = secrets.token_hex(10)
        scope = query.get("scope", "").split()
        self.grants[code] = Grant(self.visitor, query["redirect_uri"], query["code_challenge"], scope)
        return _redirect(query["redirect_uri"], code=code, state=query["state"])

    def fault_of(self, query: dict[str, str]) -> str | None:
        """Which parameter of a request to authorize is not as it must be. GitHub would let PKCE be left out."""
        expected = {
            "client_id": query.get("client_id") == CLIENT_ID,
            "redirect_uri": query.get("redirect_uri") == self.callback,
            "state": bool(query.get("state")),
            "code_challenge_method": query.get("code_challenge_method") == "S256",
            "code_challenge": len(query.get("code_challenge", "")) == 43,
        }
        return next((name for name, right in expected.items() if not right), None)

    def access_token(self, form: dict[str, str]) -> Answer:
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return self.token_answer(error="incorrect_client_credentials")
        grant = self.grants.pop(form.get("code", ""), None)
        if grant is None or _challenge(form.get("code_verifier", "")) != grant.challenge:
            return self.token_answer(error="bad_verification_code")
        if form.get("redirect_uri") != grant.redirect_uri:
            return self.token_answer(error="redirect_uri_mismatch")
        token = f"gho_{secrets.token_hex(18)}"
        self.tokens[token] = grant
        return self.token_answer(access_token=token, scope=",".join(grant.scope), token_type="bearer")

    def token_answer(self, **values: str) -> Answer:
        """A refusal is 200 too. GitHub writes a form's encoding for who does not ask for JSON."""
        if self.token_as_json:
            return _json(200, values)
        return Answer(200, urlencode(values).encode(), "application/x-www-form-urlencoded; charset=utf-8")

    def membership(self, asked: Asked, organisation: str) -> Answer:
        """Of whoever has the token. GitHub names an organisation in any case of letters."""
        if organisation in self.unapproved:
            return _json(403, {"message": f"The `{organisation}` organization has enabled OAuth App access restrictions"})

        def read(grant: Grant) -> dict[str, object] | None:
            state = self.members.get(organisation, {}).get(grant.person.id)
            return None if state is None else {"state": state, "role": "member", "organization": {"login": organisation}}

        return self.api(asked, read, "read:org")

    def api(self, asked: Asked, read: Callable[[Grant], object], scope: str = "read:user") -> Answer:
        scheme, _, token = asked.authorization.partition(" ")
        grant = self.tokens.get(token)
        if scheme.lower() not in ("bearer", "token") or grant is None:
            return _json(401, {"message": "Bad credentials"})
        if scope not in grant.scope:
            return _json(403, {"message": f"You need at least {scope} scope."})
        body = read(grant)
        return _json(404, {"message": "Not Found"}) if body is None else _json(200, body)


class _Handler(BaseHTTPRequestHandler):
    github: GitHub

    def do_GET(self) -> None:
        self.send(self.github.respond("GET", self.read(urlsplit(self.path).query)))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send(self.github.respond("POST", self.read(body.decode())))

    def read(self, values: str) -> Asked:
        return Asked(urlsplit(self.path).path, dict(parse_qsl(values)), self.headers.get("Authorization", ""))

    def send(self, answer: Answer) -> None:
        if answer.status == HANGS_UP:
            self.close_connection = True
            return
        headers = {
            "Content-Type": answer.content_type,
            "Location": answer.location,
            "Retry-After": answer.retry_after,
            "Content-Length": str(len(answer.body)),
        }
        with contextlib.suppress(ConnectionError):  # who asked has given up
            self.send_response(answer.status)
            for name, value in headers.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

    def log_message(self, *args: object) -> None:
        """Say nothing: `asked` has it all."""


def _json(status: int, body: object) -> Answer:
    return Answer(status, json.dumps(body).encode())


def _redirect(to: str, **values: str) -> Answer:
    return Answer(302, location=f"{to}?{urlencode(values)}", content_type=None)


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
