"""Evaluate a trained re-ID network on a data set: its own or another one.

A result has one row per way to rank:

    plain          features of query and gallery, ranked by Euclidean distance
    centralised    as plain, but every feature is averaged with those of generated images
                   (:mod:`reid_aug.evaluation.centralisation`)
    rerank         ranked by k-reciprocal neighbours (:mod:`reid_aug.evaluation.reranking`)

The last two can be combined, which is one more row. Each row is a protocol of its own, so their
numbers are not mixed. A file has the rows of one network on one data set. The same command again
finds them done; other rows are added to the file.
"""

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
from reid_aug.data.pictures import write_picture
from reid_aug.data.provenance import LeakStatus, dataset_sha256, leak_status
from reid_aug.evaluation import AP_DEFINITION, Scores, protocol
from reid_aug.evaluation.centralisation import (
    POSES,
    CentraliseConfig,
    GivenImages,
    OtherImages,
    PosedFeatures,
    centralised,
)
from reid_aug.evaluation.features import (
    check_memory,
    check_queries,
    distance_matrix,
    evaluation_transform,
    extract_features,
    score,
)
from reid_aug.evaluation.ranked_lists import check_choice, choose_queries, ranked_picture
from reid_aug.evaluation.reranking import RerankConfig, rerank
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256, write_json
from reid_aug.runtime.progress import track
from reid_aug.runtime.records import Table, read_table
from reid_aug.stages.cost import Cost
from reid_aug.stages.job import Job, Progress
from reid_aug.stages.stage import Stage
from reid_aug.stages.train_reid.folder import MODEL

EVALUATION_FORMAT = "reid_aug.evaluation/1"
RERANK = RerankConfig()
PROBED = 16  # images from which the time is estimated
AP_BYTES = 60  # the usual size of the AP of one query in a row
CROP_BYTES = 20_000  # the usual size of a crop in a picture of ranked lists
SCORE_COLUMNS = {
    "mAP": "mAP",
    "rank1": "Rank-1",
    "rank5": "Rank-5",
    "rank10": "Rank-10",
    "mINP": "mINP",
}


class EvaluatedNetwork:
    """A network, and the query and gallery images that it is tested on.

    ``leak_status`` is that of the network (:mod:`reid_aug.data.provenance`): "whole" if its
    training images are not recorded.

    Args:
        path: ``model.safetensors`` of a ``reid-aug train-reid``.
        dataset: the data set.
        data: which of its training images are kept.
        device: where the network computes.

    Raises:
        UserError: If the file holds no such network, the network was trained on test images, or no
            query has a match.
    """

    def __init__(
        self, path: Path, dataset: Dataset, data: DataConfig, device: torch.device
    ) -> None:
        check_queries(dataset)
        check_memory(dataset, device)
        self.path, self.dataset = path, dataset
        self.network = load_reid_network(path)
        real = kept(dataset.train, data.keep, data.keep_seed)
        self.leak_status = leak_status(self.network.trained_on, dataset, real, "network")
        self.transform = evaluation_transform(self.network.size)
        self.to(device)

    def to(self, device: torch.device) -> None:
        """Compute on ``device`` from now on."""
        self.device, self.model = device, self.network.model.to(device)

    def describe(self) -> str:
        """The images and the network, as text."""
        lists = f"{len(self.dataset.query)} queries, {len(self.dataset.gallery)} gallery images"
        if self.network.trained_on:
            known = f"trained on: {self.leak_status}"
        else:
            known = (
                "training images not all recorded, so they may include test images: not known to "
                "be leak-free"
            )
        return f"{lists}; network {self.path}, {known}"

    def ranking(self) -> tuple[np.ndarray, Scores]:
        """The plain distances (Q, G), and their scores."""
        query, gallery = (part.to(self.device) for part in self.features)
        distances = distance_matrix(query, gallery)
        return distances.cpu().numpy(), score(distances, self.dataset)

    @cached_property
    def features(self) -> list[Tensor]:
        """Features of query and gallery, (Q, D) and (G, D), on the CPU."""
        return [self.extract(images) for images in self.lists]

    def extract(self, images: Sequence[PersonImage]) -> Tensor:
        """Features of images, (N, D), on the CPU."""
        return extract_features(self.model, images, self.transform, self.device)

    def centralised(
        self, features: Tensor, images: Sequence[PersonImage], others: OtherImages
    ) -> Tensor:
        """Features (N, D), each averaged with those of the generated images of its image."""
        return centralised(features, images, others, self.model, self.transform, self.device)

    @property
    def lists(self) -> tuple[Sequence[PersonImage], ...]:
        """The query and the gallery images."""
        return self.dataset.query, self.dataset.gallery

    def seconds_per_image(self, others: OtherImages | None = None) -> float:
        """Estimated time per image, from a few queries."""
        some = self.dataset.query[:PROBED]
        start = time.perf_counter()
        features = self.extract(some)
        if others:
            self.centralised(features, some, others)
        return (time.perf_counter() - start) / len(some)

    @property
    def images(self) -> int:
        """The number of query and gallery images."""
        return sum(map(len, self.lists))


