"""The site in English and German: who gets which, and that nothing is left untranslated."""

from __future__ import annotations

import ast
import gettext
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from django.utils import translation

from files import api, documents, errors, forms, limits, shares, uploads  # noqa: F401  so that all refusals are known
from files.refusals import Refusal
from uploadkit import jinja

from .conftest import ROOT, post_json

DE = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}
CATALOG = ROOT / "locale" / "de" / "LC_MESSAGES" / "django.po"
SHOWN = sorted(
    path
    for path in (ROOT / "templates").rglob("*")
    if path.is_file() and "admin" not in path.relative_to(ROOT / "templates").parts
)
ANY_LANGUAGE = {"SHA", "uploadkit", "UTC"}


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    """A request leaves its language to the thread, which here is that of the tests."""
    with translation.override("en"):
        yield


# --- who gets which -----------------------------------------------------------------------------------------------------


def test_who_asks_for_german_gets_german(alice: User, as_alice: Client, stranger: Client, cast: Any) -> None:
    file = cast.upload(alice)
    link = shares.create(str(alice.pk), file.key, lives=timedelta(days=1))
    pages = {
        "/": "Finde sie wieder.",
        "/login": "Anmelden",
        "/files/": "Neueste zuerst",
        f"/files/{file.key}/": "Zurück zu deinen Dateien",
        f"/files/{file.key}/rename": "Neuer Name",
        f"/files/{file.key}/delete": "<bdi>report.pdf</bdi> löschen?",
        f"/files/{file.key}/share": "Link erstellen",
        f"/s/{link.token}": "Verfügbar bis",
        "/s/AAAAAAAAAAAAAAAAAAAAAA": "Dieser Link braucht ein Passwort",
        "/nothing-here": "<h1>Nicht gefunden</h1>",
    }

    for path, words in pages.items():
        client = stranger if path == "/login" or path.startswith("/s/") else as_alice
        response = client.get(path, headers=DE)
        assert words in response.text, path
        assert '<html lang="de">' in response.text, path
        assert response.headers["Content-Language"] == "de", path
        assert "Accept-Language" in response.headers["Vary"], path


def test_the_rows_of_the_list_are_german_down_to_sizes_and_times(alice: User, as_alice: Client, cast: Any) -> None:
    file = cast.upload(alice)
    german = as_alice.get("/files/", headers={"HX-Request": "true", **DE}).text
    english = as_alice.get("/files/", headers={"HX-Request": "true"}).text

    assert "Share report.pdf" in english
    assert ">5 bytes<" in english.replace("\xa0", " ")
    assert f'title="{jinja.spelled_out(file.ready_at)}"' in english
    assert "report.pdf teilen" in german
    assert ">5 Bytes<" in german.replace("\xa0", " ")
    with translation.override("de"):
        assert f'title="{jinja.spelled_out(file.ready_at)}"' in german
        assert re.match(r"\d+\. \w+ \d{4}, \d\d:\d\d UTC$", jinja.spelled_out(file.ready_at))
        assert jinja.ago(file.ready_at, file.ready_at + timedelta(hours=2)) == "vor 2 Stunden"
    assert jinja.ago(file.ready_at, file.ready_at + timedelta(hours=2)) == "2\xa0hours ago"


@pytest.mark.parametrize("header", [None, "", "en-GB", "fr", "tlh", "de;q=0,en", "*", "de_DE_;;q=,", "\x00", "de-" * 400, "ü"])
def test_everybody_else_gets_english(stranger: Client, header: str | None) -> None:
    response = stranger.get("/", headers={} if header is None else {"Accept-Language": header})

    assert response.status_code == 200
    assert "Find it again." in response.text
    assert '<html lang="en">' in response.text


def test_a_refusal_is_german_in_a_fragment_and_in_json_whose_code_stays(stranger: Client, as_alice: Client) -> None:
    fragment = stranger.get("/files/", headers={"HX-Request": "true", **DE})
    assert (fragment.status_code, fragment.text) == (401, "Du bist abgemeldet. Melde dich an und versuch es dann noch einmal.")

    answers = [post_json(as_alice, "/api/uploads/sign", {"filename": "a", "size": 10**12}, **headers) for headers in ({}, DE)]
    english, german = (answer.json() for answer in answers)
    assert answers[0].status_code == answers[1].status_code == 413
    assert english["code"] == german["code"] == "too_large"
    assert english["error"].startswith("The file has")
    assert german["error"].startswith("Die Datei hat")
    assert german["fields"] == {"size": german["error"]}


def test_the_description_of_the_api_is_english_and_one_for_all_caches(stranger: Client) -> None:
    german = stranger.get("/api/openapi.json", headers=DE)

    assert german.content == stranger.get("/api/openapi.json").content
    assert german.headers["Cache-Control"] == "public, max-age=3600"
    assert "Accept-Language" not in german.headers.get("Vary", "")


# --- the catalog --------------------------------------------------------------------------------------------------------


@dataclass
class Entry:
    """One sentence of a .po file."""

    flags: set[str] = field(default_factory=set)
    obsolete: bool = False
    texts: dict[str, str] = field(default_factory=dict)  # by msgctxt, msgid, msgid_plural, msgstr, msgstr[0] …

    @property
    def id(self) -> tuple[str, str]:
        return self.texts.get("msgctxt", ""), self.texts.get("msgid", "")

    @property
    def sources(self) -> list[str]:
        return [text for name, text in self.texts.items() if name.startswith("msgid")]

    @property
    def translations(self) -> list[str]:
        return [text for name, text in self.texts.items() if name.startswith("msgstr")]


