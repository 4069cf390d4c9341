"""What a policy says of uploads, each field by what the API answers and a sweep removes; and what is wrong with one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.checks import Error, run_checks
from django.core.management import call_command
from django.test import Client
from redis import Redis

from files import limits, policies, storage, sweeps, uploads
from files.documents import File, Status
from files.policies import Images, Policy

from .conftest import Cast, post_json
from .corpus.make import saved
from .lifecycle import backdate, put_object

SIGN, CONFIRM = "/api/uploads/sign", "/api/uploads/confirm"
WISH = {"filename": "report.pdf", "contentType": "application/pdf", "size": 5}


@pytest.fixture
def policy(settings: Any) -> Any:
    """Set what the policy `own` says, beside a `default` that says nothing."""

    def say(**said: Any) -> None:
        settings.UPLOAD_POLICIES = {"default": {}, "own": said}

    return say


def sign(client: Client, policy: str | None = "own", **wish: Any) -> Any:
    return post_json(client, SIGN, {**WISH, **({"policy": policy} if policy else {}), **wish})


def arrived(client: Client, policy: str | None = "own", body: bytes = b"%PDF-", **wish: Any) -> str:
    """The key of an upload whose bytes are there."""
    key: str = sign(client, policy, size=len(body), **wish).json()["key"]
    put_object(key, body, wish.get("contentType", "application/pdf"))
    return key


def confirm(client: Client, key: str) -> Any:
    return post_json(client, CONFIRM, {"key": key})


def refused(answer: Any, status: int, code: str, *fields: str) -> str:
    body = answer.json()
    assert (answer.status_code, body["code"], list(body.get("fields", {}))) == (status, code, list(fields))
    return str(body["error"])


# --- which one ----------------------------------------------------------------------------------------------------------


def test_where_nothing_is_said_it_is_the_default_which_takes_what_the_settings_take(as_alice: Client, settings: Any) -> None:
    for unsaid in ({}, {"policy": ""}, {"policy": None}):
        key = post_json(as_alice, SIGN, {**WISH, **unsaid}).json()["key"]
        assert File.objects.get(key=key).policy == "default"

    default = policies.policy_named("default")
    assert default == Policy(
        max_size=settings.MAX_UPLOAD_SIZE,
        content_types=("*/*",),
        pending_lives=settings.PENDING_MAX_AGE,
        scan=False,
        extensions=("*",),
        max_files=None,
        images=Images.KEEP,
        ready_lives=None,
    )


def test_the_policy_is_kept_with_the_file_and_told_by_confirm(as_alice: Client, policy: Any) -> None:
    policy(max_size=5)
    key = arrived(as_alice)

    assert confirm(as_alice, key).json()["file"]["policy"] == "own"
    assert File.objects.get(key=key).policy == "own"


@pytest.mark.parametrize("name", ["nobodys", "Default", "default ", "__class__", "\x00", "a" * 5000, "💥"])
def test_a_policy_that_is_not_there_is_400_and_named(as_alice: Client, name: str) -> None:
    sentence = refused(sign(as_alice, name), 400, "invalid", "policy")

    assert name == "\x00" or sentence.startswith("There is no such policy here.")
    assert not File.objects.count()


@pytest.mark.parametrize("name", [5, True, ["default"], {"$ne": None}])
def test_a_policy_that_is_no_string_is_400_and_named(as_alice: Client, name: Any) -> None:
    refused(sign(as_alice, name), 400, "invalid", "policy")


def test_the_forms_of_a_policy_outweigh_what_it_does_not_take(as_alice: Client) -> None:
    refused(sign(as_alice, "nobodys", size=10**10), 400, "invalid", "size", "policy")


# --- what it takes ------------------------------------------------------------------------------------------------------


def test_max_size_is_the_most_and_one_byte_more_is_413(as_alice: Client, policy: Any) -> None:
    policy(max_size=1024)

    assert sign(as_alice, size=1024).status_code == 200
    sentence = refused(sign(as_alice, size=1025), 413, "too_large", "size")
    assert "1.0\xa0KB is the most" in sentence
    assert sign(as_alice, None, size=1025).status_code == 200, "of the default there is more"


def test_a_policy_may_take_more_than_the_rest_of_the_site(as_alice: Client, policy: Any, settings: Any) -> None:
    policy(max_size=settings.MAX_UPLOAD_SIZE + 1)

    assert sign(as_alice, size=settings.MAX_UPLOAD_SIZE + 1).status_code == 200
    refused(sign(as_alice, None, size=settings.MAX_UPLOAD_SIZE + 1), 413, "too_large", "size")


@pytest.mark.parametrize(
    ("content_type", "filename", "taken"),
    [
        ("image/png", "a.png", True),
        ("IMAGE/PNG; q=1", "a.png", True),
        ("", "a.png", True),
        ("application/pdf", "a.pdf", True),
        ("application/pdfx", "a", False),
        ("text/plain", "a.txt", False),
        ("imagex/png", "a", False),
        ("", "a", False),
    ],
)
def test_content_types_may_have_wildcards_and_another_type_is_415(
    as_alice: Client, policy: Any, content_type: str, filename: str, taken: bool
) -> None:
    policy(content_types=("image/*", "application/pdf"))
    answer = sign(as_alice, contentType=content_type, filename=filename)

    if taken:
        assert answer.status_code == 200
    else:
        assert "only image/*, application/pdf." in refused(answer, 415, "type_not_allowed", "contentType")


@pytest.mark.parametrize(
    ("filename", "taken"),
    [
        *(("a.pdf", True), ("A.PDF", True), ("a.jpg", True), ("a.jpeg", True), ("a.b.jpeg", True)),
        *(("a.gif", False), ("pdf", False), ("a", False), (".pdf", False), ("a.pdf.", False), ("a.xpdf", False)),
    ],
)
def test_extensions_may_have_wildcards_and_another_is_415(as_alice: Client, policy: Any, filename: str, taken: bool) -> None:
    policy(extensions=("jp*g", "pdf"))
    answer = sign(as_alice, filename=filename, contentType="")

    if taken:
        assert answer.status_code == 200
    else:
        assert "only jp*g, pdf." in refused(answer, 415, "type_not_allowed", "filename")


def test_a_file_keeps_to_the_extensions_of_its_policy_when_it_is_renamed(as_alice: Client, policy: Any) -> None:
    policy(extensions=("dat", "bin"))
    key = arrived(as_alice, filename="a.dat", contentType="application/octet-stream", body=b"\1\2\3\4\5")
    assert confirm(as_alice, key).status_code == 200

    answer = as_alice.post(f"/files/{key}/rename", {"name": "a.exe"})

    assert answer.status_code == 400 and "only dat, bin." in answer.text
    assert as_alice.post(f"/files/{key}/rename", {"name": "b.bin"}).status_code == 302
    assert File.objects.get(key=key).name == "b.bin"


def test_max_files_a_day_and_one_more_is_429_and_says_when(as_alice: Client, as_bob: Client, policy: Any) -> None:
    policy(max_files=2, max_size=5)
    assert sign(as_alice, size=6).status_code == 413, "what is refused is not counted"
    assert [sign(as_alice).status_code for _ in range(2)] == [200, 200]

    answer = sign(as_alice)

    sentence = refused(answer, 429, "rate_limited")
    assert sentence == "2 files a day are the most here. Try again in 24 hours."
    assert limits.DAY - 60 < int(answer.headers["Retry-After"]) <= limits.DAY
    assert File.objects.count() == 2
    assert sign(as_alice, None).status_code == 200, "of another policy"
    assert sign(as_bob).status_code == 200, "somebody else"


def test_what_is_not_signed_is_none_of_the_day_s(as_alice: Client, policy: Any, settings: Any) -> None:
    """Or a browser that asks again would use up the day, with a full quota or while MongoDB was down."""
    policy(max_files=2)
    settings.QUOTA_BYTES = 0
    assert [sign(as_alice).status_code for _ in range(5)] == [413] * 5

    settings.QUOTA_BYTES = None
    assert [sign(as_alice).status_code for _ in range(3)] == [200, 200, 429]


def test_a_day_is_any_24_hours(as_alice: Client, alice: User, policy: Any, settings: Any) -> None:
    policy(max_files=2)
    [sign(as_alice) for _ in range(2)]
    with Redis.from_url(settings.REDIS_URL) as redis:
        signings = f"uploadkit:day:own:{alice.pk}"
        first, _ = redis.zrange(signings, 0, -1)
        redis.zincrby(signings, -(limits.DAY - 3600) * 10**6, first)
        soon = sign(as_alice)
        redis.zincrby(signings, -3600 * 10**6, first)

    assert refused(soon, 429, "rate_limited").endswith("Try again in 1 hour.") and int(soon["Retry-After"]) <= 3600
    assert [sign(as_alice).status_code for _ in range(2)] == [200, 429]


# --- what becomes of it -------------------------------------------------------------------------------------------------


def test_pending_lives_says_when_an_upload_is_given_up(as_alice: Client, settings: Any) -> None:
    lives = {"quick": timedelta(minutes=10), "slow": timedelta(hours=3)}
    settings.UPLOAD_POLICIES = {"default": {}, **{name: {"pending_lives": age} for name, age in lives.items()}}
    keys = {name: arrived(as_alice, name) for name in ("quick", None, "slow")}

    def left_after(age: timedelta) -> set[str | None]:
        backdate(keys.values(), age)
        sweeps.sweep()
        return {name for name, key in keys.items() if File.objects.keyed([key]) and storage.head(key)}

    assert left_after(timedelta(minutes=9)) == {"quick", None, "slow"}
    assert left_after(timedelta(minutes=11)) == {None, "slow"}
    assert left_after(timedelta(minutes=61)) == {"slow"}
    assert left_after(timedelta(minutes=181)) == set()


def test_who_says_an_age_to_the_command_says_it_for_all_policies(as_alice: Client, policy: Any) -> None:
    policy(pending_lives=timedelta(hours=3))
    keys = [arrived(as_alice, name) for name in ("own", None)]
    backdate(keys, timedelta(minutes=30))

    call_command("cleanup_pending", "--older-than", "20m", verbosity=0)

    assert not File.objects.keyed(keys)


def test_ready_lives_says_when_a_file_goes_and_without_it_none_does(as_alice: Client, policy: Any) -> None:
    policy(ready_lives=timedelta(days=7))
    keys = {name: arrived(as_alice, name) for name in ("own", None)}
    for key in keys.values():
        assert confirm(as_alice, key).json()["file"]["status"] == "ready"
    mortal = File.objects.get(key=keys["own"])
    assert mortal.expires_at == mortal.ready_at + timedelta(days=7)
    assert File.objects.get(key=keys[None]).expires_at is None

    sweeps.sweep()
    assert File.objects.ready().count() == 2
    File.objects.keyed([mortal.key]).update(expires_at=uploads.now())
    sweeps.sweep()

    assert [file.key for file in File.objects] == [keys[None]]
    assert storage.head(mortal.key) is None and storage.head(keys[None])


def test_images_are_kept_to_the_byte_or_cleaned(as_alice: Client, policy: Any) -> None:
    policy(images="clean")
    picture = {"body": saved("PNG"), "filename": "a.png", "contentType": "image/png"}
    kept, cleaned = (arrived(as_alice, name, **picture) for name in (None, "own"))  # type: ignore[arg-type]
    for key in (kept, cleaned):
        assert confirm(as_alice, key).status_code == 202
        Cast.checked(File.objects.get(key=key))

    as_it_came, made = File.objects.get(key=kept), File.objects.get(key=cleaned)
    assert (as_it_came.status, as_it_came.object_key) == (Status.READY, kept)
    assert made.status == Status.READY and made.object_key not in (cleaned, None)
    assert storage.head(cleaned) is None and storage.head(made.object_key)


def test_scan_says_whether_a_file_waits_for_the_scanner_and_what_waits_is_never_ready(as_alice: Client, settings: Any) -> None:
    settings.CLAMD_URL = "tcp://127.0.0.1:1"  # is down
    settings.UPLOAD_POLICIES = {"default": {}, "trusted": {"scan": False}, "scanned": {"scan": True}}
    keys = {name: arrived(as_alice, name) for name in (None, "trusted", "scanned")}

    statuses = {name: confirm(as_alice, key).status_code for name, key in keys.items()}

    assert statuses == {None: 202, "trusted": 200, "scanned": 202}
    assert Cast.checked(File.objects.get(key=keys["scanned"])).status == Status.CHECKING
    settings.CLAMD_URL = ""
    assert confirm(as_alice, arrived(as_alice, None)).status_code == 200, "where there is no scanner, nothing is scanned"


def test_files_of_a_policy_that_is_no_more_live_on_by_the_default(as_alice: Client, policy: Any, settings: Any) -> None:
    policy(pending_lives=timedelta(hours=3), ready_lives=timedelta(days=7), extensions=("pdf",), max_files=3)
    pending, uploaded, ready = (arrived(as_alice) for _ in range(3))
    confirm(as_alice, ready)
    settings.UPLOAD_POLICIES = {"default": {}}

    answer = confirm(as_alice, uploaded)

    assert answer.status_code == 200 and answer.json()["file"]["policy"] == "own"
    assert File.objects.get(key=uploaded).expires_at is None
    assert File.objects.get(key=ready).expires_at, "what was promised when it became ready stays"
    assert as_alice.post(f"/files/{ready}/rename", {"name": "a"}).status_code == 302
    backdate([pending], timedelta(minutes=61))
    sweeps.sweep()
    assert not File.objects.keyed([pending])
    refused(sign(as_alice), 400, "invalid", "policy")


# --- what is wrong with one ---------------------------------------------------------------------------------------------


def faults() -> list[Error]:
    return [fault for fault in run_checks() if "POLICIES" in fault.msg or "policy" in fault.msg]  # type: ignore[misc]


def test_the_policies_that_come_with_it_are_right() -> None:
    assert faults() == []


EVERYTHING = {
    "max_size": 1,
    "content_types": ("image/*", "application/vnd.ms-excel"),
    "extensions": ("jp*g", "7z"),
    "max_files": 1,
    "images": "keep",
    "scan": False,
    "pending_lives": timedelta(hours=1),
    "ready_lives": timedelta(days=1),
}


def test_a_policy_may_say_all_there_is(policy: Any) -> None:
    policy(**EVERYTHING)
    assert faults() == []
    assert EVERYTHING.keys() == Policy.__dataclass_fields__.keys(), "and that is all"
    policy(max_files=None, ready_lives=None, images=Images.CLEAN)
    assert faults() == []


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        *(("max_sizes", "max_size"), ("maxsize", "max_size"), ("content_type", "content_types"), ("image", "images")),
        *(("extension", "extensions"), ("max_file", "max_files"), ("scans", "scan"), ("ready_live", "ready_lives")),
    ],
)
def test_a_typo_is_named_with_what_was_meant(policy: Any, typo: str, meant: str) -> None:
    policy(**{typo: 1})
    (fault,) = faults()

    assert fault.id == "files.E010"
    assert fault.msg == f"UPLOAD_POLICIES['own'] has {typo!r}, which is nothing a policy says."
    assert fault.hint == f"Did you mean {meant!r}?"


def test_what_is_like_nothing_is_named_with_all_there_is(policy: Any) -> None:
    policy(zzz=1)
    (fault,) = faults()

    assert fault.hint and all(name in fault.hint for name in EVERYTHING)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("max_size", wrong) for wrong in (0, -1, "5MB", None, True, 1.5, 10**10)),
        *(("max_files", wrong) for wrong in (0, -1, "5", False)),
        *(("content_types", wrong) for wrong in ("image/*", ["image/*"], (), ("image",), ("IMAGE/PNG",), (5,), ("a/b; c",))),
        *(("extensions", wrong) for wrong in ("jpg", ["jpg"], (), (".jpg",), ("JPG",), ("tar.gz",), (5,))),
        *(("images", wrong) for wrong in ("cleaned", "", None, True)),
        *(("scan", wrong) for wrong in ("yes", None, 1)),
        *(("pending_lives", wrong) for wrong in (3600, "1h", None, timedelta(), timedelta(seconds=-1))),
        *(("ready_lives", wrong) for wrong in (3600, "1h", timedelta())),
    ],
)
def test_a_wrong_value_is_named_with_what_to_write(policy: Any, field: str, value: object) -> None:
    policy(**{field: value})
    (fault,) = faults()

    assert (fault.id, fault.msg) == ("files.E011", f"UPLOAD_POLICIES['own'][{field!r}] is {value!r}.")
    assert fault.hint and fault.hint.startswith("Write ")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"own": {}}, "files.E007"),
        ({}, "files.E007"),
        ({"default": {}, "My avatars": {}}, "files.E008"),
        ({"default": {}, 5: {}}, "files.E008"),
        ({"default": None}, "files.E009"),
        ({"default": {}, "own": ["max_size"]}, "files.E009"),
        ([], "files.E015"),
    ],
)
def test_what_are_no_policies_is_said(settings: Any, said: Any, code: str) -> None:
    settings.UPLOAD_POLICIES = said

    assert [fault.id for fault in faults()] == [code]


def test_several_mistakes_are_all_named(policy: Any) -> None:
    policy(max_size=0, scans=True, images="x")

    assert sorted(str(fault.id) for fault in faults()) == ["files.E010", "files.E011", "files.E011"]


def test_to_demand_a_scan_where_nothing_scans_is_an_error(policy: Any, settings: Any) -> None:
    settings.CLAMD_URL = ""
    policy(scan=True)
    (fault,) = faults()

    assert (fault.id, fault.hint) == ("files.E011", "Nothing scans here: set CLAMD_URL.")
    settings.CLAMD_URL = "tcp://127.0.0.1:3310"
    assert faults() == []


def test_to_take_what_the_scanner_does_not_is_an_error(policy: Any, settings: Any) -> None:
    settings.CLAMD_URL = "tcp://127.0.0.1:3310"
    policy(max_size=settings.CLAMD_MAX_SIZE)
    assert faults() == []

    policy(max_size=settings.CLAMD_MAX_SIZE + 1)
    (fault,) = faults()
    assert fault.id == "files.E012"
    assert fault.msg == "The policy 'own' takes 104857601 bytes, and the virus scanner only 104857600."

    policy(max_size=settings.CLAMD_MAX_SIZE + 1, scan=False)
    assert faults() == []
    settings.MAX_UPLOAD_SIZE = settings.CLAMD_MAX_SIZE + 1
    assert [fault.id for fault in faults()] == ["files.E012"], "of the default"
