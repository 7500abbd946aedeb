"""Errors of the command line: one line on stderr, and exit code 2."""

import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import click

from reid_aug.runtime.errors import UserError
from reid_aug.runtime.json_toml import is_utf8

STOPPED = "stopped; the same command goes on from what was saved, if anything was"
PLACES = ("--recipe", "--data", "--keypoints", "--keep", "--out")  # options of every stage command
TAKERS = ("bank", "generator", "synthesize", "train-generator", "train-reid")  # have these places
STAGE_COMMANDS = (("bank", "score"), ("synthesize",), ("train-generator",), ("train-reid",))


class OneLine(click.Group):
    """A group of commands that reports an error as one line and ends with exit code 2."""

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run a command; an error that the user can mend becomes one line."""
        extra["standalone_mode"] = False
        own = sys.argv[1:] if args is None else args
        try:
            _check_arguments(own)
            sys.exit(super().main(args, **extra) or 0)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(2)
        except (click.Abort, KeyboardInterrupt):
            _stop(STOPPED, 130)
        except Exception as error:
            text = _sentence(error, own)
            if text is None:
                raise
            _stop(text, 2)


def _sentence(error: Exception, args: Sequence[str]) -> str | None:
    """The sentence about an error that the user can mend; None for a defect of the package."""
    if isinstance(error, UserError):
        return with_own_places(error, args)
    if isinstance(error, click.UsageError):
        help_ = f"{error.ctx.command_path} --help" if error.ctx else "reid-aug --help"
        return f"{error.format_message().rstrip('.')}; see {help_}"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror or error}"
    if _is_lack_of_memory(error):
        return f"memory does not suffice, {str(error)[:200]}; choose smaller settings"
    return None


def _is_lack_of_memory(error: Exception) -> bool:
    """Whether Python, numpy, or torch on any device could not get memory."""
    text = str(error).lower()
    is_about_memory = "memory" in text and ("alloc" in text or "out of" in text)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_about_memory)


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


def with_own_places(error: UserError, args: Sequence[str]) -> str:
    """The text of an error whose remedy has the places that the user's own command has.

    What the remedy sets itself stays as it is.

    >>> from reid_aug.runtime.errors import Remedy
    >>> error = UserError("no bank", Remedy(("synthesize",), {"ratio": "1"}))
    >>> with_own_places(error, ["train-reid", "--data", "my crops", "--out=runs/a", "--seed", "1"])
    "no bank; make it with: reid-aug synthesize --data 'my crops' --out runs/a --ratio 1"
    """
    remedy = error.remedy
    if remedy is None or not args or args[0] not in TAKERS:
        return str(error)
    if not any(remedy.command[: len(command)] == command for command in STAGE_COMMANDS):
        return str(error)
    words = [word for arg in args for word in (arg.split("=", 1) if arg[:2] == "--" else [arg])]
    places = {name[2:]: value for name, value in pairwise(words) if name in PLACES}
    return f"{error.text}; {remedy.line(places)}"


def _stop(text: str, code: int) -> None:
    click.echo(f"error: {' '.join(text.split())}", err=True)
    sys.exit(code)
