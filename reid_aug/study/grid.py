"""The grid: a TOML file that lists experiments, and the cells that it expands to.

    recipe = "demo"           the recipe under all cells; [set] may hold keys on top of it
    backbone = ["resnet18"]   a list of values for each axis
    ratio = [0.0, 1.0]
    [[also]]                  more cells, with these axes changed and all others as above
    method = ["copies"]
    [external]                people to pre-train on, for cells with start = ["external"]
    first = 1001

Most axes set a key of the recipe; :mod:`reid_aug.study.cell` describes the others. ``start`` is
"scratch" (the starting weights of the recipe) or "external" (a network trained on the external
people). ``preset`` names a set of keys (:mod:`reid_aug.stages.train_reid.settings`). ``label`` is
the label policy for generated images. ``replicate`` takes the place of ``seed`` and repeats the
whole pipeline: kept set, generator, bank and training. The cells are the union of all blocks, each
cell once: at ratio 0 all ways of making and choosing generated images are the same cell, and random
erasing is a part of strong training already.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import product
from operator import attrgetter
from pathlib import Path
from typing import Any

from reid_aug.bank.methods import DEFAULT_METHOD
from reid_aug.bank.plan import POSE_POLICIES
from reid_aug.people import PeopleConfig
from reid_aug.runtime.errors import UserError, nearest
from reid_aug.runtime.records import build
from reid_aug.stages.recipe import Recipe, flattened, load_recipe, read_toml
from reid_aug.stages.train_reid.settings import LABELS, PLAIN, PRESETS
from reid_aug.study.cell import AXES, ORDER, Cell


@dataclass(frozen=True, slots=True)
class Grid:
    """The values of every axis. A cell is one value per axis, of the grid or of a block."""

    name: str
    recipe: str
    backbone: tuple[str, ...]
    mode: tuple[str, ...] = ("supplement",)
    ratio: tuple[float, ...] = (0.0, 1.0)
    keep: tuple[float, ...] = (1.0,)
    seed: tuple[int, ...] = (0, 1, 2)
    method: tuple[str, ...] = (DEFAULT_METHOD,)
    cameras: tuple[str, ...] = ("source",)
    background: tuple[str, ...] = ("generated",)
    poses: tuple[str, ...] = (POSE_POLICIES[0],)
    generator: tuple[str, ...] = ("given",)
    bank: tuple[str, ...] = ("",)
    min_score: tuple[str, ...] = ("",)
    erase: tuple[bool, ...] = (False,)
    start: tuple[str, ...] = ("scratch",)
    preset: tuple[str, ...] = (PLAIN,)
    label: tuple[str, ...] = (LABELS[0],)
    replicate: tuple[int | None, ...] = (None,)
    also: tuple[Mapping[str, tuple[Any, ...]], ...] = ()
    external: PeopleConfig | None = None
    set: Mapping[str, Any] = field(default_factory=dict)

    def blocks(self) -> list["Grid"]:
        """The grid of the top-level axes, then the grid of each block."""
        others: list[dict[str, Any]] = [dict(block) for block in self.also]
        return [replace(self, **block, also=()) for block in ({}, *others)]

    def cells(self) -> list[Cell]:
        """The cells of all blocks, each once.

        The seed is the outermost axis, so that a table of all rows is complete early.
        """
        found: dict[Cell, None] = {}
        for block in self.blocks():
            found |= dict.fromkeys(block._own_cells())
        name, count = Counter(cell.name for cell in found).most_common(1)[0]
        if count > 1:
            raise UserError(
                f"grid {self.name}: {count} cells would lie in one folder, {name}; "
                f"rename the generators or banks that differ"
            )
        seeds = list(dict.fromkeys(cell.seed for cell in found))
        return sorted(found, key=lambda cell: seeds.index(cell.seed))

    def _own_cells(self) -> Iterator[Cell]:
        for values in product(*attrgetter(*ORDER)(self)):
            yield Cell(**dict(zip(ORDER, values, strict=True))).plain()


def load_grid(name: str) -> Grid:
    """Read a grid by its name in the package, or by its path.

    Raises:
        UserError: If the file, a key or a value is wrong.
    """
    where, stem, content = read_toml(name, "grids")
    _check_keys(content, [f.name for f in fields(Grid) if f.name != "name"], where)
    if not isinstance(content.get("recipe"), str) or "backbone" not in content:
        raise UserError(f"{where}: must name a recipe and a list of backbones")
    if not isinstance(content.get("set", {}), Mapping):
        raise UserError(f"{where}: set must be a table, got {content['set']!r}")
    external = content.get("external")
    grid = Grid(
        stem,
        content["recipe"],
        **_axes(content, where),
        also=_blocks(content.get("also", []), where),
        external=None if external is None else _people(external, where),
        set=content.get("set", {}),
    )
    starts = {start for block in grid.blocks() for start in block.start}
    if ("external" in starts) != (external is not None):
        raise UserError(f'{where}: start = ["external"] and a table [external] need each other')
    return grid


def _check_keys(table: Mapping[str, Any], known: list[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise UserError(f"{where}: unknown key {key!r}{nearest(key, known)}")


def _people(table: Any, where: str) -> PeopleConfig:
    if not isinstance(table, Mapping):
        raise UserError(f"{where}: external must be a table, got {table!r}")
    return build(PeopleConfig, table, f"{where}: external")


def _blocks(value: Any, where: str) -> tuple[Mapping[str, tuple[Any, ...]], ...]:
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise UserError(f"{where}: also must be tables, written [[also]], got {value!r}")
    for block in value:
        _check_keys(block, list(AXES), f"{where}: also")
    return tuple(_axes(block, where) for block in value)


def _axes(table: Mapping[str, Any], where: str) -> dict[str, tuple[Any, ...]]:
    return {key: _axis(table[key], key, where) for key in AXES if key in table}


def _axis(value: Any, key: str, where: str) -> tuple[Any, ...]:
    axis = AXES[key]
    kind, choices = axis.kind, axis.choices
    accepted = (int, float) if kind is float else (kind,)
    if not isinstance(value, list) or not value or not all(type(one) in accepted for one in value):
        raise UserError(f"{where}: {key} must be a list of {kind.__name__}, got {value!r}")
    for one in value:
        if choices and one not in choices and not (axis.takes_files and Path(one).is_file()):
            listed = ", ".join(choice or '""' for choice in choices)
            listed += " or an existing file" if axis.takes_files else ""
            raise UserError(f"{where}: {key} must be among {listed}, got {one!r}")
    return tuple(kind(one) for one in value)


def grid_recipe(grid: Grid, options: Mapping[str, Any]) -> Recipe:
    """The recipe of a grid, overridden by its ``[set]`` and then by the options.

    Raises:
        UserError: If a key is set by an axis too, which would silently override it.
    """
    given = dict(flattened({**grid.set, **options}))
    for name, axis in AXES.items():
        if axis.key in given:
            raise UserError(
                f"{axis.key}: the axis {name} of grid {grid.name} sets it; change it there"
            )
    for preset in sorted({one for block in grid.blocks() for one in block.preset} - {PLAIN}):
        for key in PRESETS[preset]:
            if f"train_reid.{key}" in given:
                raise UserError(
                    f"train_reid.{key}: the preset {preset} of grid {grid.name} sets it; "
                    f"set it in a recipe file of your own"
                )
    recipe = load_recipe(grid.recipe, given)
    _check_own_axes(grid, recipe)
    return recipe


def _check_own_axes(grid: Grid, recipe: Recipe) -> None:
    """Refuse a recipe with a value that the default of an unused axis would override."""
    own = {
        "method": recipe.synthesize.method,
        "cameras": recipe.synthesize.cameras,
        "background": recipe.synthesize.background,
        "poses": recipe.synthesize.poses,
        "preset": recipe.train_reid.preset,
        "label": recipe.train_reid.generated_label,
        "erase": recipe.with_preset(PLAIN).train_reid.erase,
    }
    usual: dict[str, Any] = {field.name: field.default for field in fields(Grid)}
    for name, value in own.items():
        on_axis = {one for block in grid.blocks() for one in getattr(block, name)}
        if on_axis == set(usual[name]) and value not in on_axis:
            raise UserError(
                f"recipe {recipe.name} sets {AXES[name].key} to {value!r}, which no cell of grid "
                f"{grid.name} has; list it on the axis {name} of the grid"
            )
