"""Every setting, read once from the environment. A bad value stops the start and is named.

The variables are explained in .env.example. Files named by ENV_FILES (by default `.env`) fill in what the environment
does not set.
"""

import contextlib
import os
import re
import ssl
from collections import ChainMap
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from csp.constants import NONE, SELF
from environs import FileAwareEnv, validate
from kombu import Queue
from marshmallow import ValidationError

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = BASE_DIR / "var"  # what a laptop keeps: data of the local servers, users, the beat's clock

with contextlib.suppress(OSError):  # a file system that is read-only does no harm where nothing is kept in there
    VAR.mkdir(exist_ok=True)


class Environment(FileAwareEnv):
    """X_FILE names a file that has the value of X, for secrets."""

    def _get_value(self, env_key: str, default: Any) -> Any:
        file_key = f"{env_key}{self.file_suffix}"
        said = ChainMap(os.environ, self._environ)
        path = said.get(file_key)
        if path and said.get(env_key):
            raise ValueError(f"{env_key} and {file_key} are both set: which of them counts? Unset one.")
        if path and not os.access(path, os.R_OK):
            # One that looks like no path may be the secret itself.
            raise ValueError(f"{file_key} names a file that cannot be read{f': {path}' if path.startswith('/') else '.'}")
        return super()._get_value(env_key, default)


env = Environment(strip_whitespace=True)
for name in os.environ.get("ENV_FILES", ".env").split():
    if (BASE_DIR / name).is_file():
        env.read_env(BASE_DIR / name, recurse=False)


def origin(value: str) -> None:
    """Accept `https://files.example.com` and nothing after the host, since browsers compare origins to the letter."""
    parts = urlsplit(value)
    exact = parts.scheme in ("http", "https") and parts.hostname and value == f"{parts.scheme}://{parts.netloc}".lower()
    exact = exact and not value.endswith({"http": ":80", "https": ":443"}[parts.scheme])  # which browsers leave out
    if not exact or "*" in value:
        raise ValidationError(f"{value!r} is not an origin: write scheme and host only, like https://files.example.com")


def origins(values: list[str]) -> None:
    for value in values:
        origin(value)


def required(name: str, on_a_laptop: str) -> str:
    """Read what production must name. With DEBUG the local servers' value stands in."""
    return (env.str(name, "") or on_a_laptop) if DEBUG else env.str(name, validate=validate.Length(min=1, error="is empty"))


def mongodb_uri(value: str) -> None:
    if not re.match(r"mongodb(\+srv)?://[^/]+/[^/?]+", value):
        raise ValidationError("is not mongodb://host:port/database (the database's name is needed)")


def clamd_url(value: str) -> None:
    parts = urlsplit(value)
    with contextlib.suppress(ValueError):  # what .port raises
        if parts.scheme == "tcp" and parts.hostname and parts.port and not parts.path:
            return
        if not value or (parts.scheme == "unix" and not parts.netloc and len(parts.path) > 1):
            return
    raise ValidationError("is not tcp://host:port or unix:///path")


# With the underscore of those whom an enterprise manages, alice_acme. What older accounts have besides, an id can stand for.
GITHUB_LOGIN = re.compile(r"(?=.{1,39}\Z)[a-z\d]+(-[a-z\d]+)*(_[a-z\d]+)?", re.ASCII | re.IGNORECASE)


def github_logins(values: list[str]) -> None:
    for value in values:
        if not GITHUB_LOGIN.fullmatch(value):
            raise ValidationError(f"{value!r} is no login: GitHub's have letters, digits and single hyphens, and at most 39")


def github_organisations(values: list[str]) -> None:
    github_logins(values)
    for value in values:
        if value.isdecimal():  # it would be taken for a login, which anybody may call theirs
            raise ValidationError(f"{value!r} is an id: name an organisation by its login")


def github_users(values: list[str]) -> None:
    """Accept `*` alone, or logins and ids."""
    if "*" in values and len(values) > 1:
        raise ValidationError("has * beside names: * lets in everybody, so leave out the one or the others")
    if values != ["*"]:
        github_logins(values)


# --- the site -------------------------------------------------------------------------------------------------------

DEBUG = env.bool("DEBUG", False)
SECRET_KEY = required("SECRET_KEY", "django-insecure-for-a-laptop-only")

