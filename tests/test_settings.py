"""Every setting comes from the environment. A value that cannot be right stops the start and is named."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from uploadkit.localstack import free_port

from .conftest import ROOT
from .processes import BIN, copy_of_the_project, manage, procfile, run, without_configuration
from .sites import PRODUCTION

ORIGIN = "is not an origin: write scheme and host only"


def production(**changes: str | None) -> dict[str, str]:
    """The environment of a site in production. None takes a variable away."""
    wished = {**without_configuration(**PRODUCTION), **changes}
    return {name: value for name, value in wished.items() if value is not None}


def check(*arguments: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    return manage(ROOT, production(**changes), "check", *arguments)


def said_by(done: subprocess.CompletedProcess[str]) -> str:
    """The last line, which is what a person reads first."""
    return done.stderr.strip().splitlines()[-1]


def setting(name: str, folder: Path = ROOT, **environment: str | None) -> str:
    code = f"from uploadkit import settings; print(repr(settings.{name}))"
    done = run([sys.executable, "-c", code], folder, production(**environment))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- what is refused ------------------------------------------------------------------------------------------------

REFUSED = [
    ("SECRET_KEY", None, "not set"),
    ("SECRET_KEY", "", "SECRET_KEY"),
    ("DEBUG", "perhaps", "invalid"),
    ("SITE_ORIGINS", "https://files.example.com/", ORIGIN),
    ("SITE_ORIGINS", "https://files.example.com/uploads", ORIGIN),
    ("SITE_ORIGINS", "https://files.example.com?x", ORIGIN),
    ("SITE_ORIGINS", "files.example.com", ORIGIN),
    ("SITE_ORIGINS", "https://Files.example.com", ORIGIN),
    ("SITE_ORIGINS", "https://files.example.com:443", ORIGIN),
    ("SITE_ORIGINS", "ftp://files.example.com", ORIGIN),
    ("SITE_ORIGINS", "https://files.example.com,https://", ORIGIN),
    ("SITE_ORIGINS", "https://*", ORIGIN),
    ("TRUSTED_PROXY_COUNT", "-1", "greater than or equal to 0"),
    ("TRUSTED_PROXY_COUNT", "many", "integer"),
    ("MONGODB_URI", "mongodb://127.0.0.1:27017", "the database's name is needed"),
    ("MONGODB_URI", "mongodb://127.0.0.1:27017/", "the database's name is needed"),
    ("MONGODB_URI", "127.0.0.1:27017/uploadkit", "mongodb://host:port/database"),
    ("MONGODB_URI", "postgres://127.0.0.1/uploadkit", "mongodb://host:port/database"),
    ("REDIS_URL", "127.0.0.1:6379", "REDIS_URL"),
    ("REDIS_URL", "http://127.0.0.1:6379/0", "REDIS_URL"),
    ("REDIS_URL", "redis://", "REDIS_URL"),
    ("CELERY_BROKER_URL", "amqp://127.0.0.1:5672//", "CELERY_BROKER_URL"),
    ("DATABASE_URL", "nonsense", "is not a database URL"),
    ("DATABASE_URL", "oracledb://x/y", "is not a database URL"),
    ("R2_BUCKET", None, "not set"),
    ("R2_ACCESS_KEY_ID", None, "not set"),
    ("R2_SECRET_ACCESS_KEY", None, "not set"),
    ("R2_BUCKET", "", "R2_BUCKET"),
    ("R2_ACCESS_KEY_ID", "", "R2_ACCESS_KEY_ID"),
    ("R2_SECRET_ACCESS_KEY", "", "R2_SECRET_ACCESS_KEY"),
    ("R2_ACCOUNT_ID", "https://dash.cloudflare.com/0123", "R2_ACCOUNT_ID"),
    ("R2_ENDPOINT_URL", "https://s3.example.com/bucket", ORIGIN),
    ("MAX_UPLOAD_SIZE", "abc", "integer"),
    ("MAX_UPLOAD_SIZE", "0", "greater than or equal to 1"),
    ("MAX_UPLOAD_SIZE", "6000000000", "less than or equal to 5363000000"),
    ("HASH_MAX_SIZE", "-1", "greater than or equal to 0"),
    ("PENDING_MAX_AGE", "soon", "period of time"),
    ("PENDING_MAX_AGE", "30s", "PENDING_MAX_AGE"),
    ("CLEANUP_EVERY", "0s", "CLEANUP_EVERY"),
    ("CLEANUP_EVERY", "often", "period of time"),
    ("SIGNINGS_PER_MINUTE", "0", "greater than or equal to 1"),
    ("CLAMD_URL", "127.0.0.1:3310", "is not tcp://host:port or unix:///path"),
    ("CLAMD_URL", "tcp://127.0.0.1", "is not tcp://host:port or unix:///path"),
    ("CLAMD_URL", "tcp://127.0.0.1:70000", "is not tcp://host:port or unix:///path"),
    ("CLAMD_URL", "unix://run/clamd.ctl", "is not tcp://host:port or unix:///path"),
    ("CLAMD_MAX_SIZE", "3000000000", "less than or equal to 2147483647"),
    ("CLAMD_TIMEOUT", "0s", "CLAMD_TIMEOUT"),
    ("ADDRESS_RATE", "a lot", "ADDRESS_RATE"),
    ("SIGN_IN_RATE", "30", "SIGN_IN_RATE"),
    ("GITHUB_URL", "https://github.example.com/", ORIGIN),
    ("GITHUB_URL", "github.example.com", ORIGIN),
    ("GITHUB_ALLOWED_ORGS", "acme,acme.example", "'acme.example' is no login"),
    ("GITHUB_ALLOWED_USERS", "alice,*", "has * beside names"),
    ("SECURE_SSL_REDIRECT", "maybe", "invalid"),
    ("SECURE_HSTS_SECONDS", "a year", "integer"),
    ("READY_NEEDS", "mongodb,postgres", "READY_NEEDS"),
    ("METRICS_TOKEN", "too-short", "fewer than 16 characters"),
    ("LOG_FORMAT", "xml", "json, line"),
    ("ACCESS_LOG", "perhaps", "invalid"),
    ("SENTRY_DSN", "sentry.example.com", "is not a DSN"),
]


@pytest.mark.parametrize(("name", "value", "sentence"), REFUSED)
def test_a_value_that_cannot_be_right_stops_the_start_and_is_named(name: str, value: str | None, sentence: str) -> None:
    done = check(**{name: value})

    assert done.returncode != 0
    assert name in said_by(done)
    assert sentence in said_by(done)


def test_the_bucket_needs_an_account_or_an_endpoint() -> None:
    done = check(R2_ACCOUNT_ID=None)

    assert done.returncode != 0
    assert "R2_ACCOUNT_ID" in done.stderr or "R2_ENDPOINT_URL" in done.stderr


def test_half_a_pair_of_admin_keys_is_named() -> None:
    done = check(R2_ADMIN_ACCESS_KEY_ID="an-admin-key")

    assert done.returncode != 0
    assert "R2_ADMIN_SECRET_ACCESS_KEY is not set, though its other half is." in done.stderr


def test_without_a_site_every_request_would_be_refused_so_the_check_fails() -> None:
    done = check(SITE_ORIGINS=None)

    assert done.returncode != 0
    assert "files.E005" in done.stderr
    assert "SITE_ORIGINS is not set" in done.stderr


def test_a_scan_that_may_take_longer_than_the_whole_check_fails_the_check() -> None:
    done = check(CLAMD_URL="tcp://127.0.0.1:3310", CLAMD_TIMEOUT="15m", CHECK_LEASE="15m")

    assert done.returncode != 0
    assert "files.E014" in done.stderr
    assert check(CLAMD_TIMEOUT="15m", CHECK_LEASE="15m").returncode == 0, "nothing scans"


def test_a_content_type_that_no_upload_can_have_fails_the_check_and_is_shown() -> None:
    wrong = ["pdf", "image/", "IMAGE/PNG", "image/png;q=1"]

    done = check(ALLOWED_CONTENT_TYPES=",".join(["image/gif", *wrong, "text/*"]))

    assert done.returncode != 0
    assert set(re.findall(r"\(files\.E006\) ALLOWED_CONTENT_TYPES has '(.+?)'", done.stderr)) == set(wrong)


SECRETS = ["SECRET_KEY", "R2_SECRET_ACCESS_KEY", "GITHUB_CLIENT_SECRET"]


def test_a_refused_value_is_named_without_telling_the_secrets_beside_it() -> None:
    done = check(MAX_UPLOAD_SIZE="abc", MONGODB_URI="mongodb://user:a-mongo-password@mongo.example.com")

    told = done.stdout + done.stderr
    assert not [name for name in SECRETS if PRODUCTION[name] in told]
    assert "a-mongo-password" not in told


def test_a_database_url_that_is_refused_does_not_tell_its_password() -> None:
    done = check(DATABASE_URL="postgress://user:a-database-password@db.example.com/uploadkit")

    assert done.returncode != 0
    assert "a-database-password" not in done.stdout + done.stderr


# --- what no process of production starts with ------------------------------------------------------------------------

HTTP_BUCKET: dict[str, str | None] = {"R2_ACCOUNT_ID": None, "R2_ENDPOINT_URL": "http://10.1.2.3:9000"}
UNSAFE: list[tuple[dict[str, str | None], str]] = [
    ({"SECRET_KEY": "short"}, "SECRET_KEY can be guessed"),
    ({"SECRET_KEY": "a" * 60}, "SECRET_KEY can be guessed"),
    ({"SECRET_KEY": "django-insecure-" + PRODUCTION["SECRET_KEY"]}, "SECRET_KEY can be guessed"),
    ({"SITE_ORIGINS": None}, "SITE_ORIGINS is not set"),
    ({"SITE_ORIGINS": "http://127.0.0.1:8000"}, "SECURE_SSL_REDIRECT sends everybody"),
    ({"SITE_ORIGINS": "http://files.example.com", "SECURE_SSL_REDIRECT": "0"}, "SITE_ORIGINS has http://files.example.com"),
    ({"R2_SECRET_ACCESS_KEY": "uploadkit-local"}, "R2_SECRET_ACCESS_KEY is the one of `make run`"),
    (HTTP_BUCKET, "where no browser sends a file to from https://files"),
    ({"GITHUB_CLIENT_ID": None, "GITHUB_CLIENT_SECRET": None}, "Nobody can sign in"),
    ({"GITHUB_ALLOWED_USERS": None}, "neither GITHUB_ALLOWED_ORGS nor GITHUB_ALLOWED_USERS is set"),
    ({"GITHUB_ALLOWED_ORGS": "acme"}, "GITHUB_ALLOWED_USERS is *"),
    ({"DEBUG": "1"}, "DEBUG is on, and SITE_ORIGINS has https://files.example.com"),
]
SAFE: list[dict[str, str | None]] = [
    {},
    {"SITE_ORIGINS": "http://127.0.0.1:8000,http://localhost,http://testserver,http://10.1.2.3", "SECURE_SSL_REDIRECT": "0"},
    {"R2_SECRET_ACCESS_KEY": "uploadkit-local", "R2_ACCOUNT_ID": None, "R2_ENDPOINT_URL": "http://127.0.0.1:8333"},
    {**HTTP_BUCKET, "SITE_ORIGINS": "http://10.1.2.4", "SECURE_SSL_REDIRECT": "0"},
    {"DEBUG": "1", "SITE_ORIGINS": "http://127.0.0.1:8000,http://192.168.1.5:8000", "SECRET_KEY": None},
    {"DEBUG": "1", "SITE_ORIGINS": "http://127.0.0.1:8000", "GITHUB_ALLOWED_USERS": None},
    {"GITHUB_ALLOWED_USERS": "", "GITHUB_ALLOWED_ORGS": "acme"},
    {"GITHUB_ALLOWED_USERS": "alice, 583231", "GITHUB_ALLOWED_ORGS": "acme, globex"},
]
# Children of one process, since to make one takes ten times as long as what is asked of it.
START = """
import json, os, sys
sys.path.insert(0, ".")
import csp.constants, dj_database_url, django.core.checks, environs, environs.fields
for number, environment in enumerate(json.load(sys.stdin)):
    if (child := os.fork()) == 0:
        os.dup2(os.open(f"{sys.argv[1]}/{number}", os.O_CREAT | os.O_WRONLY), 2)
        os.environ.update({k: v for k, v in environment.items() if v is not None})
        for name in [k for k, v in environment.items() if v is None]:
            os.environ.pop(name, None)
        from files.checks import refuse_to_start
        refuse_to_start()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_what_is_unsafe_is_refused_and_named_and_nothing_else_is(tmp_path: Path) -> None:
    wished = [changes for changes, _ in UNSAFE] + SAFE
    environment = {**production(), "DJANGO_SETTINGS_MODULE": "uploadkit.settings"}
    argv = [sys.executable, "-c", START, str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, env=environment, input=json.dumps(wished), capture_output=True, text=True, check=True)

    ended = [int(line) for line in done.stdout.split()]
    said = [(tmp_path / str(number)).read_text() for number in range(len(wished))]
    for (changes, sentence), status, words in zip(UNSAFE, ended[: len(UNSAFE)], said[: len(UNSAFE)], strict=True):
        assert status == 1, changes
        assert words.startswith("uploadkit does not start: "), words
        assert sentence in words
    for changes, status, words in zip(SAFE, ended[len(UNSAFE) :], said[len(UNSAFE) :], strict=True):
        assert (status, words) == (0, ""), changes


