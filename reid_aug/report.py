"""Tables: what the trainings of a run folder say, and whether it is more than noise.

A row is a backbone, a kept set, a mode, a ratio, who drew the images, and how the training differs
from a plain one; its seeds give mean and standard deviation. The gain is the difference from the
baseline, paired by seed, with a 95 % interval (Student's t over the seeds). Where that interval
holds 0 the row says "within noise", and a row with one seed says so instead of pretending to a
spread.

The baseline of a row is the plain training on the real images only, with the same backbone and kept
set: no random erasing, from scratch; a strong training is compared with the strong one. Where a
table has none, it is that on the real images only which was trained as the row was.

Trainings on different data or with different settings (steps, batch, input, schedule) never share a
table. Tables hold no times and no hosts.
"""

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reid_aug.errors import UserError
from reid_aug.evaluation import RESULT_FORMAT
from reid_aug.reid_settings import TRAININGS, caption_keys, describe_training

FORMATS = ("terminal", "markdown", "csv", "latex")
NEEDED: dict[str, Any] = {
    "mAP": float, "rank1": float, "backbone": str, "keep": int | float, "keep_seed": int,
    "mode": str, "ratio": int | float, "real": int, "generated": int, "seed": int, "recipe": dict,
    "generator_data": str | None, "starting_weights": str | None, "dataset_sha256": str,
}  # fmt: skip
SINCE = (
    "artist",
    "cameras",
    "poses",
    "starting_data",
)  # texts or nothing; older results have none of them
HEADER = (
    "backbone", "keep", "mode", "ratio", "real", "generated", "images from", "training", "seeds",
    "mAP %", "Rank-1 %", "gain in mAP", "verdict",
)  # fmt: skip
ARTISTS = {"copies": "mirrored copies", "generator": "generator", "renderer": "true renders"}
STATUS = {
    "kept": "generator of the kept set",
    "whole": "generator that may know left-out images",
}
ERASING = "random erasing"
STARTS = {
    "external": "pre-trained on external people",
    "kept": "pre-trained on the kept set",
    "whole": "starting weights that may know left-out images",
}
FOOTNOTE = (
    "Mean and standard deviation over seeds. Gain: mAP minus that of plain training on the real "
    "images only, same backbone, kept set and seeds, with a 95 % interval (paired t). A generator "
    "was trained on external data where nothing else is said. True renders are an upper bound."
)

Key = tuple[str, float, int, str, str, str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: trainings that differ in their seed only."""

    backbone: str
    keep: float
    keep_seed: int
    images: str
    training: str
    mode: str
    ratio: float
    results: tuple[dict[str, Any], ...]

    def scores(self, name: str) -> dict[int, float]:
        """Seed to score, a fraction."""
        return {result["seed"]: result[name] for result in self.results}

    @property
    def baseline_key(self) -> tuple[str, float, int, str]:
        """What the row is compared with: the same network, kept set and named training."""
        name = self.training.partition(",")[0]
        return self.backbone, self.keep, self.keep_seed, name if name in TRAININGS else "-"


def _row_key(result: dict[str, Any]) -> Key:
    """All that a row is but its results, in the order of the fields of :class:`Row`."""
    mode = result["mode"] if result["ratio"] else "-"
    kept = result["backbone"], result["keep"], result["keep_seed"]
    return *kept, images_from(result), training_of(result), mode, result["ratio"]


def images_from(result: Mapping[str, Any]) -> str:
    """Who drew the generated images of a result, in words."""
    if not result["ratio"]:
        return "-"
    artist = result.get("artist") or "generator"
    words = ARTISTS.get(artist, artist)
    if artist == "generator":
        words = STATUS.get(result["generator_data"], words)
    words += ", target's camera" if result.get("cameras") == "target" else ""
    poses = result.get("poses") or "random"
    words += f", poses {poses}" if poses != "random" else ""
    filtered = sorted((result.get("min_score") or {}).items())
    return words + "".join(f", {name} {about['least']:g} or more" for name, about in filtered)


def training_of(result: Mapping[str, Any]) -> str:
    """What a training does that a plain one does not, in words."""
    parts = describe_training(result["recipe"], result["ratio"])
    if result["starting_weights"]:
        data = result.get("starting_data") or "whole"
        known = f" ({result['starting_weights'][:8]})" if data == "whole" else ""
        parts.append(STARTS.get(data, data) + known)
    return ", ".join(parts) or "-"


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Every ``result.json`` below a run folder, sorted by path.

    Raises:
        UserError: If there is none, or one is damaged.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; give a run folder, as runs/demo")
    results = []
    for path in sorted(folder.rglob("result.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            found = result["format"]
            fits = all(isinstance(result[key], kind) for key, kind in NEEDED.items())
            fits &= all(isinstance(result.get(key), str | None) for key in SINCE)
            fits &= isinstance(result.get("min_score"), dict | None)
            _settings(result), _row_key(result)
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}: must be a result of train-reid; remove the file") from None
        if found != RESULT_FORMAT or not fits:
            raise UserError(f"{path}: must be a {RESULT_FORMAT}, got {found!r}; remove it")
        results.append(result)
    if not results:
        raise UserError(f"{folder}: holds no result.json; make one with: reid-aug train-reid")
    return results


def rows_of(results: Iterable[dict[str, Any]]) -> list[Row]:
    """Group results by what their rows are, sorted.

    Raises:
        UserError: If two results are of one row and one seed, so from different experiments.
    """
    groups: defaultdict[Key, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        groups[_row_key(result)].append(result)
    for own, group in groups.items():
        seeds = [result["seed"] for result in group]
        if len(set(seeds)) < len(seeds):
            name = " ".join(map(str, own))
            raise UserError(f"{name}: there are two results of one seed; report one run at a time")
    rows = (Row(*own, tuple(sorted(group, key=_seed))) for own, group in groups.items())
    return sorted(rows, key=_place)


def _seed(result: dict[str, Any]) -> int:
    return result["seed"]


def _place(row: Row) -> tuple[Any, ...]:
    """Where a row stands: its kept set; baseline, other trainings, copies, generators, renders."""
    images = _rank(row.images, ("-", *ARTISTS.values()))
    training = _rank(row.training, ("-", ERASING, *STARTS.values()))
    return *row.baseline_key, *images, *training, row.mode, row.ratio


def _rank(words: str, order: Sequence[str]) -> tuple[int, str]:
    found = (place for place, first in enumerate(order) if words.startswith(first))
    return next(found, len(order)), words.replace(",", " ")


def gain(row: Row, baseline: Row | None) -> tuple[float, float] | None:
    """Difference in mAP from the baseline: (mean, half width of its 95 % interval), fractions.

    The half width is NaN with one common seed; None without a common seed.
    """
    if baseline is None:
        return None
    ours, theirs = row.scores("mAP"), baseline.scores("mAP")
    differences = np.array(
        [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
    )
    if not len(differences):
        return None
    if len(differences) == 1:
        return float(differences[0]), math.nan
    from scipy.stats import t  # here, because it takes longer to load than a table to print

    width = (
        t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / math.sqrt(len(differences))
    )
    return float(differences.mean()), float(width)


def table(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The cells of a table, one list a row, in the order of ``HEADER``."""
    rows = rows_of(results)
    before = [row for row in rows if not row.ratio]
    plain = {row.baseline_key: row for row in before if row.training == row.baseline_key[-1]}
    alike = {(row.baseline_key, row.training): row for row in before}
    return [
        _cells(row, plain.get(row.baseline_key) or alike.get((row.baseline_key, row.training)))
        for row in rows
    ]


def _cells(row: Row, baseline: Row | None) -> list[str]:
    first = row.results[0]
    change, verdict = "-", "baseline"
    if row is not baseline:
        change, verdict = _verdict(gain(row, baseline))
    return [
        row.backbone,
        f"{row.keep:g}" + (f" (keep seed {row.keep_seed})" if row.keep_seed else ""),
        row.mode,
        f"{row.ratio:g}",
        str(first["real"]),
        str(first["generated"]),
        row.images,
        row.training,
        str(len(row.results)),
        _spread(row.scores("mAP").values()),
        _spread(row.scores("rank1").values()),
        change,
        verdict,
    ]


def _spread(scores: Iterable[float]) -> str:
    values = 100 * np.array(list(scores))
    if len(values) == 1:
        return f"{values[0]:.1f} (one seed)"
    return f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"


def _verdict(difference: tuple[float, float] | None) -> tuple[str, str]:
    if difference is None:
        return "-", "no baseline"
    mean, width = (100 * value for value in difference)
    if math.isnan(width):
        return f"{mean:+.1f}", "one seed"
    verdict = "within noise" if abs(mean) <= width else "better" if mean > 0 else "worse"
    return f"{mean:+.1f} ± {width:.1f}", verdict


def report(results: Sequence[dict[str, Any]], style: str) -> str:
    """All tables of some results as text, in one of ``FORMATS``."""
    if style not in FORMATS:
        raise UserError(f"--format must be one of {', '.join(FORMATS)}, got {style!r}")
    groups: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        groups[_settings(result)].append(result)
    tables = {caption: table(group) for caption, group in sorted(groups.items())}
    if style == "csv":
        return _csv(tables)
    draw = {"terminal": _terminal, "markdown": _markdown, "latex": _latex}[style]
    texts = [draw(caption, rows) for caption, rows in tables.items()]
    if style != "latex":
        texts.append(FOOTNOTE)
    return "\n\n".join(texts)


def _settings(result: dict[str, Any]) -> str:
    """What all rows of a table have in common, as its caption."""
    shared = caption_keys(result["recipe"])
    recipe = {key: value for key, value in shared.items() if key not in _UNCOUNTED}
    size, length = f"{recipe.pop('height')}x{recipe.pop('width')}", recipe.pop("steps")
    images = recipe.pop("batch")
    others = ", ".join(f"{key} {value}" for key, value in recipe.items())
    data = f"data set {result['dataset_sha256'][:8]}"
    return f"{length} steps of {images} images, input {size}, {data}, {others}"


_UNCOUNTED = ("backbone", "workers", "weights")


def _terminal(caption: str, rows: list[list[str]]) -> str:
    widths = [max(len(line[i]) for line in (HEADER, *rows)) for i in range(len(HEADER))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (HEADER, ["-" * width for width in widths], *rows)
    ]
    return "\n".join([caption, "", *lines])


def _markdown(caption: str, rows: list[list[str]]) -> str:
    lines = [HEADER, ["---"] * len(HEADER), *rows]
    return "\n".join([f"{caption}:", "", *(f"| {' | '.join(line)} |" for line in lines)])


def _csv(tables: dict[str, list[list[str]]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["settings", *HEADER])
    writer.writerows([caption, *row] for caption, rows in tables.items() for row in rows)
    return text.getvalue().rstrip("\n")


def _latex(caption: str, rows: list[list[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        texts = (c.replace("%", r"\%").replace("_", r"\_").replace("±", r"$\pm$") for c in cells)
        return " & ".join(texts) + r" \\"

    head = rf"% {caption}" + "\n" + rf"\begin{{tabular}}{{{'l' * len(HEADER)}}}"
    body = [r"\toprule", line(HEADER), r"\midrule", *map(line, rows), r"\bottomrule"]
    return "\n".join([head, *body, r"\end{tabular}"])
