"""Test the training of a generator under kills at random moments.

    python benchmarks/training_stress.py FOLDER [--times 50]    # SIGKILL at random moments

A small generator, with discriminators, pools, dropout, averaged weights and an identity held out,
trains on a few of the built-in people. Every run is killed at a random moment, and the same command
runs again. Then its checkpoint, its best checkpoint, its last state and its log are compared byte
by byte with those of an uninterrupted run.

Runs are forked from a server that has imported torch, so that start-up takes little time.
"""

import argparse
import multiprocessing
import random
import shutil
import sys
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from reid_aug.data.dataset import DataConfig, read_market1501
from reid_aug.data.keypoints import read_keypoints
from reid_aug.generator import GeneratorConfig
from reid_aug.people import PeopleConfig, write_people
from reid_aug.stages.train_generator import pairs_of, train_generator, training_metadata
from reid_aug.stages.train_generator.settings import TrainGeneratorConfig

STEPS = 12
NETWORK = GeneratorConfig(width=4, blocks=1)
CONFIG = TrainGeneratorConfig(
    steps=STEPS, batch=2, discriminator_width=4, discriminator_blocks=1, pool=3, flip=True,
    ema=0.9, held_out=1, save_every=3,
)  # fmt: skip
COMPARED = (
    "generator.safetensors", "training/best.safetensors", f"training/{STEPS:08d}.safetensors",
    "training/samples/00000009.png", "training/log.jsonl",
)  # fmt: skip
LONGEST = 600  # seconds, after which a run counts as hung


def train(people: Path, folder: Path) -> None:
    """Run the training, or its remaining part."""
    torch.set_num_threads(1)
    real, poses = read_market1501(people).train, read_keypoints(people / "keypoints.csv")
    pairs = pairs_of(real, poses, DataConfig(height=32, width=16), CONFIG, 0)
    metadata = training_metadata(pairs, NETWORK, CONFIG, real, poses)
    train_generator(pairs, NETWORK, CONFIG, folder, metadata, torch.device("cpu"))


def interrupted(folder: Path, times: int, seed: int = 0) -> Counter[str]:
    """Kill runs at random moments; count what they were doing.

    Raises:
        SystemExit: If a file differs from that of the uninterrupted run.
    """
    people, whole = folder / "people", folder / "whole"
    write_people(people, PeopleConfig(identities=4, test_identities=4))
    finish(people, folder / "first")  # waits for the server
    began = time.perf_counter()
    finish(people, whole)
    seconds = time.perf_counter() - began
    moments, found = random.Random(seed), Counter[str]()
    for number in range(times):
        target = folder / f"run{number}"
        run = start(people, target)
        run.join(moments.uniform(0, seconds))
        run.kill()
        run.join()
        found[_was_doing(target)] += 1
        finish(people, target)
        for name in COMPARED:
            if (target / name).read_bytes() != (whole / name).read_bytes():
                sys.exit(f"run {number}: {target / name} differs")
        if left := sorted(path.name for path in target.rglob("*.part")):
            sys.exit(f"run {number} left {left}")
        shutil.rmtree(target)
    return found


def start(people: Path, folder: Path) -> BaseProcess:
    """Start a training in its own process."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["reid_aug.stages.train_generator", "reid_aug.image_quality"])
    run = server.Process(target=train, args=(people, folder))
    run.start()
    return run


def finish(people: Path, folder: Path) -> None:
    """Train to the end.

    Raises:
        SystemExit: If it fails.
    """
    run = start(people, folder)
    run.join(LONGEST)
    if run.exitcode != 0:
        run.kill()
        sys.exit(f"{folder}: the training ended with code {run.exitcode}")


def _was_doing(folder: Path) -> str:
    if (folder / "generator.safetensors").exists():
        return "finished"
    if any(folder.rglob(".*.part")):
        return "writing a file"
    states = sorted((folder / "training").glob("0*.safetensors"))
    return "training, after a saved state" if states else "training, before the first state"


def main() -> None:
    """Kill trainings and print what they were doing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    arguments = parser.parse_args()
    found = interrupted(arguments.folder, arguments.times, arguments.seed)
    print(f"{arguments.times} kills, the same bytes every time; they hit runs that")
    print("\n".join(f"    were {what}: {times}" for what, times in found.most_common()))


if __name__ == "__main__":
    main()