SITE_ORIGINS: list[str] = env.list(
    "SITE_ORIGINS", ["http://127.0.0.1:8000", "http://localhost:8000"] if DEBUG else [], validate=origins
)
ALLOWED_HOSTS = [urlsplit(site).hostname or "" for site in SITE_ORIGINS]
CSRF_TRUSTED_ORIGINS = SITE_ORIGINS

# How many proxies in front of us append to X-Forwarded-For. 0: nobody does, so the header is not believed.
TRUSTED_PROXY_COUNT = env.int("TRUSTED_PROXY_COUNT", 0, validate=validate.Range(0, 10))
ALLAUTH_TRUSTED_PROXY_COUNT = TRUSTED_PROXY_COUNT

INSTALLED_APPS = [
    "files.admin_site.OperationsConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.github",
    "csp",
    "django_htmx",
    "django_mongodb_backend",
    "files",
    "uploadkit",
]

MIDDLEWARE = [
    "files.vitals.Vitals",
    "files.middleware.RequestIdMiddleware",
    "uploadkit.middleware.Watched",
    "django.middleware.security.SecurityMiddleware",
    "uploadkit.middleware.Compressed",
    "uploadkit.middleware.ContentSecurityPolicy",
    "uploadkit.middleware.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "uploadkit.middleware.Language",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "uploadkit.middleware.Messages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "uploadkit.middleware.Htmx",
    "allauth.account.middleware.AccountMiddleware",
    "files.middleware.RefusalMiddleware",
    "files.middleware.AddressLimitMiddleware",
]

ROOT_URLCONF = "uploadkit.urls"
WSGI_APPLICATION = "uploadkit.wsgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    },
    {  # for what is repeated on a page: templates/files/_rows.jinja
        "BACKEND": "django.template.backends.jinja2.Jinja2",
        "NAME": "compiled",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {"environment": "uploadkit.jinja.environment", "extensions": ["jinja2.ext.i18n"]},
    },
]

# No file is ever posted here; what somebody posts all the same is not written to the disk.
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]  # another is a folder in locale/ and a line here
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_USE_FINDERS = DEBUG

# --- users and sessions: a relational database ----------------------------------------------------------------------


@env.parser_for("database")
def database(url: str) -> dict[str, Any]:
    """Read a database URL and give each engine the time-outs that keep an answer within 3 s when it is down."""
    try:
        parsed: dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=300, conn_health_checks=True))
    except (ValueError, KeyError) as error:
        raise ValidationError(f"is not a database URL like postgres://user:password@host:5432/name ({error})") from error
    engine = parsed["ENGINE"]
    if engine.endswith("sqlite3"):
        # WAL lets readers go on while one writes; IMMEDIATE takes the write lock at once, so that a busy writer is waited
        # for instead of failing half-way through a transaction.
        parsed["OPTIONS"] = {
            "timeout": 2,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
    elif engine.endswith("postgresql"):
        # connect_timeout bounds the way in, in seconds; tcp_user_timeout a network that swallows what is sent, in milliseconds.
        parsed["OPTIONS"] = {"connect_timeout": 2, "tcp_user_timeout": 2500, **parsed.get("OPTIONS", {})}
    return parsed


# --- metadata: MongoDB ----------------------------------------------------------------------------------------------

MONGODB_URI = env.str("MONGODB_URI", "mongodb://127.0.0.1:27017/uploadkit", validate=mongodb_uri)
MONGODB_OPTIONS: dict[str, Any] = {
    # An acknowledged write is one that survives a kill -9: a standalone mongod lost up to 188 of them without the journal.
    "w": "majority",
    "journal": True,
    # Nor is anything decided by what a primary has alone and may lose: a second confirm acknowledged what the first had
    # written, and nobody but a primary that was killed.
    "readConcernLevel": "majority",
    "serverSelectionTimeoutMS": 1500,
    "connectTimeoutMS": 1500,
    # The whole of one operation, retries and all, which it overshoots by up to half a second. The sweep's batches fit.
    "timeoutMS": 2000,
    "tz_aware": True,
}

DATABASES: dict[str, dict[str, Any]] = {
    "default": env.database("DATABASE_URL", f"sqlite:///{VAR / 'db.sqlite3'}"),
    # The admin reads the files' collection through this one; MongoEngine is its only writer.
    "mongo": {
        "ENGINE": "django_mongodb_backend",
        "HOST": MONGODB_URI,
        "NAME": urlsplit(MONGODB_URI).path.lstrip("/"),
        # Operations may ask for more than a page of the site does, and still know in 2 s that it is down. (timeoutMS would
        # take the place of the first two.)
        "OPTIONS": {
            "serverSelectionTimeoutMS": 1500,
            "connectTimeoutMS": 1500,
            "socketTimeoutMS": 10_000,
            "retryReads": False,
        },
    },
}
DATABASE_ROUTERS = ["files.models.MongoRouter"]
# The keys of all that files.views lets somebody delete at once, and beside them the token of the form that undoes it.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5_010
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- counting and queueing: Redis -----------------------------------------------------------------------------------

REDIS_URL = env.str("REDIS_URL", "redis://127.0.0.1:6379/0", validate=validate.Regexp(r"rediss?://.+"))
# A Redis that is frozen must cost a quarter of a second, not the patience of whoever waits.
REDIS_OPTIONS: dict[str, Any] = {"socket_timeout": 0.25, "socket_connect_timeout": 0.25, "retry": None}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "uploadkit",
        "OPTIONS": REDIS_OPTIONS,
    },
    # Of this process alone, for what need not be the same everywhere.
    "local": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}
