"""One user can do nothing with another's files. The test walks the URL conf, so that a new route is covered by itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import URLPattern, URLResolver, get_resolver, path

from files import storage, sweeps, uploads
from files.documents import File
from files.names import made_of
from uploadkit import urls

from .conftest import Cast

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
HTMX = {"HX-Request": "true"}

# Routes that take no key. What they answer is still looked through for anything of alice's.
WITHOUT_A_KEY = {
    "": "the landing page knows nobody",
    "login": "whoever signs in has no files yet",
    "logout": "ends one's own session",
    "accounts/laptop": "makes a session, on a laptop alone",
    "accounts/inactive": "a page without a database",
    "accounts/github/login/": "sends people to GitHub; tests/test_sign_in_github.py",
    "accounts/github/login/callback/": "brings them back; tests/test_sign_in_github.py",
    "files/": "lists one's own; tests/test_list.py",
    "files/unfinished": "lists one's own; tests/test_unfinished.py",
    "s/<str:token>": "is for whoever has the link; tests/test_share.py",
    "s/<str:token>/download": "is for whoever has the link; tests/test_share.py",
    "metrics": "has numbers alone, for staff; tests/test_metrics.py",
    "api/openapi.json": "describes the API, the same for everybody",
    "api/uploads/sign": "makes a new key",
}
# Whole subtrees that are others' work, with their own permissions.
SUBTREES = {
    "accounts/3rdparty/": "allauth's routes know no files",
    "admin/": "asks the admin's permissions on every page; tests/test_admin.py",
}


def routes(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield route
        elif route not in SUBTREES:
            yield from routes(pattern, route)


@dataclass(frozen=True)
class Probe:
    method: str
    route: str
    key: str
    kind: str

    def send(self, client: Client, headers: dict[str, str]) -> Any:
        address = "/" + fill(self.route, self.key)
        form = f"key={self.key}&name=bobs.pdf"
        if self.method in ("GET", "HEAD") and self.kind == "form":
            return client.generic(self.method, address, headers=headers, QUERY_STRING=form)
        if self.kind == "form":
            return client.generic(self.method, address, form, "application/x-www-form-urlencoded", headers=headers)
        return client.generic(self.method, address, json.dumps({"key": self.key}), "application/json", headers=headers)


def fill(route: str, key: str) -> str:
    for blank in ("<path:key>", "<str:key>", "<key>", "<str:token>"):
        route = route.replace(blank, key)
    assert "<" not in route, f"{route} has a part that this test cannot fill: teach it"
    return route


class Secrets:
    """Alice's files, one for each status that may be looked for, and how they were. What is in the trash could be undone."""

    def __init__(self, alice: User, cast: type[Cast]) -> None:
        pending = cast.sign(alice, filename="alices-secret.pdf")
        cast.put(pending)
        ready, trashed = (cast.upload(alice, filename="alices-secret.pdf").key for _ in range(2))
        uploads.trash(str(alice.pk), [trashed])
        File.objects.keyed([ready]).update(thumbnail=made_of(ready, "thumbnail"))
        spoofed = cast.sign(alice, filename="alices-secret.png", content_type="image/png")
        cast.put(spoofed)
        with pytest.raises(uploads.Rejected):
            uploads.confirm(str(alice.pk), spoofed.key)
        self.keys = [ready, pending.key, trashed, spoofed.key]
        self.documents, self.objects = self.documents_now(), self.objects_now()

    def documents_now(self) -> list[object]:
        return list(File.objects.keyed(self.keys).order_by("key").as_pymongo())

    def objects_now(self) -> list[object]:
        return [storage.head(key) for key in self.keys]

    def are_in(self, response: Any) -> bool:
        """Bob and the stranger know the keys here, and may be told what they sent; the name they cannot know."""
        return "alices-secret" in response.content.decode() or "X-Amz-Signature" in response.headers.get("Location", "")


def probes(route: str, secrets: Secrets) -> Iterator[tuple[Probe, dict[str, str]]]:
    for method in METHODS:
        for key in secrets.keys:
            for kind in ("json", "form"):
                for headers in ({}, HTMX):
                    yield Probe(method, route, key, kind), headers


def leaks(route: str, bob: Client, stranger: Client, secrets: Secrets) -> list[str]:
    """What is wrong with a route, as sentences; none if alice has nothing to fear of it."""
    found: list[str] = []
    answers: set[int] = set()
    for probe, headers in probes(route, secrets):
        to_bob, to_stranger = probe.send(bob, headers), probe.send(stranger, headers)
        answers.add(to_bob.status_code)
        if secrets.documents_now() != secrets.documents:
            return [*found, f"{probe} changed alice's files"]
        if secrets.are_in(to_bob) or secrets.are_in(to_stranger):
            found.append(f"{probe} showed alice's file")
        if route not in WITHOUT_A_KEY:
            found += wrong_answers(probe, to_bob, to_stranger)
    if secrets.objects_now() != secrets.objects:
        found.append(f"{route} changed alice's objects")
    if route not in WITHOUT_A_KEY and 404 not in answers:
        found.append(f"{route} looks for no key: if that is right, WITHOUT_A_KEY must say why")
    return found


