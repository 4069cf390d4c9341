"""How much each owner's files take, and how much they may take.

A file is charged to its owner's account when it is signed, and refunded when its bytes are gone. The account has the sums, so
one compare-and-set both asks whether there is room and takes it: no number of signings at once gets past a limit.

MongoDB changes an account and a file's document together only in a transaction, which needs a replica set. So whatever is
between the two is written down in the account, and everything here may be killed at any point:

- `held` has each charge whose document may not be written yet. After `HELD` the document either is there, and stands for the
  charge from then on, or will never come, and the charge is refunded: see `settle`.
- `leaving` has a ticket for each refund that has begun: see `refund`.

At every moment the sums are those of all that is `held`, and of all other documents that are `charged` and not refunded. A
document is refunded when it has a `refund` that is no longer among its account's `leaving`. `recount` checks this.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, NamedTuple

import pymongo
from django.conf import settings
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from mongoengine import DateTimeField, DictField, Document, LongField, StringField
from pymongo import DESCENDING, UpdateOne
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern
from pymongo.results import UpdateResult

from .documents import NO_MORE, File, Used, update_operators
from .names import random_of
from .refusals import Refusal
from .trail import now

# After that no signing is between its charge and its document: both are written within SIGNING.
HELD = timedelta(seconds=30)
SIGNING = 2  # seconds
ENDLESS = 2**62  # of files or bytes
RECOUNTS = 5


class Account(Document):  # type: ignore[misc]  # mongoengine has no types
    """What an owner's files take: `files` and `bytes`, as signed. `max_files` and `max_bytes` are the owner's own limits, in
    the place of those of the settings. `version` goes up with each change of the sums; `signed_at` is there while something is
    held.
    """

    owner_id: str = StringField(primary_key=True)
    files: int = LongField(required=True, default=0)
    bytes: int = LongField(required=True, default=0)
    max_files: int | None = LongField(min_value=0)
    max_bytes: int | None = LongField(min_value=0)
    version: int = LongField(required=True, default=0)
    held: dict[str, Any] = DictField()
    leaving: dict[str, str] = DictField()
    signed_at: datetime | None = DateTimeField()

    meta = {
        "collection": "accounts",
        "auto_create_index": False,
        "index_cls": False,
        "indexes": ["-bytes", {"fields": ["signed_at"], "sparse": True}],
    }


class Limits(NamedTuple):
    files: int | None
    bytes: int | None


class Standing(NamedTuple):
    """What an owner's files take, and the limits that hold, of which some may be the owner's `own`; None: there is none."""

    used: Used
    max_files: int | None
    max_bytes: int | None
    own: Limits = Limits(None, None)

    @property
    def files_left(self) -> int | None:
        return None if self.max_files is None else max(self.max_files - self.used.files, 0)

    @property
    def bytes_left(self) -> int | None:
        return None if self.max_bytes is None else max(self.max_bytes - self.used.bytes, 0)


class Full(Refusal):
    """The file is more than the owner has left; `left` says what that is, with None where there is no limit."""

    code = "quota"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE

    def __init__(self, standing: Standing, size: int) -> None:
        super().__init__(self.sentence(standing, size))
        self.left = {"files": standing.files_left, "bytes": standing.bytes_left}

    @staticmethod
    def sentence(standing: Standing, size: int) -> str:
        if standing.files_left == 0:
            said = _("You have reached the most files that you can have here: %(most)d. Delete some, then try again.")
            return said % {"most": standing.max_files}
        sizes = {"size": size, "left": standing.bytes_left or 0, "most": standing.max_bytes or 0}
        said = _("This file is %(size)s, but only %(left)s of your %(most)s are left. Delete some files, then try again.")
        return said % {name: filesizeformat(bytes_) for name, bytes_ in sizes.items()}


def standing_of(owner_id: str) -> Standing:
    """Where the owner stands."""
    known = Account._get_collection().find_one({"_id": owner_id}, ("files", "bytes", "max_files", "max_bytes")) or {}
    own = Limits(known.get("max_files"), known.get("max_bytes"))
    return Standing(Used(known.get("files", 0), known.get("bytes", 0)), *in_force(own), own)


def in_force(own: Limits) -> Limits:
    """What holds for an owner with these limits of their own."""
    return Limits(
        settings.QUOTA_FILES if own.files is None else own.files,
        settings.QUOTA_BYTES if own.bytes is None else own.bytes,
    )


def set_limits(owner_id: str, *, max_files: int | None, max_bytes: int | None) -> None:
    """Give an owner limits of their own; None: that of the settings. Files that are there stay, however many they are."""
    _ensure_account(owner_id)
    limits = update_operators({"max_files": max_files, "max_bytes": max_bytes})
    Account._get_collection().update_one({"_id": owner_id}, limits)


# --- a signing ----------------------------------------------------------------------------------------------------------


def charge(owner_id: str, key: str, size: int) -> None:
    """Count a file of so many bytes that is about to be signed. Raises Full, and one of `documents.Error`.

    Its document has to be written within the same `signing()`.
    """
    if _charge(owner_id, key, size):
        return
    _ensure_account(owner_id)  # or another signing just did
    if not _charge(owner_id, key, size):
        raise Full(standing_of(owner_id), size)


def signing() -> AbstractContextManager[object]:
    """In which a file is charged and its document written: whoever is stopped in between for longer writes none."""
    return pymongo.timeout(SIGNING)


def _charge(owner_id: str, key: str, size: int) -> bool:
    moment = now()
    files = {"$lt": ["$files", {"$ifNull": ["$max_files", _or_endless(settings.QUOTA_FILES)]}]}
    bytes_ = {"$lte": [{"$add": ["$bytes", size]}, {"$ifNull": ["$max_bytes", _or_endless(settings.QUOTA_BYTES)]}]}
    held = {"key": key, "bytes": size, "at": moment}
    charged: UpdateResult = Account._get_collection().update_one(
        {"_id": owner_id, "$expr": {"$and": [files, bytes_]}},
        {
            "$inc": {"files": 1, "bytes": size, "version": 1},
            "$set": {f"held.{random_of(key)}": held, "signed_at": moment},
        },
    )
    return charged.matched_count == 1


def _or_endless(limit: int | None) -> int:
    return ENDLESS if limit is None else limit


def _ensure_account(owner_id: str) -> None:
    """Make an account, if there is none yet."""
    with suppress(DuplicateKeyError):
        Account._get_collection().insert_one({"_id": owner_id, "files": 0, "bytes": 0, "version": 0})


def settle() -> None:
    """Let documents stand for what was charged for them, and give back what was charged for none."""
    cutoff = now() - HELD
    for account in Account._get_collection().find({"signed_at": {"$exists": True}}, {"held": 1, "signed_at": 1}):
        _settle(account, cutoff)


def _settle(account: Mapping[str, Any], cutoff: datetime) -> None:
    held = account.get("held", {})
    old = {random: charged for random, charged in held.items() if charged["at"] < cutoff}
    keys = [charged["key"] for charged in old.values()]
    # Also a document that no majority has yet: it may have one in the end, and what was given back for it would be missing.
    files = File._get_collection().with_options(read_concern=ReadConcern("local"))
    written = {raw["_id"] for raw in files.find({"_id": {"$in": keys}}, {"_id": 1})}
    mine = {"_id": account["_id"]}
    changes = [
        # With its condition, since whoever removed the document meanwhile has given it back.
        UpdateOne({**mine, f"held.{random}": {"$exists": True}}, _given_back(charged["bytes"], f"held.{random}"))
        for random, charged in old.items()
        if charged["key"] not in written
    ]
    stood_for = {f"held.{random}": True for random, charged in old.items() if charged["key"] in written}
    if stood_for:
        changes.append(UpdateOne(mine, {"$unset": stood_for}))
    if len(old) == len(held):
        changes.append(UpdateOne({**mine, "signed_at": account["signed_at"]}, {"$unset": {"signed_at": True}}))
    if changes:
        Account._get_collection().bulk_write(changes)


def _given_back(bytes_: int, *fields: str) -> dict[str, Any]:
    return {"$inc": {"files": -1, "bytes": -bytes_, "version": 1}, "$unset": dict.fromkeys(fields, True)}


# --- what goes ----------------------------------------------------------------------------------------------------------


def refund(keys: Iterable[str]) -> None:
    """Give back what was charged for those of these files whose bytes are gone for good, once each, before their documents go.

    A refund is in one of these states, and only ever moves to the next:

    1. Charged: the document has no `refund`.
    2. Offered: the account has a ticket for the file among its `leaving`. The first ticket stays; later ones are not written.
    3. Accepted: the document has that ticket as its `refund`, and never takes another.
    4. Paid: the account no longer has the accepted ticket. It went in the update that lowered the sums.

    Whoever is killed leaves the refund in one of them. It counts as charged until it is paid, and the sweep, which calls this
    again, goes on from there. Of any number at once, one removes the accepted ticket from the account, and so one pays.
    Somebody late may offer a ticket for a file that was paid for meanwhile: no document accepts it, and it is withdrawn. Who is
    killed before that leaves a ticket that counts for nothing.

    Raises one of `documents.Error`; what was not given back then is by doing this again.
    """
    charged = {"_id": {"$in": list(keys)}, **NO_MORE, "charged": {"$exists": True}}
    files = {raw["_id"]: raw for raw in File._get_collection().find(charged, {"owner_id": 1, "charged": 1, "refund": 1})}
    if not files:
        return
    # Killed before or within this step: some are charged, and some offered. The next one finds the tickets and uses them.
    offered = _offer({key: raw["owner_id"] for key, raw in files.items() if "refund" not in raw})
    # Killed here: those offered wait for whoever comes next. Killed within: some are accepted.
    accepted = _accept(list(files), offered)
    # Killed here: the documents say by which tickets to pay. Killed within: some are paid, and their tickets are gone.
    payments = [
        payment
        for key, raw in files.items()
        for payment in _pay(raw["owner_id"], key, raw["charged"], accepted.get(key), offered.get(key))
    ]
    if payments:  # none, where somebody else was done with all of them meanwhile
        Account._get_collection().bulk_write(payments, ordered=False)


class Offer(NamedTuple):
    """Two tickets for one refund: the one we made, and the one that the account has, which may be somebody else's."""

    made: str
    standing: str


