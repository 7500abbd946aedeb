"""Self-contained HTML pages in one style.

A page is one file. Pictures are embedded as data, plots as SVG. A page loads no other file, so it
works from a folder and from a server. The templates are in ``templates/``; all values are escaped.
"""

import base64
import io
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from reid_aug.runtime.files import committed

if TYPE_CHECKING:
    from jinja2 import Environment


def write_page(path: Path, template: str, **values: Any) -> None:
    """Render the template named ``template`` with ``values`` and write it atomically."""
    text = _templates().get_template(template).render(values)
    with committed(path) as part:
        part.write_text(text, encoding="utf-8")


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("reid_aug.runtime"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def picture(image: np.ndarray | Image.Image, kind: str = "JPEG", quality: int = 90) -> str:
    """A data URL that contains the image, (H, W, 3) uint8."""
    file = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(file, kind, **({"quality": quality} if kind == "JPEG" else {}))
    data = base64.b64encode(file.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{data}"
