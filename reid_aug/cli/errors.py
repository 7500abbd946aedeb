"""How a command ends that cannot go on: one line on stderr, and exit code 2."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from reid_aug.errors import UserError


class OneLine(click.Group):
    """A group whose errors are one line: what is wrong, and exit code 2."""

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run, and turn what a user can mend into one line."""
        extra["standalone_mode"] = False
        try:
            sys.exit(super().main(args, **extra) or 0)
        except UserError as error:
            _stop(str(error), 2)
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


def _stop(text: str, code: int) -> None:
    click.echo(f"error: {' '.join(text.split())}", err=True)
    sys.exit(code)