class EvaluateReidJob(Job):
    """Rows to be scored.

    Args:
        tested: the network and its images.
        path: the file of the result.
        others: the generated images of centralised rows; None for no such row.
        with_rerank: whether every row is also ranked by k-reciprocal neighbours.
    """

    def __init__(
        self,
        tested: EvaluatedNetwork,
        path: Path,
        others: OtherImages | None = None,
        with_rerank: bool = False,
    ) -> None:
        self.tested, self.file = tested, path
        self.others, self.with_rerank = others, with_rerank

    @property
    def path(self) -> Path:
        """The file of the result."""
        return self.file

    def about(self) -> dict[str, Any]:
        """What identifies a file: the values that all its rows have in common."""
        return {
            "format": EVALUATION_FORMAT,
            "model_sha256": sha256(self.tested.path),
            "model_data": self.tested.leak_status,
            "dataset_sha256": dataset_sha256(self.tested.dataset),
            "gallery": len(self.tested.dataset.gallery),
            "ap_definition": AP_DEFINITION,
            "protocol": protocol(self.tested.dataset.has_cameras),
        }

    def rows(self) -> list["EvaluatedRow"]:
        """The rows of this job."""
        averaged = [{}, {"centralised": self.others.settings}] if self.others else [{}]
        ways = [{}, {"rerank": asdict(RERANK)}] if self.with_rerank else [{}]
        return [EvaluatedRow(features | way) for way in ways for features in averaged]

    def scores(self, row: "EvaluatedRow") -> Scores:
        """The scores of one row."""
        features = self.centralised if "centralised" in row.settings else self.tested.features
        query, gallery = (part.to(self.tested.device) for part in features)
        if "rerank" in row.settings:
            return score(rerank(query, gallery, RERANK), self.tested.dataset)
        return score(distance_matrix(query, gallery), self.tested.dataset)

    @cached_property
    def centralised(self) -> list[Tensor]:
        """The features of query and gallery, averaged with those of generated images."""
        assert self.others is not None
        return [
            self.tested.centralised(own, images, self.others)
            for own, images in zip(self.tested.features, self.tested.lists, strict=True)
        ]

    def is_done(self) -> bool:
        """Whether the file holds all rows of this job.

        Raises:
            UserError: If it holds the evaluation of something else.
        """
        rows = read_rows(self.path, self.about()) if self.path.is_file() else []
        return all(row.find(rows) for row in self.rows())

    def describe(self) -> str:
        """What is evaluated, as text; whether it is done already."""
        lines = [self.others.words] if self.others else []
        done = [f"done already: {self.path}"] if self.is_done() else []
        return "\n".join((*lines, self.tested.describe(), *done))

    def cost(self, device: torch.device) -> Cost:
        """Time without the ranking, from a few queries, and the size of the file."""
        self.tested.to(device)
        seconds = self.tested.seconds_per_image(self.others) * self.tested.images
        return Cost(seconds, len(self.rows()) * len(self.tested.dataset.query) * AP_BYTES)

    def run(self, progress: Progress | None = None) -> Path:
        """Score the rows that the file lacks, and write it; its path.

        Raises:
            UserError: If the file holds the evaluation of something else, or an image does not
                decode.
        """
        about = self.about()
        rows = read_rows(self.path, about) if self.path.exists() else []
        missing = [row for row in self.rows() if row.find(rows) is None]
        if not missing:
            return self.path
        names = [query.name for query in self.tested.dataset.query]
        for row in (progress or track)(missing, "score rows"):
            fields = self.scores(row).fields(names)
            known = {"has_cameras": self.tested.dataset.has_cameras}
            rows.append({"row": row.name, "settings": row.settings, **known, **fields})
        write_json(self.path, {**about, "rows": rows, "versions": versions()})
        return self.path

    def results(self) -> list[Mapping[str, Any]]:
        """The rows of this job in the file that was written."""
        rows = read_rows(self.path, self.about())
        return [found for row in self.rows() if (found := row.find(rows))]