def entries(path: Path) -> list[Entry]:
    return [entry_of(block.splitlines()) for block in path.read_text(encoding="utf-8").strip().split("\n\n")]


def entry_of(lines: list[str]) -> Entry:
    entry, name = Entry(), ""
    for line in lines:
        if line.startswith("#"):
            entry.obsolete = entry.obsolete or line.startswith("#~")
            entry.flags |= set(line[2:].replace(" ", "").split(",")) if line.startswith("#,") else set()
            continue
        keyword, _, quoted = line.partition('"')
        name = keyword.strip() or name
        entry.texts[name] = entry.texts.get(name, "") + ast.literal_eval(f'"{quoted}')
    return entry


def sentences() -> list[Entry]:
    """All but the header."""
    found = entries(CATALOG)[1:]
    assert len(found) > 200
    return found


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"%\(\w+\)[sd]|%%|%s|\{\w+\}|</?\w+>", text))


def compiled(path: Path) -> dict[tuple[str, int | None], str]:
    """What a .mo file has, by sentence and, of those that have plurals, number of the form."""
    with path.open("rb") as file:
        catalog = vars(gettext.GNUTranslations(file))["_catalog"]
    return {known if isinstance(known, tuple) else (known, None): text for known, text in catalog.items() if known}


@pytest.mark.parametrize("language", [code for code, _ in settings.LANGUAGES if code != "en"])
def test_a_language_has_a_catalog(language: str) -> None:
    assert (ROOT / "locale" / language / "LC_MESSAGES" / "django.mo").is_file()


def test_every_sentence_is_translated_and_none_is_in_doubt_or_left_over() -> None:
    for entry in sentences():
        assert all(entry.translations), f"untranslated: {entry.id}"
        assert "fuzzy" not in entry.flags, f"in doubt: {entry.id}"
        assert not entry.obsolete, f"left over: {entry.id}"


def test_a_translation_has_the_placeholders_and_tags_of_its_sentence() -> None:
    for entry in sentences():
        most = placeholders(entry.sources[-1])  # one of something may do without its number
        assert placeholders(entry.translations[-1]) == most, entry.id
        for text in entry.translations:
            assert placeholders(entry.sources[0]) <= placeholders(text) <= most, entry.id


def test_what_is_compiled_is_what_is_written() -> None:
    written: dict[tuple[str, int | None], str] = {}
    for entry in sentences():
        plural = len(entry.sources) > 1
        written |= {(entry.id[1], number if plural else None): text for number, text in enumerate(entry.translations)}

    assert compiled(CATALOG.with_suffix(".mo")) == written, "run `make messages`"


@pytest.mark.skipif(shutil.which("xgettext") is None, reason="GNU gettext is not installed")
def test_the_catalog_has_exactly_the_sentences_of_the_sources(tmp_path: Path) -> None:
    for folder in ("files", "uploadkit", "templates", "locale"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "manage.py", tmp_path)
    argv = [sys.executable, "manage.py", "makemessages", "--all", "--extension", "html,py,jinja", "--no-obsolete"]
    subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True, timeout=60)

    now = {entry.id for entry in entries(tmp_path / CATALOG.relative_to(ROOT))[1:]}
    assert now == {entry.id for entry in sentences()}


def test_every_page_that_refuses_has_a_translated_heading() -> None:
    statuses = {int(kind.status) for kind in refusals(Refusal)} | {400, 403, 404, 500, 503}

    for status in statuses - {HTTPStatus.UNAUTHORIZED}:  # which a page never is: it goes to sign in
        with translation.override("de"):
            assert errors.heading(status) != HTTPStatus(status).phrase or status == HTTPStatus.CONFLICT, status


def refusals(kind: type[Refusal]) -> set[type[Refusal]]:
    return {kind}.union(*(refusals(below) for below in kind.__subclasses__()))


# --- the templates ------------------------------------------------------------------------------------------------------

TEMPLATE_SYNTAX = re.compile(
    r"{%-?\s*comment\b.*?{%-?\s*endcomment\b.*?%}|{%-?\s*blocktranslate\b.*?{%-?\s*endblocktranslate\b.*?%}"
    r"|{#.*?#}|{%.*?%}|{{.*?}}",
    re.DOTALL,
)
READ_OUT = ("alt", "aria-label", "placeholder", "title")


class Words(HTMLParser):
    """What a person would read or hear of a page, where no tag of the template stands."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(TEMPLATE_SYNTAX.sub(" ", source))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in READ_OUT or name.startswith("data-says"):
                self.handle_data(re.sub(r"\{\w+\}", "", value or ""))

    def handle_data(self, data: str) -> None:
        self.found += [word for word in re.findall(r"[^\W\d_]+", data) if word not in ANY_LANGUAGE]


@pytest.mark.parametrize("template", SHOWN, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_no_template_has_words_of_its_own(template: Path) -> None:
    assert Words(template.read_text()).found == []


def test_words_of_its_own_would_be_found() -> None:
    source = '{# Not this #}<p title="{% translate "Nor this" %}, but this">{% if a > b %}And {{ this }}{% endif %}</p>'

    assert Words(source).found == ["but", "this", "And"]


def test_the_scripts_have_no_words_of_their_own() -> None:
    """A sentence has a blank; what else is in quotes are names, and selectors, which begin otherwise."""
    for script in (ROOT / "static").glob("*.js"):
        code = re.sub(r"^\s*//.*$|\s// .*$", "", script.read_text(), flags=re.MULTILINE)
        texts = [text for _, text in re.findall(r"""(["'`])((?:(?!\1)[^\\\n]|\\.)*)\1""", code)]
        assert texts
        assert [text for text in texts if re.match(r"[A-Z][a-z]+ [a-z]", text)] == []
