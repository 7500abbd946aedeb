"""The one error a user can mend.

Everything else that is raised is a fault of ours. The command line turns a ``UserError``, and
only that, into one line on stderr and exit code 2. Its sentence follows one frame:

    <where>: <what> must be <rule>, got <value>; <remedy>
"""


class UserError(ValueError):
    """A file or an option is wrong, and the message says where and how to mend it."""


def require_at_least(config: object, least: float, *keys: str) -> None:
    """Raise a UserError unless each of these fields of ``config`` is ``least`` or more."""
    for key in keys:
        value = getattr(config, key)
        if not value >= least:  # so that NaN fails too
            raise UserError(f"{key} must be {least:g} or more, got {value}")