def prepare(
    stage: Stage,
    model: Path,
    rerank: bool = False,
    generator: str | None = None,
    poses: int | None = None,
    generated: Path | None = None,
    trained_on: str | None = None,
) -> EvaluateReidJob:
    """Resolve what is evaluated; nothing is written.

    Args:
        stage: data set, keypoints, run folder and device.
        model: ``model.safetensors`` of a ``reid-aug train-reid``.
        rerank: whether every row is also ranked by k-reciprocal neighbours.
        generator: a generator file or "demo", for centralised rows; None for no such row.
        poses: generated images per image; None is 8.
        generated: a folder of images that another generator made of query and gallery images, for
            centralised rows instead; None for no such row.
        trained_on: the leak status of that generator, one of "kept", "external", "whole"; None is
            "whole".

    Raises:
        UserError: If an input is missing or wrong, or a network was trained on test images.
    """
    _check_options(generator, poses, generated, trained_on)
    check_memory(stage.dataset, stage.device, rerank)
    recipe = stage.recipe
    others: OtherImages | None = None
    if generator:
        config = CentraliseConfig(POSES if poses is None else poses, recipe.synthesize.cameras)
        others = PosedFeatures(
            stage.generator(generator),
            stage.dataset,
            stage.poses,
            recipe.data,
            config,
            recipe.seed,
            stage.device,
        )
    if generated:
        others = GivenImages(generated, stage.dataset, trained_on or LeakStatus.WHOLE)
    tested = EvaluatedNetwork(model, stage.dataset, recipe.data, stage.device)
    path = stage.run.evaluation(name_of(model, stage.root))
    return EvaluateReidJob(tested, path, others, rerank)


def _check_options(
    generator: str | None, poses: int | None, generated: Path | None, trained_on: str | None
) -> None:
    if generator and generated:
        raise UserError(
            "--generator and --generated supply images for the same row; give one of them"
        )
    if poses is not None and not generator:
        raise UserError("--poses must be given with --generator FILE|demo, which it is for")
    if trained_on is not None and not generated:
        raise UserError("--trained-on must be given with --generated FOLDER, which it is for")


@dataclass(frozen=True)
class RankJob(Job):
    """A picture of ranked lists to be made."""

    tested: EvaluatedNetwork
    picture: Path
    """The file to write."""
    queries: str
    """Which queries are shown: the "worst" or the "best" by AP, or "spread" over it."""
    count: int
    """The number of queries."""
    top: int
    """The number of gallery images per query."""

    @property
    def path(self) -> Path:
        """The picture."""
        return self.picture

    def describe(self) -> str:
        """What is shown, as text."""
        return self.tested.describe()

    def cost(self, device: torch.device) -> Cost:
        """Time without the ranking, from a few queries, and the size of the file."""
        self.tested.to(device)
        seconds = self.tested.seconds_per_image() * self.tested.images
        return Cost(seconds, self.count * (self.top + 2) * CROP_BYTES)

    def run(self, progress: Progress | None = None) -> Path:
        """Rank, and write the picture; its path."""
        distances, scores = self.tested.ranking()
        chosen = choose_queries(scores.ap, self.queries, self.count)
        dataset = self.tested.dataset
        picture = ranked_picture(dataset, distances, scores.ap, chosen, self.top)
        write_picture(self.picture, picture)
        return self.path


