"""The banks of a run folder in a report, and the measured quality of generated images."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from reid_aug.bank import Bank
from reid_aug.data.dataset import open_image
from reid_aug.image_quality import PROTOCOLS
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.pages import picture
from reid_aug.stages.evaluate_generator import RESULT, cells_of, read_quality
from reid_aug.study.report import labels
from reid_aug.study.report.curves import histogram
from reid_aug.study.report.keys import images_key

SHEET = "contact_sheet.png"
LARGEST_WIDTH = 1400  # of a contact sheet in a page, in pixels


@dataclass(frozen=True, slots=True)
class BankView:
    """A bank: its title, its contact sheet as a data address ("" without one), its histograms."""

    title: str
    sheet: str
    histograms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QualityView:
    """The measured quality of a generator's images: the file, the pairs, and a row per metric."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def quality_views(run: Path) -> Iterator[QualityView]:
    """Every ``quality.json`` below a run folder, sorted by path; a damaged one has only a title."""
    for path in sorted(run.rglob(RESULT)):
        name = path.relative_to(run).as_posix()
        try:
            result = read_quality(path)
        except UserError as error:
            yield QualityView(f"left out: {error}", (), ())
            continue
        rows = [(metric, *cells_of(values)) for metric, values in result["measures"].items()]
        yield QualityView(f"{name}: {result['pairs']} pairs", ("metric", *PROTOCOLS), tuple(rows))


def bank_views(run: Path) -> Iterator[BankView]:
    """The banks below a run folder, sorted by path. A bank that cannot be read has only a title."""
    for path in sorted(run.rglob("bank.h5")):
        try:
            bank = Bank(path)
        except UserError as error:
            yield BankView(f"left out: {error}", "", ())
            continue
        yield BankView(_title(bank), _sheet(path.with_name(SHEET)), tuple(_histograms(bank)))


def _title(bank: Bank) -> str:
    attributes, plan = bank.attributes, bank.plan
    key = images_key(
        method=plan.method,
        cameras=plan.cameras,
        background=plan.background,
        poses=plan.poses,
        poses_sha256=plan.poses_sha256,
        leak_status=attributes.generator_data,
    )
    return f"keep {attributes.keep:g}: {len(bank)} images, {labels.images(key)}"


def _sheet(path: Path) -> str:
    try:
        image = Image.fromarray(open_image(path))
    except UserError:
        return ""
    image.thumbnail((LARGEST_WIDTH, image.height))
    return picture(image, quality=80)


def _histograms(bank: Bank) -> Iterator[str]:
    for name, values in sorted(bank.scores.items()):
        scored = values[np.isfinite(values)]
        if len(scored):
            alt = f"distribution of {name} over {len(scored)} images"
            yield histogram(scored, name, alt)