def wrong_answers(probe: Probe, to_bob: Any, to_stranger: Any) -> Iterator[str]:
    # A form is 400 to what reads JSON, and JSON to what reads a form: a key that was not understood opens nothing.
    if to_bob.status_code not in (400, 404, 405):
        yield f"{probe} answered bob {to_bob.status_code}"
    if to_stranger.status_code not in (302, 401, 405):
        yield f"{probe} answered the stranger {to_stranger.status_code}"
    if to_stranger.status_code == 302 and not to_stranger["Location"].startswith("/login"):
        yield f"{probe} sent the stranger to {to_stranger['Location']}"


ALL = sorted(set(routes(get_resolver(urls.__name__))))


def test_the_routes_of_the_files_are_among_those_that_are_walked() -> None:
    assert {"files/<path:key>/download", "files/<path:key>/delete", "files/confirm"} <= set(ALL)
    assert {"files/<path:key>/rename", "files/<path:key>/row", "files/delete", "files/restore"} <= set(ALL)
    assert {"files/<path:key>/dismiss", "files/<path:key>/thumbnail"} <= set(ALL)
    assert {"api/uploads/confirm", "api/uploads/cancel"} <= set(ALL)


def test_every_reason_is_of_a_route_that_exists() -> None:
    assert WITHOUT_A_KEY.keys() <= set(ALL)


@pytest.mark.parametrize("route", ALL)
def test_bob_and_a_stranger_get_nothing_of_alices(route: str, alice: User, bob: User, cast: type[Cast], settings: Any) -> None:
    settings.ADDRESS_RATE = settings.SIGN_IN_RATE = "10000/m"
    client = Client(raise_request_exception=False)
    client.force_login(bob)
    secrets = Secrets(alice, cast)

    assert leaks(route, client, Client(raise_request_exception=False), secrets) == []


@pytest.mark.parametrize("route", [route for route in ALL if route not in WITHOUT_A_KEY])
def test_alice_herself_is_let_in_so_that_the_refusals_mean_something(route: str, alice: User, cast: type[Cast]) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(alice)
    statuses = set()
    for method in ("GET", "POST"):
        for kind in ("json", "form"):
            for key in Secrets(alice, cast).keys:
                statuses.add(Probe(method, route, key, kind).send(client, {}).status_code)

    assert statuses & {200, 302}


# --- a route that leaks is found ------------------------------------------------------------------------------------


def shows(request: HttpRequest, key: str) -> HttpResponse:
    return HttpResponse(File.objects.get(key=key).name)


def forbids(request: HttpRequest, key: str) -> HttpResponse:
    return HttpResponse(status=403 if request.user.is_authenticated else 401)


def removes(request: HttpRequest) -> HttpResponse:
    data = request.POST or (json.loads(request.body) if request.content_type == "application/json" else {})
    if not request.user.is_authenticated:
        return HttpResponse(status=401)
    if "key" in data:
        file = File.objects.get(key=data["key"])
        sweeps.delete_many([file.key], who="ops:1")
    return HttpResponse(status=404)


def ignores(request: HttpRequest) -> HttpResponse:
    return HttpResponse("fine" if request.user.is_authenticated else "", status=200 if request.user.is_authenticated else 401)


@pytest.mark.parametrize(
    ("view", "route", "complaint"),
    [
        (shows, "leak/<path:key>", "showed alice's file"),
        (shows, "leak/<path:key>/too", "answered bob 200"),
        (forbids, "leak/<str:key>/x", "answered bob 403"),
        (removes, "leak/remove", "changed alice's files"),
        (ignores, "leak/page", "looks for no key"),
    ],
)
def test_a_new_route_that_leaks_is_found(
    view: Any,
    route: str,
    complaint: str,
    alice: User,
    as_bob: Client,
    cast: type[Cast],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conf = ModuleType("leaking_urls")
    monkeypatch.setitem(sys.modules, conf.__name__, conf)
    conf.__dict__["urlpatterns"] = [*urls.urlpatterns, path(route.replace("<str:", "<path:"), view)]
    with override_settings(ROOT_URLCONF=conf.__name__):
        (new,) = set(routes(get_resolver(conf.__name__))) - set(ALL)

        found = leaks(new, as_bob, Client(raise_request_exception=False), Secrets(alice, cast))

    assert any(complaint in sentence for sentence in found), found
