"""The methods that make the images of a bank, by name.

    base         the interface, Method, and what all methods share
    generator    "generator": images from a generator checkpoint
    copies       "copies": the source mirrored, in other colours
    limb_warp    "limb-warp": the limbs moved to the target's pose
    renderer     "renderer": the true images, on the built-in people only
    background   the background of the target, where a method uses it

All but the first need no training and serve as references for a generator. Other packages add
methods through the entry point group ``reid_aug.methods``.
"""

from importlib.metadata import EntryPoint, entry_points

from reid_aug.bank.methods.base import Method, Scene, relit
from reid_aug.bank.methods.copies import CopiesMethod
from reid_aug.bank.methods.generator import GeneratorMethod
from reid_aug.bank.methods.limb_warp import LimbWarpMethod
from reid_aug.bank.methods.renderer import RendererMethod
from reid_aug.runtime.errors import UserError, nearest

__all__ = [
    "DEFAULT_METHOD",
    "CopiesMethod",
    "GeneratorMethod",
    "LimbWarpMethod",
    "Method",
    "RendererMethod",
    "Scene",
    "check_method",
    "find_method",
    "method_named",
    "method_names",
    "relit",
]

METHOD_GROUP = "reid_aug.methods"
DEFAULT_METHOD = GeneratorMethod.name
BUILT_IN_METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (GeneratorMethod, CopiesMethod, LimbWarpMethod, RendererMethod)
}


def method_names() -> tuple[str, ...]:
    """The names of all methods: the built-in ones, then those of other packages, sorted."""
    return *BUILT_IN_METHODS, *sorted(
        {entry.name for entry in entry_points(group=METHOD_GROUP)} - {*BUILT_IN_METHODS}
    )


def find_method(name: str) -> type[Method] | None:
    """The method of this name; None if there is none, as for a bank made by other software.

    Raises:
        UserError: If another package registers the name, and its method cannot be used.
    """
    if name in BUILT_IN_METHODS:
        return BUILT_IN_METHODS[name]
    found = entry_points(group=METHOD_GROUP, name=name)
    return _loaded(next(iter(found))) if found else None


def method_named(name: str) -> type[Method]:
    """The method of this name.

    Raises:
        UserError: If there is none, or another package registers the name and its method cannot be
            used.
    """
    method = find_method(name)
    if method is None:
        known = method_names()
        raise UserError(
            f"method must be one of {', '.join(known)}, got {name!r}{nearest(name, known)}"
        )
    return method


def _loaded(entry: EntryPoint) -> type[Method]:
    where = f"method {entry.name} ({entry.value})"
    try:
        method = entry.load()
    except (ImportError, AttributeError) as error:
        raise UserError(f"{where}: must be importable, got {error}") from None
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise UserError(f"{where}: must be a subclass of {Method.__module__}.Method, got {method}")
    if getattr(method, "name", None) != entry.name:
        raise UserError(
            f"{where}: its name must be that of the entry point, "
            f"got {getattr(method, 'name', None)!r}"
        )
    return method


def check_method(method: str, cameras: str, background: str = "generated") -> None:
    """Refuse an unknown method, and cameras or a background that it cannot show."""
    kind = method_named(method)
    if background == "target" and (cameras == "source" or not kind.uses_background):
        asked = "cameras source" if cameras == "source" else f"method {method}"
        raise UserError(
            f"background must be generated for {asked}, got {background!r}; set "
            f"synthesize.background to generated"
        )
    if cameras != "source" and background != "target" and not kind.moves_cameras:
        or_background = ", or background target" if kind.uses_background else ""
        raise UserError(
            f"cameras must be source{or_background} for method {method}, got {cameras!r}; set "
            f"synthesize.cameras to source"
        )
