"""Random streams: every stream has a name, and its number never changes."""

import ast
import inspect
from enum import IntEnum
from pathlib import Path

import numpy as np
import pytest

import reid_aug
from reid_aug.runtime import random_streams
from reid_aug.runtime.random_streams import PeopleStream

PACKAGE = Path(reid_aug.__file__).parent
ENUMS = [
    found
    for _, found in inspect.getmembers(random_streams, inspect.isclass)
    if issubclass(found, IntEnum) and found is not IntEnum
]
NUMBERS = {
    "BankStream": [6],
    "GeneratorStream": [0, 1, 2, 3, 4],
    "PeopleStream": [1, 2, 4, 5, 6, 9],
    "ReidStream": [4, 5, 6, 7, 8, 9, 10],
    "UserStudyStream": [7, 8],
}


def bare_keys(source: str) -> list[str]:
    """The lists [seed, N, ...] of a module whose second entry is a bare integer."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.List | ast.Tuple)
        and len(node.elts) > 1
        and ast.unparse(node.elts[0]).split(".")[-1] == "seed"
        and isinstance(node.elts[1], ast.Constant)
    ]


def test_the_numbers_stay_as_they_are():
    assert {enum.__name__: sorted(map(int, enum)) for enum in ENUMS} == NUMBERS


@pytest.mark.parametrize("enum", ENUMS)
def test_no_two_streams_of_a_seed_share_a_number(enum):
    numbers = [member.value for member in enum.__members__.values()]

    assert len(set(numbers)) == len(numbers)


def test_a_stream_gives_the_numbers_of_its_integer():
    named = np.random.default_rng([3, PeopleStream.CAMERA, 2]).random(4)

    assert np.array_equal(named, np.random.default_rng([3, 9, 2]).random(4))


def test_a_bare_integer_is_found():
    assert bare_keys("rng = default_rng([self.seed, 9, number])") == ["[self.seed, 9, number]"]
    assert not bare_keys("rng = default_rng([self.seed, Stream.CAMERA, number])")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_no_module_names_a_stream_by_a_bare_integer(path):
    assert not bare_keys(path.read_text(encoding="utf-8"))
