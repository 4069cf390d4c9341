"""Sign, confirm, list of fifty and 401 by the production server with its shipped settings."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta

from bench import floors
from bench.effort import Effort
from bench.findings import Bar, Findings, Ratio, Table
from bench.floors import CONNECTIONS, Floors, Load
from bench.seed import documents
from bench.stack import Person, Site, Stack, people
from bench.wrk import request

PEOPLE = 20
WARM = 1  # second
MEMORY_AIM = 160  # MB, for two workers

WISH = json.dumps({"filename": "report.pdf", "contentType": "application/pdf", "size": 5}).encode()
NEXT_JS = (
    "Next.js: 3.7 to 4.8 ms a sign, 2.9 to 3.5 ms a confirm without any HEAD, 6.5 to 7.9 ms a list, and 640 to 980 MB in two "
    "processes. These are figures that we were given for an application of the same design on such a machine; this run did not "
    "measure them."
)
FLOOR = (
    "The floor is a bare WSGI hello plus the bare loops of what the request cannot do without: the limiter's script, an insert "
    "and the HMAC chain for a sign; a HEAD and an update for a confirm; a find of fifty for a list."
)
NEXT_JS_MEMORY = (640, 980)


@dataclass(frozen=True)
class Kind:
    name: str
    floor: tuple[str, ...]  # the bare loops that it cannot do without, besides a bare application
    aim: float | None = None  # milliseconds of CPU
    next_js: tuple[float, float] | None = None
    status: int = 200
    once: bool = False


SIGN = Kind("sign", ("script", "insert", "hmac"), aim=1.0, next_js=(3.7, 4.8))
CONFIRM = Kind("confirm, with its HEAD", ("head", "update"), aim=1.2, next_js=(2.9, 3.5), once=True)
LIST = Kind("list of fifty", ("fifty",), aim=1.5, next_js=(6.5, 7.9))
SIGNED_OUT = Kind("401", (), status=401)
KINDS = (SIGN, CONFIRM, LIST, SIGNED_OUT)


@dataclass
class Measured:
    idle: float  # MB
    loads: dict[str, list[Load]] = field(default_factory=dict)  # by kind

    @property
    def loaded(self) -> float:
        return max(load.memory for loads in self.loads.values() for load in loads)


@dataclass
class Wishes:
    """The requests of each kind, by people of whom each has fifty files."""

    stack: Stack
    signers: list[Person]
    readers: list[Person]

    @classmethod
    def prepared(cls, stack: Stack) -> Wishes:
        wishes = cls(stack, people(PEOPLE), people(PEOPLE))
        for person in wishes.readers:
            stack.write(documents(person.owner_id, 50, "ready", timedelta(hours=1)))
        return wishes

    def of(self, kind: Kind, confirms: int) -> list[bytes]:
        if kind is SIGN:
            return [request("POST", "/api/uploads/sign", person.headers(), WISH) for person in self.signers]
        if kind is LIST:
            return [request("GET", "/files/", person.headers()) for person in self.readers]
        if kind is CONFIRM:
            return self.confirms(confirms)
        return [request("POST", "/api/uploads/sign", {"Host": "127.0.0.1", "Content-Type": "application/json"}, WISH)]

    def confirms(self, number: int) -> list[bytes]:
        """One for each of as many uploads, whose objects are there."""
        each = -(-number // PEOPLE)
        found = []
        for person in self.signers:
            uploads = list(documents(person.owner_id, each, "pending", timedelta(0)))
            self.stack.write(iter(uploads))
            found.append([(person, upload["_id"]) for upload in uploads])
        turns = [turn for together in zip(*found, strict=True) for turn in together]
        self.stack.put_all([key for _, key in turns])
        return [
            request("POST", "/api/uploads/confirm", person.headers(), json.dumps({"key": key}).encode())
            for person, key in turns
        ]


def measure(stack: Stack, effort: Effort) -> Measured:
    wishes = Wishes.prepared(stack)
    with stack.serving() as site:
        measured = Measured(site.memory())
        for kind in KINDS:
            under_load(site, kind, wishes.of(kind, effort.confirms // 4), CONNECTIONS[0], WARM)
            measured.loads[kind.name] = [
                under_load(site, kind, wishes.of(kind, effort.confirms), connections, effort.seconds)
                for connections in CONNECTIONS
            ]
    return measured


def under_load(site: Site, kind: Kind, requests: list[bytes], connections: int, seconds: int) -> Load:
    return floors.load(site, requests, connections, seconds, kind.status, once=kind.once)


# --- as tables ------------------------------------------------------------------------------------------------------


def findings(measured: Measured, floor: Floors) -> Findings:
    found = Findings(tables=[table(measured, floor), memory(measured)])
    for kind in KINDS:
        load = measured.loads[kind.name][0]
        least = floor.of(*kind.floor, connections=load.connections)
        found.ratios.append(Ratio(f"{kind.name}: its floor's CPU to its own", least / load.cpu))
        found.bars.append(Bar("Application CPU a request, ms", kind.name, load.cpu, least, kind.aim, kind.next_js))
        if kind.aim:
            found.ratios.append(
                Ratio(
                    f"{kind.name}: CPU to its aim of {kind.aim} ms", load.cpu / kind.aim, "1.00 at most", load.cpu <= kind.aim
                )
            )
    found.ratios.append(
        Ratio(
            f"web tier's memory under load to its aim of {MEMORY_AIM} MB",
            measured.loaded / MEMORY_AIM,
            "1.00 at most",
            measured.loaded < MEMORY_AIM,
        )
    )
    found.bars.append(
        Bar("Memory of the web tier under load, MB", "two workers", measured.loaded, measured.idle, MEMORY_AIM, NEXT_JS_MEMORY)
    )
    return found


def table(measured: Measured, floor: Floors) -> Table:
    rows = []
    for kind in KINDS:
        for load in measured.loads[kind.name]:
            least = floor.of(*kind.floor, connections=load.connections)
            hello = next(bare for bare in floor.hello if bare.connections == load.connections)
            rows.append(
                (
                    f"{kind.name}, {load.connections} connections",
                    *floors.columns(load),
                    f"{kind.aim:.1f}" if kind.aim else "",
                    f"{least:.3f}",
                    f"{least / load.cpu:.0%}",
                    f"{load.answers.rate / hello.answers.rate:.0%}",
                    "{} to {}".format(*kind.next_js) if kind.next_js else "",
                )
            )
    columns = (
        "",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "CPU ms",
        "aim",
        "floor ms",
        "floor/CPU",
        "of hello's rate",
        "Next.js CPU ms",
    )
    return Table("Requests", columns, rows, [FLOOR, NEXT_JS])


def memory(measured: Measured) -> Table:
    rows = [("idle", f"{measured.idle:.0f}", ""), ("under load, the most", f"{measured.loaded:.0f}", str(MEMORY_AIM))]
    return Table("Memory of the whole web tier", ("", "MB (PSS)", "aim"), rows)
