"""A disk that can be full: a small file system in memory, in a mount namespace of its own, which needs no root.

It lives as long as the process that holds it, and is reached from outside through /proc/<pid>/root. A Linux that forbids
user namespaces (some distributions do, to all but named programs) has none: then there is no such fault.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

PAGE = 4096
MOUNT = "mount -t tmpfs -o size=$0m,mode=700 uploadkit /tmp && echo mounted && exec cat"


class NoDisk(Exception):
    """This machine has no user namespaces for us; the message says why."""


class Disk:
    def __init__(self, megabytes: int) -> None:
        # It ends when its input does, which is when we do, however that comes.
        argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, str(megabytes)]
        try:
            self.holder = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
            )
        except FileNotFoundError as error:
            raise NoDisk("there is no unshare(1)") from error
        assert self.holder.stdout is not None
        said = self.holder.stdout.readline().decode().strip()
        if said != "mounted":
            self.close()
            raise NoDisk(said)
        self.path = Path(f"/proc/{self.holder.pid}/root/tmp")
        self.ballast = self.path / "ballast"

    @property
    def bytes_free(self) -> int:
        size = os.statvfs(self.path)
        return size.f_bavail * size.f_frsize

    def fill(self) -> None:
        """Again, too, where something was removed since."""
        step = self.bytes_free
        with self.ballast.open("ab") as ballast:
            while step >= PAGE and (free := self.bytes_free):
                try:
                    os.posix_fallocate(ballast.fileno(), ballast.seek(0, os.SEEK_END), min(step, free))
                except OSError:  # others write meanwhile, and so much is not left
                    step //= 2

    def clear(self) -> None:
        self.ballast.unlink(missing_ok=True)

    def close(self) -> None:
        self.holder.communicate()