def test_every_fault_that_the_checks_name_has_an_id_of_its_own() -> None:
    ids = re.findall(r'\bid="(\w+\.\w+)"', (ROOT / "files" / "checks.py").read_text())

    assert len(ids) > 20
    assert sorted(set(ids)) == sorted(ids)


def test_each_process_of_the_procfile_ends_by_itself_and_says_why() -> None:
    environment = production(SECRET_KEY="short", PATH=f"{BIN}:{os.environ['PATH']}", PORT=str(free_port()))
    lines = [procfile()[name] for name in ("web", "worker", "housekeeper", "beat")]
    with ThreadPoolExecutor() as threads:
        ended = list(threads.map(lambda line: run(["sh", "-c", line], ROOT, environment), lines))

    for done in ended:
        assert done.returncode == 1
        assert "uploadkit does not start: SECRET_KEY can be guessed" in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr


# --- what is accepted -----------------------------------------------------------------------------------------------


def test_production_passes_every_check_that_django_has_for_deployment() -> None:
    done = check("--deploy", "--fail-level", "WARNING")

    assert (done.returncode, done.stderr) == (0, "")
    assert "no issues" in done.stdout


def test_pages_that_would_redirect_to_themselves_are_named_before_a_release() -> None:
    done = check("--deploy", TRUSTED_PROXY_COUNT="0")

    assert (done.returncode, done.stderr.count("files.W030")) == (0, 1), "a web process may speak TLS itself"
    assert "TRUSTED_PROXY_COUNT is 0" in done.stderr
    assert "files.W030" not in check("--deploy", TRUSTED_PROXY_COUNT="0", SECURE_SSL_REDIRECT="0").stderr


