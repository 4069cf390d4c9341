"""What uploadkit asks of a bucket, promise by promise, and how each is tried: by the URLs and requests that the app itself
uses.

An attempt returns what it saw, or raises `Broken`. What it puts into the bucket is under `storage.PROBES`, by a name that it
has from its `Bench`, for `files.doctor` to delete.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from django.conf import settings
from urllib3 import BaseHTTPResponse

from . import storage
from .diagnosis import AHEAD, BEHIND
from .storage import URL_LIVES, SignedPut, probe_key
from .trail import now

OURS = re.compile(rf"{storage.PROBES}[\w-]{{22}}")
BODY, TYPE = b"%PDF-", "application/pdf"
FOREIGN = "https://elsewhere.invalid"
RACERS = 8
TOLERATED = timedelta(seconds=5)  # between the clocks, of which the bucket says its own to the second


class Verdict(StrEnum):
    """For programs too; they never change."""

    PASS = "pass"  # noqa: S105  no password
    WARN = "warn"  # people notice nothing, and whoever runs the site should know
    FAIL = "fail"
    UNSUPPORTED = "unsupported"  # uploadkit does without
    NOT_TRIED = "not tried"  # since what it needs failed


class Broken(Exception):
    """A promise does not hold. What is given here takes the place of what its probe has for all such cases."""

    def __init__(self, seen: str, *, verdict: Verdict | None = None, meaning: str = "", remedy: str = "") -> None:
        super().__init__(seen)
        self.verdict, self.meaning, self.remedy = verdict, meaning, remedy


@dataclass(slots=True)
class Bench:
    """Where attempts are made, and what they may have left there."""

    keys: list[str] = field(default_factory=list)

    def new_key(self) -> str:
        self.keys.append(probe_key())
        return self.keys[-1]

    def signed(self, *, sha256: str | None = None, signed_at: datetime | None = None) -> tuple[str, SignedPut]:
        key, size = self.new_key(), len(BODY)
        return key, storage.sign_put(key, content_type=TYPE, size=size, lives=URL_LIVES, sha256=sha256, signed_at=signed_at)

    def uploaded(self) -> str:
        """The key of an object that was just uploaded as signed."""
        key, put = self.signed()
        answer = send(put)
        if not taken(answer):
            raise Broken(f"an upload as it was signed is answered by {said(answer)}")
        return key


@dataclass(frozen=True, slots=True)
class Probe:
    """A promise; what it means for people when it does not hold, and what to do then."""

    name: str
    promise: str
    attempt: Callable[[Bench], str]
    meaning: str
    remedy: str
    needs: str = "upload"
    otherwise: Verdict = Verdict.FAIL


# --- what the attempts share ----------------------------------------------------------------------------------------


def send(put: SignedPut, *, body: bytes = BODY, url: str | None = None, headers: Mapping[str, str] = {}) -> BaseHTTPResponse:
    """PUT as it was signed, but for what is said otherwise."""
    return storage.send(put.method, url or put.url, body=body, headers={**put.headers, **headers})


def taken(answer: BaseHTTPResponse) -> bool:
    return HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES


def said(answer: BaseHTTPResponse) -> str:
    """The status, with S3's own word for it: 403 AccessDenied."""
    return described(storage.BucketError(answer.data[:500].decode(errors="replace"), answer.status))


def described(error: BaseException) -> str:
    status, code = storage.refusal(error)
    if status:
        return f"{status} {code}".strip()
    return str(error).rpartition("): ")[2]  # without the address, which urllib3 says first


def refused(key: str, answer: BaseHTTPResponse) -> str:
    """Make sure that a PUT to `key` was refused, and that nothing was kept of it."""
    if not HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Broken(f"answered by {said(answer)}")
    if storage.head(key):
        raise Broken(f"answered by {said(answer)}, and kept all the same")
    return f"refused: {said(answer)}"


# --- the attempts ---------------------------------------------------------------------------------------------------


def reach(bench: Bench) -> str:
    begun = time.perf_counter()
    storage.preflight(probe_key(), FOREIGN, checksum=False)
    return f"answers in {(time.perf_counter() - begun) * 1000:.0f} ms"


def clock(bench: Bench) -> str:
    theirs = storage.preflight(probe_key(), FOREIGN, checksum=False).date
    if theirs is None:
        raise Broken("the bucket does not say what time it has", verdict=Verdict.UNSUPPORTED)
    ahead = now() - theirs
    seen = f"this machine is {abs(ahead).total_seconds():.0f} s {'ahead' if ahead > timedelta() else 'behind'}"
    if not -BEHIND < ahead < AHEAD:
        raise Broken(seen)
    if abs(ahead) > TOLERATED:
        raise Broken(seen, verdict=Verdict.WARN, meaning="Links are good for so much more or less than their minute.")
    return "both agree"


