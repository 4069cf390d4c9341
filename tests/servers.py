"""A pytest plugin that starts the real servers before Django reads its settings, and points the settings at them.

One set of servers for a run, on free ports, with data in a temporary folder; each xdist worker has a Mongo database, a bucket,
a Redis database and an SQLite file of its own.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import pytest

from uploadkit import localstack

FOLDER = "UPLOADKIT_TEST_FOLDER"  # set by the process that starts the servers, read by xdist's workers
PORTS = "UPLOADKIT_TEST_PORTS"  # mongod, Valkey, SeaweedFS


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    if worker == "main":
        start(early_config)
    point_settings_at_servers(worker)


def start(config: pytest.Config) -> None:
    stack = contextlib.ExitStack()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="uploadkit-", ignore_cleanup_errors=True)))
    servers = stack.enter_context(localstack.running(folder))
    os.environ[FOLDER] = str(folder)
    os.environ[PORTS] = " ".join(str(server.port) for server in servers.values())
    config.add_cleanup(stack.close)


def point_settings_at_servers(worker: str) -> None:
    mongo, redis, s3 = os.environ[PORTS].split()
    folder = Path(os.environ[FOLDER])
    number = 0 if worker == "main" else int(worker.removeprefix("gw")) + 1
    os.environ |= {
        "ENV_FILES": "",  # whatever somebody has in .env is no business of the tests
        "DEBUG": "0",
        "SECRET_KEY": "a-key-for-the-tests-alone-that-nobody-else-has-ever-seen",
        "SITE_ORIGINS": "http://testserver,http://127.0.0.1,http://localhost",
        "SECURE_SSL_REDIRECT": "0",
        "MONGODB_URI": f"mongodb://127.0.0.1:{mongo}/test_{worker}",
        "REDIS_URL": f"redis://127.0.0.1:{redis}/{number}",
        "DATABASE_URL": f"sqlite:///{folder / worker}.sqlite3",
        **localstack.s3_environment(int(s3), bucket=f"test-{worker}"),
        "GITHUB_CLIENT_ID": "test-client",
        "GITHUB_CLIENT_SECRET": "test-secret",
        "GITHUB_ALLOWED_USERS": "*",
        "BEAT_SCHEDULE_FILE": str(folder / f"{worker}-beat"),
        "PROMETHEUS_MULTIPROC_DIR": str(folder / f"{worker}-metrics"),
    }
    elsewhere = ("R2_ACCOUNT_ID", "R2_ADMIN_ACCESS_KEY_ID", "R2_ADMIN_SECRET_ACCESS_KEY", "GITHUB_ALLOWED_ORGS")
    for name in (*elsewhere, "PORT", "CLAMD_URL", "CELERY_BROKER_URL"):
        os.environ.pop(name, None)
