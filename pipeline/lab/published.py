"""Tables 4 and 5 of the paper, STA among other systems, beside the FLOPs counted by this code.

Ding et al., Prune Spatio-temporal Tokens by Semantic-aware Temporal Accumulation, ICCV 2023. FLOPs
are multiply-accumulates of one view. Rows of this code's own models are counted in closed form, and
models that the paper does not have are added to them, unpruned and at half of their FLOPs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

import sta
from pipeline.formatting import text_table
from pipeline.lab.baselines.shares import at_share
from pipeline.lab.baselines.token_merging import ToMe
from pipeline.reports.html.figures import COLORS, inline_svg, log_axis, new_figure
from pipeline.reports.html.point_labels import PointLabel, label_points
from pipeline.reports.html.report import (
    Block,
    Bullets,
    Plot,
    Plots,
    Section,
    Table,
    Text,
    report_page,
)
from workers.inference.reduction import SweepVariant, variant_flops

# The largest difference in GFLOPs that rounding and the convention of counting explain: the paper
# counts ViTs without layer norms, and this table with them.
TOLERANCE = 0.8

_HALF = 0.5

_STA, _OTHERS = COLORS[0], COLORS[1]
_INK = "#1c2430"
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

COLUMNS = ("system", "GFLOPs x views", "GFLOPs per video", "top-1", "counted here", "difference")
LEGEND = (
    "GFLOPs (1e9 multiply-accumulates) per view, times clips, times crops.",
    "Counted here: GFLOPs per view by this code.",
    f"Difference: counted here minus the paper's, GFLOPs per view; {TOLERANCE} are allowed.",
)
ADDED = "Not in the paper, GFLOPs as counted here"


def _sta(r: int) -> sta.Pruning:
    """As the paper computes window attention."""
    return sta.Pruning(r=r, window_attention="dense")


@dataclass(frozen=True)
class Published:
    """A row of the paper.

    Attributes:
        system: its name there.
        gflops: of one view, rounded.
        views: clips and crops.
        top1: accuracy, percent.
        architecture: name of this code's model; None where it has none.
        variant: how that model's tokens are reduced.
    """

    system: str
    gflops: int
    views: tuple[int, int]
    top1: float
    architecture: str | None = None
    variant: SweepVariant = field(default_factory=sta.Pruning)


@dataclass(frozen=True)
class Addition:
    """A model that the paper does not have; it is listed unpruned and at half of its FLOPs.

    Attributes:
        system: its name, with frames and pixels where they are not the paper's 16 of 224 x 224.
        architecture: name of this code's model.
        views: clips and crops of its protocol.
    """

    system: str
    architecture: str
    views: tuple[int, int]


@dataclass(frozen=True)
class ComparisonTable:
    """A table of the paper.

    Attributes:
        number: of the table.
        dataset: what accuracies are on.
        classes: of the models' heads.
        rows: the paper's.
        additions: models of this code.
    """

    number: int
    dataset: str
    classes: int
    rows: tuple[Published, ...]
    additions: tuple[Addition, ...]

    @property
    def title(self) -> str:
        """Above the table."""
        return f"Table {self.number}: {self.dataset}"


TABLES = (
    ComparisonTable(
        number=4,
        dataset="Kinetics-400",
        classes=400,
        rows=(
            Published("TimeSformer-L", 8353, (1, 3), 80.7),
            Published("Motionformer-L", 1185, (10, 3), 80.2),
            Published("ViViT", 3981, (4, 3), 84.9),
            Published("Swin-L", 2107, (10, 5), 84.9),
            Published("MViTv2-L", 2828, (5, 3), 86.1),
            Published("ViT-H", 1192, (5, 3), 86.3, "vit_huge"),
            Published("STTS-VideoSwin-B", 253, (4, 3), 81.9),
            Published("ToMe-ViT-L", 281, (10, 1), 84.5, "vit_large", ToMe(r=65)),
            Published("STA^320-VideoSwin-B", 149, (4, 3), 82.3, "videoswin_base", _sta(320)),
            Published("STA^64-ViT-L", 308, (5, 3), 85.0, "vit_large", _sta(64)),
            Published("STA^64-ViT-H", 611, (5, 3), 86.1, "vit_huge", _sta(64)),
        ),
        additions=(
            Addition("VideoMAE V2 g", "vit_giant", (5, 3)),
            Addition("ViViT-B, 32 x 224 x 224", "vivit_base", (4, 3)),
        ),
    ),
    ComparisonTable(
        number=5,
        dataset="Something-Something V2",
        classes=174,
        rows=(
            Published("TimeSformer-L", 5549, (1, 3), 62.4),
            Published("Motionformer-L", 1185, (1, 3), 68.1),
            Published("MViTv2-B", 225, (1, 3), 70.5),
            Published("VideoSwin-B", 321, (1, 3), 69.6, "videoswin_base_ssv2"),
            Published("ViT-B", 180, (2, 3), 70.6, "vit_base"),
            Published("STTS-VideoSwin-B", 237, (1, 3), 68.7),
            Published("STA^320-VideoSwin-B", 188, (1, 3), 69.2, "videoswin_base_ssv2", _sta(320)),
            Published("STA^48-ViT-B", 116, (2, 3), 70.3, "vit_base", _sta(48)),
        ),
        additions=(
            Addition("VideoMAE V2 g", "vit_giant", (2, 3)),
            Addition("V-JEPA 2 L, 16 x 256 x 256", "vjepa2_large", (2, 3)),
            Addition("V-JEPA 2 H, 64 x 256 x 256", "vjepa2_huge", (2, 3)),
            Addition("V-JEPA 2 g, 64 x 384 x 384", "vjepa2_giant", (2, 3)),
        ),
    ),
)


@dataclass(frozen=True)
class ComparedSystem:
    """A row of the comparison.

    Attributes:
        system: name.
        views: clips and crops.
        published: GFLOPs of one view in the paper; None for a row that it does not have.
        top1: published accuracy, percent; None where it was not measured.
        counted: GFLOPs of one view by this code, None where it has no such model.
    """

    system: str
    views: tuple[int, int]
    published: int | None
    top1: float | None
    counted: float | None

    @property
    def per_video(self) -> float:
        """GFLOPs of all views."""
        gflops = self.counted if self.published is None else self.published
        assert gflops is not None
        return gflops * self.views[0] * self.views[1]

    @property
    def difference(self) -> float | None:
        """What is counted less what was published."""
        if self.counted is None or self.published is None:
            return None
        return self.counted - self.published

    @property
    def holds(self) -> bool:
        """Whether the two agree, or there is nothing to compare."""
        return self.difference is None or abs(self.difference) <= TOLERANCE

    def cells(self) -> tuple[str, ...]:
        """Under COLUMNS."""
        clips, crops = self.views
        gflops = self.counted if self.published is None else self.published
        return (
            self.system,
            f"{gflops:,.0f} x {clips} x {crops}",
            f"{self.per_video:,.0f}",
            "not measured" if self.top1 is None else f"{self.top1:.1f} %",
            "" if self.counted is None else f"{self.counted:,.1f}",
            # Adding 0.0 turns a rounded -0.0 into 0.0.
            "" if self.difference is None else f"{round(self.difference, 1) + 0.0:+.1f}",
        )


def compared(table: ComparisonTable) -> Iterator[ComparedSystem]:
    """The paper's rows, then the additions."""
    for row in table.rows:
        counted = None
        if row.architecture is not None:
            counted = _gflops(row.architecture, row.variant, table.classes)
        yield ComparedSystem(row.system, row.views, row.gflops, row.top1, counted)
    for added in table.additions:
        config = sta.architecture_config(added.architecture)
        half = at_share("sta", _HALF, config, num_classes=table.classes).variant
        assert isinstance(half, sta.Pruning)
        for name, pruning in (
            (added.system, sta.Pruning()),
            (f"STA^{half.r}-{added.system}", half),
        ):
            gflops = _gflops(added.architecture, pruning, table.classes)
            yield ComparedSystem(name, added.views, None, None, gflops)


