"""Parts that run the commands of the package; what may take long is a process of its own."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.schedule import LATER, Point, Scene
from reid_aug.generator import Generator, GeneratorConfig, save_generator
from reid_aug.people import PeopleConfig, write_people
from reid_aug.runtime.machine import describe_machine
from reid_aug.stages import synthesize as synthesize_stage
from reid_aug.stages.stage import open_stage
from reid_aug.study.report import find_results

ROOT = Path(__file__).parents[2]
STUDY = Path(__file__).with_name("study.toml")
MARK = "mark.gpu"  # in the files of tests that need a GPU
SPARE = 5.0  # seconds between the end of a command and that of the run
TINY_STUDY = (
    "data.height=32", "data.width=16", "generator.width=4", "generator.blocks=1",
    "train_generator.steps=4", "train_generator.batch=2", "train_generator.discriminator_width=4",
    "train_generator.bf16=false", "train_reid.steps=2",
    "train_reid.batch=4", "train_reid.height=32", "train_reid.width=16", "train_reid.bf16=false",
    "train_reid.workers=0",
)  # fmt: skip


def tests(scene: Scene) -> Iterator[Point]:
    """The machine, and the tests that need a GPU."""
    yield Point("machine", 0, describe_machine)
    yield Point("gpu tests", 30, lambda: _tests(scene))


def _tests(scene: Scene) -> dict[str, Any]:
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if MARK in path.read_text()]
    names = [str(path.relative_to(ROOT)) for path in sorted(files)]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", *names]
    output = _run(command, scene)[1]
    counts = re.findall(r"(\d+) (passed|failed|skipped|error)", output)
    failures = re.findall(r"^(?:FAILED|ERROR) (.+)$", output, re.MULTILINE)
    return {**{word: int(number) for number, word in counts}, "failures": failures}


def synthesize(scene: Scene) -> Iterator[Point]:
    """A bank by a full-width generator, and the part of the time outside the generator."""
    yield Point("images", 30, lambda: _bank(scene))


def _bank(scene: Scene) -> dict[str, Any]:
    people = _people(scene)
    checkpoint = scene.work / "random.safetensors"
    network = GeneratorConfig(width=4, blocks=1) if scene.is_tiny else GeneratorConfig()
    save_generator(Generator(network), checkpoint, {})
    out = scene.work / f"synthesize-{time.time():.0f}"
    tiny = ("data.height=32", "data.width=16") if scene.is_tiny else ()
    stage = open_stage("market1501", str(people), str(out), str(scene.device), None, tiny)
    job = synthesize_stage.prepare(stage, 0.1 if scene.is_tiny else 20.0, None, str(checkpoint))
    card = json.loads(job.run().with_suffix(".json").read_text(encoding="utf-8"))
    seconds, generating = card["seconds"], card["generating_seconds"]
    rows = len(job.planned.rows)
    return {
        "images": rows,
        "per_second": rows / seconds,
        "share_outside_generator": 1 - generating / seconds,
    }


def _people(scene: Scene) -> Path:
    """The folder of a few built-in people."""
    folder = scene.work / "people"
    if not folder.is_dir():
        write_people(folder, PeopleConfig(4 if scene.is_tiny else 12, 4))
    return folder


def study(scene: Scene) -> Iterator[Point]:
    """The grid of study.toml on real people; it goes on in the next run."""
    if scene.data or scene.is_tiny:
        yield Point("grid", 60 if not scene.is_tiny else 5, lambda: _grid(scene))


def _grid(scene: Scene) -> dict[str, Any]:
    data = (scene.data or _people(scene)).absolute()
    out = scene.work / "study"
    words = ["benchmark", str(STUDY), "--data", str(data), "--out", str(out), "--device",
             str(scene.device)]  # fmt: skip
    for setting in TINY_STUDY if scene.is_tiny else ():
        words += ["--set", setting]
    code, output = _run([sys.executable, "-m", "reid_aug", *words], scene)
    found = find_results(out)[0] if out.is_dir() else []
    scores = {
        f"{result.method or 'real only'}, {name}": getattr(result, name)
        for result in found
        for name in ("mAP", "rank1")
    }
    if code:
        return {**scores, "error": output.strip().splitlines()[-1][:300]}
    return scores if code == 0 else {**scores, LATER: True}


def _run(command: Sequence[str], scene: Scene) -> tuple[int | None, str]:
    """Exit code (None if the time is up) and output of a command."""
    environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    limit = None if scene.left == float("inf") else max(1.0, scene.left - SPARE)
    try:
        output = process.communicate(timeout=limit)[0]
        return process.returncode, output
    except subprocess.TimeoutExpired:
        process.terminate()
        return None, process.communicate()[0]