def prepare_ranking(
    stage: Stage, model: Path, queries: str = "worst", count: int = 10, top: int = 10
) -> RankJob:
    """Resolve a picture of ranked lists; nothing is written.

    Args:
        stage: data set, run folder and device.
        model: ``model.safetensors`` of a ``reid-aug train-reid``.
        queries: as :attr:`RankJob.queries`.
        count: the number of queries.
        top: the number of gallery images per query.

    Raises:
        UserError: If an input is missing or wrong, or the network was trained on test images.
    """
    check_choice(queries)
    tested = EvaluatedNetwork(model, stage.dataset, stage.recipe.data, stage.device)
    name = f"{name_of(model, stage.root)}-{queries}"
    path = stage.run.evaluation(name).with_suffix(".png")
    return RankJob(tested, path, queries, count, top)


@dataclass(frozen=True, slots=True)
class EvaluatedRow:
    """One way to rank."""

    settings: Mapping[str, Any]
    """The settings of each step beyond plain ranking, by its name."""

    @property
    def name(self) -> str:
        """The name of the row in a table."""
        return " + ".join(self.settings) or "plain"

    def find(self, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """The result with these settings; None if there is none."""
        return next((row for row in rows if row["settings"] == self.settings), None)


def read_rows(path: Path, about: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Read the rows of the evaluation that ``about`` identifies.

    Raises:
        UserError: If the file holds another evaluation, or none.
    """
    found = read_table(path, "a result of reid evaluate", format_=EVALUATION_FORMAT)
    if not (tables := found.tables("rows")):
        raise found.refused("rows", "at least one row")
    rows = [_checked(row, tables[0].content) for row in tables]
    if others := [key for key, value in about.items() if found.content.get(key) != value]:
        raise UserError(
            f"{path}: holds the evaluation of something else, which differs in "
            f"{', '.join(others)}; choose another folder with --out, or remove the file"
        )
    return rows


def _checked(row: Table, first: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row whose settings and scores can be printed and compared."""
    row.text("row")
    row.table("settings")
    row.whole("queries", 0)
    for name in SCORE_COLUMNS:
        row.fraction(name)
    ap = row.table("ap")
    for name in ap.content:
        ap.optional_fraction(name)
    if row.content["ap"].keys() != first["ap"].keys():
        raise row.refused("ap", "the AP of the queries of the first row")
    return row.content


def name_of(model: Path, root: Path) -> str:
    """The name of the evaluation of a network on the data set in ``root``.

    >>> name_of(Path("runs/demo/reid/resnet18-baseline-keep1-seed0/model.safetensors"), Path("DIR"))
    'resnet18-baseline-keep1-seed0-on-DIR'
    """
    path = model.absolute()
    return f"{path.parent.name if path.name == MODEL else path.stem}-on-{root.absolute().name}"


def table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The lines of a table in per cent, below the definition of its numbers.

    Args:
        rows: results; the first row is plain.
    """
    has_cameras = all(row.get("has_cameras", True) for row in rows)
    mark = "" if has_cameras else " (no camera labels)"
    yield f"AP: {AP_DEFINITION}; {protocol(has_cameras)}"
    about = "; gain in mAP over plain, with a 95 % interval over queries" if len(rows) > 1 else ""
    yield f"{rows[0]['queries']} queries counted; Euclidean distance of features{about}"
    wide = max(len(row["row"] + mark) for row in rows) + 2
    yield " " * wide + "".join(f"{name:>9}" for name in SCORE_COLUMNS.values())
    for row in rows:
        cells = "".join(f"{100 * row[key]:>9.2f}" for key in SCORE_COLUMNS)
        gained, width = (100 * value for value in gain(row["ap"], rows[0]["ap"]))
        change = "" if row is rows[0] else f"   {gained:+.2f} ± {width:.2f}"
        yield f"{row['row'] + mark:<{wide}}{cells}{change}"


def gain(ap: Mapping[str, float | None], plain: Mapping[str, float | None]) -> tuple[float, float]:
    """Mean difference of AP per query, and half its 95 % interval (Student's t), as fractions.

    The half width is NaN for one query. The interval covers other queries, not other trainings.
    """
    pairs = [(own, plain[name]) for name, own in ap.items()]
    apart = np.array([own - other for own, other in pairs if own is not None and other is not None])
    if len(apart) < 2:
        return (float(apart[0]) if len(apart) else math.nan), math.nan
    width = stats.t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / math.sqrt(len(apart))
    return float(apart.mean()), float(width)


def versions() -> dict[str, str]:
    """The versions of the packages on which the scores depend."""
    return {
        "reid_aug": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }
