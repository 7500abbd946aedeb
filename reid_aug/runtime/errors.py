"""UserError, the error that a user can correct.

Any other exception is a defect of the package. The command line turns a ``UserError``, and only
that, into one line on stderr and exit code 2. The message has this form:

    <where>: <what> must be <rule>, got <value>; <remedy>
"""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A file or an option is wrong; the message contains the place, the rule and the remedy."""


def nearest(name: str, known: Iterable[str], table: str = "") -> str:
    """The end of an error message that suggests the most similar known name; "" without one.

    Args:
        table: the recipe table of the known names.

    >>> nearest("widht", ["width", "height"], "data"), nearest("x", ["width"])
    ('; did you mean data.width?', '')
    """
    near = get_close_matches(name, list(known), n=1)
    prefix = f"{table}." if table else ""
    return f"; did you mean {prefix}{near[0]}?" if near else ""


def require_at_least(config: object, least: float, *keys: str) -> None:
    """Raise a UserError unless each field ``keys`` of ``config`` is at least ``least``."""
    for key in keys:
        value = getattr(config, key)
        if not value >= least:  # so that NaN fails too
            raise UserError(f"{key} must be {least:g} or more, got {value}")