REMEDIES = {
    "AccessDenied": "See that the keys may read in R2_BUCKET; on R2 the token has Object Read & Write. On AWS they need "
    "s3:ListBucket as well: without, it is an object that is not there which is denied.",
    "NoSuchBucket": "Check R2_BUCKET, or have manage.py storage_setup make it.",
    "RequestTimeTooSkewed": "Set this machine's clock, and have it kept by NTP.",
}


def keys(bench: Bench) -> str:
    try:
        with storage.reading(probe_key()):
            raise Broken("it has an object by a name that was made up just now", remedy="Check R2_ENDPOINT_URL: that is no S3.")
    except storage.Missing:
        return "known, and may read"
    except storage.BucketError as error:
        raise Broken(f"answered by {described(error)}", remedy=REMEDIES.get(storage.refusal(error)[1], "")) from error


def upload(bench: Bench) -> str:
    bench.uploaded()
    return "taken"


def properties(bench: Bench) -> str:
    found = storage.head(bench.uploaded())
    if found is None:
        raise Broken("there is no object after an upload that was taken")
    if (found.size, found.content_type) != (len(BODY), TYPE):
        raise Broken(f"{found.size} bytes of {found.content_type or 'no type'}, where {len(BODY)} of {TYPE} were sent")
    return f"{found.size} bytes of {found.content_type}"


def wrong_length(bench: Bench) -> str:
    key, put = bench.signed()
    return refused(key, send(put, body=BODY + b"more"))


def wrong_type(bench: Bench) -> str:
    key, put = bench.signed()
    return refused(key, send(put, headers={"Content-Type": "text/html"}))


def another_key(bench: Bench) -> str:
    (key, put), other = bench.signed(), bench.new_key()
    return refused(other, send(put, url=put.url.replace(key, other)))


def expired(bench: Bench) -> str:
    key, put = bench.signed(signed_at=now() - timedelta(hours=1))
    return refused(key, send(put))


def write_once(bench: Bench) -> str:
    _, put = bench.signed()
    first, second = send(put), send(put)
    if second.status == HTTPStatus.TOO_MANY_REQUESTS:  # R2 takes one write a second to a key
        time.sleep(1.2)
        second = send(put)
    if not taken(first) or second.status != HTTPStatus.PRECONDITION_FAILED:
        raise Broken(f"the second PUT is answered by {said(second)}")
    return f"the second PUT is refused: {said(second)}"


def race(bench: Bench) -> str:
    _, put = bench.signed()
    with ThreadPoolExecutor(RACERS) as pool:
        answers = list(pool.map(lambda _: send(put), range(RACERS)))
    won = sum(map(taken, answers))
    if won != 1:
        raise Broken(f"{won} of {RACERS} PUTs at once were taken")
    return f"one of {RACERS} PUTs at once is taken"


def checksum(bench: Bench) -> str:
    _, put = bench.signed(sha256=hashlib.sha256(BODY).hexdigest())
    answer = send(put)
    if not taken(answer):
        raise Broken(
            f"the right sum is answered by {said(answer)}",
            verdict=Verdict.FAIL if settings.HASH_MAX_SIZE else Verdict.UNSUPPORTED,
            meaning="Uploads whose checksum the browser knows are refused.",
            remedy="Set HASH_MAX_SIZE=0.",
        )
    key, put = bench.signed(sha256="0" * 64)
    return refused(key, send(put))


def preflight(origin: str, bench: Bench) -> str:
    if not storage.preflight(probe_key(), origin, checksum=settings.HASH_MAX_SIZE > 0).allowed:
        raise Broken("not allowed")
    return "allowed"


def foreign(bench: Bench) -> str:
    if storage.preflight(probe_key(), FOREIGN, checksum=False).allowed:
        raise Broken(f"{FOREIGN} is allowed too")
    return "not allowed"


def readable_answer(bench: Bench) -> str:
    origin, (_, put) = settings.SITE_ORIGINS[0], bench.signed()
    fields = send(put, headers={"Origin": origin}).headers
    if fields.get("Access-Control-Allow-Origin") not in ("*", origin):
        raise Broken("the answer to a PUT is hidden from the page that sent it")
    if "etag" not in fields.get("Access-Control-Expose-Headers", "").lower():
        raise Broken(
            "the ETag is hidden",
            verdict=Verdict.WARN,
            meaning="Pages cannot read an ETag. uploadkit's own do without; an uploader of yours may not.",
        )
    return "so is its ETag"


