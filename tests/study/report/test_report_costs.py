"""What a reviewer asks next: gain over real images, hours per point, difficult identities."""

import json
from dataclasses import replace

import numpy as np
import pytest
from some_results import records, results

from reid_aug.study.report.costs import bank_hours, row_costs, training_hours
from reid_aug.study.report.curves import GrowthCurve, GrowthPoint, growth_plot
from reid_aug.study.report.growth import growth_curves
from reid_aug.study.report.identities import FifthGain, difficulty_gains
from reid_aug.study.report.rows import lines_of


def lines_over_kept_sets(*keeps):
    found = []
    for keep in keeps:
        kept = {"keep": keep, "real": int(600 * keep), "classes": 60}
        found += results(0.0, (0.5, 0.5, 0.5), **kept)
        found += results(1.0, (0.9 - keep / 2,) * 3, **kept)
    return lines_of(records(found))


def growth_of(lines):
    return list(growth_curves(lines, [line.row.key.kind for line in lines]))


def test_the_gain_is_a_curve_over_the_real_images_per_identity():
    (curve,) = growth_of(lines_over_kept_sets(0.5, 0.2))

    assert curve.name == "generator, ratio 1"
    assert [point.images for point in curve.points] == [2.0, 5.0]
    assert [point.gain for point in curve.points] == pytest.approx([30.0, 15.0])
    assert [point.low for point in curve.points] == pytest.approx([30.0, 15.0])


def test_one_kept_set_is_no_curve():
    assert growth_of(lines_over_kept_sets(0.2)) == []


def test_results_without_their_number_of_identities_are_left_out():
    found = [replace(one, classes=None) for line in lines_over_kept_sets(0.2, 0.5)
             for one in line.row.results]  # fmt: skip

    assert growth_of(lines_of(found)) == []


def test_curves_of_one_colour_differ_in_their_line():
    points = (GrowthPoint(2.0, 5.0, 4.0, 6.0), GrowthPoint(5.0, 2.0, 1.0, 3.0))
    curves = [GrowthCurve(f"ratio {ratio}", 1, points) for ratio in (1, 4)]

    text = growth_plot(curves, "gains & more")

    assert text == growth_plot(curves, "gains & more")
    assert 'aria-label="gains &amp; more"' in text
    assert text.count("stroke-dasharray: 6.66,2.88") == 2  # the line, and its sample in the legend


@pytest.mark.parametrize(
    ("changes", "hours"),
    [
        ({"seconds": 1800.0, "threads": 2, "processes": 2}, 2.0),
        ({"seconds": 1800.0, "threads": 8, "processes": 2, "device": "cuda:0"}, 1.0),
        ({"seconds": None}, None),
    ],
)
def test_hours_are_those_of_a_core_or_of_a_gpu(changes, hours):
    (one,) = records(results(0.0, (0.5,), **changes))

    assert training_hours(one) == hours


def test_a_row_costs_its_training_and_its_bank_per_point():
    given = results(0.0, (0.5, 0.5, 0.5)) + results(1.0, (0.6, 0.6, 0.6), seconds=3600.0)
    lines = lines_of(records(given))

    before, after = row_costs(lines, {"0" * 64: 4.0})

    assert before.cells == ["real images only", "0.0171", "-", "-", "-"]
    assert after.per_point == pytest.approx((1.0 + 4.0) / 10)
    assert after.cells == ["generator, ratio 1", "1", "4", "+10.0", "0.5"]


def test_a_gain_within_noise_has_no_cost_per_point():
    lines = lines_of(records(results(0.0, (0.5, 0.6)) + results(1.0, (0.6, 0.51))))

    assert [cost.cells[-1] for cost in row_costs(lines, {})] == ["-", "-"]


def test_results_without_times_have_no_costs():
    lines = lines_of(records(results(0.0, (0.5, 0.6), seconds=None)))

    assert row_costs(lines, {}) == []


def test_the_hours_of_a_bank_are_those_on_its_card(tmp_path):
    for name, seconds in (("a", 7200.0), ("b", None)):
        card = {"format": "reid_aug.bank-card/1", "bank_sha256": name, "seconds": seconds}
        (tmp_path / name).mkdir()
        (tmp_path / name / "bank.json").write_text(json.dumps(card))

    assert bank_hours(tmp_path) == {"a": 2.0}


def with_ap(one, values):
    names = [f"{pid:04}_c1s1_000001_00.jpg" for pid in range(1, len(values) + 1)]
    known = {"query_pids": [*range(1, len(values) + 1)], "query_camids": [1] * len(values)}
    return {**one, "ap": dict(zip(names, values, strict=True)), **known}


def pairs(before, after):
    sides = [
        records(with_ap(one, row.tolist()) for one, row in zip(results(ratio, (0.5,) * len(rows)),
                                                               rows, strict=True))
        for ratio, rows in ((1.0, after), (0.0, before))
    ]  # fmt: skip
    return list(zip(*sides, strict=True))


def test_difficult_identities_are_found_by_the_other_seeds():
    ap = np.arange(10)[::-1] / 20
    before = np.stack([ap, ap])

    found = difficulty_gains(pairs(before, before + ap / 2))

    assert found[0] == FifthGain(2, pytest.approx(0.025), pytest.approx(0.0375))
    assert [each.gain for each in found] == pytest.approx([0.0125, 0.0625, 0.1125, 0.1625, 0.2125])


def test_noise_of_a_seed_is_no_gain_of_difficult_identities():
    noise = np.random.default_rng(0).uniform(0, 0.5, (4, 400))

    found = difficulty_gains(pairs(noise[:2], noise[2:]))

    assert max(abs(each.gain) for each in found) < 0.06  # 0.4 if the same seed chose and measured


def test_fifths_need_two_seeds_and_two_identities_each():
    assert difficulty_gains(pairs(np.full((1, 20), 0.5), np.full((1, 20), 0.6))) == []
    assert difficulty_gains(pairs(np.full((2, 9), 0.5), np.full((2, 9), 0.6))) == []
    assert difficulty_gains([]) == []