def _offer(owners: Mapping[str, str]) -> dict[str, Offer]:
    """Write a ticket for each key into its owner's account, unless one is there. `owners` are by key, and so are the offers."""
    made: dict[str, dict[str, str]] = {}  # by owner, then by the random part of the key
    for key, owner_id in owners.items():
        made.setdefault(owner_id, {})[random_of(key)] = secrets.token_hex(8)
    accounts = Account._get_collection()
    if made:
        version = {"$add": ["$version", 1]}
        accounts.bulk_write(
            [
                UpdateOne(
                    {"_id": owner_id},
                    # Of two tickets for one file the last that is merged stays: the one that was there.
                    [{"$set": {"leaving": {"$mergeObjects": [{"$literal": tickets}, "$leaving"]}, "version": version}}],
                )
                for owner_id, tickets in made.items()
            ],
            ordered=False,
        )
    standing = {raw["_id"]: raw.get("leaving", {}) for raw in accounts.find({"_id": {"$in": list(made)}}, {"leaving": 1})}
    offers = {}
    for key, owner_id in owners.items():
        random = random_of(key)
        # None: somebody else has paid by the ticket meanwhile.
        if ticket := standing.get(owner_id, {}).get(random):
            offers[key] = Offer(made[owner_id][random], ticket)
    return offers


