"""Options of a command that follow from declarations (:mod:`reid_aug.runtime.extensions`).

They are made when the command runs or prints its help, so an installed package adds an option
without a change of the command line.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from reid_aug.runtime.errors import UserError

if TYPE_CHECKING:
    from reid_aug.runtime.extensions import Declaration

PREFIX = "weights_"


def declared_options(declare: "Callable[[], Sequence[Declaration]]") -> type[click.Command]:
    """A kind of command with one option per declaration that has one.

    The command gets the given files as ``weights``, a dictionary by the name of the option.
    """

    class DeclaredCommand(click.Command):
        def get_params(self, ctx: click.Context) -> list[click.Parameter]:
            """The command's own options, the declared ones, and ``--help``."""
            own = super().get_params(ctx)
            taken = {text for param in own for text in (*param.opts, *param.secondary_opts)}
            declared = [_option(one, taken) for one in declare() if one.option]
            return [*self.params, *declared, *own[len(self.params) :]]

        def invoke(self, ctx: click.Context) -> Any:
            """Call the command with the declared options as one dictionary."""
            names = [name for name in ctx.params if name.startswith(PREFIX)]
            given = {_name(name): ctx.params.pop(name) for name in names}
            ctx.params["weights"] = {name: path for name, path in given.items() if path}
            return super().invoke(ctx)

    return DeclaredCommand


def _option(declaration: "Declaration", taken: set[str]) -> click.Option:
    text = f"--{declaration.option}"
    if text in taken:
        raise UserError(
            f"entry point {declaration.option} of {declaration.group}: its name must not be that "
            f"of another option of the command; rename it in the package that declares it"
        )
    name = PREFIX + declaration.option.replace("-", "_")
    return click.Option([text, name], metavar="FILE", help=declaration.help)


def _name(parameter: str) -> str:
    return parameter.removeprefix(PREFIX).replace("_", "-")
