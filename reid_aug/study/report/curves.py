"""GeneratedImages of a report: matplotlib's, as SVG that lies inside a page.

Ink takes the colour of the text around it, so a drawing is readable on light and on dark paper. The
same numbers give the same bytes: no times, and names of parts that depend on their content.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, PAPER = "#123456", "none"  # INK becomes the colour of the text
COLOURS = (
    "#888888", "#3b82c4", "#d9822b", "#2e9e6b", "#b9569b", "#8a7cc9", "#9a8c2c", "#c9473f",
    "#3fa3ad", "#7a5c43",
)  # fmt: skip
MARKERS = "osD^vPX*<>"
WIDTH = 5.0  # inches, 360 pixels of a page
STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "reid-aug", "text.parse_math": False, "font.size": 10,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "axes.titlecolor": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.facecolor": PAPER, "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER, "legend.frameon": False, "axes.spines.top": False,
    "axes.spines.right": False, "axes.titlesize": 10, "grid.color": INK, "grid.alpha": 0.15,
    "lines.linewidth": 1.8, "lines.markersize": 5.5,
}  # fmt: skip
NAMED_PARTS = re.compile(r' id="(?![mph][0-9a-f]{10}")[^"]*"')


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a plot: (ratio, mean, standard deviation or 0) of each of its points, per cent.

    ``place`` chooses its colour; curves of one name have one place in all plots of a page.
    """

    name: str
    place: int
    points: tuple[tuple[float, float, float], ...]


def ratio_plot(curves: Sequence[Curve], alt: str) -> str:
    """Draw mAP over the ratio; bands and bars are one standard deviation over seeds each way."""

    def draw(axes: "Axes") -> None:
        for curve in curves:
            ratio, mean, deviation = np.array(curve.points).T
            colour = COLOURS[curve.place % len(COLOURS)]
            marker = MARKERS[curve.place % len(MARKERS)]
            axes.plot(ratio, mean, color=colour, marker=marker, label=curve.name)
            axes.fill_between(
                ratio, mean - deviation, mean + deviation, color=colour, alpha=0.15, lw=0
            )
            axes.errorbar(ratio, mean, deviation, color=colour, fmt="none", lw=1, capsize=2.5)
        axes.set(xlabel="ratio", ylabel="mAP, %")
        axes.grid(axis="y")
        axes.figure.legend(loc="outside lower left", fontsize=9)

    return _svg(draw, 2.8 + 0.19 * len(curves), alt)


def gain_plot(rows: Sequence[tuple[str, float, Sequence[tuple[float, float]]]], alt: str) -> str:
    """Gains in mAP with their intervals: over seeds thin and long, over queries and seeds thick.

    Args:
        rows: name, gain, and the (low, high) of the two intervals; NaN where there is none.
        alt: what the drawing shows, for who cannot see it.
    """

    def draw(axes: "Axes") -> None:
        axes.axvline(0, color=INK, lw=1)
        for place, (_, mean, (seeds, queries)) in enumerate(rows):
            axes.plot(seeds, [place] * 2, color=COLOURS[1], lw=1.2, marker="|", markersize=8)
            axes.plot(queries, [place] * 2, color=COLOURS[1], lw=5, alpha=0.4)
            axes.plot([mean], [place], color=COLOURS[1], marker="o")
        axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
        axes.set(xlabel="gain in mAP, points", ylim=(len(rows) - 0.5, -0.5))
        axes.grid(axis="x")
        axes.tick_params("y", length=0)
        axes.spines["left"].set_visible(False)

    return _svg(draw, 0.8 + 0.28 * len(rows), alt)


def identity_plot(gains: Sequence[float], alt: str) -> str:
    """The gain of every identity, points of AP, from the largest to the least."""

    def draw(axes: "Axes") -> None:
        ordered = np.sort(gains)[::-1]
        places = np.arange(len(ordered))
        axes.bar(places, ordered, 1.0, color=np.where(ordered >= 0, COLOURS[3], COLOURS[7]), lw=0)
        axes.axhline(0, color=INK, lw=1)
        axes.set(xlabel="identities, by their gain", ylabel="gain in AP, points", xticks=[])
        axes.grid(axis="y")

    return _svg(draw, 2.4, alt)


def histogram(values: np.ndarray, name: str, alt: str) -> str:
    """How many rows of a bank have which score."""

    def draw(axes: "Axes") -> None:
        axes.hist(values, bins=40, color=COLOURS[1])
        axes.set(xlabel=name, ylabel="rows")
        axes.grid(axis="y")

    return _svg(draw, 2.2, alt)


def _svg(draw: Callable[["Axes"], None], height: float, alt: str) -> str:
    from html import escape

    from matplotlib import rc_context
    from matplotlib.figure import Figure

    file = io.StringIO()
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure.subplots())
        about = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(file, format="svg", metadata=about)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = NAMED_PARTS.sub("", text).replace(INK, "currentColor")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1)