def _accept(keys: list[str], offers: Mapping[str, Offer]) -> dict[str, str]:
    """Write the tickets into those documents that have none. Return, by key, the tickets that documents have now."""
    File.take_refunds({key: offer.standing for key, offer in offers.items()})
    found = File._get_collection().find({"_id": {"$in": keys}, "refund": {"$exists": True}}, {"refund": 1})
    return {raw["_id"]: raw["refund"] for raw in found}


def _pay(owner_id: str, key: str, charged: int, accepted: str | None, offer: Offer | None) -> Iterator[UpdateOne]:
    """What to change in the account: pay by the ticket that the document accepted, and withdraw ours if that is another."""
    leaving, held = f"leaving.{random_of(key)}", f"held.{random_of(key)}"
    if accepted:
        # With the ticket in its condition, and removing it: whoever comes second changes nothing.
        yield UpdateOne({"_id": owner_id, leaving: accepted}, _given_back(charged, leaving, held))
    if offer and offer.made != accepted:
        yield UpdateOne({"_id": owner_id, leaving: offer.made}, {"$unset": {leaving: True}})


# --- for operations -----------------------------------------------------------------------------------------------------


class Count(NamedTuple):
    """What an owner's account says, and what there is."""

    said: Used
    found: Used


def largest(number: int) -> list[tuple[str, Used]]:
    """The owners whose files take the most bytes, with what they take; the largest first."""
    accounts, sums = Account._get_collection(), {"files": 1, "bytes": 1}
    found = accounts.find({"bytes": {"$gt": 0}}, sums).sort({"bytes": DESCENDING}).limit(number).to_list()
    return [(raw["_id"], Used(raw["files"], raw["bytes"])) for raw in found]


