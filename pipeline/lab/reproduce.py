"""The paper's FLOPs tables beside the FLOPs counted by this code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sta
from sta.flops import Convention


@dataclass(frozen=True)
class PaperTable:
    """FLOPs of one table of the paper.

    Attributes:
        number: of the table.
        convention: the count that the paper's numbers are rounded from.
        tolerance: largest difference in GFLOPs that rounding and convention explain.
        cells: GFLOPs per view by architecture and r.
        classes: classes of the head, by architecture.
    """

    number: int
    convention: str
    tolerance: float
    cells: dict[str, dict[int, int]]
    classes: dict[str, int]


TABLE_2 = PaperTable(
    number=2,
    convention="matrix products and convolutions alone (macs)",
    tolerance=0.8,
    cells={
        "vit_small": {0: 57, 32: 42, 48: 35, 64: 29},
        "vit_base": {0: 180, 32: 136, 48: 116, 64: 96},
        "vit_large": {0: 597, 32: 446, 48: 376, 64: 308},
        "vit_huge": {0: 1192, 32: 890, 48: 748, 64: 611},
    },
    classes={},
)

TABLE_3 = PaperTable(
    number=3,
    convention="fvcore's total, with layer norm (fvcore)",
    tolerance=0.6,
    cells={
        "videoswin_tiny": {0: 88, 192: 68, 256: 61, 320: 54},
        "videoswin_small": {0: 166, 192: 121, 256: 106, 320: 91},
        "videoswin_base": {0: 282, 192: 202, 256: 176, 320: 149},
        "videoswin_base_ssv2": {0: 321, 192: 241, 256: 215, 320: 188},
    },
    classes={"videoswin_base_ssv2": 174},
)


@dataclass(frozen=True)
class Cell:
    """One cell: the paper's number and ours, in GFLOPs per view.

    Attributes:
        architecture: name of the model.
        r: tokens dropped per frame at the first stage.
        paper: the paper's number.
        fvcore: ours with layer norm counted.
        macs: ours without.
        sparse: ours with sparse window attention; None for a ViT.
        tolerance: of the table.
    """

    architecture: str
    r: int
    paper: int
    fvcore: float
    macs: float
    sparse: float | None
    tolerance: float

    @property
    def difference(self) -> float:
        """Ours, by fvcore's total, less the paper's."""
        return self.fvcore - self.paper

    @property
    def holds(self) -> bool:
        """Whether ours is the paper's number within the tolerance."""
        return abs(self.difference) <= self.tolerance


def compare(table: PaperTable) -> Iterator[Cell]:
    """Counts every cell of a table in closed form, as the paper computes the attention."""
    for architecture, row in table.cells.items():
        classes = table.classes.get(architecture, 400)
        windowed = architecture.startswith("videoswin")
        for r, paper in row.items():
            pruning = sta.Pruning(r=r, window_attention="dense")
            sparse = None
            if windowed:
                sparse = _gflops(architecture, sta.Pruning(r=r), classes, "fvcore")
            yield Cell(
                architecture=architecture,
                r=r,
                paper=paper,
                fvcore=_gflops(architecture, pruning, classes, "fvcore"),
                macs=_gflops(architecture, pruning, classes, "macs"),
                sparse=sparse,
                tolerance=table.tolerance,
            )


def _gflops(architecture: str, pruning: sta.Pruning, classes: int, convention: Convention) -> float:
    flops = sta.estimate_flops(
        architecture, pruning=pruning, num_classes=classes, convention=convention
    )
    return flops / 1e9


def render(table: PaperTable, cells: list[Cell]) -> str:
    """A table as text."""
    sparse = any(cell.sparse is not None for cell in cells)
    lines = [
        f"Table {table.number}: GFLOPs per view (1e9 multiply-accumulates)",
        f"The paper rounds from {table.convention}.",
        f"{'model':<20} {'r':>4} {'paper':>6} {'fvcore':>8} {'macs':>8} {'differs':>8}"
        + (f" {'sparse':>11}" if sparse else ""),
    ]
    for cell in cells:
        line = (
            f"{cell.architecture:<20} {cell.r:>4} {cell.paper:>6} {cell.fvcore:>8.2f} "
            f"{cell.macs:>8.2f} {cell.difference:>+8.2f}"
        )
        if cell.sparse is not None:
            line += f" {cell.sparse:>11.2f}"
        lines.append(line + ("" if cell.holds else f"  beyond {cell.tolerance}"))
    held = sum(cell.holds for cell in cells)
    lines.append(f"{held} of {len(cells)} cells within {table.tolerance} GFLOPs of the paper")
    return "\n".join(lines)
