"""How a command ends that cannot go on: one line on stderr, and exit code 2."""

import re
import shlex
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import click

from reid_aug.runtime.errors import UserError

PLACES = ("--recipe", "--data", "--keypoints", "--keep", "--out")  # of all stage commands
ADVICE = re.compile(r"with: reid-aug (bank score|synthesize|train-generator|train-reid)\b")
TAKERS = ("bank", "generator", "synthesize", "train-generator", "train-reid")


class OneLine(click.Group):
    """A group whose errors are one line: what is wrong, and exit code 2."""

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run, and turn what a user can mend into one line."""
        extra["standalone_mode"] = False
        try:
            sys.exit(super().main(args, **extra) or 0)
        except UserError as error:
            _stop(with_own_places(str(error), sys.argv[1:] if args is None else args), 2)
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
        except OSError as error:
            _stop(f"{error.filename or 'a file'}: {error.strerror or error}", 2)


def with_own_places(text: str, args: Sequence[str]) -> str:
    """An error whose advice, a stage command, has the places that the user's own command had.

    >>> with_own_places("no bank; make it with: reid-aug synthesize --ratio 1",
    ...                 ["train-reid", "--data", "my crops", "--out=runs/a", "--seed", "1"])
    "no bank; make it with: reid-aug synthesize --data 'my crops' --out runs/a --ratio 1"

    What the advice says itself stays as it is.

    >>> with_own_places("with: reid-aug synthesize --keep 0.6", ["train-reid", "--keep", "1"])
    'with: reid-aug synthesize --keep 0.6'
    """
    if not args or args[0] not in TAKERS:
        return text
    words = [word for arg in args for word in (arg.split("=", 1) if arg[:2] == "--" else [arg])]
    own = [pair for pair in pairwise(words) if pair[0] in PLACES]
    advice = ADVICE.split(text)[-1].split()
    own = [pair for pair in own if f"another {pair[0]}" not in text and pair[0] not in advice]
    places = "".join(f" {shlex.join(pair)}" for pair in own)
    return ADVICE.sub(lambda found: found[0] + places, text)


def _stop(text: str, code: int) -> None:
    click.echo(f"error: {' '.join(text.split())}", err=True)
    sys.exit(code)