RATELIMIT_IP_META_KEY = "files.limits.client_address"

# The queue, where it is to have a Redis of its own.
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", REDIS_URL, validate=validate.Regexp(r"rediss?://.+"))
if CELERY_BROKER_URL.startswith("rediss:"):
    CELERY_BROKER_USE_SSL = {"ssl_cert_reqs": ssl.CERT_REQUIRED}  # Celery asks, where redis-py assumes it
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 5, "socket_connect_timeout": 2}
CELERY_TASK_IGNORE_RESULT = True
# What may take minutes must not hold up what the beat wants done within seconds. A worker that is told no queue has both.
CELERY_TASK_QUEUES = (Queue("celery"), Queue("long"))
CELERY_TASK_ROUTES = {name: {"queue": "long"} for name in ("files.tasks.check", "files.tasks.work")}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1  # nor does a worker that is busy keep what another could begin with
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE_FILENAME = env.str("BEAT_SCHEDULE_FILE", str(VAR / "celerybeat-schedule"))
CLEANUP_EVERY = env.timedelta("CLEANUP_EVERY", timedelta(minutes=15), validate=validate.Range(min=timedelta(seconds=1)))
TRASH_LIVES = timedelta(seconds=10)  # in which a deletion can be undone; the templates say so in words

# --- bytes: the bucket ----------------------------------------------------------------------------------------------

R2_BUCKET = required("R2_BUCKET", "uploadkit")
R2_ACCOUNT_ID = env.str("R2_ACCOUNT_ID", "", validate=validate.Regexp(r"([0-9a-f]{32})?\Z"))
if R2_ACCOUNT_ID:
    R2_ENDPOINT_URL = env.str("R2_ENDPOINT_URL", f"https://{R2_ACCOUNT_ID}.r2.cloudflarestorage.com", validate=origin)
else:
    R2_ENDPOINT_URL = required("R2_ENDPOINT_URL", "http://127.0.0.1:8333")
    origin(R2_ENDPOINT_URL)
R2_ACCESS_KEY_ID = required("R2_ACCESS_KEY_ID", "uploadkit")
R2_SECRET_ACCESS_KEY = required("R2_SECRET_ACCESS_KEY", "uploadkit-local")
R2_REGION = env.str("R2_REGION", "auto")
# For `manage.py storage_setup` and `storage_doctor` alone: R2 lets no token of the app's touch the rules of a bucket.
R2_ADMIN_ACCESS_KEY_ID = env.str("R2_ADMIN_ACCESS_KEY_ID", "")
R2_ADMIN_SECRET_ACCESS_KEY = env.str("R2_ADMIN_SECRET_ACCESS_KEY", "")

# --- uploads --------------------------------------------------------------------------------------------------------

MAX_UPLOAD_SIZE = env.int("MAX_UPLOAD_SIZE", 50 * 1024 * 1024, validate=validate.Range(1, 5_363_000_000))
HASH_MAX_SIZE = env.int("HASH_MAX_SIZE", 1024**3, validate=validate.Range(0))
ALLOWED_CONTENT_TYPES: list[str] = env.list("ALLOWED_CONTENT_TYPES", ["*/*"])
SIGNINGS_PER_MINUTE = env.int("SIGNINGS_PER_MINUTE", 20, validate=validate.Range(1, 100_000))
# What all files of one person may come to; None: any. The admin can give somebody limits of their own.
QUOTA_FILES: int | None = env.int("QUOTA_FILES", None, validate=validate.Range(0))
QUOTA_BYTES: int | None = env.int("QUOTA_BYTES", None, validate=validate.Range(0))
PENDING_MAX_AGE = env.timedelta("PENDING_MAX_AGE", timedelta(hours=1), validate=validate.Range(min=timedelta(minutes=2)))