def _gflops(architecture: str, variant: SweepVariant, classes: int) -> float:
    config = sta.architecture_config(architecture)
    return variant_flops(variant, config, num_classes=classes) / 1e9


def text(table: ComparisonTable, systems: Sequence[ComparedSystem]) -> str:
    """A table for a terminal: the paper's rows, the others, and whether the counts agree."""
    heading, *lines = text_table([COLUMNS, *(each.cells() for each in systems)])
    papers = len(table.rows)
    return "\n".join(
        (
            table.title,
            *LEGEND,
            heading,
            *lines[:papers],
            f"{ADDED}:",
            *lines[papers:],
            verdict(table, systems),
        )
    )


def verdict(table: ComparisonTable, systems: Sequence[ComparedSystem]) -> str:
    """How many of the counts agree with the paper."""
    known = [each for each in systems if each.difference is not None]
    beyond = [each for each in known if not each.holds]
    said = (
        f"{'FAIL' if beyond else 'PASS'}: {len(known) - len(beyond)} of {len(known)} counts of "
        f"table {table.number} are within {TOLERANCE} GFLOPs per view of the paper's"
    )
    return f"{said}, but not {', '.join(each.system for each in beyond)}." if beyond else f"{said}."


def page(tables: Sequence[tuple[ComparisonTable, Sequence[ComparedSystem]]]) -> str:
    """The page with all tables."""
    sections = []
    for table, systems in tables:
        rows = [(superscripted(each.system), *each.cells()[1:]) for each in systems]
        papers = len(table.rows)
        blocks: list[Block] = [
            Plots([_plot(table, systems)], width=26),
            Text(superscripted(verdict(table, systems))),
            Table(
                COLUMNS, rows[:papers], title="In the paper", about=" ".join(LEGEND), numbers=True
            ),
            Table(COLUMNS[:-1], [row[:-1] for row in rows[papers:]], title=ADDED, numbers=True),
        ]
        sections.append(Section(blocks, table.title))
    return report_page(
        "STA and other systems",
        [*sections, Section([Bullets(METHODOLOGY)], "Methodology", folded=True)],
        lead=(
            "Tables 4 and 5 of the paper, and models that it does not have, unpruned and with STA "
            "at half of their FLOPs.",
        ),
    )