def owners(after: str = "") -> Iterator[str]:
    """Everybody who has files or an account, each once, in the order of `owner_after`."""
    while (owner_id := owner_after(after)) is not None:
        yield owner_id
        after = owner_id


def owner_after(owner_id: str) -> str | None:
    """Whoever comes next of those who have files or an account, by their ids as text; "" comes before all."""
    behind = f"u/{owner_id}0" if owner_id else "u/"  # 0 is the character after the slash
    file = File._get_collection().find_one({"_id": {"$gt": behind, "$lt": "u0"}}, {"owner_id": 1}, sort=[("_id", 1)])
    account = Account._get_collection().find_one({"_id": {"$gt": owner_id}}, {"_id": 1}, sort=[("_id", 1)])
    found = [*([file["owner_id"]] if file else []), *([account["_id"]] if account else [])]
    return min(found, default=None)


def _keys_of(owner_id: str) -> dict[str, str]:
    return {"$gt": f"u/{owner_id}/", "$lt": f"u/{owner_id}0"}


def recount(owner_id: str, *, fix: bool = False) -> Count:
    """Compare an account with the documents, as they are at one moment, and `fix` it; others may work on both meanwhile.
    What lives and was never charged counts, and is charged by `fix`.

    Raises Busy where there was no such moment.
    """
    accounts = Account._get_collection()
    if fix:  # before the look at it: what is given back to no account would change no version
        _ensure_account(owner_id)
    for _try in range(RECOUNTS):
        before = accounts.find_one({"_id": owner_id}) or {"_id": owner_id}
        if fix:
            File.charge_uncharged(_keys_of(owner_id))
        # What comes after that and is not charged must not be in the sums, since it would never be given back.
        found = _found(before, uncharged=not fix)
        said = Used(before.get("files", 0), before.get("bytes", 0))
        same = {"_id": owner_id, "version": before.get("version", 0)}
        if not fix or said == found:
            now_there = accounts.find_one({"_id": owner_id}, {"version": 1}) or {}
            if now_there.get("version") == before.get("version"):
                return Count(said, found)
        else:
            sums = {"$set": found._asdict(), "$inc": {"version": 1}}
            if accounts.update_one(same, sums).matched_count:
                return Count(said, found)
    raise Busy(owner_id)


class Busy(Exception):
    """An account was changed each time that it was counted."""


def _found(account: Mapping[str, Any], *, uncharged: bool) -> Used:
    held = list(account.get("held", {}).values())
    leaving = list(account.get("leaving", {}).values())
    keys = [each["key"] for each in held]
    found = File.charged_of(_keys_of(account["_id"]), but=keys, leaving=leaving, uncharged=uncharged)
    return Used(found.files + len(held), found.bytes + sum(each["bytes"] for each in held))


def charge_for_old_files() -> bool:
    """Charge for the files of an earlier version. Return whether everybody could be counted, which takes a moment of rest."""
    all_counted = True
    for owner_id in owners():
        try:
            recount(owner_id, fix=True)
        except Busy:
            all_counted = False
    return all_counted
