"""What the documentation names exists: tests by which it shows something, modules, variables, commands, and every place that a
link leads to. And what stands there a second time is the same as in the code.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client

from files.documents import File

from .conftest import ROOT
from .processes import procfile
from .sites import running_site
from .test_settings import variables_that_settings_read

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
SECURITY = DOCS / "security.md"
UNITS = DOCS / "systemd"
ON_ONE_MACHINE = {"HOST": "127.0.0.1"}  # where the proxy is on it too


def prose(path: Path) -> str:
    """The page without its blocks of code, in which a # is a comment and a bracket no link."""
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def links(path: Path) -> list[tuple[str, str]]:
    """The text and the target of each link that leads to a file of ours or within the page."""
    return [(text, target) for text, target in LINK.findall(prose(path)) if "://" not in target]


def place(heading: str) -> str:
    """How a heading is linked to, as GitHub does it."""
    return re.sub(r"[^\w\- ]", "", heading.strip("# \n").lower()).replace(" ", "-")


def places(path: Path) -> set[str]:
    return {place(line) for line in prose(path).splitlines() if line.startswith("#")}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for text, target in links(path):
        file, _, part = target.partition("#")
        there = path.parent / file if file else path
        assert there.exists(), f"[{text}]({target})"
        assert not part or part in places(there), f"[{text}]({target})"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_test_that_is_named_exists_where_it_is_said_to_be(path: Path) -> None:
    for text, target in links(path):
        if text.startswith("`test_"):
            assert f"def {text.strip('`')}(" in (path.parent / target).read_text(), text


def test_every_line_of_the_security_page_says_where_and_shows_how() -> None:
    lines = [line for line in SECURITY.read_text().splitlines() if line.startswith("|") and "---" not in line]
    points = [line for line in lines if not line.startswith("| |")]

    assert len(points) >= 12 + 13
    for line in points:
        name, done, where, shown = (part.strip() for part in line.strip("|").split("|"))
        assert name and done.endswith("."), line
        assert re.fullmatch(r"(\[\w+\]\(\.\./\w+/\w+\.py\)(, )?)+", where), line
        assert re.fullmatch(r"(\[`test_\w+`\]\(\.\./tests/[\w/]+\.py\)(, )?)+", shown), line


def test_the_readme_leads_to_every_page() -> None:
    named = {ROOT / target.partition("#")[0] for _, target in links(ROOT / "README.md")}

    assert set(PAGES) - {ROOT / "README.md"} - named == set()


# --- what the code says too ---------------------------------------------------------------------------------------------


def test_the_table_of_variables_has_all_that_the_settings_read_and_no_others() -> None:
    table = re.search(r"\n## Variables\n(.*?)\n## ", (DOCS / "configuration.md").read_text(), re.DOTALL)
    assert table
    cells = [line.split("|")[1] for line in table[1].splitlines() if line.startswith("| `")]

    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == variables_that_settings_read()


def test_the_map_has_every_module_and_no_others() -> None:
    page = (DOCS / "architecture.md").read_text()
    parts = re.findall(r"\n### (\w+)/\n(.*?)(?=\n### |\Z)", page, re.DOTALL)

    assert [package for package, _ in parts] == ["files", "uploadkit"]
    for package, part in parts:
        named = {
            name for line in part.splitlines() for name in re.findall(r"`(\w+\.py)`", line.split("|")[1] if "|" in line else "")
        }
        assert named == {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py"}, package


def test_every_command_that_is_named_exists() -> None:
    ours = {path.stem for path in ROOT.glob("*/management/commands/*.py")}
    djangos = {"check", "migrate", "collectstatic", "createsuperuser"}
    named = {name for path in PAGES for name in re.findall(r"manage\.py (\w+)", path.read_text())}

    assert ours - {"__init__", "dev"} <= named <= ours | djangos


@pytest.mark.parametrize("name", ["web", "worker", "housekeeper", "beat"])
def test_the_units_of_systemd_run_what_the_procfile_does(name: str) -> None:
    """systemd knows no ${NAME:-default} and no relative program, and reads %h as a home directory."""
    unit = (UNITS / f"uploadkit-{name}.service").read_text()
    line = procfile()[name]
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", line)) | {k: v for k, v in ON_ONE_MACHINE.items() if k in line}

    run = re.sub(r":-[^}]*", "", line).replace("%", "%%")
    assert re.findall(r"^ExecStart=/opt/uploadkit/\.venv/bin/(.*)$", unit, re.MULTILINE) == [run]
    assert dict(re.findall(r"(\w+)=([^\s=]+)", "".join(re.findall(r"^Environment=(.*)$", unit, re.MULTILINE)))) == defaults


# --- what somebody copies -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (shutil.which("jq") and shutil.which("curl")), reason="the example needs curl and jq")
@pytest.mark.django_db(transaction=True)
def test_the_example_with_curl_uploads_a_file(as_alice: Client, alice: User, tmp_path: Path) -> None:
    (example,) = re.findall(r"```bash\n(SITE=.*?)```", (DOCS / "integrate.md").read_text(), re.DOTALL)
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7 of four pages")
    csrf = "a" * 32  # any that the cookie and the header both have
    with running_site(tmp_path) as origin:
        said = {"SITE": origin, "SESSION": as_alice.cookies["sessionid"].value, "CSRF": csrf}
        for name, value in said.items():
            example = re.sub(rf"^{name}=\S+", f"{name}={value}", example, flags=re.MULTILINE)
        done = subprocess.run(["bash", "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert '"status": "ready"' in done.stdout, done.stdout + done.stderr
    (file,) = File.objects.owned_by(str(alice.pk)).ready()
    assert (file.name, file.size) == ("report.pdf", 22)
    assert file.sha256