def part_of_it(bench: Bench) -> str:
    url = storage.sign_get(bench.uploaded(), filename="probe.pdf", lives=URL_LIVES)
    answer = storage.send("GET", url, headers={"Range": "bytes=1-3"})
    if (answer.status, answer.data) != (HTTPStatus.PARTIAL_CONTENT, BODY[1:4]):
        raise Broken(f"3 bytes of {len(BODY)} were asked for: answered by {said(answer)} and {len(answer.data)} bytes")
    return "3 bytes asked for, 3 sent"


def as_signed(bench: Bench) -> str:
    key, kind = bench.uploaded(), "text/plain; charset=utf-8"
    view = storage.sign_view(key, filename="Größe 1.html", content_type=kind, lives=URL_LIVES, keep=True)
    for url in (view, storage.sign_get(key, filename="Größe 1.html", lives=URL_LIVES)):
        fields = storage.send("GET", url).headers
        for asked, value in parse_qsl(urlsplit(url).query):
            name = asked.removeprefix("response-")
            if name != asked and fields.get(name) != value:
                raise Broken(f"{name} is {fields.get(name)!r} where {value!r} was signed")
    return "type, name and caching are"


def closed(bench: Bench) -> str:
    key, other = bench.uploaded(), bench.new_key()
    for what, method, url in (
        ("read", "GET", storage.unsigned(key)),
        ("write", "PUT", storage.unsigned(other)),
        ("list", "GET", storage.unsigned("") + "?list-type=2"),
        ("delete", "DELETE", storage.unsigned(key)),
    ):
        answer = storage.send(method, url, body=BODY if method == "PUT" else None)
        if answer.status < HTTPStatus.BAD_REQUEST:
            raise Broken(f"anybody may {what}: {said(answer)}")
    return "no read, write, list or delete without a signature"


def multipart(bench: Bench) -> str:
    key = bench.new_key()
    storage.write_in_parts(key, [BODY], content_type=TYPE)
    found = storage.head(key)
    if found is None or found.size != len(BODY):
        raise Broken("what was sent in parts is not there")
    return "made, sent and completed"


def delete(bench: Bench) -> str:
    key = bench.uploaded()
    storage.delete(key)
    if storage.head(key):
        raise Broken("it is still there")
    storage.delete(key)
    return "gone; again is no error"


def delete_many(bench: Bench) -> str:
    doomed = [bench.uploaded(), bench.uploaded()]
    kept = storage.delete_many([*doomed, bench.new_key()]) or [key for key in doomed if storage.head(key)]
    if kept:
        raise Broken(f"{len(kept)} of 3 keys were not deleted")
    return "3 keys at once, one of which was never there"


def rules(name: str, bench: Bench) -> str:
    """Whether storage_setup would have nothing to do."""
    try:
        planned = storage.set_up(settings.SITE_ORIGINS, dry_run=True)
    except storage.Error as error:
        if settings.R2_ADMIN_ACCESS_KEY_ID or not storage.refusal(error)[0]:
            raise
        raise Broken(
            f"answered by {described(error)}",
            verdict=Verdict.UNSUPPORTED,
            meaning="The app's own keys may not read the bucket's rules, which is as it should be.",
            remedy="To see them too, give R2_ADMIN_ACCESS_KEY_ID and R2_ADMIN_SECRET_ACCESS_KEY to manage.py storage_doctor.",
        ) from error
    if any(change.name == name for change in planned.changes):
        raise Broken("differs")
    return "as storage_setup makes it"


# --- the promises ---------------------------------------------------------------------------------------------------

SET_UP = "Run manage.py storage_setup, on R2 with an Admin token in R2_ADMIN_…; a change can take half a minute to arrive."
ANOTHER_STORE = "Use a store that keeps this promise: Cloudflare R2, AWS S3 and SeaweedFS do."
SIGNATURES = "Use a store that checks all of a signature, as Cloudflare R2, AWS S3 and SeaweedFS do."


