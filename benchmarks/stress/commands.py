"""The commands that are attacked: each runs in a forked process, and its files are compared."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from benchmarks.grid_stress import members
from reid_aug.backbones import torchreid_library
from reid_aug.cli import main
from reid_aug.data.formats import read_dataset
from reid_aug.data.keypoints import read_keypoints
from reid_aug.people import PeopleConfig, write_people
from tests.tfjs_graphs import write_movenet

TIMED = ("made", "host", "seconds", "generating_seconds", "versions")  # keys that may differ
HOURS = re.compile(rb'<table class="costs">.*?</table>', re.DOTALL)  # of a page, which may differ
UNTIMED = ("reid_aug.result/1", "reid_aug.bank-card/1")  # formats of files that have such keys
UNCOMPARED = ("output.txt",)  # what the tries of a training printed
GROWING = (".jsonl", ".journal")  # logs, of which a run that ended early leaves the beginning
UNFINISHED = ("dataset.json",)  # states that a conversion is not complete yet
IMPORTED = (
    "reid_aug.image_quality.declarations", "reid_aug.stages.bank.export",
    "reid_aug.stages.bank.import_", "reid_aug.stages.bank.score", "reid_aug.stages.bank.show",
    "reid_aug.stages.estimate_poses", "reid_aug.stages.evaluate_generator",
    "reid_aug.stages.evaluate_reid", "reid_aug.stages.export_reid",
    "reid_aug.stages.extract_features", "reid_aug.stages.pose", "reid_aug.stages.walk",
    "reid_aug.stages.synthesize", "reid_aug.stages.stage",
    "reid_aug.stages.train_generator", "reid_aug.stages.train_reid", "reid_aug.stages.user_study",
    "reid_aug.study.benchmark", "reid_aug.study.report.page",
)  # fmt: skip
PATIENCE = 600.0  # seconds for one command
SETTLED = 10.0  # seconds in which the processes of a killed command must end
PEOPLE = PeopleConfig(identities=4, test_identities=4)
SMALL = (
    "--set", "data.height=32", "--set", "data.width=16", "--set", "generator.width=4",
    "--set", "generator.blocks=1", "--set", "train_generator.steps=4",
    "--set", "train_generator.batch=2", "--set", "train_generator.save_every=2",
    "--set", "train_generator.discriminator_width=4", "--set", "train_generator.pool=2",
    "--set", "train_reid.height=32", "--set", "train_reid.width=16", "--set", "train_reid.steps=4",
    "--set", "train_reid.batch=4", "--set", "train_reid.backbone=osnet_x0_25",
)  # fmt: skip
GRID = """
recipe = "demo"
backbone = ["osnet_x0_25"]
ratio = [0.0, 1.0]
method = ["copies"]
seed = [0]
[set]
"data.height" = 32
"data.width" = 16
"train_reid.steps" = 4
"train_reid.batch" = 4
"train_reid.height" = 32
"train_reid.width" = 16
"""
MODEL = "{out}/run/reid/osnet_x0_25-baseline-keep1-seed0/model.safetensors"


@dataclass(frozen=True, slots=True)
class Command:
    """The words of a command. ``{out}`` is the folder that it writes to, ``{top}`` its inputs."""

    name: str
    words: tuple[str, ...]
    before: tuple[str, ...] = ()
    """A command that must have run in the folder before."""
    every: int = 1
    """A slow command has its turn in every so many rounds."""
    has_bank: bool = False
    """Whether it reads a bank."""
    takes_those_there: bool = False
    """Whether it does its work with the images that it can read, and may miss some."""


def commands() -> list[Command]:
    """The commands that write files."""
    data = ("--data", "{top}/data")
    place = (*data, "--out", "{out}/run", *SMALL)
    run = (*place, "--device", "cpu")  # of commands that compute
    copies = ("synthesize", *run, "--ratio", "0.5", "--set", "synthesize.method=copies")
    own = ("--set", "people.identities=2", "--set", "people.test_identities=2")
    train = ("train-reid", *run, "--ratio", "0")
    poses = ("estimate-poses", "{top}/data", "--keypoints", "{out}/k.csv")
    images = ("--picture", "{out}/p.png", "--fix", "{out}/usable.csv")
    export = ("bank", "export", "{out}/exported", *place)
    grid = ("benchmark", "{top}/grid.toml", *data, "--out", "{out}/run", "--workers", "2")
    mask = ("generator", "attention", "{image}", "{image}", *place, "--generator", "demo")
    measured = ("generator", "evaluate", *run, "--generator", "demo", "--count", "2")
    study = ("generator", "user-study", *place, "--count", "1", "--practice", "0")
    page = ("report", "{out}/run", "--format", "html", *data)
    ranking = ("reid", "rank", MODEL, *run, "--count", "2", "--top", "2")
    person = ("{image}", *place, "--device", "cpu", "--generator", "demo")
    walk = ("generator", "walk", *person, "--frames", "8")
    features = ("reid", "features", MODEL, "{top}/data", "--to", "{out}/f.npz", "--device", "cpu")
    return [
        Command("people", ("people", "{out}/p", "--identities", "2", "--test-identities", "2")),
        Command("check", ("check", "{top}/data", *images), takes_those_there=True),
        Command("convert", ("convert", "{top}/data", "{out}/converted")),
        Command("estimate-poses", (*poses, "--weights", "{top}/movenet.json", "--workers", "1")),
        Command("estimate-poses --from", (*poses, "--from", "{top}/data/keypoints.csv")),
        Command("bank import", ("bank", "import", "{top}/data/bounding_box_train", *place)),
        Command("synthesize", copies),
        Command("synthesize, built-in people", (*copies[:1], *own, *copies[3:])),
        Command("bank score", ("bank", "score", *run), copies, has_bank=True),
        Command("bank export", export, copies, has_bank=True),
        Command("bank show", ("bank", "show", *place), copies, has_bank=True),
        Command("train-generator", ("train-generator", *run)),
        Command("train-reid", train),
        Command("train-reid, bank", (*train[:-1], "0.5"), copies, has_bank=True),
        Command("generator attention", mask),
        Command("generator evaluate", measured, every=5),
        Command("generator pose", ("generator", "pose", person[0], "walk/3/front", *person[1:])),
        Command("generator walk", walk),
        Command("generator user-study", study, copies, has_bank=True),
        Command("reid evaluate", ("reid", "evaluate", MODEL, *run), train),
        Command("reid rank", ranking, train),
        Command("reid features", features, train, takes_those_there=True),
        Command("reid export", ("reid", "export", MODEL, "--onnx", "{out}/m.onnx"), train, every=5),
        Command("report --format html", page, train),
        Command("benchmark", (*grid, "--device", "cpu"), every=10),
    ]


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """A command that ran without a disturbance."""

    before: dict[str, bytes]
    """The files before it, by name."""
    after: dict[str, bytes]
    seconds: float
    folder: Path
    """A copy of the files before it."""


class Arena:
    """A folder of inputs, and one in which commands run again and again.

    Args:
        top: an empty folder.
    """

    def __init__(self, top: Path) -> None:
        self.top, self.out, self.home = top, top / "case", top / "home"
        self._known: dict[str, Undisturbed] = {}
        for module in IMPORTED:  # once, before the forks
            import_module(module)
        torchreid_library()
        write_people(top / "data", PEOPLE)
        (top / "grid.toml").write_text(GRID)
        write_movenet(top / "movenet.json", np.full((17, 3), 0.5))
        poses = read_keypoints(top / "data" / "keypoints.csv")
        images = [image.name for image in read_dataset(top / "data").train]
        whole = next(name for name in images if poses[name].has_torso)
        self._places = {"top": str(top), "out": str(self.out), "image": whole}

    def undisturbed(self, one: Command) -> Undisturbed:
        """The outcome of a command without a disturbance.

        Raises:
            SystemExit: If it fails.
        """
        if one.name not in self._known:
            self.clear()
            self.out.mkdir()
            if one.before:
                self._run_whole(one, one.before)
            folder = self.top / "before" / str(len(self._known))
            shutil.copytree(self.out, folder)
            before, began = dict(self.files()), time.monotonic()
            self._run_whole(one, one.words)
            seconds = time.monotonic() - began
            self._known[one.name] = Undisturbed(before, dict(self.files()), seconds, folder)
        return self._known[one.name]

    def _run_whole(self, one: Command, words: Sequence[str]) -> None:
        if code := finish(self.start(words)):
            sys.exit(f"{one.name}: exit code {code}, {self.printed()}")

    def clear(self) -> None:
        """Remove the folder of the commands."""
        if os.path.ismount(self.out):
            subprocess.run(["umount", str(self.out)], check=True)
        shutil.rmtree(self.out, ignore_errors=True)

    def reset(self, one: Command) -> None:
        """Make the folder what it is before the command."""
        folder = self.undisturbed(one).folder
        self.clear()
        shutil.copytree(folder, self.out)

    def printed(self, number: int = 0) -> str:
        """What the command printed that was started last, or as number ``number``."""
        return self._output(number).read_text(errors="replace")

    def _output(self, number: int) -> Path:
        return self.top / f"printed-{number}.txt"

    def start(
        self, words: Sequence[str], inside: Callable[[], object] = bool, number: int = 0
    ) -> int:
        """The pid of a process that runs a command. SIGINT waits until the command begins.

        Args:
            inside: called in the process first.
            number: tells processes that run at the same time apart.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        sys.stdout.flush()
        child = os.fork()
        if not child:
            self._perform([word.format(**self._places) for word in words], inside, number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return child

    def _perform(self, words: list[str], inside: Callable[[], object], number: int) -> None:
        code = 1
        try:
            os.setsid()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            with self._output(number).open("w") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            os.environ.pop("XDG_CACHE_HOME", None)
            os.environ["HOME"] = str(self.home)
            inside()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            main(words)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except KeyboardInterrupt:  # before the command could answer it
            code = 130
        except BaseException:
            import traceback

            traceback.print_exc()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """The bytes of every file by name, without times, own paths and leftovers of kills."""
        for path in sorted(self.out.rglob("*")):
            if path.is_file() and not path.name.endswith(".part") and path.name not in UNCOMPARED:
                yield str(path.relative_to(self.out)), _timeless(path.read_bytes())

    def leftovers(self) -> list[str]:
        """The names of temporary files."""
        return [str(path.relative_to(self.out)) for path in self.out.rglob("*.part")]

    def half_written(self, one: Command) -> list[str]:
        """The files of the command that are neither as before nor as after an undisturbed run."""
        known = self.undisturbed(one)
        return [
            name
            for name, found in self.files()
            if found not in (known.before.get(name), wanted := known.after.get(name))
            and wanted is not None
            and not (name.endswith(GROWING) and wanted.startswith(found))
            and Path(name).name not in UNFINISHED
        ]

    def give_again(self, one: Command) -> tuple[str, str] | None:
        """Run the command twice: how that differs from an undisturbed run, or None."""
        wanted = self.undisturbed(one).after
        for again in ("second", "third"):
            if code := finish(self.start(one.words)):
                return "not done again", f"the {again} run ended with {code}, {self.printed()}"
            found = dict(self.files())
            if differing := sorted(
                name for name in {*found, *wanted} if found.get(name) != wanted.get(name)
            ):
                return "differs", f"after the {again} run, {', '.join(differing[:4])} differ"
        return None


def in_turn(some: Sequence[Command], cases: int) -> Iterator[tuple[int, Command]]:
    """The commands in turn, with the number of the case; slow ones are left out of most rounds."""
    number, turn = 0, 0
    while number < cases:
        one = some[turn % len(some)]
        if turn // len(some) % one.every == 0:
            yield number, one
            number += 1
        turn += 1


def finish(child: int) -> int:
    """The exit code of a process; negative for a signal, -999 after ``PATIENCE`` seconds."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -999


def outliving(session: int) -> list[int]:
    """The living processes of a session, after at most ``SETTLED`` seconds."""
    end = time.monotonic() + SETTLED
    while (left := members(session)) and time.monotonic() < end:
        time.sleep(0.02)
    return left


def _timeless(content: bytes) -> bytes:
    if not content.startswith(b"{"):
        return HOURS.sub(b"", content)
    try:
        value = json.loads(content)
    except ValueError:
        return content
    if not isinstance(value, dict) or value.get("format") not in UNTIMED:
        return content
    return json.dumps({k: v for k, v in value.items() if k not in TIMED}).encode()
