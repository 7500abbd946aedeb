"""Configuration of the documentation site; ``make docs`` builds it."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from docs.generated import with_generated_parts  # noqa: E402
from reid_aug import __version__  # noqa: E402

project = "reid-aug"
author = "The reid-aug authors"
copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
smartquotes = False  # quotes in options and values stay as they are typed
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"reid-aug {version}"
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False


def setup(app):
    """Fill in the generated parts of every page that is read."""

    def fill(app, name, source):
        source[0] = with_generated_parts(source[0], name)

    app.connect("source-read", fill)
