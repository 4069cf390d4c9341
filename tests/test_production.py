"""The site as production runs it: DEBUG off, behind a proxy with TLS, each process by its line of the Procfile."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connections
from PIL import Image

from files import limits, storage
from files.documents import File
from uploadkit import localstack
from uploadkit.celery import app as celery
from uploadkit.localstack import HOST, Process
from uploadkit.settings import database

from .processes import BIN, copy_of_the_project, manage, prepare, procfile, run, wait_until, without_configuration

SITE = "https://files.example.com"
PROXY = {"Host": "files.example.com", "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}


class Production:
    """A release of the project: its code in a folder, its configuration in the environment; and alice's session."""

    session: str

    def __init__(self, folder: Path) -> None:
        self.folder = copy_of_the_project(folder / "project")
        self.port = localstack.free_port()
        names = ("REDIS_URL", "R2_ENDPOINT_URL", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_REGION")
        self.environment = without_configuration(
            **{name: os.environ[name] for name in names},
            PATH=f"{BIN}:{os.environ['PATH']}",
            DEBUG="0",
            SECRET_KEY="a-key-for-the-tests-alone-that-nobody-else-has-ever-seen",
            SITE_ORIGINS=SITE,
            TRUSTED_PROXY_COUNT="1",
            HOST=HOST,
            PORT=str(self.port),
            MONGODB_URI=os.environ["MONGODB_URI"] + "_production",
            DATABASE_URL=f"sqlite:///{folder}/users.sqlite3",
            R2_BUCKET=os.environ["R2_BUCKET"] + "-production",
            GITHUB_CLIENT_ID="production-client",
            GITHUB_CLIENT_SECRET="production-secret",
            GITHUB_ALLOWED_USERS="*",
        )

    def process(self, name: str, port: int | None = None, **more: str) -> Process:
        """One line of the Procfile, run by a shell as those who read Procfiles do. The log has its standard output alone."""
        shell = f"cd {shlex.quote(str(self.folder))} && exec {procfile()[name]} 2>{self.errors(name)}"
        environment = [f"{variable}={value}" for variable, value in {**self.environment, **more}.items()]
        # env -i: what tests.servers and pytest put into this environment must not reach production.
        return Process(name, ["env", "-i", *environment, "sh", "-c", shell], port, self.log(name))

    def log(self, name: str) -> Path:
        return self.folder.parent / f"{name}.out"

    def errors(self, name: str) -> Path:
        return self.folder.parent / f"{name}.err"


@contextlib.contextmanager
def running(*processes: Process) -> Iterator[None]:
    group = localstack.Group()
    try:
        group.start(*processes)
        yield
    finally:
        group.stop()


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Production:
    production = Production(tmp_path_factory.mktemp("production"))
    (production.session,) = prepare(production.folder, production.environment, "alice")
    return production


@pytest.fixture(scope="module")
def web(production: Production) -> Iterator[httpx.Client]:
    """The web process as its proxy sees it."""
    process = production.process("web", production.port)
    with running(process), httpx.Client(base_url=f"http://{HOST}:{production.port}", headers=PROXY) as client:
        yield client


# --- what browsers are told -----------------------------------------------------------------------------------------


def test_whoever_comes_by_http_is_sent_to_https(web: httpx.Client) -> None:
    answer = web.get("/login?next=/files/", headers={"X-Forwarded-Proto": "http"})

    assert (answer.status_code, answer.headers["Location"]) == (301, f"{SITE}/login?next=/files/")


def test_browsers_are_told_to_come_by_https_for_a_year(web: httpx.Client) -> None:
    assert web.get("/").headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"


def test_a_host_that_is_not_ours_is_refused(web: httpx.Client) -> None:
    answer = web.get("/", headers={"Host": "evil.example.com"})

    assert answer.status_code == 400
    assert "evil" not in answer.text


@pytest.mark.parametrize("path", ["/", "/login", "/nowhere", "/admin/login/"])
def test_every_page_says_what_it_may_load_and_nothing_inline(web: httpx.Client, production: Production, path: str) -> None:
    headers = web.get(path).headers
    policy = dict(directive.strip().split(" ", 1) for directive in headers["Content-Security-Policy"].split(";"))

    assert "unsafe" not in headers["Content-Security-Policy"]
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["connect-src"] == f"'self' {production.environment['R2_ENDPOINT_URL']}"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_cookies_go_by_https_only(web: httpx.Client) -> None:
    page = web.get("/login")
    token = page.cookies["csrftoken"]
    # The way to GitHub keeps its state in the session.
    cookies = {"Cookie": f"csrftoken={token}", "X-CSRFToken": token, "Origin": SITE}
    start = web.post("/accounts/github/login/", headers=cookies)

    assert start.headers["Location"].startswith("https://github.com/login/oauth/authorize?")
    csrf, session = page.headers["Set-Cookie"], start.headers["Set-Cookie"]
    assert session.startswith("sessionid=")
    assert "Secure" in csrf
    assert "SameSite=Lax" in csrf
    assert all(attribute in session for attribute in ("Secure", "HttpOnly", "SameSite=Lax"))


def test_static_files_have_hashed_names_are_compressed_and_kept_for_good(web: httpx.Client) -> None:
    paths = re.findall(r'(?:href|src)="(/static/[^"]+\.(?:css|js))"', web.get("/login").text)

    assert paths
    for path in paths:
        assert re.search(r"\.[0-9a-f]{12}\.(css|js)$", path), path
        answer = web.get(path, headers={"Accept-Encoding": "gzip"})
        assert answer.status_code == 200
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Cache-Control"] == "max-age=315360000, public, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_sign_in_by_name_alone_does_not_exist(web: httpx.Client) -> None:
    token = web.get("/login").cookies["csrftoken"]
    headers = {"Cookie": f"csrftoken={token}", "X-CSRFToken": token, "Origin": SITE}

    assert web.post("/accounts/laptop", headers=headers, data={"name": "alice"}).status_code == 404


# --- processes ------------------------------------------------------------------------------------------------------


def test_logs_are_on_standard_output(web: httpx.Client, production: Production) -> None:
    web.get("/", headers={"Host": "evil.example.com"})

    log = production.log("web")
    wait_until(lambda: "Invalid HTTP_HOST header: 'evil.example.com'" in log.read_text(), log.read_text())
    assert "evil.example.com" not in production.errors("web").read_text()


def test_the_release_prepares_an_empty_database_and_can_be_repeated(production: Production, tmp_path: Path) -> None:
    environment = production.environment | {
        "DATABASE_URL": f"sqlite:///{tmp_path}/empty.sqlite3",
        "MONGODB_URI": production.environment["MONGODB_URI"] + "_release",
    }
    for _ in range(2):
        done = run(["sh", "-c", procfile()["release"]], production.folder, environment)
        assert done.returncode == 0, done.stderr

    assert manage(production.folder, environment, "migrate", "--check").returncode == 0


def test_the_beat_wakes_the_housekeeper_who_cleans_up_and_the_site_the_worker_for_a_check(
    production: Production, web: httpx.Client
) -> None:
    housekeeper, worker = production.process("housekeeper"), production.process("worker")
    beat = production.process("beat", CLEANUP_EVERY="1s")
    log = production.log("housekeeper")
    with running(housekeeper, beat):
        through = re.compile(r"files\.tasks\.cleanup_pending\S+ succeeded")
        wait_until(lambda: beat.ended or housekeeper.ended or through.search(log.read_text()), "a cleanup is through")

        assert not beat.ended, production.log("beat").read_text()
        assert through.search(log.read_text()), log.read_text()
        assert "cleanup: 0 expired" in log.read_text()

        row = f"/files/{upload_a_picture(production, web)}/row"
        headers = {"Cookie": f"sessionid={production.session}", "HX-Request": "true"}
        with running(worker):
            # Sooner than the beat would have looked for what is due.
            wait_until(lambda: "/thumbnail" in web.get(row, headers=headers).text, "a picture is looked at", within=20)
        assert "files.tasks.check" not in log.read_text()


def upload_a_picture(production: Production, web: httpx.Client) -> str:
    """Its key, once it is confirmed."""
    body = io.BytesIO()
    with Image.new("RGB", (40, 30), "teal") as picture:
        picture.save(body, "PNG")
    token = web.get("/login").cookies["csrftoken"]
    headers = {"Cookie": f"csrftoken={token}; sessionid={production.session}", "X-CSRFToken": token, "Origin": SITE}
    said = {"filename": "cat.png", "contentType": "image/png", "size": len(body.getvalue())}
    signed = web.post("/api/uploads/sign", json=said, headers=headers).raise_for_status().json()
    httpx.put(signed["url"], content=body.getvalue(), headers=signed["headers"]).raise_for_status()
    web.post("/api/uploads/confirm", json={"key": signed["key"]}, headers=headers).raise_for_status()
    return str(signed["key"])


def test_every_process_has_a_line_and_every_line_is_tested() -> None:
    assert set(procfile()) == {"web", "worker", "housekeeper", "beat", "release"}


def test_every_queue_has_a_process_that_takes_from_it_alone_and_a_worker_without_one_takes_from_all() -> None:
    named = re.findall(r"--queues (\S+)", " ".join(procfile().values()))

    assert sorted(named) == sorted(celery.amqp.queues)
    assert celery.amqp.router.route({}, "files.tasks.empty_trash")["queue"].name == "celery"
    assert {celery.amqp.router.route({}, f"files.tasks.{name}")["queue"].name for name in ("check", "work")} == {"long"}


# --- nobody waits for ever ------------------------------------------------------------------------------------------


def test_the_client_of_mongodb_has_time_outs() -> None:
    options = File._get_collection().database.client.options

    assert 0 < options.timeout <= 3
    assert 0 < options.server_selection_timeout <= 3
    assert 0 < options.pool_options.connect_timeout <= 3


def test_the_admins_client_of_mongodb_has_time_outs() -> None:
    options = connections["mongo"].settings_dict["OPTIONS"]

    assert 0 < options["socketTimeoutMS"] <= 10_000
    assert "timeoutMS" not in options, "it would take the place of the two below"
    assert 0 < options["serverSelectionTimeoutMS"] <= 3_000
    assert 0 < options["connectTimeoutMS"] <= 3_000


def test_a_person_never_waits_long_for_the_bucket() -> None:
    timeout = storage._connections().timeout

    assert 0 < timeout.connect_timeout + timeout.read_timeout <= 3  # type: ignore[operator]


def test_a_deletion_of_a_thousand_keys_may_take_its_time_but_not_all_of_it() -> None:
    config = storage._client().meta.config

    assert 0 < config.connect_timeout <= 60  # type: ignore[attr-defined]
    assert 0 < config.read_timeout <= 60  # type: ignore[attr-defined]


def test_the_clients_of_redis_have_time_outs() -> None:
    for client in (limits._spend().registered_client, cache._cache.get_client()):  # type: ignore[attr-defined]
        options = client.connection_pool.connection_kwargs
        assert 0 < options["socket_timeout"] <= 1
        assert 0 < options["socket_connect_timeout"] <= 1
    broker = celery.conf.broker_transport_options
    assert 0 < broker["socket_timeout"] <= 30
    assert 0 < broker["socket_connect_timeout"] <= 30


def test_the_clients_of_the_database_have_time_outs() -> None:
    assert 0 < settings.DATABASES["default"]["OPTIONS"]["timeout"] <= 3
    postgres = database("postgres://alice:secret@db.example.com/files")["OPTIONS"]
    assert 0 < postgres["connect_timeout"] <= 3
    assert 0 < postgres["tcp_user_timeout"] <= 3_000
