"""Measure the quality of generated images on a list of pairs.

The images come from a generator, or from a folder (:mod:`reid_aug.image_quality.generated_images`).
The pairs are the published ones, chosen from the keypoints (:mod:`reid_aug.data.pair_lists`), or
those of a file. Images are streamed: a batch is generated, measured by every metric under both
protocols, and dropped. The result is ``quality.json``.
"""

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from math import isnan
from pathlib import Path
from typing import Any

import torch

from reid_aug import __version__
from reid_aug.data.dataset import Dataset, PersonImage
from reid_aug.data.keypoints import Pose
from reid_aug.data.pair_lists import TEST_PAIRS, Pair, pairs_sha256, read_pairs, sampled_pairs
from reid_aug.data.provenance import keypoints_sha256, leak_status, recorded_fingerprints
from reid_aug.image_quality import PROTOCOLS, Metric
from reid_aug.image_quality.declarations import metrics as declared_metrics
from reid_aug.image_quality.generated_images import (
    Gallery,
    GeneratedImages,
    ImagesOfFolder,
    ImagesOfGenerator,
)
from reid_aug.image_quality.protocols import FASHION, FASHION_BORDER
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.extensions import check_weights
from reid_aug.runtime.files import write_json
from reid_aug.runtime.progress import track
from reid_aug.runtime.records import read_table
from reid_aug.runtime.weights import read_tensors
from reid_aug.stages.cost import Cost
from reid_aug.stages.job import Job, Progress
from reid_aug.stages.stage import Stage

QUALITY_FORMAT = "reid_aug.quality/1"
RESULT = "quality.json"
RESULT_BYTES = 4_000  # the usual size of a result
PAIRS_AT_ONCE = 16  # pairs
LIBRARIES = ("scikit-image", "torch-fidelity", "torchmetrics", "torch", "torchvision", "Pillow")


@dataclass(frozen=True)
class EvaluateGeneratorJob(Job):
    """What is measured: pairs, their images, and the metrics."""

    pairs: list[Pair]
    gallery: Gallery
    """The real images that the pairs name."""
    generated: GeneratedImages
    folder: Path
    """The run folder."""
    device: torch.device
    weights: Mapping[str, str] = field(default_factory=dict)
    """Files of weights by the option of their metric (:mod:`reid_aug.image_quality.declarations`);
    a metric that needs weights is measured only if they are given."""

    @property
    def path(self) -> Path:
        """The file of the result."""
        return self.folder / RESULT

    def about(self) -> dict[str, Any]:
        """What identifies a result; two results with equal values are the same result."""
        size = self.gallery.data.height, self.gallery.data.width
        kinds = metric_classes()
        extensions = sorted(
            one.option
            for one in declared_metrics()
            if one.group and (one.option in self.weights or not kinds[one.option].needs)
        )
        return {
            "format": QUALITY_FORMAT,
            "pairs": len(self.pairs),
            "pairs_sha256": pairs_sha256(self.pairs),
            "height": size[0],
            "width": size[1],
            **({"patn_border": FASHION_BORDER} if size == FASHION else {}),
            **self.generated.about,
            "keypoints_sha256": keypoints_sha256(self.images(), self.gallery.poses),
            "weights": {
                name: kinds[name].fingerprint(path) for name, path in sorted(self.weights.items())
            },
            **({"extensions": extensions} if extensions else {}),
        }

    def images(self) -> list[PersonImage]:
        """Every image that a pair names, once, in order of name."""
        return [
            self.gallery.images[name] for name in sorted({n for pair in self.pairs for n in pair})
        ]

    def missing(self) -> dict[str, str]:
        """The metrics that are not measured, with the file that each needs."""
        return {
            name: f"not measured: needs {kind.needs}, --{option} FILE"
            for option, kind in metric_classes().items()
            if kind.needs and option not in self.weights
            for name in kind.names
        }

    def is_done(self) -> bool:
        """Whether the result exists already.

        Raises:
            UserError: If the run folder holds the quality of something else.
        """
        return finished(self.path, self.about())

    def describe(self) -> str:
        """What is measured, and what is not, as text; whether it is done already."""
        size, status = self.gallery.data, self.generated.about["generator_data"]
        text = (
            f"{len(self.pairs)} pairs (list {pairs_sha256(self.pairs)[:8]}), {size.height} x "
            f"{size.width} pixels; generator trained on: {status}"
        )
        names = ", ".join(self.missing())
        missing = [f"not measured, for lack of weights: {names}"] if names else []
        done = [f"done already: {self.path}"] if self.is_done() else []
        return "\n".join((text, *missing, *done))

    def cost(self, device: torch.device) -> Cost:
        """Time, from the first batch of the pairs, and the size of the file."""
        some = self.pairs[:PAIRS_AT_ONCE]
        self.generated.to(device)
        metrics = open_metrics(self.weights, device)
        start = time.perf_counter()
        measure(self.generated, self.gallery, some, metrics)
        seconds = (time.perf_counter() - start) / len(some) * len(self.pairs)
        return Cost(seconds, RESULT_BYTES)

    def run(self, progress: Progress | None = None) -> Path:
        """Measure, and write ``quality.json`` into the run folder; its path.

        Raises:
            UserError: If the folder holds the quality of something else, or weights cannot be read.
        """
        about = self.about()
        if self.is_done():
            return self.path
        self.generated.to(self.device)
        metrics = open_metrics(self.weights, self.device)
        starts = range(0, len(self.pairs), PAIRS_AT_ONCE)
        for start in (progress or track)(starts, "measure images"):
            measure(
                self.generated, self.gallery, self.pairs[start : start + PAIRS_AT_ONCE], metrics
            )
        versions = {name: version(name) for name in LIBRARIES}
        versions |= {"reid-aug": __version__, "python": platform.python_version()}
        result = {**about, "measures": values_of(metrics), "missing": self.missing()}
        write_json(self.path, {**result, "versions": versions})
        return self.path


