"""Charts, as numbers for a template: whole ones, since a language may write 0.5 with a comma, which SVG does not read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

STEP, BREADTH = 100, 76  # from one column to the next, and how broad it is, in the units of the drawing
HEIGHT = 1_000
VISIBLE = 12  # the least height of a column that is not nothing


@dataclass(frozen=True, slots=True)
class Column:
    label: str
    said: str
    x: int
    y: int
    height: int


@dataclass(frozen=True, slots=True)
class Columns:
    """A column for each value, drawn `width` by HEIGHT units, and what it says in words."""

    name: str
    title: str
    total: str
    most: str
    description: str
    columns: list[Column]

    @property
    def width(self) -> int:
        return STEP * len(self.columns)


def columns(name: str, title: str, values: Sequence[tuple[str, int]], say: Callable[[int], str]) -> Columns | None:
    """`values` are labels with numbers; None where there is nothing to see. `name` tells charts of a page apart."""
    most = max((value for _, value in values), default=0)
    if not most:
        return None
    peak = next(label for label, value in values if value == most)
    drawn = [
        Column(label, say(value), place * STEP + (STEP - BREADTH) // 2, HEIGHT - height, height)
        for place, (label, value) in enumerate(values)
        for height in (_part(value, most, HEIGHT, VISIBLE),)
    ]
    total = say(sum(value for _, value in values))
    description = (
        f"{len(values)} columns, from {values[0][0]} to {values[-1][0]}: {total} in all, and the most, {say(most)}, on {peak}."
    )
    return Columns(name, title, total, f"{say(most)} on {peak}", description, drawn)


@dataclass(frozen=True, slots=True)
class Row:
    """What a row of a table says, and the `value` that its bar shows."""

    label: str
    value: int
    said: Sequence[str]
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Bars:
    """A table with a bar in each row."""

    heads: Sequence[str]
    rows: Sequence[Row]

    @property
    def lengths(self) -> list[tuple[Row, int]]:
        """Of each bar, in percent of the longest."""
        most = max((row.value for row in self.rows), default=0)
        return [(row, _part(row.value, most, 100, 1)) for row in self.rows]


def _part(value: int, most: int, full: int, least: int) -> int:
    return max(least, round(full * value / most)) if value and most else 0