# What an upload may be and what becomes of it, by the name that {% uploader "avatars" %} and a sign request give. A policy
# says in what it differs from the lines above: files/policies.py has what there is to say, `manage.py check` what is wrong.
UPLOAD_POLICIES: dict[str, dict[str, Any]] = {
    "default": {},
    "avatars": {"max_size": 5 * 1024 * 1024, "content_types": ("image/*",), "images": "clean", "max_files": 100},
}
IMAGE_MAX_PIXELS = env.int("IMAGE_MAX_PIXELS", 50_000_000, validate=validate.Range(1, 1_000_000_000))
# For how long a worker has a file to check for itself; after that it is taken for dead, and the check begins anew.
CHECK_LEASE = env.timedelta("CHECK_LEASE", timedelta(minutes=15), validate=validate.Range(min=timedelta(seconds=1)))
CHECKS_EVERY = timedelta(seconds=30)  # look for checks that nobody works on
DAYS_COUNTED_EVERY = timedelta(minutes=5)  # for the dashboard
REJECTED_LIVES = env.timedelta("REJECTED_LIVES", timedelta(days=30), validate=validate.Range(min=timedelta(hours=1)))

# --- the virus scanner ----------------------------------------------------------------------------------------------

CLAMD_URL = env.str("CLAMD_URL", "", validate=clamd_url)
# What is longer is not asked about: past its own MaxFileSize clamd calls clean what it has not looked at. It has no 2 GiB.
CLAMD_MAX_SIZE = env.int("CLAMD_MAX_SIZE", 100 * 1024 * 1024, validate=validate.Range(1, 2**31 - 1))
# A little more than clamd's MaxScanTime, after which it answers of itself.
CLAMD_TIMEOUT = env.timedelta("CLAMD_TIMEOUT", timedelta(seconds=150), validate=validate.Range(min=timedelta(seconds=1)))

# --- limits for an address ------------------------------------------------------------------------------------------

# Anonymous requests of one address, in django-ratelimit's notation.
ADDRESS_RATE = env.str("ADDRESS_RATE", "300/m", validate=validate.Regexp(r"[1-9]\d*/([1-9]\d*)?[smhd]\Z"))
SIGN_IN_RATE = env.str("SIGN_IN_RATE", "30/m", validate=validate.Regexp(r"[1-9]\d*/([1-9]\d*)?[smhd]\Z"))

# --- sign-in --------------------------------------------------------------------------------------------------------

GITHUB_CLIENT_ID = env.str("GITHUB_CLIENT_ID", "")
GITHUB_CLIENT_SECRET = env.str("GITHUB_CLIENT_SECRET", "")
GITHUB_URL = env.str("GITHUB_URL", "https://github.com", validate=origin)
# Who may sign in; uploadkit.allowed asks. files.checks refuses production with neither.
GITHUB_ALLOWED_ORGS: list[str] = env.list("GITHUB_ALLOWED_ORGS", [], subcast=str.strip, validate=github_organisations)
GITHUB_ALLOWED_USERS: list[str] = env.list("GITHUB_ALLOWED_USERS", [], subcast=str.strip, validate=github_users)

# A laptop without a GitHub app signs in by name alone. files.checks makes it an error anywhere else.
LAPTOP_SIGN_IN = DEBUG and not GITHUB_CLIENT_ID
if LAPTOP_SIGN_IN:
    INSTALLED_APPS.append("allauth.socialaccount.providers.dummy")