def prepare(
    stage: Stage,
    generator: str | None = None,
    images: str | None = None,
    pairs: str | None = None,
    count: int | None = None,
    weights: Mapping[str, str] | None = None,
) -> EvaluateGeneratorJob:
    """Resolve what is measured; nothing is written.

    Args:
        stage: data set, keypoints, run folder and device.
        generator: a generator file or "demo"; None is the generator of the run folder.
        images: a folder of generated images, instead of a generator.
        pairs: a file of pairs; None is the published rule.
        count: the number of pairs; None is 12,000 by the published rule, and all pairs of a file.
        weights: files of weights by option, as :attr:`EvaluateGeneratorJob.weights`.

    Raises:
        UserError: If an input is missing or wrong, or a network was trained on test images.
    """
    if generator and images:
        raise UserError("--generator must not be given with --images, which exist already")
    weights = dict(weights or {})
    check_weights(declared_metrics(), [*weights])
    listed, known = choose_pairs(stage.dataset, stage.poses, pairs, count)
    generated: GeneratedImages
    if images:
        generated = ImagesOfFolder(Path(images), listed)
    else:
        generated = ImagesOfGenerator(stage.generator(generator), stage.dataset, stage.device)
    if "reid" in weights:
        refuse_tested(weights["reid"], stage.dataset)
    gallery = Gallery(known, stage.poses, stage.recipe.data)
    return EvaluateGeneratorJob(listed, gallery, generated, stage.run.path, stage.device, weights)


def choose_pairs(
    dataset: Dataset, poses: Mapping[str, Pose], file: str | None, count: int | None
) -> tuple[list[Pair], dict[str, PersonImage]]:
    """The pairs to measure, and the images that they name.

    Without a file: the published rule over the gallery, in the order of the rows of the keypoints.

    Raises:
        UserError: If a file names an image that does not exist, or there is no pair.
    """
    images = {image.name: image for image in (*dataset.train, *dataset.query, *dataset.gallery)}
    if file is None:
        pids = {image.name: image.pid for image in dataset.gallery}
        known = {name: pose for name, pose in poses.items() if name in pids}
        count = TEST_PAIRS if count is None else count
        return sampled_pairs(known, count, pids=pids), images
    pairs = read_pairs(file)
    for number, pair in enumerate(pairs, start=2):
        for name in pair:
            if name not in images:
                raise UserError(
                    f"{file}: line {number}: {name} must be the name of an image of the data set, "
                    f"and is not"
                )
    return pairs[:count], images


def refuse_tested(path: str, dataset: Dataset) -> None:
    """Refuse a re-ID network that was trained on the people whose images it would measure.

    Raises:
        UserError: If it was trained on query or gallery images.
    """
    metadata = read_tensors(path)[1]
    leak_status(recorded_fingerprints(metadata), dataset, dataset.train, "re-ID network")