@pytest.mark.parametrize(
    "changes",
    [
        {
            "MONGODB_URI": "mongodb://a.example.com:27017,b.example.com:27017/uploadkit?replicaSet=rs0",
            "REDIS_URL": "rediss://:secret@redis.example.com:6380/1",
            "DATABASE_URL": "sqlite:////tmp/uploadkit.sqlite3",
            "R2_ACCOUNT_ID": None,
            "R2_ENDPOINT_URL": "https://s3.eu-central-1.amazonaws.com",
            "R2_REGION": "eu-central-1",
        },
        {
            "ALLOWED_CONTENT_TYPES": "image/*,application/pdf,application/vnd.api+json",
            "SITE_ORIGINS": "https://files.example.com,https://files.example.org:8443",
            "GITHUB_URL": "https://github.example.com",
            "TRUSTED_PROXY_COUNT": "1",
            "CLEANUP_EVERY": "90s",
            "PENDING_MAX_AGE": "7d",
            "MAX_UPLOAD_SIZE": " 1048576 ",
            "CLAMD_URL": "tcp://[::1]:3310",
        },
    ],
    ids=["other servers", "other wishes"],
)
def test_other_values_that_are_right_are_taken(changes: dict[str, str | None]) -> None:
    done = check(**changes)

    assert done.returncode == 0, done.stderr


