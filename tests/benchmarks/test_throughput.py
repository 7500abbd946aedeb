"""The table of speeds: one row per stage, a share of a floor that is not below it."""

from dataclasses import replace

import pytest
import torch

from benchmarks import throughput
from benchmarks.speed import Size
from benchmarks.throughput import Ceilings, Row, Scene
from benchmarks.timing import Comparison, compare

TINY = Size(32, 16, 4, 1)


@pytest.fixture
def scene(people):
    small = Scene(torch.device("cpu"), 1, people, size=TINY, batch=2, crops=(32, 16))
    return replace(small, backbone="osnet_x0_25", scale=0.01, rows=64)


def test_a_row_gives_rates_their_ratio_and_the_share_of_the_floor():
    row = Row("generator", "images", 4, Comparison(2.0, 3.0, 1.5), 0.25)

    assert row.line() == "| generator | images | 2 | 1.333 | 1.50 | 4 | 50 % |"


def test_the_floor_of_a_network_is_its_operations_by_the_speed_of_the_machine(scene):
    once = throughput.generator(scene, Ceilings(1e9, 1e9))
    twice = throughput.generator(scene, Ceilings(2e9, 1e9))

    assert once.floor == pytest.approx(2 * twice.floor)
    assert once.count == 2


def test_operations_are_those_of_matrix_products_and_convolutions():
    left, right = torch.ones(2, 3), torch.ones(3, 5)
    image, kernel = torch.ones(1, 2, 4, 4), torch.ones(3, 2, 3, 3)

    assert throughput.operations(lambda: left @ right) == 2 * 2 * 3 * 5
    found = throughput.operations(lambda: torch.nn.functional.conv2d(image, kernel))
    assert found == 2 * (2 * 2) * 3 * (2 * 3 * 3)


def test_every_stage_has_a_row(scene):
    *_, _, rule, check, maps, ranks, bank = throughput.table(
        scene, ["check", "heatmaps", "ranking", "bank"]
    )

    assert rule.startswith("| ---")
    names = [line.split(" | ")[0] for line in (check, maps, ranks, bank)]
    assert names == ["| check", "| heatmaps", "| ranking", "| bank"]


def test_a_comparison_is_the_median_of_the_turns_by_the_given_clock():
    ticks = iter([0, 1, 0, 9, 0, 1, 0, 2, 0, 1, 0, 4, 0, 1, 0, 3])

    found = compare(lambda: 0, lambda: 0, torch.device("cpu"), 3, lambda: float(next(ticks)))

    assert found == Comparison(1.0, 3.0, 3.0)
