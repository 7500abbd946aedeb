"""Plots of a report: made by matplotlib, as SVG inside the page.

Lines and words take the colour of the surrounding text, so that a plot is readable on a light and
on a dark page. The same numbers give the same bytes: a plot holds no times, and the names of its
parts depend on their content only.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST_SPAN = 5.0  # points of mAP that a plot spans, so that noise does not look like a change
INK, PAPER = "#123456", "none"  # INK becomes the colour of the text
COLOURS = (
    "#888888", "#3b82c4", "#d9822b", "#2e9e6b", "#b9569b", "#8a7cc9", "#9a8c2c", "#c9473f",
    "#3fa3ad", "#7a5c43",
)  # fmt: skip
MARKERS = "osD^vPX*<>"
LINE_STYLES = ("-", "--", ":", "-.")
SIDE_BY_SIDE = 0.012  # distance of the bars of two curves, as a part of the axis
MARKED_POINTS = 20  # points of a line without markers
CURVE_WIDTH = 5.0  # inches, 360 pixels of a page
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
    """One line of a plot. A point is (ratio, mean, standard deviation); scores in per cent.

    The deviation is NaN for one seed: such a point is hollow and has no bar. ``place`` selects the
    colour. Curves of one name have the same place in all plots of a page.
    """

    name: str
    place: int
    points: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a plot; ``place`` selects its colour."""

    name: str
    place: int
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class GrowthPoint:
    """A gain in mAP and the ends of its interval, in points; NaN without an interval."""

    images: float
    """The number of real images per identity."""
    gain: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class GrowthCurve:
    """The gains of one kind of images over the number of real images per identity."""

    name: str
    place: int
    points: tuple[GrowthPoint, ...]


def growth_plot(curves: Sequence[GrowthCurve], alt: str) -> str:
    """Plot gains in mAP over the number of real images per identity, with their intervals.

    Curves of one colour differ in their line style. Bars at one place are drawn side by side.
    """
    used = [curve.place for curve in curves]
    span = np.ptp([point.images for curve in curves for point in curve.points])

    def draw(axes: "Axes") -> None:
        axes.axhline(0, color=INK, lw=1)
        for number, curve in enumerate(curves):
            shift = SIDE_BY_SIDE * float(span) * (number - (len(curves) - 1) / 2)
            images, gains, low, high = np.array(
                [(p.images + shift, p.gain, p.gain - p.low, p.high - p.gain) for p in curve.points]
            ).T
            colour = COLOURS[curve.place % len(COLOURS)]
            marker = MARKERS[curve.place % len(MARKERS)]
            style = LINE_STYLES[used[:number].count(curve.place) % len(LINE_STYLES)]
            axes.plot(images, gains, style, color=colour, marker=marker, label=curve.name)
            axes.errorbar(images, gains, (low, high), color=colour, fmt="none", lw=1, capsize=2.5)
        axes.set(xlabel="real images per identity", ylabel="gain in mAP, points")
        axes.grid(axis="y")
        axes.figure.legend(loc="outside lower left", fontsize=9)

    return _svg(draw, 2.8 + 0.19 * len(curves), alt)


def ratio_plot(curves: Sequence[Curve], alt: str) -> str:
    """Plot mAP over the ratio, with bands and bars of one standard deviation over seeds."""

    def draw(axes: "Axes") -> None:
        for curve in curves:
            ratio, mean, deviation = np.array(curve.points).T
            colour = COLOURS[curve.place % len(COLOURS)]
            marker = MARKERS[curve.place % len(MARKERS)]
            inside = colour if np.isfinite(deviation).all() else PAPER
            axes.plot(
                ratio, mean, color=colour, marker=marker, label=curve.name, markerfacecolor=inside
            )
            axes.fill_between(
                ratio, mean - deviation, mean + deviation, color=colour, alpha=0.15, lw=0
            )
            axes.errorbar(ratio, mean, deviation, color=colour, fmt="none", lw=1, capsize=2.5)
        low, high = axes.get_ylim()
        missing = max(0.0, LEAST_SPAN - (high - low)) / 2
        axes.set(xlabel="ratio", ylabel="mAP, %", ylim=(low - missing, high + missing))
        axes.grid(axis="y")
        axes.figure.legend(loc="outside lower left", fontsize=9)

    return _svg(draw, 2.8 + 0.19 * len(curves), alt)


def gain_plot(rows: Sequence[tuple[str, float, Sequence[tuple[float, float]]]], alt: str) -> str:
    """Plot gains in mAP with their intervals: a thin line over seeds, a thick one over queries too.

    Args:
        rows: name, gain, and the (low, high) of the two intervals in points; NaN without one.
        alt: description of the plot for screen readers.
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


def line_plot(series: Sequence[Series], xlabel: str, ylabel: str, alt: str) -> str:
    """Plot lines of numbers, with their names below."""

    def draw(axes: "Axes") -> None:
        for one in series:
            colour, xs = COLOURS[one.place % len(COLOURS)], [x for x, _ in one.points]
            marker = MARKERS[one.place % len(MARKERS)] if len(xs) < MARKED_POINTS else ""
            axes.plot(xs, [y for _, y in one.points], color=colour, marker=marker, label=one.name)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.grid(axis="y")
        axes.figure.legend(loc="outside lower left", fontsize=9)

    return _svg(draw, 2.6 + 0.19 * len(series), alt)


def identity_plot(gains: Sequence[float], alt: str) -> str:
    """Plot the gain of every identity in points of AP, from the largest to the smallest."""

    def draw(axes: "Axes") -> None:
        ordered = np.sort(gains)[::-1]
        places = np.arange(len(ordered))
        axes.bar(places, ordered, 1.0, color=np.where(ordered >= 0, COLOURS[3], COLOURS[7]), lw=0)
        axes.axhline(0, color=INK, lw=1)
        axes.set(xlabel="identities, by their gain", ylabel="gain in AP, points", xticks=[])
        axes.grid(axis="y")

    return _svg(draw, 2.4, alt)


def histogram(values: np.ndarray, name: str, alt: str) -> str:
    """Plot the distribution of a score over the rows of a bank."""

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
        figure = Figure(figsize=(CURVE_WIDTH, height), layout="constrained")
        draw(figure.subplots())
        about = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(file, format="svg", metadata=about)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = NAMED_PARTS.sub("", text).replace(INK, "currentColor")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1)