METHODOLOGY = (
    "GFLOPs (1e9 multiply-accumulates) of one view, times clips, times crops. GFLOPs and "
    "accuracies of the paper's rows are the paper's.",
    "Counted here: this code's model of the row, in closed form by fvcore's convention, with the "
    f"paper's dense window attention. Rows agree within {TOLERANCE} GFLOPs: the paper rounds, and "
    "counts ViTs without layer norms.",
    "STAʳ drops r tokens per frame at the first of three stages. For models that the paper does "
    "not have, r is the one whose FLOPs are nearest to half of the unpruned model's. Their "
    "accuracy was not measured here.",
)


def _plot(table: ComparisonTable, systems: Sequence[ComparedSystem]) -> Plot:
    title = f"Accuracy against FLOPs, {table.dataset}"
    return Plot(
        inline_svg(figure_of(systems), title),
        f"{title}: systems whose accuracy is published. STA's are blue.",
    )


def figure_of(systems: Sequence[ComparedSystem]) -> Figure:
    """Accuracy against FLOPs of the systems whose accuracy is published, each with its name."""
    figure, axes = new_figure(height=3.9)
    known = [(each, each.top1) for each in systems if each.top1 is not None]
    names: list[PointLabel] = []
    for color, label, own in ((_OTHERS, "other systems", False), (_STA, "STA", True)):
        shown = [(each, top1) for each, top1 in known if each.system.startswith("STA^") == own]
        x, y = [each.per_video for each, _ in shown], [top1 for _, top1 in shown]
        axes.plot(x, y, "o", color=color, label=label)
        names.extend(
            PointLabel(each.per_video, top1, superscripted(each.system), color if own else _INK)
            for each, top1 in shown
        )
    costs = [each.per_video for each, _ in known]
    log_axis(axes, "x", min(costs), max(costs))
    axes.margins(x=0.16, y=0.12)
    axes.set_xlabel("GFLOPs per video (all views)")
    axes.set_ylabel("top-1, %")
    axes.grid(axis="y", color="#e6e9ee")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    label_points(figure, axes, names)
    return figure


def superscripted(name: str) -> str:
    """The name as a page shows it: `STA^64` with a superscript."""
    return re.sub(r"\^(\d+)", lambda found: found[1].translate(_SUPERSCRIPTS), name)
