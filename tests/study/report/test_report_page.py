"""The report as a page: it holds what was measured, and loads nothing from outside."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from some_results import records, result, results, write

from reid_aug.backbones import build_backbone
from reid_aug.cli import main
from reid_aug.data.dataset import read_market1501
from reid_aug.data.provenance import dataset_sha256
from reid_aug.evaluation import AP_DEFINITION
from reid_aug.evaluation.features import evaluate_model, evaluation_transform
from reid_aug.generator import DEMO_ORIGIN, demo_generator
from reid_aug.runtime.files import sha256
from reid_aug.runtime.weights import write_tensors
from reid_aug.study.report import find_results
from reid_aug.study.report.curves import Curve, ratio_plot
from reid_aug.study.report.flips import Flips, flips_of
from reid_aug.study.report.identities import identity_gains
from reid_aug.study.report.keys import row_key
from reid_aug.study.report.page import curves_of, write_report
from reid_aug.study.report.rows import lines_of

NAMES = [f"{pid:04}_c{camera}s1_000001_00.jpg" for pid in (7, 8, 9) for camera in (1, 2)]
VOID = {"meta", "img", "br", "hr", "path", "use", "rect"}


class Page(HTMLParser):
    """A parsed page: checks that tags are closed in order, collects addresses and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.addresses, self.targets = [], [], []
        self.ids, self.words = set(), []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.addresses += [found[key] for key in ("src", "href", "xlink:href") if key in found]
        self.ids |= {found["id"]} if "id" in found else set()
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def with_ap(one: dict, values: list[float]) -> dict:
    pids = [int(name.split("_")[0]) for name in NAMES]
    camids = [int(name.split("_c")[1][0]) for name in NAMES]
    known = {"query_pids": pids, "query_camids": camids, "mAP": float(np.mean(values))}
    return {**one, "ap": dict(zip(NAMES, values, strict=True)), **known}


def study() -> list[dict]:
    rng = np.random.default_rng(0)
    before = [with_ap(one, rng.uniform(0.2, 0.4, 6)) for one in results(0.0, (0.0,) * 3)]
    after = [with_ap(one, rng.uniform(0.5, 0.9, 6)) for one in results(1.0, (0.0,) * 3)]
    return before + after


def page_of(folder, *given: dict) -> Page:
    write(folder, *given)
    found, faults = find_results(folder)
    return Page(write_report(found, folder, faults).read_text())


def test_the_page_loads_nothing_from_outside_and_its_links_have_targets(tmp_path):
    page = page_of(tmp_path, *study())

    inside = [address for address in page.addresses if address.startswith("#")]
    assert all(a.startswith(("#", "data:image/")) for a in page.addresses)
    assert {address[1:] for address in inside} <= page.ids
    text = (tmp_path / "report.html").read_text()
    assert "://" not in text
    assert "<script" not in text
    assert not re.search(r"@import|url\((?!#)", text)


def test_the_page_holds_table_curves_and_identities_and_names_what_is_missing(tmp_path):
    page = page_of(tmp_path, *study())

    assert "better" in page.text
    assert "osnet_x0_25, keep 0.2" in page.text
    assert "3 of 3 identities gain." in page.text
    assert "The data set was not given" in page.text
    assert (tmp_path / "report.html").read_text().count("<svg") == 4


def test_the_page_answers_its_title_first(tmp_path):
    page = page_of(tmp_path / "many", *study())
    assert page.text.index("Yes (osnet_x0_25, keep 0.2, from scratch)") < page.text.index("Tables")
    assert re.search(
        r"Generated images \(generator, ratio 1\) raise mAP by \d+.\d points, from \d\d.\d to "
        r"\d\d.\d % \(95 % intervals: .* over seeds, .* over queries\), against training on the "
        r"120 real images only, 3 seeds\.",
        page.text,
    )

    one = page_of(tmp_path / "one", result(0.0, 0, 0.5), result(1.0, 0, 0.6))
    assert "Not sure" in one.text
    assert "120 real images only, one seed." in one.text
    none = page_of(tmp_path / "none", *results(0.0, (0.5, 0.6)), *results(1.0, (0.6, 0.5)))
    assert "No clear effect" in none.text
    assert "this is within the noise" in none.text


