from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.core.cache import cache, caches
from django.core.management import call_command
from django.test import Client

from files import checking, storage, uploads
from files.documents import File, Status

from .clamd import Clamd, require


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The tables that tests made, from whichever process they ran in."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    for report in reports:
        for name, table in getattr(report, "user_properties", []):
            if name == "table" and report.when == "call":
                title, _, lines = table.partition("\n")
                terminalreporter.section(title)
                terminalreporter.write_line(lines)


@pytest.fixture(scope="session", autouse=True)
def bucket() -> None:
    storage.set_up(["http://testserver"])


@pytest.fixture(scope="session", autouse=True)
def static_root(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Pages name their static files by the manifest, which collectstatic writes."""
    settings.STATIC_ROOT = tmp_path_factory.mktemp("staticfiles")
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix() -> None:
    """tests.servers gave every worker databases of its own already."""


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: Any) -> None:
    """The worker's own SQLite file, which the processes that some tests start share with it."""
    with django_db_blocker.unblock():
        call_command("migrate", verbosity=0)
        call_command("ensure_indexes", verbosity=0, stdout=io.StringIO())
        empty_mongodb()  # of what the release noted, so that each test begins alike


def empty_mongodb() -> None:
    database = File._get_db()
    for name in database.list_collection_names(filter={"type": "collection"}):
        database[name].delete_many({})


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    empty_mongodb()
    cache.clear()  # empties Redis as a whole
    caches["local"].clear()


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", "alice@example.com")


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_user("bob", "bob@example.com")


@pytest.fixture
def ops(db: None) -> User:
    return User.objects.create_superuser("ops", "ops@example.com", "a long enough password")


@pytest.fixture(scope="session")
def clamd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clamd]:
    """A virus scanner for all tests that name its `url` in the settings. Thaw it if you freeze it, and kill one of your own."""
    require()
    with Clamd(tmp_path_factory.mktemp("clamd")).running() as clamd:
        yield clamd


def signed_in(user: User) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(user)
    return client


@pytest.fixture
def as_alice(alice: User) -> Client:
    return signed_in(alice)


@pytest.fixture
def as_bob(bob: User) -> Client:
    return signed_in(bob)


@pytest.fixture
def as_ops(ops: User) -> Client:
    return signed_in(ops)


@pytest.fixture
def clerk(db: None) -> Callable[..., Client]:
    """A staff user with the permissions named."""

    def make(*permissions: str, name: str = "clerk") -> Client:
        user = User.objects.create_user(name, is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        return signed_in(user)

    return make


@pytest.fixture
def stranger(db: None) -> Client:
    return Client(raise_request_exception=False)


_http = httpx.Client()  # making one takes longer than a PUT


class Cast:
    """What the tests do again and again, through the lifecycle itself."""

    @staticmethod
    def sign(
        owner: User,
        *,
        filename: str = "report.pdf",
        content_type: str = "application/pdf",
        size: int = 5,
        sha256: str | None = None,
    ) -> uploads.Signed:
        return uploads.sign(str(owner.pk), filename=filename, content_type=content_type, size=size, sha256=sha256)

    @staticmethod
    def put(signed: uploads.Signed, body: bytes = b"%PDF-") -> httpx.Response:
        return _http.put(signed.put.url, content=body, headers=signed.put.headers)

    @classmethod
    def upload(
        cls, owner: User, body: bytes = b"%PDF-", *, filename: str = "report.pdf", content_type: str = "application/pdf"
    ) -> File:
        """A READY file."""
        sha256 = hashlib.sha256(body).hexdigest()
        signed = cls.sign(owner, filename=filename, content_type=content_type, size=len(body), sha256=sha256)
        assert cls.put(signed, body).status_code == 200
        return cls.checked(uploads.confirm(str(owner.pk), signed.key))

    @staticmethod
    def checked(file: File) -> File:
        """The file after the checks that a worker would make."""
        if file.status == Status.CHECKING and file.check_at:
            checking.check(file.key, file.check_at)
        return File.objects.get(key=file.key)  # type: ignore[no-any-return]


@pytest.fixture
def cast() -> type[Cast]:
    return Cast


def post_json(client: Client, path: str, body: object, **headers: str) -> Any:
    return client.post(path, body, content_type="application/json", headers=headers)


ROOT = Path(__file__).parent.parent