def metric_classes() -> dict[str, type[Metric]]:
    """The class of every declared metric, by the option of its weights; "" for SSIM and kin.

    Raises:
        UserError: If a class cannot be imported, or two metrics have one name.
    """
    found: dict[str, type[Metric]] = {}
    names: set[str] = set()
    for declaration in declared_metrics():
        kind = declaration.load()
        if taken := names & {*kind.names}:
            raise UserError(
                f"{declaration.path}: the name of a metric must differ from those of others, got "
                f"{min(taken)}; rename it in the package that declares it"
            )
        names |= {*kind.names}
        found[declaration.option] = kind
    return found


def open_metrics(weights: Mapping[str, str], device: torch.device) -> dict[str, list[Metric]]:
    """The metrics that can be measured, by protocol; each network is read once.

    Args:
        weights: as :attr:`EvaluateGeneratorJob.weights`.
        device: where networks compute.
    """
    metrics: dict[str, list[Metric]] = {protocol: [] for protocol in PROTOCOLS}
    for option, kind in metric_classes().items():
        if kind.needs and option not in weights:
            continue
        network = kind.open(weights[option], device) if kind.needs else None
        for protocol in kind.protocols:
            metrics[protocol].append(kind(protocol, network))
    return metrics


def measure(
    generated: GeneratedImages,
    gallery: Gallery,
    pairs: Sequence[Pair],
    metrics: Mapping[str, Sequence[Metric]],
) -> None:
    """Generate the images of some pairs, and add them to every metric."""
    read = [(gallery.read(source), gallery.read(target)) for source, target in pairs]
    views = generated.generate(read)
    poses = [target.pose for _, target in read]
    for protocol, row in metrics.items():
        for metric in row:
            metric.update([each[protocol] for each in views], poses)


def values_of(metrics: Mapping[str, Sequence[Metric]]) -> dict[str, dict[str, float | None]]:
    """The value of every metric by name and protocol; None if it is undefined."""
    values: dict[str, dict[str, float | None]] = {}
    for protocol, row in metrics.items():
        for metric in row:
            for name, value in metric.scores().items():
                values.setdefault(name, {})[protocol] = None if isnan(value) else value
    return values


def finished(path: Path, about: Mapping[str, Any]) -> bool:
    """Whether ``path`` holds the result that ``about`` identifies.

    Raises:
        UserError: If it holds another result.
    """
    if not path.exists():
        return False
    result = read_quality(path)
    others = [key for key, value in about.items() if result.get(key) != value]
    if others:
        raise UserError(
            f"{path}: holds the quality of something else, which differs in {', '.join(others)}; "
            f"choose another folder with --out, or remove the file"
        )
    return True


def read_quality(path: Path) -> dict[str, Any]:
    """Read a ``quality.json``.

    Raises:
        UserError: If the file is none.
    """
    result = read_table(path, "a result of generator evaluate", format_=QUALITY_FORMAT)
    result.whole("pairs", 0)
    result.text("pairs_sha256")
    measures, missing = result.table("measures"), result.table("missing")
    for name in measures.content:
        row = measures.table(name)
        for protocol in row.content:
            if row.has(protocol):
                row.number(protocol)
    for name in missing.content:
        missing.text(name)
    return dict(result.content)


def table(result: Mapping[str, Any]) -> Iterator[str]:
    """The lines of the table of a result, with one column per protocol."""
    yield f"{result['pairs']} pairs, list {result['pairs_sha256'][:8]}"
    yield f"{'metric':<18}" + "".join(f"{protocol:>10}" for protocol in PROTOCOLS)
    for name, values in result["measures"].items():
        cells = cells_of(values)
        yield f"{name:<18}" + "".join(f"{cell:>10}" for cell in cells)
    for name, reason in result["missing"].items():
        yield f"{name:<18}  {reason}"


def cells_of(values: Mapping[str, float | None]) -> list[str]:
    """The values of a metric as text, one per protocol."""
    return [_cell(values, protocol) for protocol in PROTOCOLS]


def _cell(values: Mapping[str, float | None], protocol: str) -> str:
    if protocol not in values:
        return "-"
    value = values[protocol]
    return "undefined" if value is None else f"{value:.4f}"
