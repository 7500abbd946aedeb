"""Evaluate a trained re-ID network on a data set, its own or another: plainly, and with more.

    plain          features of query and gallery, ranked by Euclidean distance
    centralised    every feature averaged with those of drawings
    rerank         ranked by k-reciprocal neighbours

The last two are :mod:`reid_aug.evaluation.centralisation` and :mod:`reid_aug.evaluation.reranking`.
Each is a row of a table, for each is a protocol of its own; both together are one too. The file has
the rows of one network on one data set. The same command again finds them done; other rows join
them.
"""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from scipy import stats
from torch import Tensor

from reid_aug import __version__
from reid_aug.backbones.checkpoint import load_reid_network
from reid_aug.data.dataset import DataConfig, Dataset, PersonImage, kept
from reid_aug.data.provenance import dataset_sha256, leak_status
from reid_aug.evaluation import AP_DEFINITION, PROTOCOL, Scores
from reid_aug.evaluation.centralisation import PosedFeatures, centralised
from reid_aug.evaluation.features import (
    check_queries,
    distance_matrix,
    extract_features,
    look,
    score,
)
from reid_aug.evaluation.reranking import RerankConfig, rerank
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256, write_json
from reid_aug.stages.train_reid.folder import MODEL

FORMAT = "reid_aug.evaluation/1"
RERANK = RerankConfig()
PROBED = 16  # images
COLUMNS = {"mAP": "mAP", "rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10", "mINP": "mINP"}


class Job:
    """A network, and the data set that it is asked.

    ``data`` says what the network knows of the data set (:mod:`reid_aug.data.provenance`): "whole"
    where nobody noted it.

    Args:
        path: ``model.safetensors`` of a ``reid-aug train-reid``.
        dataset: the data set.
        data: what of it is kept.
        device: where the network computes.
        posed_features: for centralised rows; none otherwise.
        with_rerank: whether every row is ranked by k-reciprocal neighbours too.

    Raises:
        UserError: If the file is no such network or was trained on test images, or no query has a
            match.
    """

    def __init__(
        self,
        path: Path,
        dataset: Dataset,
        data: DataConfig,
        device: torch.device,
        posed_features: PosedFeatures | None = None,
        with_rerank: bool = False,
    ) -> None:
        check_queries(dataset)
        self.path, self.dataset, self.device = path, dataset, device
        self.network = load_reid_network(path)
        real = kept(dataset.train, data.keep, data.keep_seed)
        self.data = leak_status(self.network.seen, dataset, real, "network")
        self.model = self.network.model.to(device)
        self.look = look(self.network.size)
        self.posed_features, self.with_rerank = posed_features, with_rerank

    @property
    def words(self) -> str:
        """What it is, for people to read."""
        lists = f"{len(self.dataset.query)} queries, {len(self.dataset.gallery)} gallery images"
        if not self.network.seen:
            known = "nobody noted what it has seen, which may be test images: not leak-free"
        else:
            known = f"trained on: {self.data}"
        return f"{lists}; network {self.path}, {known}"

    def about(self) -> dict[str, Any]:
        """What all rows of a file have in common."""
        return {
            "format": FORMAT,
            "model_sha256": sha256(self.path),
            "model_data": self.data,
            "dataset_sha256": dataset_sha256(self.dataset),
            "gallery": len(self.dataset.gallery),
            "ap_definition": AP_DEFINITION,
            "protocol": PROTOCOL,
        }

    def rows(self) -> list["Row"]:
        """The rows that are asked for."""
        drawn = [{}, {"centralised": self.posed_features.settings}] if self.posed_features else [{}]
        ways = [{}, {"rerank": asdict(RERANK)}] if self.with_rerank else [{}]
        return [Row(features | way) for way in ways for features in drawn]

    def scores(self, row: "Row") -> Scores:
        """The scores of one row."""
        features = self.centralised if "centralised" in row.settings else self.features
        query, gallery = (part.to(self.device) for part in features)
        if "rerank" in row.settings:
            return score(rerank(query, gallery, RERANK), self.dataset)
        return score(distance_matrix(query, gallery), self.dataset)

    def ranking(self) -> tuple[np.ndarray, Scores]:
        """The plain distances (Q, G), and their scores."""
        query, gallery = (part.to(self.device) for part in self.features)
        distances = distance_matrix(query, gallery)
        return distances.cpu().numpy(), score(distances, self.dataset)

    @cached_property
    def features(self) -> list[Tensor]:
        """Features of query and gallery, (Q, D) and (G, D), on the CPU."""
        return [extract_features(self.model, i, self.look, self.device) for i in self._lists]

    @cached_property
    def centralised(self) -> list[Tensor]:
        """As ``features``, averaged with those of drawings."""
        assert self.posed_features is not None
        return [
            centralised(own, images, self.posed_features, self.model, self.look, self.device)
            for own, images in zip(self.features, self._lists, strict=True)
        ]

    @property
    def _lists(self) -> tuple[Sequence[PersonImage], ...]:
        return self.dataset.query, self.dataset.gallery


@dataclass(frozen=True, slots=True)
class Row:
    """One way to evaluate: ``settings`` by what is done beyond the plain."""

    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What a table calls it."""
        return " + ".join(self.settings) or "plain"

    def find(self, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """The result of this among others, if it is there."""
        return next((row for row in rows if row["settings"] == self.settings), None)


def evaluate_reid(job: Job, path: Path) -> list[Mapping[str, Any]]:
    """Score what of the job is not in ``path`` yet, and write that; the rows of the job.

    Raises:
        UserError: If ``path`` holds the evaluation of something else, or an image does not decode.
    """
    about = job.about()
    rows = read_rows(path, about) if path.is_file() else []
    missing = [row for row in job.rows() if row.find(rows) is None]
    if missing:
        names = [query.name for query in job.dataset.query]
        for row in missing:
            fields = job.scores(row).fields(names)
            rows.append({"row": row.name, "settings": row.settings, **fields})
        write_json(path, {**about, "rows": rows, "versions": versions()})
    return [found for row in job.rows() if (found := row.find(rows))]


def read_rows(path: Path, about: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of an evaluation of what ``about`` says.

    Raises:
        UserError: If the file is of something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        others = [key for key, value in about.items() if content.get(key) != value]
        rows = content["rows"]
    except (ValueError, KeyError, AttributeError):
        raise UserError(f"{path}: must be a result of reid evaluate; remove the file") from None
    if others:
        raise UserError(
            f"{path}: holds the evaluation of something else, which differs in "
            f"{', '.join(others)}; choose another folder with --out, or remove the file"
        )
    return rows


def name_of(model: Path, root: Path) -> str:
    """What the evaluation of a network on the data set in ``root`` is called.

    >>> name_of(Path("runs/demo/reid/resnet18-baseline-keep1-seed0/model.safetensors"), Path("DIR"))
    'resnet18-baseline-keep1-seed0-on-DIR'
    """
    path = model.absolute()
    return f"{path.parent.name if path.name == MODEL else path.stem}-on-{root.absolute().name}"


def seconds_to_evaluate(job: Job) -> float:
    """How long it takes, from a few images; ranking is left out."""
    some = job.dataset.query[:PROBED]
    start = time.perf_counter()
    features = extract_features(job.model, some, job.look, job.device)
    if job.posed_features:
        centralised(features, some, job.posed_features, job.model, job.look, job.device)
    images = len(job.dataset.query) + len(job.dataset.gallery)
    return (time.perf_counter() - start) / len(some) * images


def table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The lines of a table, per cent, below what its numbers mean; the first row is plain."""
    yield f"AP: {AP_DEFINITION}; {PROTOCOL}"
    about = "; mAP gained on plain, with a 95 % interval over queries" if len(rows) > 1 else ""
    yield f"{rows[0]['queries']} queries counted{about}"
    wide = max(len(row["row"]) for row in rows) + 2
    yield " " * wide + "".join(f"{name:>9}" for name in COLUMNS.values())
    for row in rows:
        cells = "".join(f"{100 * row[key]:>9.2f}" for key in COLUMNS)
        gained, width = (100 * value for value in gain(row["ap"], rows[0]["ap"]))
        change = "" if row is rows[0] else f"   {gained:+.2f} ± {width:.2f}"
        yield f"{row['row']:<{wide}}{cells}{change}"


def gain(ap: Mapping[str, float | None], plain: Mapping[str, float | None]) -> tuple[float, float]:
    """Mean difference of AP, query by query, and half its 95 % interval (Student's t), fractions.

    The half width is NaN with one query. It says what other queries would do, not another training.
    """
    pairs = [(own, plain[name]) for name, own in ap.items()]
    apart = np.array([own - other for own, other in pairs if own is not None and other is not None])
    if len(apart) == 1:
        return float(apart[0]), math.nan
    width = stats.t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / math.sqrt(len(apart))
    return float(apart.mean()), float(width)


def versions() -> dict[str, str]:
    """Versions of what the scores depend on."""
    return {
        "reid_aug": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }
