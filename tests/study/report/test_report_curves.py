"""Plots of a report: self-contained SVG that holds the numbers."""

import numpy as np
import pytest

from reid_aug.study.report.curves import Curve, gain_plot, histogram, identity_plot, ratio_plot

NAN = float("nan")
CURVES = [Curve("real", 0, ((0, 40, 1),)), Curve("a <b> $x$", 1, ((0, 40, 1), (1, 50, 2)))]
SOURCES = {
    "ratio": lambda: ratio_plot(CURVES, 'of "a" & b'),
    "gain": lambda: gain_plot([("a <b> $x$", 3.0, [(1.0, 5.0), (NAN, NAN)])], "gains"),
    "identity": lambda: identity_plot([3.0, -1.0], "identities"),
    "histogram": lambda: histogram(np.arange(50) / 50, "margin", "margins"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_plot_is_self_contained_svg_and_reproducible(name):
    text = SOURCES[name]()

    assert text == SOURCES[name]()
    assert text.startswith('<svg role="img" aria-label="')
    assert text.rstrip().endswith("</svg>")
    assert "://" not in text
    assert "<metadata" not in text
    assert "currentColor" in text
    assert "#123456" not in text


@pytest.mark.parametrize("name", ["ratio", "gain"])
def test_names_appear_in_a_plot_unchanged(name):
    assert "a &lt;b&gt; $x$" in SOURCES[name]()


def test_a_plot_has_a_description_for_screen_readers():
    assert 'aria-label="of &quot;a&quot; &amp; b"' in SOURCES["ratio"]()