def promises() -> list[Probe]:
    """In the order in which they are tried."""
    return [
        Probe(
            "reach",
            "The endpoint answers.",
            reach,
            "Nobody can upload or download anything.",
            "Check R2_ACCOUNT_ID or R2_ENDPOINT_URL, and that this machine may connect to it.",
            needs="",
        ),
        Probe(
            "clock",
            "The clocks of this machine and of the bucket agree.",
            clock,
            "Links are over before they can be used, or refused as from the future.",
            "Set this machine's clock, and have it kept by NTP.",
            needs="reach",
        ),
        Probe(
            "keys",
            "The bucket is there, and knows the app's keys.",
            keys,
            "Nobody can upload or download anything.",
            "Check R2_BUCKET, R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY; on R2 the token has Object Read & Write for it.",
            needs="reach",
        ),
        Probe(
            "upload",
            "An upload as it was signed is taken.",
            upload,
            "Nobody can upload anything.",
            "See that the keys may write to that bucket; on R2 the token has Object Read & Write.",
            needs="keys",
        ),
        Probe(
            "properties",
            "The bucket knows size and type of an object as it was sent.",
            properties,
            "Uploads are refused when they are confirmed: they are not what was signed.",
            ANOTHER_STORE,
        ),
        Probe(
            "wrong length",
            "Bytes of another length than was signed are refused.",
            wrong_length,
            "Whoever has a link can send more than their limit, and fill the bucket until the upload is confirmed or swept.",
            SIGNATURES,
        ),
        Probe(
            "wrong type",
            "A type other than was signed is refused.",
            wrong_type,
            "Whoever has a link can store a page where a picture was allowed; a confirm still refuses it.",
            SIGNATURES,
        ),
        Probe(
            "another key",
            "A link is good for its own key alone.",
            another_key,
            "Whoever has a link can write over files of others.",
            SIGNATURES,
        ),
        Probe(
            "expired",
            "A link that is over is refused.",
            expired,
            "Links that leak, by a log or a history, are good for ever.",
            SIGNATURES,
        ),
        Probe(
            "write-once",
            "A link writes once: If-None-Match is heeded.",
            write_once,
            "Whoever has a link can put other bytes in place of a file that was checked, as long as the link is good.",
            ANOTHER_STORE,
        ),
        Probe(
            "race",
            "Of uploads at once to one key exactly one is taken.",
            race,
            "What was checked may not be what is kept, when one link is used twice at once.",
            ANOTHER_STORE,
        ),
        Probe(
            "checksum",
            "Bytes of another SHA-256 than was signed are refused.",
            checksum,
            "Files wait as checking until a worker has read them and compared the sum itself.",
            "Keep a worker running; a store that compares SHA-256 saves it the reading.",
            otherwise=Verdict.UNSUPPORTED,
        ),
        *(
            Probe(
                f"pages of {origin}",
                f"Browsers may upload from {origin} (CORS).",
                partial(preflight, origin),
                f"Nobody can upload from {origin}: browsers say no more than that the network failed.",
                SET_UP,
                needs="reach",
            )
            for origin in settings.SITE_ORIGINS
        ),
        Probe(
            "pages of others",
            "Browsers may not upload from elsewhere (CORS).",
            foreign,
            "Pages of any site can use a link that they get hold of. uploadkit gives links to nobody but their owners.",
            "Take * out of the AllowedOrigins of the bucket's CORS rules.",
            needs="reach",
            otherwise=Verdict.WARN,
        ),
        Probe(
            "readable answer",
            "A page can read the answer to its upload (CORS).",
            readable_answer,
            "Uploads arrive, and browsers take them for failed and send them again.",
            SET_UP,
        ),
        Probe(
            "range",
            "A part of an object can be read.",
            part_of_it,
            "Videos and audio may not play or be wound forward, and a look at the first bytes of a file may read all of it.",
            ANOTHER_STORE,
        ),
        Probe(
            "as signed",
            "A link decides type, name and caching of what it answers.",
            as_signed,
            "Downloads have the wrong name; a preview may be shown as the type that its uploader chose, script and all.",
            ANOTHER_STORE,
        ),
        Probe(
            "closed",
            "Without a signature nothing can be read, written, listed or deleted here.",
            closed,
            "Everybody's files are open to anybody.",
            "Turn off public access to the bucket: its policy, its ACL, or a server that was started without keys.",
        ),
        Probe(
            "multipart",
            "An object can be sent in parts.",
            multipart,
            "Nothing: uploadkit sends each file by one PUT.",
            "Nothing needs to be done.",
            otherwise=Verdict.UNSUPPORTED,
        ),
        Probe(
            "delete",
            "An object can be deleted, and one that is not there too.",
            delete,
            "What people delete stays in the bucket, and the sweep tries in vain.",
            "See that the keys may delete; on R2 the token has Object Read & Write.",
        ),
        Probe(
            "delete many",
            "Many objects can be deleted by one request.",
            delete_many,
            "The sweep, the trash and the admin's deletions leave their objects in the bucket.",
            "See that the keys may delete; on R2 the token has Object Read & Write.",
        ),
        Probe(
            "CORS rule",
            "The bucket's CORS rule is that of this release.",
            partial(rules, "CORS"),
            "Nothing, as long as the pages of all origins pass.",
            "manage.py storage_setup --dry-run shows the difference, and without --dry-run mends it.",
            needs="keys",
            otherwise=Verdict.WARN,
        ),
        Probe(
            "lifecycle rule",
            "The bucket clears away what multipart uploads left.",
            partial(rules, "lifecycle"),
            "Parts of uploads that were never finished are kept, and paid for.",
            "manage.py storage_setup --dry-run shows the difference, and without --dry-run mends it.",
            needs="keys",
            otherwise=Verdict.WARN,
        ),
    ]
