"""The command: it starts a process that measures, ends it in time, and starts another if it dies.

Only the measuring process uses the device, so that no error of the device and no endless
compilation can stop the run from ending in time.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

NAMES = (
    "tests", "ceilings", "generator", "generator_training", "reid_training", "evaluation",
    "synthesize", "study",
)  # fmt: skip
MARGIN = 3.0  # seconds from the end of the measuring process to that of the time
WRONG = 2  # exit code of a process that cannot measure with these options
ROOT = Path(__file__).parents[2]


def main(words: Sequence[str] | None = None) -> int:
    """Measure, or print a list; the exit code is 2 if an option is wrong."""
    given = _parser().parse_args(words)
    if given.wheels:
        print("\n".join(sorted(wheels())))
    elif given.table:
        from benchmarks.gpu.schedule import table

        print("\n".join(table(given.out)))
    elif given.until:
        return _measure(given)
    else:
        return _supervise(given)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("out", type=Path, nargs="?", metavar="OUT", help="folder of the results")
    parser.add_argument("--minutes", type=float, default=9.0, help="the time of this run")
    parser.add_argument("--data", type=Path, help="real people, for the part study")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="PART")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny networks: a rehearsal")
    parser.add_argument("--wheels", action="store_true", help="print the packages to carry")
    parser.add_argument("--table", action="store_true", help="print the results in OUT")
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--after-death", action="store_true", help=argparse.SUPPRESS)
    return parser


def _supervise(given: argparse.Namespace) -> int:
    """Start measuring processes until all is measured, none gets further, or the time is up."""
    if given.out is None:
        raise SystemExit("error: OUT must be given, the folder of the results")
    until = time.time() + 60 * given.minutes - MARGIN
    words = [str(given.out.absolute()), "--until", str(until), "--device", given.device]
    words += ["--only", *given.only] + (["--tiny"] if given.tiny else [])
    words += ["--data", str(given.data.absolute())] if given.data else []
    while True:
        before = _measured(given.out)
        code = _run_until(until, words)
        if code in (0, WRONG, None) or _measured(given.out) == before:
            break
        words = [*words, "--after-death"]
    print(f"results: {given.out}/*.json; python -m benchmarks.gpu {given.out} --table")
    return WRONG if code == WRONG else 0


def _measured(out: Path) -> int:
    """The number of points that are recorded, failed ones too."""
    files = [json.loads(path.read_text(encoding="utf-8")) for path in out.glob("*.json")]
    return sum(len(file["points"]) + ("running" in file) for file in files)


def _run_until(until: float, words: Sequence[str]) -> int | None:
    """The exit code of a measuring process; None if the time was up."""
    command = [sys.executable, "-m", "benchmarks.gpu", *words]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        return process.wait(max(0.0, until - time.time()))
    except subprocess.TimeoutExpired:
        return None
    finally:  # of Ctrl-C too: no process remains
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _measure(given: argparse.Namespace) -> int:
    """Measure in this process."""
    from benchmarks.gpu import networks, stages
    from benchmarks.gpu.schedule import Record, Scene, measure_parts
    from reid_aug.runtime.errors import UserError
    from reid_aug.stages.stage import choose_device

    try:
        device = choose_device(given.device)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG
    scene = Scene(given.out, device, given.tiny, given.data, given.until)
    parts = {name: getattr(networks, name, None) or getattr(stages, name) for name in given.only}
    if given.after_death:
        for name in parts:
            Record(scene.out, name).blame()
    return measure_parts(parts, scene)


def wheels() -> Iterator[str]:
    """Every package that the tests of this one need, as "name==version"."""
    from packaging.requirements import Requirement

    waiting, seen = [Requirement("reid-aug[test]")], set()
    while waiting:
        needed = waiting.pop()
        try:
            found = distribution(needed.name)
        except PackageNotFoundError:
            continue
        for extra in {"", *needed.extras} - {e for n, e in seen if n == needed.name}:
            seen.add((needed.name, extra))
            for text in found.requires or ():
                other = Requirement(text)
                if other.marker is None or other.marker.evaluate({"extra": extra}):
                    waiting.append(other)
        if needed.name != "reid-aug":
            yield f"{found.name}=={found.version}"


if __name__ == "__main__":
    sys.exit(main())
