"""What a benchmark found: a table to read, JSON with its conditions, and a plot."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.lab.benchmark.paired import Spread

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        name: key in the rows.
        heading: above the column.
        meaning: what it holds, with its unit; stands in the JSON.
        format: of its numbers, such as ".2f".
    """

    name: str
    heading: str
    meaning: str
    format: str = ""

    def text(self, row: Row) -> str:
        """The cell; "-" where the row has none."""
        value = row.get(self.name)
        if value is None:
            return "-"
        return str(value) if isinstance(value, str) else format(value, self.format)


@dataclass(frozen=True)
class Chart:
    """What of the table is drawn: a bar for each row, with its quartiles.

    Attributes:
        bar: name of the column that the bars show.
        axis: what the bars show, with its unit.
        labels: columns that name a row.
        mark: name of a column drawn as a mark beside each bar, such as what was to be reached.
        limit: a value drawn as a line across all bars.
    """

    bar: str
    axis: str
    labels: tuple[str, ...]
    mark: str | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Report:
    """What one part of the benchmark found.

    Attributes:
        part: name of the part, which also names its files.
        title: one line above the table.
        columns: of the table.
        rows: values by column name; numbers, text, `Spread` or None.
        conditions: under which it was measured.
        chart: what is drawn.
        notes: lines below the table.
    """

    part: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    conditions: Mapping[str, Any]
    chart: Chart
    notes: Sequence[str] = ()

    def text(self) -> str:
        """Title, table, notes."""
        cells = [[column.heading for column in self.columns]]
        cells += [[column.text(row) for column in self.columns] for row in self.rows]
        widths = [max(len(line[at]) for line in cells) for at in range(len(self.columns))]
        lines = [self.title]
        for line in cells:
            first, *rest = (
                text.ljust(width) if self._is_text(at) else text.rjust(width)
                for at, (text, width) in enumerate(zip(line, widths, strict=True))
            )
            lines.append("  ".join([first, *rest]).rstrip())
        return "\n".join([*lines, *self.notes])

    def _is_text(self, column: int) -> bool:
        name = self.columns[column].name
        return any(isinstance(row.get(name), str) for row in self.rows)

    def content(self) -> dict[str, Any]:
        """What PART.json holds."""
        return {
            "part": self.part,
            "title": self.title,
            "conditions": dict(self.conditions),
            "columns": {column.name: column.meaning for column in self.columns},
            "rows": [{name: _plain(value) for name, value in row.items()} for row in self.rows],
            "notes": list(self.notes),
        }


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if isinstance(value, Spread) else value
