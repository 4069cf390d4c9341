"""The page of `make faults` has what the parts printed last, without the rounds' progress."""

from pathlib import Path

import pytest

from tests.faults import __main__ as report

PRINTED = [
    "     2   9.1 s,   25 files: slow line: bucket\n",
    "     1  13.4 s,   68 files: full disk: seaweedfs, seed 7\n",
    "2 rounds, seed 7: 20 s\n",
    "  faults                3\n",
    "  violations            1\n",
    "  The logs are in /tmp/x. Once more: python -m tests.faults.rounds --seed 7 --round …\n",
]


def test_a_summary_begins_where_the_progress_ends() -> None:
    assert PRINTED[report.first_of_summary(PRINTED)] == "2 rounds, seed 7: 20 s\n"


def test_what_has_no_progress_is_shown_as_a_whole() -> None:
    assert report.first_of_summary(["20000 cases in 300 s, seed 1 (…)\n", "  500s   0\n"]) == 0


def test_the_page_has_the_parts_that_were_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "PRINTED", tmp_path)
    (tmp_path / "races.md").write_text("10000 rounds, 0 violations")

    page = report.page()

    assert "10000 rounds, 0 violations" in page
    assert report.PARTS["races"] in page
    assert report.PARTS["load"] not in page