def test_the_page_has_all_scores_cameras_losses_and_quality(tmp_path):
    given = [{**one, "dataset": "mine"} for one in study()]
    write(tmp_path, *given)
    for cell in (tmp_path / "reid").iterdir():
        (cell / "log.jsonl").write_text('{"step": 10, "loss": 2.5}\n{"step": 20, "loss": 1.5}\n')
    (tmp_path / "quality.json").write_text(json.dumps({
        "format": "reid_aug.quality/1", "pairs": 12, "pairs_sha256": "0" * 64,
        "measures": {"SSIM": {"patn": 0.25, "clean": 0.5}}, "missing": {}}))  # fmt: skip
    found, faults = find_results(tmp_path)

    page = Page(write_report(found, tmp_path, faults).read_text())

    text = (tmp_path / "report.html").read_text()
    assert "mine (10 queries, 40 gallery images); 300 steps" in page.text
    assert "dddddddd" not in page.text
    assert "Rank-10 % mINP %" in page.text
    assert "95.0 ± 0.0" in page.text
    assert 'aria-label="CMC, ' in text
    assert 'aria-label="training loss, ' in text
    assert "quality.json: 12 pairs metric patn clean SSIM 0.2500 0.5000" in page.text
    assert re.search(r"camera of the query .* 1 3 \d", page.text)


def test_a_curve_starts_at_the_baseline_of_its_own_seeds():
    given = records([*results(0.0, (0.2, 0.4)), result(1.0, 1, 0.39)])

    _, curve = curves_of(lines_of(given), [row_key(one).kind for one in (given[0], given[2])])

    (start, before, _), (ratio, after, deviation) = curve.points
    assert (start, before, ratio, after) == (0.0, 40.0, 1.0, 39.0)  # the gain of the table: -1.0
    assert np.isnan(deviation)


def test_a_point_of_one_seed_is_hollow_and_has_no_band():
    of_two = ratio_plot([Curve("a", 1, ((0, 40, 1.0), (1, 50, 2.0)))], "two seeds")
    of_one = ratio_plot([Curve("a", 1, ((0, 40, np.nan), (1, 50, np.nan)))], "one seed")

    assert 'style="fill: #3b82c4; fill-opacity: 0.15' in of_two
    assert "fill-opacity: 0.15" not in of_one
    assert "fill: #3b82c4; stroke: #3b82c4" in of_two
    assert "fill: #3b82c4" not in of_one


def test_the_page_says_what_trained_the_generator_of_the_package(tmp_path):
    sha = sha256(demo_generator())

    assert DEMO_ORIGIN not in page_of(tmp_path / "other", *study()).text
    given = [{**one, "generator_sha256": sha} if one["ratio"] else one for one in study()]
    assert DEMO_ORIGIN in page_of(tmp_path / "demo", *given).text


def test_the_same_results_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        page_of(tmp_path / name / "run", *study())

    assert (tmp_path / "a/run/report.html").read_bytes() == (
        tmp_path / "b/run/report.html"
    ).read_bytes()


def test_names_from_files_are_escaped(tmp_path):
    evil = "<script>alert(1)</script>$x^2$ & \"'"

    page = page_of(tmp_path, *results(0.0, (0.5, 0.6)), *results(1.0, (0.5, 0.6), method=evil))

    assert "<script" not in (tmp_path / "report.html").read_text()
    assert evil in page.text


def test_the_page_holds_no_time_and_no_host(tmp_path):
    text = page_of(tmp_path, *study()).text

    assert "somewhere" not in text
    assert "61.5" not in text


def test_a_page_of_one_baseline_claims_no_gain(tmp_path):
    page = page_of(tmp_path, result(0.0, 0, 0.5))

    assert "No row has generated images or a gain." in page.text
    assert "No row has a baseline to compare it with." in page.text
    assert "<svg" not in (tmp_path / "report.html").read_text()


def test_results_without_ap_have_no_identities(tmp_path):
    page = page_of(tmp_path, *results(0.0, (0.5, 0.6)), *results(1.0, (0.6, 0.7)))

    assert "These results lack the AP of the same queries." in page.text


def test_a_leak_is_named(tmp_path):
    leak = {"leak_free": False, "generator_data": "whole"}

    page = page_of(tmp_path / "leaky", *results(0.0, (0.5,)), *results(1.0, (0.6,), **leak))
    clean = page_of(tmp_path / "clean", *results(0.0, (0.5,)), *results(1.0, (0.6,)))

    assert "Not leak-free" in page.text
    assert "generator that may know left-out images, ratio 1" in page.text
    assert "Every result is leak-free" in clean.text


def test_a_damaged_result_stands_on_the_page(tmp_path):
    write(tmp_path, *study())
    path = tmp_path / "reid" / "cell0" / "result.json"
    path.write_text("{")

    done = CliRunner().invoke(main, ["report", str(tmp_path), "--format", "html"])

    assert done.exit_code == 2
    assert done.stdout == f"{tmp_path / 'report.html'}\n"
    assert (
        f"Left out: {path}: must be a result" in Page((tmp_path / "report.html").read_text()).text
    )


def test_published_numbers_stand_beside_market_only_and_apart(tmp_path):
    market = {"queries": 3368, "gallery": 15913}

    page = page_of(tmp_path / "market", *results(0.0, (0.5,), **market))
    other = page_of(tmp_path / "other", *results(0.0, (0.5,)))

    assert "Published about Market-1501, not measured here" in page.text
    assert "PTN (PATN) 55.6 57.3 67.1 72.5" in page.text
    assert "Published" not in other.text