def test_a_cluster_that_is_found_by_dns_is_taken() -> None:
    uri = "mongodb+srv://user:p%40ss@cluster.example.com/uploadkit?retryWrites=true"

    # Its hosts are in the DNS, which a test has no business to ask: the value is read, no more.
    assert setting("MONGODB_URI", MONGODB_URI=uri) == repr(uri)


def test_the_queue_is_in_the_same_redis_where_nothing_else_is_said() -> None:
    assert setting("CELERY_BROKER_URL") == repr(PRODUCTION["REDIS_URL"])


@pytest.mark.parametrize("name", ["DEBUG", "LAPTOP_SIGN_IN"])
def test_what_is_for_a_laptop_is_off_where_nothing_is_said(name: str) -> None:
    assert setting(name, DEBUG=None) == "False"


def test_with_debug_on_nothing_else_needs_to_be_set() -> None:
    done = manage(ROOT, without_configuration(DEBUG="1"), "check")

    assert done.returncode == 0, done.stderr


# --- where values come from -----------------------------------------------------------------------------------------


def test_any_value_can_be_the_content_of_a_file(tmp_path: Path) -> None:
    """All that the settings read, of which those of the example differ from the defaults; read in one process each way."""
    said = shown() | {name: value for name, value in PRODUCTION.items() if name != "DEBUG"} | SAID
    names = variables_that_settings_read() - {"DEBUG"}
    assert names <= said.keys(), "say something else than the default in SAID"
    in_files: dict[str, str | None] = dict.fromkeys(said)
    for name in names:
        (tmp_path / name).write_text(said[name] + "\n")
        in_files[f"{name}_FILE"] = str(tmp_path / name)

    read, read_from_files = (all_settings(**given) for given in ({name: said[name] for name in names}, in_files))

    assert read == read_from_files
    assert not any(said[name] not in read for name in SAID)


