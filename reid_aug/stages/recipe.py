"""Recipes, which are TOML files with all settings of an experiment; and its run folder.

A recipe has one table per stage with the name of the stage, and each table is the frozen config of
that stage. Defaults come from the configs; the preset of ``train_reid.preset`` overrides them, then
the recipe, then the options of the command line. An unknown key is an error that names the nearest
key.

    seed = 0
    [data] [people] [generator] [train_generator] [synthesize] [train_reid]
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from reid_aug.data.dataset import DataConfig
from reid_aug.data.keypoints import JOINTS
from reid_aug.generator import GeneratorConfig
from reid_aug.people import PeopleConfig
from reid_aug.runtime.errors import UserError, nearest
from reid_aug.runtime.json_toml import TOML, NoTomlError, parse_toml
from reid_aug.runtime.records import build
from reid_aug.runtime.regular_files import read_text
from reid_aug.stages.synthesize import SynthesizeConfig
from reid_aug.stages.train_generator.settings import TrainGeneratorConfig
from reid_aug.stages.train_reid.settings import PRESETS, TrainReidConfig, preset_keys


@dataclass(frozen=True, slots=True)
class Recipe:
    """All configs of an experiment."""

    name: str
    """The name of its file, without ".toml"."""
    seed: int = 0
    """The seed of all random numbers, in [0, 2^31)."""
    data: DataConfig = field(default_factory=DataConfig)
    people: PeopleConfig = field(default_factory=PeopleConfig)
    """The built-in data set; unused with another one."""
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    train_generator: TrainGeneratorConfig = field(default_factory=TrainGeneratorConfig)
    synthesize: SynthesizeConfig = field(default_factory=SynthesizeConfig)
    train_reid: TrainReidConfig = field(default_factory=TrainReidConfig)
    given: frozenset[str] = field(default=frozenset(), compare=False)
    """The keys that file and options set ("table.key"); a preset changes none of them."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**31:
            raise UserError(f"seed must be at least 0 and below 2^31, got {self.seed}")
        step = 2**self.generator.downsamplings
        for key in ("height", "width"):
            side = getattr(self.data, key)
            if side % step or side < 2 * step:
                raise UserError(
                    f"data.{key} must be a multiple of {step} and 2 or more of them, got {side}"
                )
        if self.generator.joints != len(JOINTS):
            raise UserError(f"generator.joints must be {len(JOINTS)}, got {self.generator.joints}")

    def table(self) -> dict[str, Any]:
        """The whole recipe as plain values."""
        return {key: value for key, value in asdict(self).items() if key != "given"}

    def with_flags(self, options: Mapping[str, Any]) -> "Recipe":
        """As :meth:`with_options`; an error names a key by its option, as "--keep"."""
        flags = {key.rpartition(".")[2] for key, _ in flattened(options)}
        try:
            return self.with_options(options, where="")
        except UserError as error:
            is_flag = error.text.split()[0] in flags
            raise UserError(f"--{error.text}" if is_flag else error.text) from None

    def with_options(self, options: Mapping[str, Any], where: str = "option") -> "Recipe":
        """The same recipe with other values.

        Args:
            options: values by "table.key", or "seed"; tables may be nested. A value of None is
                ignored.
            where: the beginning of errors; "" for only the key.

        Raises:
            UserError: If a key or a value is wrong.
        """
        tables, given = self.table(), set(self.given)
        for key, value in flattened(options):
            table, _, last = key.rpartition(".")
            place = tables.get(table) if table else tables
            if not isinstance(place, dict):
                raise UserError(f"{key}: no such table in a recipe{nearest(table, tables)}")
            if last not in place or key == "name" or isinstance(place[last], dict):
                raise UserError(f"{key}: no such key in a recipe{_meant(last, table, tables)}")
            place[last] = value
            given.add(key)
        recipe = build(Recipe, _with_preset_keys(tables, given), where)
        return replace(recipe, given=frozenset(given))

    def with_preset(self, preset: str) -> "Recipe":
        """The same recipe with another preset of ``train_reid``."""
        keys = preset_keys(preset, self.given)
        return replace(self, train_reid=replace(self.train_reid, preset=preset, **keys))


def recipe_names() -> list[str]:
    """The names of the recipes in the package."""
    return shipped("recipes")


def shipped(folder: str) -> list[str]:
    """The names of the TOML files in a folder of the package, sorted."""
    files = resources.files(f"reid_aug.{folder}").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def read_toml(name: str, folder: str) -> tuple[str, str, dict[str, Any]]:
    """Read a TOML file by its path, or by its name in the package: (where, name, content)."""
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        remedy = f"give a TOML file or one of {_known(folder)}"
        where, text = str(path), read_text(path, TOML, remedy)
    elif name in shipped(folder):
        file = resources.files(f"reid_aug.{folder}") / f"{name}.toml"
        where, text = f"{name}.toml", file.read_text(encoding="utf-8")
    else:
        hint = nearest(name, shipped(folder))
        raise UserError(f"{name!r} must be a TOML file or one of {_known(folder)}{hint}")
    return where, path.stem, parse_toml(text, where)


