"""The plan and the cost of a grid: cells, hours and gigabytes, from one measured step per kind.

The steps are measured on this machine, with as many threads as a cell has. The time differs on a
busy machine and on other machines of a cluster.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from reid_aug.data.dataset import by_identity
from reid_aug.generator import untrained_generator
from reid_aug.mixing import Mix
from reid_aug.runtime.bfloat16 import note_of_bfloat16
from reid_aug.stages import train_generator as generators
from reid_aug.stages.cost import duration
from reid_aug.stages.stage import Stage
from reid_aug.stages.synthesize import seconds_to_generate
from reid_aug.stages.train_generator.trainer import build_networks
from reid_aug.stages.train_reid import build_network, describe_start, seconds_per_step
from reid_aug.stages.train_reid.folder import RESULT
from reid_aug.study.grid import Grid
from reid_aug.study.shared_work import (
    banks_to_make,
    own_generators,
    pairs_of,
    planned_bank,
    scorers,
    starts,
)
from reid_aug.study.tasks import Pool, Task

KEPT_STATES = 2  # number of training states of a generator that stay on disk


def describe(grid: Grid, tasks: Sequence[Task], stage: Stage, pool: Pool) -> list[str]:
    """The planned work, in a few lines."""
    config = stage.recipe.train_reid
    size = f"{config.height}x{config.width}"
    lines = [
        f"{len(tasks)} trainings of {config.steps} steps of {config.batch} images, "
        f"{pool.at_once} at once, results in {stage.run.path / 'reid'}"
    ]
    if any(task.cell.start == "scratch" for task in tasks):
        lines.append(describe_start(config))
    if done := len(tasks) - len(_pending(tasks)):
        lines.append(f"done already: {done} of {len(tasks)} trainings")
    if first := starts(tasks):
        lines.append(f"before them, networks to train on the external people: {len(first)}")
    if own := own_generators(tasks):
        steps = stage.recipe.train_generator.steps
        lines.append(
            f"before them, generators to train for {steps} steps on their own images: {len(own)}"
        )
        wanted = stage.recipe.train_generator.bf16
        lines += filter(None, [note_of_bfloat16(wanted, stage.device, "train_generator.bf16")])
    if scorers_ := {*scorers(grid, tasks, stage).values()} - {*tasks}:
        lines.append(f"before them, networks to train that score banks: {len(scorers_)}")
    if size != "256x128":
        lines.append(
            f"input {size} instead of the usual 256x128, so that a training takes minutes: "
            f"scores are comparable within this table only"
        )
    lines += filter(None, [note_of_bfloat16(config.bf16, stage.device, "train_reid.bf16")])
    return lines


def describe_cells(tasks: Sequence[Task]) -> list[str]:
    """The cells, with one line for all cells that differ in their seed only."""
    seeds: dict[str, list[str]] = {}
    for task in tasks:
        name = replace(task.cell, seed=0).name  # of a replicate too, whose number is its seed
        seeds.setdefault(name.replace("-seed0", "", 1), []).append(str(task.cell.seed))
    return [f"    {name}: seed {', '.join(own)}" for name, own in seeds.items()]


def describe_cost(grid: Grid, tasks: Sequence[Task], stage: Stage, pool: Pool) -> list[str]:
    """Hours and gigabytes of the work that is left."""
    parts = [*_generator_lines(tasks, stage), *_bank_lines(tasks, stage)]
    with _threads(pool.threads):
        trainings = _training_lines(grid, tasks, stage)
    apart = sum(seconds for _, seconds, _ in parts)
    shared = sum(seconds for _, seconds, _ in trainings)
    total = apart + shared / max(1, pool.at_once)
    size = sum(size for _, _, size in (*parts, *trainings))
    lines = [text for text, _, _ in (*parts, *trainings)]
    work = f"{duration(apart + shared)} of work"
    work += f", {duration(total)} with {pool.at_once} trainings at once"
    return [*lines, f"together about {work}, and {size / 1e9:.2f} GB"]


Part = tuple[str, float, float]  # label, seconds, bytes


def _generator_lines(tasks: Sequence[Task], stage: Stage) -> list[Part]:
    """One line for all generators that the grid trains."""
    network, config = stage.recipe.generator, stage.recipe.train_generator
    own = {path: task for path, task in own_generators(tasks).items() if not path.is_file()}
    if not own:
        return []
    step = generators.seconds_per_step(
        pairs_of(next(iter(own.values())), stage)[1], network, config, stage.device
    )
    networks = build_networks(network, config, 0)
    weights = sum(_bytes(module.state_dict().values()) for module in networks.values())
    model = _bytes(networks["generator"].state_dict().values())
    size = len(own) * (
        model + KEPT_STATES * (model + 3 * weights)
    )  # Adam holds two numbers per weight
    seconds = len(own) * step * config.steps
    text = f"{len(own)} generators: {step:.2f} s per step, {_cost(seconds, size)}"
    return [(text, seconds, size)]


def _bank_lines(tasks: Sequence[Task], stage: Stage) -> list[Part]:
    """One line per method for its banks, with the speed measured on the smallest of them."""
    banks = {b: found for b, found in banks_to_make(tasks, stage).items() if not b.is_file()}
    height, width = stage.recipe.data.height, stage.recipe.data.width
    parts = []
    for method in sorted({task.cell.method for _, task in banks.values()}):
        own = [found for found in banks.values() if found[1].cell.method == method]
        images = sum(count for count, _ in own)
        count, task = min(own, key=lambda found: found[0])
        with _any_generator(task, stage) as generator:
            planned = planned_bank(task, stage, generator)
            seconds = images / count * seconds_to_generate(planned, stage.device)
        size = images * height * width * 3.0
        text = f"{len(own)} banks of {method}: {images} images, {_cost(seconds, size)}"
        parts.append((text, seconds, size))
    return parts


@contextmanager
def _any_generator(task: Task, stage: Stage) -> Iterator[Path | None]:
    """The generator of a task, or an untrained one of the same size if it does not exist yet."""
    if task.generator is None or task.generator.is_file():
        yield task.generator
        return
    with untrained_generator(stage.recipe.generator) as path:
        yield path


def _training_lines(grid: Grid, tasks: Sequence[Task], stage: Stage) -> list[Part]:
    """One line per backbone and preset for the trainings."""
    everything = _pending([*tasks, *scorers(grid, tasks, stage).values()])
    kinds = Counter((task.cell.backbone, task.cell.preset) for task in everything)
    for path, task in starts(tasks).items():
        if not path.is_file():
            kinds[task.cell.backbone, task.cell.preset] += 1
    mix = Mix(stage.dataset.train)
    classes = len(by_identity(mix.real))
    parts = []
    for (backbone, preset), count in sorted(kinds.items()):
        cell = replace(tasks[0].cell, backbone=backbone, preset=preset, ratio=0.0).plain()
        config = replace(tasks[0], cell=cell, weights=None).config
        step = seconds_per_step(mix, replace(config, generated_share=0.0), stage.device)
        model = build_network(config, classes)
        size = count * _bytes(model.state_dict().values())
        seconds = count * step * config.steps
        text = f"{count} trainings of {backbone}, {preset}: {step:.2f} s per step"
        parts.append((f"{text}, {_cost(seconds, size)}", seconds, size))
    return parts


def _pending(tasks: Iterable[Task]) -> list[Task]:
    """The tasks without a result, each once."""
    return [task for task in dict.fromkeys(tasks) if not (task.folder / RESULT).is_file()]


def _bytes(tensors: Iterable[Tensor]) -> float:
    return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors))


def _cost(seconds: float, size: float) -> str:
    return f"{duration(seconds)}, {size / 1e9:.2f} GB"


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
