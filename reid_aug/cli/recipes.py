"""Recipes: what each key means, and its value."""

import click

from reid_aug.cli.options import STAGE_OPTIONS


@click.command()
@click.argument("name", metavar="NAME|FILE")
@STAGE_OPTIONS["settings"]
def recipe(name: str, settings: tuple[str, ...]) -> None:
    """Print the keys of a recipe, with meaning and value.

    Each key has its meaning, its unit and its default in a comment.
    NAME is a recipe of the package: demo, market1501, market1501-small or deepfashion. The output
    is a recipe file: write it to mine.toml, change it, and name it with --recipe mine.toml.
    """
    from reid_aug.stages.recipe_listing import listing
    from reid_aug.stages.stage import recipe_of

    click.echo(listing(recipe_of(name, settings)))
