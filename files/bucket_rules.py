"""What a bucket says for itself, in S3's own words: from where browsers may send, and what it clears away. No network here.

Rules of others are never touched: what is ours is known by its ID, and only that is put in, in its place.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, field
from typing import Any

Rule = dict[str, Any]

CORS_ID = "uploadkit"
ABORT_ID = "uploadkit: abort unfinished multipart uploads"
ABORTED_AFTER = 7  # days; as R2 does by itself, which is then enough


@dataclass(frozen=True, slots=True)
class Change:
    """The rules of one kind, as they are and as they should be, and what is told `beside` them, which stays."""

    name: str
    before: list[Rule]
    after: list[Rule]
    beside: dict[str, Any] = field(default_factory=dict)

    @property
    def needed(self) -> bool:
        return self.before != self.after

    def __str__(self) -> str:
        """A unified diff; nothing if there is no difference."""
        before, after = (
            json.dumps(rules, indent=2, sort_keys=True, default=str).splitlines() for rules in (self.before, self.after)
        )
        names = f"{self.name} as it is", f"{self.name} as it should be"
        return "\n".join(difflib.unified_diff(before, after, *names, lineterm=""))


@dataclass(frozen=True, slots=True)
class SetUp:
    """What was done to a bucket, or would be: whether it was made, and the rules of each kind."""

    made: bool
    cors: Change
    lifecycle: Change

    @property
    def changes(self) -> list[Change]:
        return [change for change in (self.cors, self.lifecycle) if change.needed]


def cors(before: list[Rule], origins: list[str], headers: list[str]) -> Change:
    """Let pages of exactly these origins PUT, with exactly these headers."""
    ours = {
        "ID": CORS_ID,
        "AllowedOrigins": origins,
        "AllowedMethods": ["PUT"],
        "AllowedHeaders": headers,
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 3600,
    }
    return Change("CORS", before, _merged(before, ours))


def lifecycle(before: list[Rule], beside: dict[str, Any]) -> Change:
    """Have the parts of multipart uploads that nobody finished removed, unless a rule of somebody's does that already."""
    ours = {
        "ID": ABORT_ID,
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORTED_AFTER},
    }
    return Change("lifecycle", before, before if any(map(_aborts, before)) else _merged(before, ours), beside)


def _merged(rules: list[Rule], ours: Rule) -> list[Rule]:
    if any(_says(rule) == _says(ours) for rule in rules):  # pasted by hand, it may have no ID or another
        return [rule for rule in rules if rule.get("ID") != ours["ID"] or _says(rule) == _says(ours)]
    if any(rule.get("ID") == ours["ID"] for rule in rules):
        return [ours if rule.get("ID") == ours["ID"] else rule for rule in rules]
    return [*rules, ours]


def _says(rule: Rule) -> Rule:
    """A rule but for its name, and for the order in which its lists are given back, and the case of headers."""
    return {
        name: sorted(map(str.lower if name.endswith("Headers") else str, value)) if isinstance(value, list) else value
        for name, value in rule.items()
        if name != "ID"
    }


def _aborts(rule: Rule) -> bool:
    """Whether the rule removes all that ours would, as soon."""
    days = rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation", ABORTED_AFTER + 1)
    everywhere = rule.get("Filter", {}) in ({}, {"Prefix": ""}) and not rule.get("Prefix")
    return bool(rule.get("Status") == "Enabled" and everywhere and days <= ABORTED_AFTER)
