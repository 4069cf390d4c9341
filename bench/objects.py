"""Any number of tiny objects in SeaweedFS: by its shell's `fs.meta.load`, which restores what it knows of files from a backup.

A file of a few bytes is kept with that. It takes a third of the time of as many PUTs, and the objects can be old.

A backup is a row of messages of filer.proto, each behind its length:
https://github.com/seaweedfs/seaweedfs/blob/master/weed/pb/filer.proto
"""

from __future__ import annotations

import hashlib
import re
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import IO

from bench.stack import Stack
from bench.wrk import Wrong
from uploadkit import localstack
from uploadkit.localstack import HOST, Process

AT_ONCE = 32
FINISHES = 1  # seconds: it says that it has loaded all while the last ones are under way, and drops those when it ends
FILE, FOLDER = 0o660, 0o770 | 1 << 31  # modes as Go has them


def load(stack: Stack, bucket: str, keys: Iterable[str], body: bytes, age: timedelta) -> None:
    """Make objects as old as `age` in a new bucket. Keys come in any order; the folders in them are made first."""
    stack.bucket.create_bucket(Bucket=bucket)
    written = int(time.time() - age.total_seconds())
    with tempfile.NamedTemporaryFile(dir=stack.folder.parent) as backup:
        count = write(backup.file, f"/buckets/{bucket}", keys, body, written)
        backup.flush()
        printed = shell(stack.servers["seaweedfs"], f"fs.meta.load -v=false -concurrency={AT_ONCE} {backup.name}")
    if f"{count} files" not in printed:
        raise Wrong(f"The bucket took other than {count} objects: {printed[-500:]}")


def shell(server: Process, command: str) -> str:
    ports = dict(argument.lstrip("-").split("=", 1) for argument in server.argv if "port" in argument)
    argv = [
        *(localstack.binary("weed") or localstack.pip_script("weed"), "shell"),
        f"-master={HOST}:{ports['master.port']}.{ports['master.port.grpc']}",
        f"-filer={HOST}:{ports['filer.port']}.{ports['filer.port.grpc']}",
    ]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdin and running.stdout
        running.stdin.write(f"{command}\n")
        running.stdin.flush()
        printed = ""
        while not re.search(r"is loaded|error", printed) and (line := running.stdout.readline()):
            printed += line
        time.sleep(FINISHES)
        running.communicate("exit\n")
    return printed


# --- the backup -------------------------------------------------------------------------------------------------------------


def write(out: IO[bytes], bucket: str, keys: Iterable[str], body: bytes, written: int) -> int:
    """Return how many objects there are in it."""
    count, made = 0, {""}
    folder_of_files = text(4, number(2, written) + number(3, FOLDER) + number(6, written))
    times = number(1, len(body)) + number(2, written) + number(3, FILE) + number(6, written)
    file = text(4, times + text(7, b"application/pdf") + text(14, hashlib.md5(body).digest())) + text(9, body)
    for key in keys:
        folder, _, name = key.rpartition("/")
        if folder not in made:
            parts = folder.split("/")
            for depth in range(len(parts)):
                if (path := "/".join(parts[: depth + 1])) not in made:
                    made.add(path)
                    parent = "/".join([bucket, *parts[:depth]])
                    out.write(entry(parent, parts[depth], number(2, 1) + folder_of_files))
        out.write(entry(f"{bucket}/{folder}", name, file))
        count += 1
    return count


def entry(folder: str, name: str, rest: bytes) -> bytes:
    message = text(1, folder.encode()) + text(2, text(1, name.encode()) + rest)
    return struct.pack(">I", len(message)) + message


def text(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
