"""What a part of the bench found: ratios, tables of absolute figures, and bars for the chart; as text and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

RATES = "Speed, as a share of the bare one's"  # a chart that several parts draw in


@dataclass(frozen=True)
class Ratio:
    """A figure against another of the same run. `met` is None where nothing was aimed at."""

    what: str
    ratio: float
    aim: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class Table:
    """Figures in rows. The first column has names; the others are numbers already written out."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Bar:
    """A figure to draw. `floor` is the part of it that nobody can take out; `other` is the range of somebody else's."""

    chart: str
    name: str
    value: float
    floor: float | None = None
    aim: float | None = None
    other: tuple[float, float] | None = None


@dataclass
class Findings:
    ratios: list[Ratio] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)

    def add(self, other: Findings) -> None:
        self.ratios += other.ratios
        self.tables += other.tables
        self.bars += other.bars

    def all_tables(self) -> list[Table]:
        """The ratios first."""
        rows = [(ratio.what, f"{ratio.ratio:.2f}", ratio.aim, WORDS[ratio.met]) for ratio in self.ratios]
        first = [Table("Ratios", ("", "ratio", "aim", "met"), rows)] if rows else []
        return first + self.tables


WORDS = {True: "yes", False: "no", None: ""}


def text(table: Table) -> str:
    lines = [table.columns, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.columns))]
    written = [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([table.title, "", written[0], rule, *written[1:], *(f"\n{note}" for note in table.notes), ""])


def markdown(table: Table) -> str:
    columns = len(table.columns)
    lines = [table.columns, ["---", *["---:"] * (columns - 1)], *table.rows]
    rows = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([f"## {table.title}", "", *rows, *(f"\n{note}" for note in table.notes), ""])