AUTHENTICATION_BACKENDS = [
    "uploadkit.sessions.PasswordBackend",
    "uploadkit.sessions.GitHubBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "files:list"
LOGOUT_REDIRECT_URL = "landing"
SOCIALACCOUNT_ONLY = True
SOCIALACCOUNT_QUERY_EMAIL = True
SOCIALACCOUNT_PROVIDERS = {
    "github": {
        "APPS": [{"client_id": GITHUB_CLIENT_ID, "secret": GITHUB_CLIENT_SECRET}] if GITHUB_CLIENT_ID else [],
        # Named only for GitHub Enterprise: allauth then asks <url>/api/v3, where github.com has no API.
        **({} if GITHUB_URL == "https://github.com" else {"GITHUB_URL": GITHUB_URL}),
        "OAUTH_PKCE_ENABLED": True,
        "SCOPE": ["read:user", "user:email", *(["read:org"] if GITHUB_ALLOWED_ORGS else [])],
    }
}
ACCOUNT_ADAPTER = "uploadkit.accounts.AccountAdapter"
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email"]
# An email that somebody else's account has already is no reason to refuse, and never one to hand over that account.
ACCOUNT_UNIQUE_EMAIL = False
ACCOUNT_RATE_LIMITS = False  # files.limits guards the sign-in; allauth's own limits would answer 500 with Redis down

SESSION_ENGINE = "uploadkit.sessions"
SESSION_COOKIE_AGE = 14 * 24 * 60 * 60
SESSION_COOKIE_SAMESITE = "Lax"  # the way back from GitHub is a cross-site GET that needs the session
CSRF_FAILURE_VIEW = "files.errors.csrf_failure"
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"

# --- what browsers are told -----------------------------------------------------------------------------------------

# Previews come from the bucket alone: the endpoint may be one that other people's buckets share.
BUCKET_URL = f"{R2_ENDPOINT_URL}/{R2_BUCKET}/"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "worker-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:", BUCKET_URL],
        "media-src": [BUCKET_URL],
        "frame-src": [BUCKET_URL],
        "object-src": [NONE],
        "font-src": [SELF],
        "connect-src": [SELF, R2_ENDPOINT_URL],
        # Chromium holds what a form is redirected to against this one: GitHub by the sign-in, the bucket by a link's download.
        "form-action": [SELF, GITHUB_URL, R2_ENDPOINT_URL],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
if not DEBUG:
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", True)
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", 365 * 24 * 60 * 60)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("SECURE_HSTS_INCLUDE_SUBDOMAINS", True)
    SECURE_HSTS_PRELOAD = SECURE_HSTS_INCLUDE_SUBDOMAINS
    # Also where it is a proxy that redirects.
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT or all(site.startswith("https:") for site in SITE_ORIGINS)
if TRUSTED_PROXY_COUNT:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# --- what operations see ----------------------------------------------------------------------------------------------

# Without these nobody can upload, from the signing to the list. A file that waits for the scanner or a worker is not lost.
READY_NEEDS: list[str] = env.list(
    "READY_NEEDS",
    ["mongodb", "database", "redis", "bucket"],
    validate=validate.ContainsOnly(["mongodb", "database", "redis", "bucket", "queue", "scanner", "worker"]),
)
METRICS_TOKEN = env.str("METRICS_TOKEN", "", validate=validate.Regexp(r"(\S{16,})?\Z", error="has fewer than 16 characters"))
PROMETHEUS_MULTIPROC_DIR = env.str("PROMETHEUS_MULTIPROC_DIR", str(VAR / "metrics"))
SENTRY_DSN = env.str("SENTRY_DSN", "", validate=validate.Regexp(r"(https?://[^@/]+@[^/]+/.+)?\Z", error="is not a DSN"))
SENTRY_ENVIRONMENT = env.str("SENTRY_ENVIRONMENT", "laptop" if DEBUG else "production")
SENTRY_RELEASE = env.str("SENTRY_RELEASE", "")

# --- logs: standard output, for whoever runs the process to keep -----------------------------------------------------

LOG_FORMAT = env.str("LOG_FORMAT", "line" if DEBUG else "json", validate=validate.OneOf(["json", "line"]))
ACCESS_LOG = env.bool("ACCESS_LOG", not DEBUG)  # runserver writes its own
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "uploadkit.logs.Line", "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s"},
        "json": {"()": "uploadkit.logs.Json"},
    },
    "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["stdout"], "level": "INFO"},
    "loggers": {
        "django": {"level": "INFO", "handlers": [], "propagate": True},
        "django.server": {"level": "INFO", "handlers": [], "propagate": True},
        "django.request": {"level": "ERROR" if ACCESS_LOG else "WARNING"},  # or each refusal is two lines
        "boto3": {"level": "WARNING"},
        "botocore": {"level": "WARNING"},
        "pymongo": {"level": "WARNING"},
        "health_check": {"level": "ERROR"},  # files.health says what does not answer, without its traceback
        "PIL": {"level": "CRITICAL"},  # what is wrong with a picture is said by its rejection
    },
}
