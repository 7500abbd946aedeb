"""Classes that commands offer by name: the built-in ones and those of installed packages.

A package adds a class through an entry point. The name of the entry point is the name of the
command-line option that gives the class its weights; its value is the path of the class:

    [project.entry-points."reid_aug.metrics"]
    colour = "my_package.metrics:ColourMetric"

A declaration is light: it holds texts only. The class is imported by :meth:`Declaration.load`, so
the help of a command imports neither torch nor the package of an extension.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from reid_aug.runtime.errors import UserError

OPTION_NAME = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Declaration:
    """A class, and the option that gives it its weights."""

    path: str
    """The class, as "package.module:Class"."""
    names: tuple[str, ...] = ()
    """What the class computes; empty for an extension, whose class is not imported yet."""
    option: str = ""
    """The name of the option of its weights, without dashes; "" if it needs no weights."""
    needs: str = ""
    """The file of weights, in words; "" if it needs no weights."""
    help: str = ""
    """The help text of the option."""
    group: str = ""
    """The entry point group of an extension; "" for a built-in class."""

    def load(self) -> Any:
        """The class.

        Raises:
            UserError: If it cannot be imported, or computes nothing that has a name.
        """
        where = f"entry point {self.option} of {self.group}" if self.group else self.path
        try:
            found = metadata.EntryPoint(self.option or "built-in", self.path, self.group).load()
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"{where}: {self.path} must be a class that can be imported, got {error}; "
                f"repair or remove the package that declares it"
            ) from None
        if not getattr(found, "names", ()):
            raise UserError(
                f"{where}: {self.path}.names must be the names of what it computes, got none; "
                f"repair or remove the package that declares it"
            )
        return found

    def resolved(self) -> "Declaration":
        """The declaration with the names and the weights of its class."""
        if not self.group:
            return self
        found = self.load()
        return Declaration(
            self.path, tuple(found.names), self.option, found.needs, self.help, self.group
        )


def declared(built_in: Sequence[Declaration], group: str) -> tuple[Declaration, ...]:
    """The built-in declarations, then those of the entry points of ``group`` in order of name.

    Raises:
        UserError: If the name of an entry point cannot be an option, or is taken.
    """
    found = list(built_in)
    for entry in sorted(metadata.entry_points(group=group), key=lambda entry: entry.name):
        if not OPTION_NAME.fullmatch(entry.name):
            raise UserError(
                f"entry point {entry.name!r} of {group}: its name must be lower-case letters, "
                f"digits and dashes; rename it in the package that declares it"
            )
        if entry.name in {one.option for one in found}:
            raise UserError(
                f"entry point {entry.name} of {group}: its name must differ from those of other "
                f"classes; rename it in the package that declares it"
            )
        text = f"Weights of {entry.value}, from an installed package, if it needs any."
        found.append(Declaration(entry.value, option=entry.name, help=text, group=group))
    return tuple(found)


def check_weights(declarations: Sequence[Declaration], options: Sequence[str]) -> None:
    """Raise a UserError if weights are given to a class that needs none, or to none at all."""
    by_option = {one.option: one for one in declarations if one.option}
    for option in options:
        if option not in by_option:
            raise UserError(f"weights must be of one of {', '.join(by_option)}, got {option!r}")
        if not by_option[option].resolved().needs:
            raise UserError(
                f"--{option} must not be given: {by_option[option].path} needs no weights"
            )
