"""Errors of the command line: one line on stderr, and exit code 2."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import click

from reid_aug.runtime.errors import UserError

# options of the user's own command that a remedy needs too, where its command has them
SHARED = ("--recipe", "--data", "--keypoints", "--keep", "--out", "--ratio", "--mode", "--set")
DATA = "DATA"  # the place of the data set in the words of a remedy


class OneLine(click.Group):
    """A group of commands that reports an error as one line and ends with exit code 2."""

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run a command; an error that the user can mend becomes one line."""
        extra["standalone_mode"] = False
        try:
            sys.exit(super().main(args, **extra) or 0)
        except UserError as error:
            words = sys.argv[1:] if args is None else args
            _stop(with_own_options(error, words, self), 2)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(2)
        except click.UsageError as error:
            help_ = f"{error.ctx.command_path} --help" if error.ctx else "reid-aug --help"
            _stop(f"{error.format_message().rstrip('.')}; see {help_}", 2)
        except click.ClickException as error:
            _stop(error.format_message(), 2)
        except (click.Abort, KeyboardInterrupt):
            _stop(
                "stopped; the same command goes on from what was saved, if anything was",
                130,
            )
        except FileNotFoundError as error:
            _stop(f"{error.filename} is missing", 2)
        except OSError as error:
            _stop(f"{error.filename or 'a file'}: {error.strerror or error}", 2)


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
    if DATA in remedy.command and "--data" in given:
        command = [given["--data"][-1] if word == DATA else word for word in remedy.command]
        remedy = replace(remedy, command=tuple(command))
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
    click.echo(f"error: {' '.join(text.split())}", err=True)
    sys.exit(code)
