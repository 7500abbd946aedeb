"""Recipes: what each key means, and its value."""

import click

from reid_aug.cli.options import STAGE_OPTIONS


@click.command()
@click.argument("name", metavar="NAME|FILE")
@STAGE_OPTIONS["settings"]
def recipe(name: str, settings: tuple[str, ...]) -> None:
    """Print every key of a recipe with its meaning, its unit, its default and its value.

    NAME is a recipe of the package: demo, market1501, market1501-small or deepfashion. The output
    is a recipe file: write it to mine.toml, change it, and name it with --recipe mine.toml.
    """
    from reid_aug.stages.recipe_listing import listing
    from reid_aug.stages.stage import recipe_of

    click.echo(listing(recipe_of(name, settings)))