SAID = {
    "R2_ADMIN_ACCESS_KEY_ID": "an-admins-access-key",
    "R2_ADMIN_SECRET_ACCESS_KEY": "an-admins-secret-key",
    "METRICS_TOKEN": "a-token-of-the-metrics",
    "SENTRY_RELEASE": "a-release-of-its-own",
    "SENTRY_ENVIRONMENT": "an-environment-of-its-own",
}


def all_settings(**environment: str | None) -> str:
    code = "from uploadkit import settings as s; print({n: getattr(s, n) for n in dir(s) if n.isupper()})"
    done = run([sys.executable, "-c", code], ROOT, production(**environment))
    assert done.returncode == 0, done.stderr
    return done.stdout


def shown() -> dict[str, str]:
    return dict(re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.+)$", (ROOT / ".env.example").read_text(), re.MULTILINE))


def test_a_value_that_is_given_in_both_ways_is_refused_whichever_counts(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("another-secret")
    done = check(R2_SECRET_ACCESS_KEY_FILE=str(tmp_path / "secret"))

    assert done.returncode != 0
    assert "R2_SECRET_ACCESS_KEY and R2_SECRET_ACCESS_KEY_FILE are both set" in said_by(done)


def test_a_secret_from_a_file_is_read_without_the_newline_at_its_end(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a-secret-of-its-own\n")

    assert setting("SECRET_KEY", SECRET_KEY=None, SECRET_KEY_FILE=str(tmp_path / "secret")) == "'a-secret-of-its-own'"


def test_a_file_that_is_not_there_stops_the_start_and_is_named(tmp_path: Path) -> None:
    done = check(SECRET_KEY=None, SECRET_KEY_FILE=str(tmp_path / "missing"))

    assert done.returncode != 0
    assert said_by(done).endswith(f"SECRET_KEY_FILE names a file that cannot be read: {tmp_path}/missing")


def test_a_secret_in_the_place_of_a_path_is_not_told() -> None:
    done = check(SECRET_KEY=None, SECRET_KEY_FILE="the-secret-itself")

    assert "SECRET_KEY_FILE" in said_by(done)
    assert "the-secret-itself" not in done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project that may have a .env."""
    return copy_of_the_project(tmp_path_factory.mktemp("project"))


def test_env_is_read_and_the_environment_wins_over_it(project: Path) -> None:
    (project / ".env").write_text("MAX_UPLOAD_SIZE=111\nSIGNINGS_PER_MINUTE=7\n")

    read = {name: setting(name, project, ENV_FILES=None, SIGNINGS_PER_MINUTE="8") for name in NUMBERS}

    assert read == {"MAX_UPLOAD_SIZE": "111", "SIGNINGS_PER_MINUTE": "8"}


def test_nothing_but_manage_py_reads_what_a_running_laptop_left(project: Path) -> None:
    """A site in production must never take DEBUG from there."""
    (project / ".env").unlink(missing_ok=True)
    (project / "var").mkdir(exist_ok=True)
    (project / "var" / "local.env").write_text("DEBUG=1\nSIGNINGS_PER_MINUTE=9\n")

    assert setting("SIGNINGS_PER_MINUTE", project, ENV_FILES=None) == "20"


def test_env_wins_over_what_a_running_laptop_left(project: Path) -> None:
    (project / ".env").write_text("MAX_UPLOAD_SIZE=111\n")
    (project / "var").mkdir(exist_ok=True)
    (project / "var" / "local.env").write_text("MAX_UPLOAD_SIZE=222\nSIGNINGS_PER_MINUTE=9\n")

    assert {name: setting(name, project, ENV_FILES=".env var/local.env") for name in NUMBERS} == {
        "MAX_UPLOAD_SIZE": "111",
        "SIGNINGS_PER_MINUTE": "9",
    }


def test_without_env_files_nothing_but_the_environment_is_read(project: Path) -> None:
    (project / ".env").write_text("MAX_UPLOAD_SIZE=111\n")

    assert setting("MAX_UPLOAD_SIZE", project, ENV_FILES="") == str(50 * 1024 * 1024)


NUMBERS = ("MAX_UPLOAD_SIZE", "SIGNINGS_PER_MINUTE")


# --- .env.example ---------------------------------------------------------------------------------------------------


def variables_that_settings_read() -> set[str]:
    """The first arguments of `env.str("NAME", …)` and its kind, and of `required("NAME", …)`."""
    tree = ast.parse((ROOT / "uploadkit" / "settings.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    readers = [call for call in calls if re.fullmatch(r"env\.\w+|required", ast.unparse(call.func))]
    names = [call.args[0].value for call in readers if call.args and isinstance(call.args[0], ast.Constant)]
    return {name for name in names if isinstance(name, str) and name.isupper()}


def explained() -> dict[str, str]:
    """The variables of .env.example, each with the comment above it."""
    found: dict[str, str] = {}
    comment = ""
    for line in (ROOT / ".env.example").read_text().splitlines():
        if match := re.match(r"#?([A-Z][A-Z0-9_]*)=", line):
            found[match[1]] = comment
        else:
            comment = line if line.startswith("# ") else ""
    return found


def test_the_settings_read_as_many_variables_as_one_would_think() -> None:
    assert {"SECRET_KEY", "DATABASE_URL", "CLEANUP_EVERY", "SECURE_HSTS_SECONDS"} < variables_that_settings_read()


def test_every_variable_is_explained_in_the_example() -> None:
    comments = explained()

    assert variables_that_settings_read() - comments.keys() == set()
    assert [name for name, comment in comments.items() if not comment.strip("# -")] == []


def test_the_example_explains_nothing_that_is_not_read() -> None:
    sources = [*(ROOT / "uploadkit").rglob("*.py"), ROOT / "Procfile", ROOT / "Makefile"]
    code = "\n".join(path.read_text() for path in sources)

    assert [name for name in explained() if not re.search(rf"\b{name}\b", code)] == []


def test_the_values_that_the_example_shows_are_good_ones() -> None:
    done = check(**shown())

    assert done.returncode == 0, done.stderr
