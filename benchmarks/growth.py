"""Time and memory of every stage that handles all images, for 1,000 to 100,000 of them.

    python -m benchmarks.growth FOLDER [--sizes 1000 10000 100000] [--only STAGE ...] [--plot FILE]

Every stage runs in a process of its own for every size, on one thread. Prints the seconds of the
processor, without preparation; how many times they grow per tenfold size (10 is linear); and the
largest memory of the process, preparation included. What is measured is kept in ``FOLDER``, so the
same command goes on after an interruption. The images are links to a few rendered ones.

    check      decoding and checking all crops
    plan       sources, poses and coverage of a bank with as many rows as images
    bank       writing as many rows, by a method that costs nothing
    reads      reading every row once, in random order
    mix        a training set of as many real and generated images
    ranking    a gallery of that size, and a seventh as many queries (MSMT17: 11,659 and 82,161)
    rerank     the same, re-ranked, with 64 numbers per feature
    report     one result per fifty: the table of 2,000 results at 100,000
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.bank_stress import generate as fill_bank
from reid_aug.bank import Bank
from reid_aug.data.check import check_dataset, images
from reid_aug.data.dataset import FOLDERS, DataConfig, read_market1501
from reid_aug.data.keypoints import Pose, read_keypoints
from reid_aug.mixing import Mix
from reid_aug.people import PeopleConfig, write_people
from reid_aug.runtime.files import write_json

SIZE = (128, 64)  # pixels
PER_IDENTITY = 17  # images
PER_RESULT = 50  # images
QUERIES, FEATURES = 7, 64  # gallery images per query; numbers per feature
ROOT = Path(__file__).parents[1]

Stage = Callable[[Path, int], Callable[[], object]]


def data_set(folder: Path, count: int) -> tuple[Path, dict[str, Pose]]:
    """A data set of links to a few rendered images, and their poses by name."""
    people, root = folder / "people", folder / f"data-{count}"
    if not people.is_dir():
        write_people(people, PeopleConfig(4, 4))
    poses, sources = read_keypoints(people / "keypoints.csv"), read_market1501(people).train
    known = {}
    for number in range(count):
        source = sources[number % len(sources)]
        split = FOLDERS[0] if number % 10 < 6 else FOLDERS[1 + (number % 10 > 6)]
        pid = 2 * (number // (10 * PER_IDENTITY)) + (split != FOLDERS[0]) + 1
        name = f"{pid:04d}_c{1 + number % 6}s1_{number:06d}_00.jpg"
        known[name] = poses[source.name]
        place = root / split / name
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(source.path, place)
    return root, known


def check(folder: Path, count: int) -> Callable[[], object]:
    """Check a data set in one process."""
    root, _ = data_set(folder, count)
    images.CORES = 1
    return lambda: check_dataset(root, None)


def plan(folder: Path, count: int) -> Callable[[], object]:
    """Plan a bank."""
    from reid_aug.stages.synthesize import SynthesizeConfig, plan_bank

    root, poses = data_set(folder, count)
    dataset, config = read_market1501(root), SynthesizeConfig(method="copies")
    return lambda: plan_bank(dataset, poses, None, config, DataConfig(*SIZE), 0)


def bank(folder: Path, count: int) -> Callable[[], object]:
    """Write a bank."""
    place = folder / f"bank-{count}"
    (place / "bank.h5").unlink(missing_ok=True)
    return lambda: fill_bank(place, count, SIZE, 0.0)


def reads(folder: Path, count: int) -> Callable[[], object]:
    """Read every row of a bank."""
    opened = Bank(fill_bank(folder / f"bank-{count}", count, SIZE, 0.0))
    order = np.random.default_rng(0).permutation(count).tolist()

    def read() -> None:
        for row in order:
            opened.image(row)

    return read


def mix(folder: Path, count: int) -> Callable[[], object]:
    """Mix real and generated images, and read all generated ones."""
    import torch

    from reid_aug.stages.synthesize import SynthesizeConfig, plan_bank, synthesize

    root, poses = data_set(folder, count)
    dataset, config = read_market1501(root), SynthesizeConfig(method="copies")
    planned = plan_bank(dataset, poses, None, config, DataConfig(*SIZE), 0)
    path = synthesize(planned, folder / f"mix-{count}", torch.device("cpu"))

    def read() -> None:
        made = Mix(dataset.train, Bank(path), 1.0)
        for index in range(len(made.real), len(made)):
            made.image(index)

    return read


def ranking(folder: Path, count: int) -> Callable[[], object]:
    """Rank a gallery."""
    from reid_aug.evaluation import evaluate

    random = np.random.default_rng(0)
    queries = count // QUERIES
    distances = random.random((queries, count), np.float32)
    pids = [random.integers(1, 2 + count // PER_IDENTITY, n) for n in (queries, count)]
    camids = [random.integers(1, 7, n) for n in (queries, count)]
    return lambda: evaluate(distances, *pids, *camids)


def rerank(folder: Path, count: int) -> Callable[[], object]:
    """Re-rank a gallery."""
    import torch

    from reid_aug.evaluation.reranking import rerank as work

    random = torch.Generator().manual_seed(0)
    query, gallery = (torch.randn(n, FEATURES, generator=random) for n in (count // QUERIES, count))
    return lambda: work(query, gallery)


def report(folder: Path, count: int) -> Callable[[], object]:
    """The table of many results."""
    from reid_aug.study.report import read_results
    from reid_aug.study.report import report as work

    place, source = (
        folder / f"results-{count}",
        next(ROOT.glob("benchmarks/results/*/*/result.json")),
    )
    content = json.loads(source.read_text(encoding="utf-8"))
    for number in range(max(1, count // PER_RESULT)):
        cell = place / f"cell-{number}"
        cell.mkdir(parents=True, exist_ok=True)
        one = content | {"seed": number % 10, "backbone": f"network{number // 10}"}
        one["recipe"] = content["recipe"] | {"backbone": one["backbone"]}
        write_json(cell / "result.json", one)
    return lambda: work(read_results(place), "markdown")


STAGES: dict[str, Stage] = {
    "check": check, "plan": plan, "bank": bank, "reads": reads, "mix": mix, "ranking": ranking,
    "rerank": rerank, "report": report,
}  # fmt: skip


def measure(stage: str, folder: Path, count: int) -> dict[str, float]:
    """Seconds of the processor, and the largest memory of this process in bytes."""
    work = STAGES[stage](folder, count)
    began = time.process_time()
    work()
    seconds = time.process_time() - began
    return {"seconds": seconds, "memory": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


def measured(stage: str, folder: Path, count: int) -> dict[str, float]:
    """The same in a process of its own, or from the file of an earlier run."""
    path = folder / "growth" / f"{stage}-{count}.json"
    if not path.is_file():
        words = [str(folder), "--measure", stage, "--sizes", str(count)]
        command = [sys.executable, "-m", "benchmarks.growth", *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        output = subprocess.run(
            command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE
        ).stdout  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, json.loads(output.splitlines()[-1]))
    found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return found


def table(folder: Path, only: Sequence[str], sizes: Sequence[int]) -> Iterator[str]:
    """The lines of the table, in Markdown."""
    yield "| stage | images | seconds | growth per tenfold size | MB |"
    yield "| --- | --- | --- | --- | --- |"
    for stage in only:
        rows = [(count, measured(stage, folder, count)) for count in sizes]
        growth = ["", *(f"{tenfold(*pair):.1f}" for pair in pairwise(rows))]
        for (count, found), times in zip(rows, growth, strict=True):
            memory = found["memory"] / 1e6
            yield f"| {stage} | {count} | {found['seconds']:.3g} | {times} | {memory:.0f} |"


def tenfold(smaller: tuple[int, dict[str, float]], larger: tuple[int, dict[str, float]]) -> float:
    """The factor of the time per tenfold size.

    >>> tenfold((100, {"seconds": 1.0}), (10_000, {"seconds": 100.0}))
    10.0
    """
    sizes, seconds = larger[0] / smaller[0], larger[1]["seconds"] / smaller[1]["seconds"]
    return float(10 ** (np.log(seconds) / np.log(sizes)))


def plot(folder: Path, only: Sequence[str], sizes: Sequence[int], path: Path) -> None:
    """Plot seconds and memory over the number of images."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for stage, marker in zip(only, itertools.cycle("os^vDPX*"), strict=False):
        rows = [measured(stage, folder, count) for count in sizes]
        axes[0].loglog(sizes, [row["seconds"] for row in rows], marker=marker, label=stage)
        axes[1].loglog(sizes, [row["memory"] / 1e6 for row in rows], marker=marker)
    for axis, name in zip(axes, ("seconds of the processor", "memory, MB"), strict=True):
        axis.set(xlabel="images", ylabel=name)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper")
    figure.savefig(path, dpi=110)


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--only", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--measure", choices=STAGES, help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    folder = given.folder.absolute()
    if given.measure:
        print(json.dumps(measure(given.measure, folder, given.sizes[0])))
        return
    for line in table(folder, given.only, given.sizes):
        print(line, flush=True)
    if given.plot:
        plot(folder, given.only, given.sizes, given.plot)


if __name__ == "__main__":
    main()
