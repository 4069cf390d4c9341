"""What the figures were measured on, by name."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from django.conf import settings
from pymongo import MongoClient
from redis import Redis

from uploadkit.localstack import binary, pip_script


def described() -> list[tuple[str, str]]:
    """Needs the servers."""
    return [*hardware(), *((name, version(name)) for name in ("granian", "Django")), *servers().items()]


def hardware() -> list[tuple[str, str]]:
    return [
        ("date", time.strftime("%Y-%m-%d")),
        ("processor", f"{processor()}, {len(os.sched_getaffinity(0))} cores"),
        ("memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        # Which one it is matters: what pyenv builds takes a quarter longer than what distributions do.
        ("Python", f"{platform.python_version()} ({Path(sys.executable).resolve()})"),
    ]


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def servers() -> dict[str, str]:
    with MongoClient[dict[str, object]](settings.MONGODB_URI) as mongo, Redis.from_url(settings.REDIS_URL) as redis:
        info = redis.info("server")
        seaweedfs = subprocess.run(
            [binary("weed") or pip_script("weed"), "version"], capture_output=True, text=True, check=True
        )
        return {
            "mongod": mongo.server_info()["version"],
            "Valkey" if "valkey_version" in info else "Redis": info.get("valkey_version") or info["redis_version"],
            "SeaweedFS": seaweedfs.stdout.split()[2],
        }