def _known(folder: str) -> str:
    return ", ".join(shipped(folder))


def load_recipe(name: str, options: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe by name or path, with options on top.

    Args:
        options: values by "table.key", or "seed"; tables may be nested. A value of None is ignored.

    Raises:
        UserError: If the file, a key or a value is wrong; the message says where.
    """
    where, stem, tables = read_toml(name, "recipes")
    if "name" in tables:
        raise UserError(f"{where}: unknown key 'name'; the name of a recipe is that of its file")
    if "given" in tables:
        raise UserError(f"{where}: unknown key 'given'")
    given = frozenset(key for key, _ in flattened(tables))
    recipe = build(Recipe, _with_preset_keys({"name": stem, **tables}, given), where)
    return replace(recipe, given=given).with_options(options or {})


def _value(text: str, where: str) -> Any:
    try:
        return parse_toml(f"value = {text}", where)["value"]
    except NoTomlError:
        return text


def _with_preset_keys(tables: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """The tables of a recipe, with the keys that its preset sets."""
    table = tables.get("train_reid", {})
    name = table.get("preset") if isinstance(table, Mapping) else None
    if not isinstance(name, str) or name not in PRESETS:
        return dict(tables)
    return {**tables, "train_reid": {**table, **preset_keys(name, given)}}


def flattened(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every ("table.key", value) of nested tables, without those whose value is None.

    >>> list(flattened({"data": {"keep": 0.5}, "train_reid.steps": 3, "seed": None}))
    [('data.keep', 0.5), ('train_reid.steps', 3)]
    """
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Read ``table.key=value`` texts; a value that is not TOML is a string.

    >>> parse_settings(["train_generator.steps=20", "train_reid.backbone=resnet50"])
    {'train_generator.steps': 20, 'train_reid.backbone': 'resnet50'}
    """
    values = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set must be table.key=value, got {setting!r}")
        values[key.strip()] = _value(text.strip(), f"--set {key.strip()}")
    return values


def _meant(last: str, table: str, merged: Mapping[str, Any]) -> str:
    """The words "did you mean": the same key of another table, or a similar key of this one."""
    own = [
        f"{name}.{last}" for name, keys in merged.items() if isinstance(keys, dict) and last in keys
    ]
    if own:
        return f"; did you mean {' or '.join(own)}?"
    return nearest(last, merged[table] if table else merged, table)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of all files in a run folder."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The recipe of the last command."""
        return self.path / "recipe.json"

    @property
    def keypoints(self) -> Path:
        """Keypoints that were estimated for this run."""
        return self.path / "keypoints.csv"

    @property
    def identities(self) -> Path:
        """The identity of every pid, if the data set does not name identities by numbers."""
        return self.path / "identities.csv"

    @property
    def generator(self) -> Path:
        """The generator trained in this run."""
        return self.path / "generator.safetensors"

    @property
    def bank(self) -> Path:
        """The generated images."""
        return self.path / "bank.h5"

    @property
    def contact_sheet(self) -> Path:
        """A picture of some images of the bank."""
        return self.path / "contact_sheet.png"

    def cell(self, name: str) -> Path:
        """The folder of one re-ID training."""
        return self.path / "reid" / name

    def evaluation(self, name: str) -> Path:
        """The scores of a network on a data set, written by ``reid-aug reid evaluate``."""
        return self.path / "evaluations" / f"{name}.json"

    def below(self, keep: float, *marks: str) -> "RunFolder":
        """The folder for files of a grid of one kept set; ``marks`` name kinds of banks.

        >>> RunFolder(Path("runs/grid")).below(0.2, "renderer", "target").bank.as_posix()
        'runs/grid/keep-0.2-renderer-target/bank.h5'
        """
        return RunFolder(self.path / "-".join([f"keep-{keep:g}", *marks]))

    @classmethod
    def of_network(cls, model: Path) -> "RunFolder":
        """The run folder that a network of train-reid lies in, or the folder of another network.

        >>> RunFolder.of_network(Path("runs/a/reid/resnet50/model.safetensors")).path.as_posix()
        'runs/a'
        >>> RunFolder.of_network(Path("mine/model.safetensors")).path.as_posix()
        'mine'
        """
        cell = model.parent
        return cls(cell.parent.parent if cell.parent.name == "reid" else cell)

    def external(self, name: str) -> Path:
        """The folder of a network that a grid pre-trains on another data set."""
        return self.path / "external" / name

    def find_bank(self, keep: float) -> Path:
        """The bank for a training: of this folder, or the one that a grid made for ``keep``."""
        own, other = self.bank, self.below(keep).bank
        return other if other.is_file() and not own.is_file() else own
