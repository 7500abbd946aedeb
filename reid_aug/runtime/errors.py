"""UserError, the error that a user can correct, and the command that corrects it.

Any other exception is a defect of the package. The command line turns a ``UserError``, and only
that, into one line on stderr and exit code 2. The message has this form:

    <where>: <what> must be <rule>, got <value>; <remedy>
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from shlex import quote

DATA = "DATA"  # the place of the data set in the words of a remedy


@dataclass(frozen=True, slots=True)
class Remedy:
    """A reid-aug command that mends an error.

    >>> str(Remedy(("synthesize",), {"ratio": "1", "set": ("a.b=1", "a.c=2")}))
    'make it with: reid-aug synthesize --ratio 1 --set a.b=1 --set a.c=2'
    """

    command: tuple[str, ...]
    """Its words and arguments, as ("bank", "score"). ``DATA`` stands for the data set in use."""
    options: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    """The value or the values of an option, by its name without the leading dashes."""
    words: str = "make it with"
    """The words before the command."""
    otherwise: str = ""
    """Another remedy, which follows the command."""

    def __str__(self) -> str:
        return self.line({})

    def for_data(self, data: str) -> "Remedy":
        """The same command on the data set ``data``.

        >>> str(Remedy(("check", "DATA")).for_data("crops"))
        'make it with: reid-aug check crops'
        """
        return replace(self, command=tuple(data if w == DATA else w for w in self.command))

    def line(self, places: Mapping[str, str | Sequence[str]]) -> str:
        """The remedy as text.

        Args:
            places: the options of the user's own command that the remedy needs too, as
                {"data": "crops"}. They precede the options of the remedy, which overrule them.

        >>> Remedy(("synthesize",), {"keep": "0.6"}).line({"data": "my crops", "keep": "1"})
        "make it with: reid-aug synthesize --data 'my crops' --keep 0.6"
        """
        own = {key: value for key, value in places.items() if key not in self.options}
        words = [*map(quote, self.command)]
        for key, given in {**own, **self.options}.items():
            for value in [given] if isinstance(given, str) else given:
                words.append(f"--{key} {quote(value)}")
        return " ".join([f"{self.words}: reid-aug", *words]) + self.otherwise


class UserError(ValueError):
    """A file or an option is wrong; the message contains the place, the rule and the remedy.

    Args:
        text: the sentence, without the remedy if that is a command.
        remedy: the command that corrects the error. ``str`` of the error ends with it.
    """

    def __init__(self, text: str, remedy: Remedy | None = None) -> None:
        super().__init__(f"{text}; {remedy}" if remedy else text)
        self.text, self.remedy = text, remedy

    def for_data(self, data: str) -> "UserError":
        """The same error, with a remedy for the data set ``data``."""
        return UserError(self.text, self.remedy.for_data(data) if self.remedy else None)


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


def require_at_most(config: object, most: float, *keys: str) -> None:
    """Raise a UserError unless each field ``keys`` of ``config`` is at most ``most``."""
    for key in keys:
        value = getattr(config, key)
        if not value <= most:  # so that NaN fails too
            raise UserError(f"{key} must be {most:g} or less, got {value}")


def require_at_least(config: object, least: float, *keys: str) -> None:
    """Raise a UserError unless each field ``keys`` of ``config`` is at least ``least``."""
    for key in keys:
        value = getattr(config, key)
        if not value >= least:  # so that NaN fails too
            raise UserError(f"{key} must be {least:g} or more, got {value}")
