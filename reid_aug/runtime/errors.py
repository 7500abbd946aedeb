"""The one error a user can mend.

Everything else that is raised is a fault of ours. The command line turns a ``UserError``, and
only that, into one line on stderr and exit code 2. Its sentence follows one frame:

    <where>: <what> must be <rule>, got <value>; <remedy>
"""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A file or an option is wrong, and the message says where and how to mend it."""


def nearest(name: str, known: Iterable[str], table: str = "") -> str:
    """The words "did you mean", or nothing where no known name is near.

    >>> nearest("widht", ["width", "height"], "data"), nearest("x", ["width"])
    ('; did you mean data.width?', '')
    """
    near = get_close_matches(name, list(known), n=1)
    prefix = f"{table}." if table else ""
    return f"; did you mean {prefix}{near[0]}?" if near else ""


def require_at_least(config: object, least: float, *keys: str) -> None:
    """Raise a UserError unless each of these fields of ``config`` is ``least`` or more."""
    for key in keys:
        value = getattr(config, key)
        if not value >= least:  # so that NaN fails too
            raise UserError(f"{key} must be {least:g} or more, got {value}")
