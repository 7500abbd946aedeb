"""Errors of the command line: one line on stderr, and exit code 2."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any

import click

from reid_aug.runtime.errors import UserError
from reid_aug.runtime.interrupts import record_interrupts, was_interrupted
from reid_aug.runtime.json_toml import is_utf8

# options of the user's own command that a remedy needs too, where its command has them
SHARED = ("--recipe", "--data", "--keypoints", "--keep", "--out", "--ratio", "--mode", "--set")
SYNONYMS = {"epochs": "steps", "learning_rate": "lr", "batch_size": "batch"}  # of keys of a recipe
REINSTALL = "install reid-aug again, with torch and torchvision from one source"
STOPPED = "stopped; the same command goes on from what was saved, if anything was"
UNEXPECTED = "Got unexpected extra argument"  # the beginning of click's message
UNNAMED = "a file or the output"  # the place of an error of the system that names no file


class OneLine(click.Group):
    """A group of commands that reports an error as one line and ends with exit code 2."""

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run a command; an error that the user can mend becomes one line."""
        extra["standalone_mode"] = False
        own = sys.argv[1:] if args is None else args
        record_interrupts()
        try:
            _check_system()
            _check_arguments(own)
            sys.exit(super().main(args, **extra) or 0)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(2)
        except (click.Abort, KeyboardInterrupt):
            _stop(STOPPED, 130)
        except Exception as error:
            if was_interrupted():
                _stop(STOPPED, 130)
            text = _sentence(error, own, self)
            if text is None:
                raise
            _stop(text, 2)


def _sentence(error: Exception, args: Sequence[str], program: click.Command) -> str | None:
    """The sentence about an error that the user can mend; None for a defect of the package."""
    if isinstance(error, UserError):
        return with_own_options(error, args, program)
    if isinstance(error, click.UsageError):
        return _about_usage(error)
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, FileNotFoundError):
        return f"{error.filename} is missing"
    if isinstance(error, OSError):
        return f"{error.filename or UNNAMED}: {error.strerror or error}"
    if _is_lack_of_memory(error):
        return f"memory does not suffice, {str(error)[:200]}; choose smaller settings"
    if _is_wrong_installation(error):
        return f"{str(error)[:200]}; {REINSTALL}"
    return None


def _about_usage(error: click.UsageError) -> str:
    if not error.ctx:
        return f"{error.format_message().rstrip('.')}; see reid-aug --help"
    text = error.format_message().rstrip(".")
    if isinstance(error, click.NoSuchOption):
        key = _key_of(error.option_name, error.ctx.info_name or "")
        if key:  # nearer than the option that click finds by its letters
            text = f"{error.message.rstrip('.')}; set the key of the recipe with --set {key}=VALUE"
    if error.message.startswith(UNEXPECTED):
        options = [one for one in error.ctx.command.params if isinstance(one, click.Option)]
        named = [f"{one.opts[-1]} {one.metavar}" for one in options if _is_file(one.metavar)]
        text += f"; name a file with its option: {', '.join(named)}" if named else ""
    return f"{text}; see {error.ctx.command_path} --help"


def _is_file(metavar: str | None) -> bool:
    """Whether the value of an option is a file or folder.

    >>> _is_file("DIR|CSV"), _is_file("N")
    (True, False)
    """
    return bool({"FILE", "DIR", "CSV"} & {*(metavar or "").split("|")})


def _key_of(option: str, command: str) -> str:
    """The key of a recipe that is named like an option that does not exist; "" without one.

    Args:
        command: the name of the command, whose table of the recipe comes first.

    >>> _key_of("--epochs", "train-generator"), _key_of("--width", "synthesize")
    ('train_generator.steps', 'data.width')
    """
    from reid_aug.stages.recipe import Recipe

    name = option.lstrip("-").replace("-", "_")
    name = SYNONYMS.get(name, name)
    kinds: dict[str, Any] = {one.name: one.default_factory for one in fields(Recipe)}
    keys = {table: {one.name for one in fields(k)} for table, k in kinds.items() if is_dataclass(k)}
    own = command.replace("-", "_")
    tables = sorted(keys, key=lambda table: table != own)
    return next((f"{table}.{name}" for table in tables if name in keys[table]), "")


def _is_lack_of_memory(error: Exception) -> bool:
    """Whether Python, numpy, or torch on any device could not get memory."""
    text = str(error).lower()
    is_about_memory = "memory" in text and ("alloc" in text or "out of" in text)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_about_memory)


def _is_wrong_installation(error: Exception) -> bool:
    """Whether torch or torchvision cannot be imported, or is of another build than the other."""
    if isinstance(error, RuntimeError):
        return "operator torchvision::" in str(error)
    return isinstance(error, ImportError) and (error.name or "").startswith("torch")


def _check_arguments(args: Sequence[str]) -> None:
    """Refuse an empty argument, which would count as none, and one that is not UTF-8."""
    for before, arg in pairwise(["", *args]):
        name, equals, value = arg.partition("=")
        option = name if equals and name.startswith("--") else before
        where = option if option.startswith("--") else "an argument"
        if not arg or (arg.startswith("--") and equals and not value):
            raise UserError(f"{where} must not be empty; leave it out, or give a value")
        if not is_utf8(arg):
            raise UserError(f"{where} must be UTF-8, got {arg!a}; rename the file or folder")


NEEDED = {"fcntl": "flock", "os": "preadv"}  # functions of the system, by their module


def _check_system() -> None:
    """Raise a UserError on a system whose files cannot be locked and read as reid-aug does it."""
    missing = []
    for module, function in NEEDED.items():
        try:
            found = hasattr(import_module(module), function)
        except ImportError:
            found = False
        missing += [] if found else [f"{module}.{function}"]
    if missing:
        raise UserError(
            f"reid-aug needs Linux or macOS; this system lacks {' and '.join(missing)}, by which "
            f"it locks run folders and reads banks; on Windows, use WSL 2"
        )


def with_own_options(error: UserError, args: Sequence[str], program: click.Command) -> str:
    """The text of an error whose remedy has the options that the user's own command has.

    Only a command on a data set and a run folder passes its options on, and only those that the
    command of the remedy takes. What the remedy sets itself stays as it is.

    Args:
        error: the error.
        args: the words of the user's command.
        program: the root of all commands.
    """
    remedy = error.remedy
    if remedy is None or "--recipe" not in _options_of(program, args):
        return str(error)
    words = [word for arg in args for word in (arg.split("=", 1) if arg[:2] == "--" else [arg])]
    given: dict[str, list[str]] = {}
    for name, value in pairwise(words):
        given.setdefault(name, []).append(value)
    if "--data" in given:
        remedy = remedy.for_data(given["--data"][-1])
    taken = _options_of(program, remedy.command)
    shared = {name: given[name] for name in SHARED if name in given and name in taken}
    # an option that may be given once counts with its last value
    own = {name[2:]: values if name == "--set" else values[-1:] for name, values in shared.items()}
    return f"{error.text}; {remedy.line(own)}"


def _options_of(program: click.Command, words: Sequence[str]) -> set[str]:
    """The options of the command that ``words`` name; none if they name no command."""
    command: click.Command | None = program
    for word in words:
        if not isinstance(command, click.Group):
            break
        command = command.commands.get(word)
    return {option for one in command.params for option in one.opts} if command else set()


def _stop(text: str, code: int) -> None:
    with suppress(OSError):  # if stderr cannot be written, the exit code is all there is
        click.echo(f"error: {' '.join(text.split())}", err=True)
    sys.exit(code)
