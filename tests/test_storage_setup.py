"""manage.py storage_setup: the bucket is brought to where it should be, and what others told it stays."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django import conf
from django.core.management import CommandError, call_command

from files import bucket_rules, storage
from files.bucket_rules import Rule
from uploadkit import localstack

from .lifecycle import ask_the_bucket_anew, own_bucket

THEIRS_CORS: Rule = {
    "ID": "reports",
    "AllowedOrigins": ["https://reports.example.com"],
    "AllowedMethods": ["GET"],
    "AllowedHeaders": ["range"],
    "ExposeHeaders": ["ETag"],
    "MaxAgeSeconds": 60,
}
THEIRS_LIFECYCLE: Rule = {"ID": "old logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}
R2S_OWN: Rule = {
    "ID": "Default Multipart Abort Rule",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
}


@pytest.fixture(autouse=True)
def no_bucket_yet(settings: Any) -> Iterator[None]:
    settings.R2_BUCKET = f"setup-{secrets.token_hex(4)}"
    settings.SITE_ORIGINS = ["https://files.example.com", "https://files.example.org"]
    yield
    ask_the_bucket_anew()


def set_up(*options: str) -> str:
    out = StringIO()
    call_command("storage_setup", *options, stdout=out)
    return out.getvalue()


def cors() -> list[Rule]:
    found: Any = storage._client().get_bucket_cors(Bucket=conf.settings.R2_BUCKET)["CORSRules"]
    return list(found)


def lifecycle() -> list[Rule]:
    found: Any = storage._client().get_bucket_lifecycle_configuration(Bucket=conf.settings.R2_BUCKET)["Rules"]
    return list(found)


def others_have_rules(settings: Any, *lifecycle: Rule) -> None:
    client: Any = storage._client()
    client.create_bucket(Bucket=settings.R2_BUCKET)
    client.put_bucket_cors(Bucket=settings.R2_BUCKET, CORSConfiguration={"CORSRules": [THEIRS_CORS]})
    client.put_bucket_lifecycle_configuration(Bucket=settings.R2_BUCKET, LifecycleConfiguration={"Rules": list(lifecycle)})


def test_the_bucket_is_made_and_has_both_rules(settings: Any) -> None:
    said = set_up()

    assert "was made" in said
    assert [(rule["AllowedOrigins"], rule["AllowedMethods"]) for rule in cors()] == [(settings.SITE_ORIGINS, ["PUT"])]
    assert [rule["AbortIncompleteMultipartUpload"] for rule in lifecycle()] == [{"DaysAfterInitiation": 7}]


def test_the_second_time_changes_nothing_and_says_so(settings: Any) -> None:
    set_up()
    before = cors(), lifecycle()

    said = set_up()

    assert "was there" in said and said.count("were as they should be") == 2
    assert (cors(), lifecycle()) == before
    assert "All is as it should be. Nothing would be changed." in set_up("--dry-run")


def test_rules_of_others_stay_as_they_are_and_where_they_are(settings: Any) -> None:
    others_have_rules(settings, THEIRS_LIFECYCLE)

    set_up()
    settings.SITE_ORIGINS = ["https://elsewhere.example.com"]
    set_up()

    assert [rule["ID"] for rule in cors()] == ["reports", bucket_rules.CORS_ID]
    assert cors()[0] == THEIRS_CORS and cors()[1]["AllowedOrigins"] == ["https://elsewhere.example.com"]
    assert [rule["ID"] for rule in lifecycle()] == ["old logs", bucket_rules.ABORT_ID]
    assert lifecycle()[0] == THEIRS_LIFECYCLE


def test_the_rule_that_r2_has_by_itself_is_enough_and_stays(settings: Any) -> None:
    others_have_rules(settings, R2S_OWN, THEIRS_LIFECYCLE)

    assert "Its lifecycle rules were as they should be." in set_up()
    assert lifecycle() == [R2S_OWN, THEIRS_LIFECYCLE]


@pytest.mark.parametrize("short", [{"Status": "Disabled"}, {"Filter": {"Prefix": "logs/"}}, {"Prefix": "logs/"}])
def test_a_rule_that_clears_away_too_little_is_not_enough(short: Rule) -> None:
    assert bucket_rules.lifecycle([{**R2S_OWN, **short}], {}).needed


def test_a_rule_that_was_pasted_by_hand_and_has_no_name_is_not_made_twice() -> None:
    ours = bucket_rules.cors([], ["https://files.example.com"], storage.CORS_HEADERS).after[0]
    pasted = {name: value for name, value in ours.items() if name != "ID"} | {"AllowedHeaders": ["X-Amz-Checksum-SHA256"]}
    pasted["AllowedHeaders"] += ["If-None-Match", "Content-Type"]

    assert not bucket_rules.cors([THEIRS_CORS, pasted], ["https://files.example.com"], storage.CORS_HEADERS).needed


def test_a_dry_run_shows_the_difference_and_changes_nothing(settings: Any) -> None:
    others_have_rules(settings, R2S_OWN)

    said = set_up("--dry-run")

    assert "is there" in said and '+    "ID": "uploadkit"' in said and '+      "https://files.example.com"' in said
    assert "+++ CORS as it should be" in said and "lifecycle" not in said
    assert not [line for line in said.splitlines() if line.startswith("-") and "reports" in line]
    assert cors() == [THEIRS_CORS] and lifecycle() == [R2S_OWN]


def test_a_dry_run_makes_no_bucket(settings: Any) -> None:
    said = set_up("--dry-run")

    assert "would be made" in said and "+++ lifecycle as it should be" in said
    with pytest.raises(storage.Error) as raised:
        cors()
    assert storage.refusal(raised.value) == (404, "NoSuchBucket")


def test_the_header_that_r2_does_not_know_is_never_sent(settings: Any) -> None:
    sent: dict[str, set[str]] = {}

    def note(request: Any, event_name: str, **more: Any) -> None:
        sent[event_name.rpartition(".")[2]] = {name.lower() for name in request.headers}

    storage._admin().meta.events.register("before-send.s3", note)
    set_up()
    storage.delete_many(["u/1/nothing"])

    for operation in ("PutBucketCors", "PutBucketLifecycleConfiguration", "DeleteObjects"):
        assert "x-amz-checksum-crc32" in sent[operation]
        assert "x-amz-sdk-checksum-algorithm" not in sent[operation]


# --- what goes wrong --------------------------------------------------------------------------------------------------


def refused(*options: str) -> str:
    with pytest.raises(CommandError) as raised:
        set_up(*options)
    return str(raised.value).partition("\n")[0]


def test_keys_of_its_own_are_used_and_named_when_they_are_wrong(settings: Any) -> None:
    settings.R2_ADMIN_ACCESS_KEY_ID = settings.R2_ADMIN_SECRET_ACCESS_KEY = "somebody-elses"
    ask_the_bucket_anew()

    assert "does not know these keys. Check R2_ADMIN_ACCESS_KEY_ID and R2_ADMIN_SECRET_ACCESS_KEY" in refused()


def test_keys_that_may_only_read_and_write_objects_are_refused_until_there_are_others(settings: Any, tmp_path: Path) -> None:
    with own_bucket(settings, tmp_path, may_write=""):
        settings.SITE_ORIGINS = ["https://another.example.com"]
        assert "On R2 that takes a token with Admin Read & Write" in refused()
        assert "On R2 that takes a token with Admin Read & Write" in refused("--dry-run")

        settings.R2_ADMIN_ACCESS_KEY_ID, settings.R2_ADMIN_SECRET_ACCESS_KEY = (
            localstack.ACCESS_KEY_ID,
            localstack.SECRET_ACCESS_KEY,
        )
        ask_the_bucket_anew()
        assert "Its CORS rules were changed." in set_up()


def test_a_bucket_that_is_down(settings: Any) -> None:
    settings.R2_ENDPOINT_URL = f"http://127.0.0.1:{localstack.free_port()}"
    ask_the_bucket_anew()

    assert "does not answer. Check R2_ACCOUNT_ID or R2_ENDPOINT_URL" in refused()


@pytest.mark.parametrize("name", ["Not_A_Name", "no such/bucket"])
def test_a_name_that_no_bucket_can_have(settings: Any, name: str) -> None:
    settings.R2_BUCKET = name

    assert "Choose another as R2_BUCKET." in refused()
