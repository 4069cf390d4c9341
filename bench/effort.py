"""How much is measured: all of it for the page, or as little as shows that the bench itself works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    loops: int  # of each floor
    seconds: int  # of load, for each kind of request at each number of connections
    confirms: int  # uploads to confirm, for each number of connections; the load stops when they run out
    rounds: int  # of what is measured again and again, of which the best counts
    list_sizes: tuple[int, int]  # files of one owner
    lists: int  # ways to ask for a list, beside the newest files
    sweeps: tuple[int, ...]  # expired documents whose objects are there
    sweep_without_objects: int  # expired documents without
    sweep_seconds: int  # after which a sweep is cut, and the rest said to be not measured
    put_seconds: int  # for which objects are made; what was not made by then is not swept
    bare_objects: int  # that a bare loop deletes
    file_size: int  # bytes
    starts: int  # after the first one
    checked_size: int  # bytes of the largest file to check
    megapixels: int  # of a picture to check
    reconciled: tuple[int, ...]  # keys
    administered: tuple[int, int]  # documents


FULL = Effort(
    loops=3000,
    seconds=8,
    confirms=8000,
    rounds=3,
    list_sizes=(50, 1_000_000),
    lists=8,
    sweeps=(1_000, 100_000),
    sweep_without_objects=1_000_000,
    sweep_seconds=80,
    put_seconds=70,
    bare_objects=10_000,
    file_size=1 << 30,
    starts=3,
    checked_size=5 << 30,
    megapixels=24,
    reconciled=(10_000, 100_000, 1_000_000),
    administered=(10_000, 10_000_000),
)
QUICK = Effort(
    loops=100,
    seconds=1,
    confirms=200,
    rounds=1,
    list_sizes=(50, 500),
    lists=1,
    sweeps=(20, 200),
    sweep_without_objects=300,
    sweep_seconds=20,
    put_seconds=10,
    bare_objects=100,
    file_size=2 << 20,
    starts=0,
    checked_size=64 << 20,
    megapixels=6,
    reconciled=(100, 3_000),
    administered=(1_000, 20_000),
)
