"""The banks of a run folder, as a report shows them: what they are, their scores, some pictures."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from reid_aug.bank import Bank
from reid_aug.data.dataset import open_image
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.pages import picture
from reid_aug.study.report.curves import histogram
from reid_aug.study.report.rows import images_from

SHEET = "contact_sheet.png"
LARGEST = 1400  # pixels of a contact sheet's width in a page


@dataclass(frozen=True, slots=True)
class BankView:
    """A bank in words, its contact sheet as an address ("" if there is none), its histograms."""

    title: str
    sheet: str
    histograms: tuple[str, ...]


def bank_views(run: Path) -> Iterator[BankView]:
    """The banks below a run folder that can be read, sorted by path."""
    for path in sorted(run.rglob("bank.h5")):
        try:
            bank = Bank(path)
        except UserError as error:
            yield BankView(f"left out: {error}", "", ())
            continue
        yield BankView(_title(bank), _sheet(path.with_name(SHEET)), tuple(_histograms(bank)))


def _title(bank: Bank) -> str:
    about = bank.attributes
    drawn = images_from({**bank.plan, "generator_data": about["generator_data"], "ratio": 1})
    return f"keep {about['keep']:g}: {len(bank)} images, {drawn}"


def _sheet(path: Path) -> str:
    try:
        image = Image.fromarray(open_image(path))
    except UserError:
        return ""
    image.thumbnail((LARGEST, image.height))
    return picture(image, quality=80)


def _histograms(bank: Bank) -> Iterator[str]:
    for name, values in sorted(bank.scores.items()):
        scored = values[np.isfinite(values)]
        if len(scored):
            alt = f"how many of {len(scored)} images have which {name}"
            yield histogram(scored, name, alt)