def test_identities_worked_by_hand():
    before = with_ap(result(0.0, 0, 0.0), [0.1, 0.3, 0.5, 0.5, 0.9, 0.7])
    after = with_ap(result(1.0, 0, 0.0), [0.5, 0.5, 0.4, 0.4, 0.9, 0.7])

    gains = identity_gains([tuple(records([after, before]))])

    assert [(g.number, g.queries, round(g.before, 6), round(g.gain, 6)) for g in gains] == [
        (7, 2, 0.2, 0.3), (9, 2, 0.8, 0.0), (8, 2, 0.5, -0.1)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def networks(people, tmp_path_factory):
    """A run folder with two untrained networks, and what they score on the built-in people."""
    run, dataset = tmp_path_factory.mktemp("networks"), read_market1501(people)
    recipe = {"backbone": "osnet_x0_25", "height": 64, "width": 32}
    for number, ratio in enumerate((0.0, 1.0)):
        torch.manual_seed(number)
        model = build_backbone("osnet_x0_25", 2, 64, 32)
        scores = evaluate_model(model, dataset, evaluation_transform((64, 32)), torch.device("cpu"))
        one = result(ratio, 0, float(scores.mAP), dataset_sha256=dataset_sha256(dataset))
        names = [image.name for image in dataset.query]
        one["ap"] = dict(zip(names, scores.ap.round(6).tolist(), strict=True))
        one |= {"rank1": float(scores.cmc[0]), "ap_definition": AP_DEFINITION}
        write(run / str(number), one)
        write_tensors(run / f"{number}/reid/cell0/model.safetensors", model.state_dict(), {
            "format": "reid_aug.reid/1", "recipe": recipe, "trained_on": ""
        })  # fmt: skip
    before, after = find_results(run)[0]
    return run, dataset, before, after


def test_flips_count_first_hits_and_show_either_kind(networks):
    _, dataset, before, after = networks

    flips = flips_of("x", after, before, dataset, torch.device("cpu"))

    assert isinstance(flips, Flips)
    counts = flips.counts
    assert sum(counts.values()) == len(dataset.query)
    assert (counts["both"] + counts["gained"]) / len(dataset.query) == pytest.approx(after.rank1)
    assert (counts["both"] + counts["lost"]) / len(dataset.query) == pytest.approx(before.rank1)
    assert len(flips.gained) == min(3, counts["gained"])
    for one in flips.gained:
        assert one.before.first_hit > one.after.first_hit == 1
        assert one.after.nearest[0][1]
        assert not one.before.nearest[0][1]
        assert one.before.ap == pytest.approx(before.ap[one.name], abs=1e-4)
    for one in flips.lost:
        assert one.after.first_hit > one.before.first_hit == 1


def test_a_network_of_another_result_is_not_used(networks):
    run, dataset, before, after = networks
    swapped = run / "1/reid/cell0/model.safetensors"
    own = swapped.read_bytes()
    swapped.write_bytes((run / "0/reid/cell0/model.safetensors").read_bytes())
    try:
        said = flips_of("x", after, before, dataset, torch.device("cpu"))
    finally:
        swapped.write_bytes(own)

    assert abs(before.mAP - after.mAP) > 0.005
    assert said.endswith("does not give the mAP of its result: it belongs to another result.")


def test_without_networks_or_with_another_data_set_it_says_so(networks, tmp_path):
    _, dataset, before, after = networks
    device = torch.device("cpu")
    without = [replace(one, file=str(tmp_path / "result.json")) for one in (after, before)]
    other = replace(after, dataset_sha256="e" * 64)

    assert flips_of("x", *without, dataset, device).startswith("A network is missing")
    assert "not that of these results" in flips_of("x", other, before, dataset, device)


def test_the_command_draws_ranked_lists_of_the_data_set_it_is_given(networks, people, tmp_path):
    run, *_ = networks
    words = ["report", str(run), "--format", "html", "--device", "cpu"]

    done = CliRunner().invoke(main, [*words, "--data", str(people)])

    assert (done.exit_code, done.stdout) == (0, f"{run / 'report.html'}\n"), done.output
    page = Page((run / "report.html").read_text())
    assert "The first image is a hit with both networks for" in page.text


def test_another_data_set_than_the_results_is_refused(networks, people, tmp_path):
    write(tmp_path, *study())

    done = CliRunner().invoke(
        main, ["report", str(tmp_path), "--format", "html", "--data", str(people)]
    )

    assert done.exit_code == 2
    assert "must be the data set of the results" in done.stderr
    assert not (tmp_path / "report.html").exists()
