"""Pages are written atomically, with escaped values and embedded pictures."""

import base64
import io
from importlib import resources

import jinja2
import numpy as np
import pytest
from PIL import Image

from reid_aug.runtime.pages import picture, write_page

VALUES = {"title": "t", "images": 1, "identities": 1, "facts": [], "scores": [], "sections": []}


def test_values_are_escaped(tmp_path):
    write_page(tmp_path / "a.html", "bank.html", **{**VALUES, "facts": [("a", "<b>&\"'")]})

    assert "<dd>&lt;b&gt;&amp;&#34;&#39;</dd>" in (tmp_path / "a.html").read_text()


def test_missing_value_leaves_no_page(tmp_path):
    with pytest.raises(jinja2.UndefinedError, match="'title' is undefined"):
        write_page(
            tmp_path / "a.html", "bank.html", **{k: VALUES[k] for k in VALUES if k != "title"}
        )

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("template", ["bank.html", "report.html", "user_study.html"])
def test_all_pages_share_a_style_for_light_dark_and_print(template):
    folder = resources.files("reid_aug.runtime") / "templates"

    assert (folder / template).read_text().startswith('{% extends "base.html" %}')
    assert '{% include "style.css" %}' in (folder / "base.html").read_text()
    style = (folder / "style.css").read_text()
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style


def test_png_is_lossless_and_jpeg_is_close():
    image = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)

    kind, data = picture(image, "PNG").split(",")
    lossy, other = picture(np.full((8, 6, 3), 90, np.uint8)).split(",")

    assert (kind, lossy) == ("data:image/png;base64", "data:image/jpeg;base64")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), image)
    assert np.ptp(np.asarray(Image.open(io.BytesIO(base64.b64decode(other))))) <= 2
