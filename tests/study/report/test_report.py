import csv
import io
import json
import shutil
import subprocess
from typing import Any

import pytest
from click.testing import CliRunner
from some_results import BASELINE, MIXED, RECIPE, records, result, results, write

from reid_aug.cli import main
from reid_aug.generator import DEMO_ORIGIN, demo_generator
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256
from reid_aug.stages.train_reid.settings import PRESETS
from reid_aug.study import report as reports
from reid_aug.study.report import TABLE_FORMATS, TABLE_HEADER, find_results, labels, read_results
from reid_aug.study.report.keys import StartKey, TrainingKey, row_key
from reid_aug.study.report.rows import gains


def table(contents: list[dict[str, Any]]) -> list[list[str]]:
    return reports.table(records(contents))


def report(contents: list[dict[str, Any]], style: str) -> str:
    return reports.report(records(contents), style)


def column(rows: list[list[str]], name: str) -> list[str]:
    return [row[TABLE_HEADER.index(name)] for row in rows]


def test_a_table_worked_by_hand():
    rows = table(results(0.0, BASELINE) + results(1.0, MIXED))

    assert rows == [
        ["osnet_x0_25", "0.2", "-", "0", "120", "0", "-", "from scratch", "3",
         "52.0 ± 2.0", "62.0 ± 2.0", "-", "-", "baseline"],
        ["osnet_x0_25", "0.2", "supplement", "1", "120", "120", "generator", "from scratch", "3",
         "58.0 ± 2.6", "68.0 ± 2.6", "+6.0 ± 2.5", "-", "better"],
    ]  # fmt: skip


def test_the_order_of_results_leaves_no_trace():
    given = results(0.0, BASELINE) + results(1.0, MIXED)

    assert table(given[::-1]) == table(given)


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        (MIXED, "better"),
        ((0.44, 0.47, 0.47), "worse"),
        ((0.53, 0.51, 0.56), "within noise"),
        (BASELINE, "within noise"),
    ],
)
def test_the_verdict_says_on_which_side_of_the_noise_a_gain_lies(scores, verdict):
    rows = table(results(0.0, BASELINE) + results(1.0, scores))

    assert column(rows, "verdict") == ["baseline", verdict]


def test_one_seed_pretends_to_no_spread():
    rows = table(results(0.0, (0.5,)) + results(1.0, (0.6,)))

    assert column(rows, "verdict") == ["baseline", "one seed"]
    assert column(rows, "mAP %") == ["50.0 (one seed)", "60.0 (one seed)"]
    assert column(rows, "gain in mAP") == ["-", "+10.0"]


def test_a_gain_counts_common_seeds_only():
    baseline = results(0.0, BASELINE)
    mixed = [result(1.0, 2, 0.60), result(1.0, 3, 0.99)]

    rows = table(baseline + mixed)

    assert column(rows, "gain in mAP")[1] == "+6.0"
    assert column(rows, "verdict")[1] == "one seed"


@pytest.mark.parametrize("other", [{"keep": 1.0}, {"backbone": "resnet50"}, {"seed": 9}])
def test_a_baseline_of_another_network_kept_set_or_seed_is_none(other):
    rows = table([result(0.0, 0, 0.5) | other, result(1.0, 0, 0.6)])

    assert sorted(column(rows, "verdict")) == ["baseline", "no baseline"]


def test_the_baseline_is_the_same_in_both_modes():
    rows = table(
        results(0.0, BASELINE, keep=1.0)
        + results(0.5, MIXED, keep=1.0)
        + results(0.5, MIXED, keep=1.0, mode="replace")
    )

    assert column(rows, "mode") == ["-", "replace", "supplement"]
    assert column(rows, "verdict") == ["baseline", "better", "better"]


def test_ratios_stand_in_the_order_of_numbers():
    rows = table([result(ratio, 0, 0.5) for ratio in (10.0, 2.0, 0.5, 0.0)])

    assert column(rows, "ratio") == ["0", "0.5", "2", "10"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "generator"),
        ({"method": "generator", "cameras": "source"}, "generator"),
        ({"method": "generator", "cameras": "target"}, "generator, target's camera"),
        ({"method": "generator", "poses": "library"}, "generator, poses library"),
        (
            {"method": "generator", "poses": "file", "poses_sha256": "0123456789abcdef"},
            "generator, poses file 01234567",
        ),
        ({"generator_data": "kept"}, "generator of the kept set"),
        (
            {"generator_data": "kept", "method": "generator", "cameras": "target"},
            "generator of the kept set, target's camera",
        ),
        ({"generator_data": "whole"}, "generator that may know left-out images"),
        ({"method": "copies", "cameras": "source", "generator_data": "kept"}, "mirrored copies"),
        ({"method": "imported"}, "imported"),
        ({"method": "pg2", "generator_data": "kept"}, "pg2 (generator of the kept set)"),
        (
            {"method": "pg2", "generator_data": "whole"},
            "pg2 (generator that may know left-out images)",
        ),
        ({"min_score": {"margin": {"least": 0, "data": "kept"}}}, "generator, margin 0 or more"),
        (
            {"min_score": {"margin": {"least": 0, "data": "whole"}}},
            "generator, margin 0 or more (by a network that may know left-out images)",
        ),
        ({"method": "renderer", "cameras": "source", "generator_data": "whole"}, "true renders"),
        (
            {"method": "renderer", "cameras": "target", "generator_data": "whole"},
            "true renders, target's camera",
        ),
    ],
)
def test_a_row_says_where_its_images_come_from(change, words):
    rows = table([result(0.0, 0, 0.5), result(1.0, 0, 0.6, **change)])

    assert column(rows, "images from") == ["-", words]
    assert column(rows, "gain in mAP") == ["-", "+10.0"]


ERASED = {"recipe": {**RECIPE, "erase": True}}
PRETRAINED = {"starting_weights": "12345678abcd", "starting_data": "external"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (ERASED, "random erasing, from scratch"),
        (PRETRAINED, "pre-trained on external data"),
        (ERASED | PRETRAINED, "random erasing, pre-trained on external data"),
        (PRETRAINED | {"starting_data": "kept"}, "pre-trained on the kept set"),
        (
            PRETRAINED | {"recipe": {**RECIPE, "weights_data": "external"}},
            "starting weights declared external (12345678)",
        ),
        (
            PRETRAINED | {"starting_data": "whole"},
            "starting weights that may know left-out images (12345678)",
        ),
        (
            {"starting_weights": "12345678abcd"},
            "starting weights that may know left-out images (12345678)",
        ),
    ],
)
def test_a_row_says_how_its_training_differs_and_is_compared_with_the_plain_one(change, words):
    rows = table(results(0.0, BASELINE) + results(0.0, MIXED, **change))

    assert column(rows, "training") == ["from scratch", words]
    assert column(rows, "verdict") == ["baseline", "better"]


def test_the_rows_of_a_kept_set_stand_from_the_baseline_to_the_true_renders():
    drawn = {"method": "generator", "cameras": "source"}
    given = [
        result(1.0, 0, 0.5, method="renderer", cameras="target", generator_data="whole"),
        result(1.0, 0, 0.5, method="renderer", cameras="source", generator_data="whole"),
        result(4.0, 0, 0.5, **drawn, generator_data="kept"),
        result(1.0, 0, 0.5, method="generator", cameras="target"),
        result(4.0, 0, 0.5, **drawn),
        result(1.0, 0, 0.5, **drawn),
        result(1.0, 0, 0.5, method="copies", cameras="source", generator_data="kept"),
        result(0.0, 0, 0.5, **PRETRAINED),
        result(0.0, 0, 0.5, **ERASED),
        result(0.0, 0, 0.5),
    ]

    rows = table([result(0.0, 0, 0.5, keep=1.0), *given])

    assert [(r[7], r[6], r[3]) for r in rows] == [
        ("from scratch", "-", "0"),
        ("random erasing, from scratch", "-", "0"),
        ("pre-trained on external data", "-", "0"),
        ("from scratch", "mirrored copies", "1"),
        ("from scratch", "generator", "1"),
        ("from scratch", "generator", "4"),
        ("from scratch", "generator, target's camera", "1"),
        ("from scratch", "generator of the kept set", "4"),
        ("from scratch", "true renders", "1"),
        ("from scratch", "true renders, target's camera", "1"),
        ("from scratch", "-", "0"),
    ]
    assert column(rows, "keep") == ["0.2"] * 10 + ["1"]
    assert set(column(rows, "verdict")) == {"baseline", "one seed"}


def test_where_no_training_is_plain_the_baseline_is_trained_as_the_row_is():
    imagenet = {"starting_weights": "12345678abcd"}

    rows = table(results(0.0, BASELINE, **imagenet) + results(1.0, MIXED, **imagenet))

    assert column(rows, "verdict") == ["baseline", "better"]


IMAGENET = {"starting_weights": "12345678abcd"}


@pytest.mark.parametrize("own", [{}, {"bnneck": False}])
@pytest.mark.parametrize("start", [{}, IMAGENET])
def test_a_label_policy_is_compared_with_the_real_images_of_a_table_trained_like_it(own, start):
    rows = table(
        strong(0.0, BASELINE, start, **own)
        + strong(1.0, MIXED, start, **own)
        + strong(1.0, MIXED, start, **own, generated_label="uniform")
    )

    assert column(rows, "verdict") == ["baseline", "better", "better"]


def test_random_erasing_from_weights_is_compared_with_plain_training_from_them():
    rows = table(results(0.0, BASELINE, **IMAGENET) + results(0.0, MIXED, **IMAGENET | ERASED))

    verdicts = dict(zip(column(rows, "training"), column(rows, "verdict"), strict=True))
    start = "starting weights that may know left-out images (12345678)"
    assert verdicts == {start: "baseline", f"random erasing, {start}": "better"}


def test_drawings_of_two_generators_never_share_a_row():
    given = [
        result(1.0, seed, 0.6, generator_sha256=name)
        for seed, name in enumerate(["1" * 64, "2" * 64, "2" * 64, None])
    ]

    rows = table([result(0.0, 0, 0.5), *given])

    assert column(rows, "images from")[1:] == [
        "generator (11111111)", "generator (22222222)", "generator (not noted which)"
    ]  # fmt: skip
    assert column(rows, "seeds") == ["1", "1", "2", "1"]


def test_a_generator_is_not_named_where_only_older_results_do_not_note_theirs():
    given = [result(1.0, 0, 0.6), result(1.0, 1, 0.6, generator_sha256="1" * 64)]

    assert column(table(given), "images from") == ["generator"]


def test_the_same_experiment_in_two_run_folders_counts_once():
    given = results(0.0, BASELINE)

    assert table([*given, *({**one, "seconds": 1.0} for one in given)]) == table(given)


def test_two_different_results_of_one_row_and_seed_are_refused_by_name(tmp_path):
    write(tmp_path, result(0.0, 0, 0.5), result(0.0, 0, 0.6))

    with pytest.raises(UserError, match=r"cell0/result.json, .*cell1/result.json: two different"):
        reports.report(read_results(tmp_path), "terminal")


def test_pre_trained_networks_of_several_seeds_share_a_row():
    given = [
        result(0.0, seed, 0.5, starting_weights=f"{seed}" * 64, starting_data="external")
        for seed in range(3)
    ]

    assert column(table(given), "seeds") == ["3"]


def test_a_pre_trained_network_is_compared_with_the_weights_that_its_pre_training_started_from():
    recipe = {**RECIPE, "weights_data": "external"}
    declared = {"starting_weights": "12345678abcd", "starting_data": "external", "recipe": recipe}
    given = [
        *results(0.0, BASELINE, **declared),
        *(
            one | {"starting_weights": f"{number}" * 64, "pre_trained_from": "12345678abcd"}
            for number, one in enumerate(results(0.0, MIXED, starting_data="external"))
        ),
    ]

    rows = table(given)
    short = report(given, "markdown")

    assert column(rows, "training") == [
        "starting weights declared external (12345678)",
        "pre-trained on external data (from 12345678)",
    ]
    assert column(rows, "verdict") == ["baseline", "better"]
    assert column(rows, "gain in mAP")[0] == "-"
    assert "pre-trained on external data (from 12345678)" in short
    others = [one | {"pre_trained_from": "f" * 64} for one in given[2:]]
    assert column(table([*given[:2], *others]), "verdict") == ["baseline", "baseline"]


def test_results_of_two_unknown_starting_weights_never_share_a_row():
    given = [result(0.0, seed, 0.5, starting_weights=f"{seed}" * 64) for seed in range(2)]

    assert column(table(given), "seeds") == ["1", "1"]


def test_a_replaced_set_is_compared_with_all_real_images():
    whole = results(0.0, BASELINE, keep=1.0, real=600)
    replaced = results(0.8, MIXED, keep=1.0, mode="replace", real=120, generated=480)

    rows = table(results(0.0, (0.1, 0.1, 0.1)) + whole + replaced)

    assert column(rows, "gain in mAP") == ["-", "-", "+6.0 ± 2.5"]


@pytest.mark.parametrize(
    "change",
    [{"steps": 600}, {"batch": 64}, {"height": 128}, {"schedule": "step"}, {"lr": 3e-4}],
)
def test_trainings_with_other_settings_never_share_a_table(change):
    given = [result(0.0, 0, 0.5), result(1.0, 0, 0.6, recipe={**RECIPE, **change})]

    text = report(given, "markdown")

    assert text.count("| backbone |") == 2
    assert "no baseline" in text
    assert text.count("make it by train-reid --ratio 0 with the same options") == 1


def test_networks_share_a_table():
    other = {"backbone": "resnet50", "recipe": {**RECIPE, "backbone": "resnet50", "workers": 4}}

    text = report([result(0.0, 0, 0.5), result(0.0, 0, 0.6, **other)], "markdown")

    assert text.count("| backbone |") == 1


def test_fresh_and_pretrained_networks_never_share_a_row():
    pretrained = {"recipe": {**RECIPE, "weights": "osnet.pth"}, "starting_weights": "1" * 64}

    text = report([result(0.0, 0, 0.5), result(0.0, 0, 0.7, **pretrained)], "markdown")

    assert "50.0 (one seed)" in text
    assert "70.0 (one seed)" in text


def test_kept_sets_of_two_keep_seeds_never_share_a_row():
    text = report([result(0.0, 0, 0.5), result(0.0, 0, 0.7, keep_seed=1)], "markdown")

    assert "50.0 (one seed)" in text
    assert "70.0 (one seed)" in text


def test_starting_weights_of_all_rows_stand_in_the_title_once():
    weights = {"recipe": {**RECIPE, "weights_data": "external"}, "starting_weights": "1" * 64}
    real, mixed = result(0.0, 0, 0.5, **weights), result(1.0, 0, 0.6, **weights)
    title = "osnet_x0_25, keep 0.2, starting weights declared external (11111111)"

    lines = gains(records([real, mixed]))

    assert [(line.section, line.what) for line in lines] == [
        (title, "real images only"),
        (title, "generator"),
    ]
    assert report([real, mixed], "terminal").count("declared external") == 1


@pytest.mark.parametrize("style", ["terminal", "markdown", "latex"])
def test_what_trained_the_generator_of_the_package_stands_under_its_rows(style):
    sha = sha256(demo_generator())
    given = results(0.0, BASELINE) + results(1.0, MIXED, generator_sha256=sha)

    assert DEMO_ORIGIN in " ".join(report(given, style).split())
    assert "400" not in report(results(0.0, BASELINE) + results(1.0, MIXED), style)


def test_starting_weights_of_some_rows_stand_in_those_rows():
    weights = {"recipe": {**RECIPE, "weights_data": "external"}, "starting_weights": "1" * 64}

    lines = gains(records([result(0.0, 0, 0.5), result(0.0, 0, 0.6, **weights)]))

    title = "osnet_x0_25, keep 0.2, from scratch where no other start is named"
    assert [line.section for line in lines] == [title] * 2
    assert [line.what for line in lines] == [
        "real images only",
        "real images only, starting weights declared external (11111111)",
    ]


def test_replicates_share_a_row_and_are_paired_by_their_number():
    real = [result(0.0, r, m, keep_seed=r, replicate=r) for r, m in ((0, 0.5), (1, 0.7))]
    mixed = [
        result(1.0, r, m, keep_seed=r, replicate=r, generator_sha256=str(r) * 64)
        for r, m in ((0, 0.6), (1, 0.8))
    ]
    alone = result(0.0, 0, 0.4)

    lines = gains(records([*real, *mixed, alone]))

    assert [(labels.keep(line.row.key), len(line.row.results)) for line in lines] == [
        ("0.2", 1), ("0.2 (replicates)", 2), ("0.2 (replicates)", 2),
    ]  # fmt: skip
    assert lines[2].baseline is lines[1].row
    assert lines[2].gain.mean == pytest.approx(0.1)
    assert lines[2].gain.over_seeds.low == pytest.approx(0.1)


def test_markdown_holds_the_cells():
    given = results(0.0, BASELINE) + results(1.0, MIXED)

    lines = [line for line in report(given, "markdown").splitlines() if line.startswith("|")]

    parsed = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert parsed == [list(TABLE_HEADER), ["---"] * len(TABLE_HEADER), *table(given)]


def test_csv_holds_numbers_and_every_setting():
    given = results(0.0, BASELINE) + results(1.0, MIXED)

    before, after = csv.DictReader(io.StringIO(report(given, "csv")))

    assert {key: float(after[key]) for key in ("mAP", "mAP_sd", "rank1", "gain", "ratio", "n")} == {
        "mAP": 0.58, "mAP_sd": 0.026458, "rank1": 0.68, "gain": 0.06, "ratio": 1.0, "n": 3.0
    }  # fmt: skip
    assert float(after["seeds_low"]) == pytest.approx(0.0352, abs=1e-4)
    assert float(after["seeds_high"]) == pytest.approx(0.0848, abs=1e-4)
    assert (before["gain"], before["seeds_low"], before["verdict"]) == ("", "", "baseline")
    assert (after["bootstrap_low"], after["verdict"]) == ("", "better")
    settings = {key: str(value) for key, value in RECIPE.items()}
    for machine in ("backbone", "workers", "weights"):
        settings.pop(machine)
    assert settings.items() <= after.items()
    assert (after["backbone"], after["images_from"], after["mode"]) == (
        "osnet_x0_25", "generator", "supplement"
    )  # fmt: skip


def test_csv_holds_no_formula():
    rows = [result(0.0, 0, 0.5), result(1.0, 0, 0.4, method='=HYPERLINK("x"),\n1')]

    _, after = csv.DictReader(io.StringIO(report(rows, "csv")))

    assert after["images_from"] == '\'=HYPERLINK("x"),\n1'
    assert float(after["gain"]) == pytest.approx(-0.1)


def test_csv_of_two_settings_is_one_table_with_one_header():
    longer = {"recipe": {**RECIPE, "steps": 600, "new": 1}}

    text = report([result(0.0, 0, 0.5), result(0.0, 0, 0.7, **longer)], "csv")

    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["mAP"], row["mAP_sd"], row["steps"], row["new"]) for row in rows] == [
        ("0.5", "", "300", ""),
        ("0.7", "", "600", "1"),
    ]


def test_latex_holds_the_cells():
    given = results(0.0, BASELINE) + results(1.0, MIXED)

    lines = [line for line in report(given, "latex").splitlines() if " & " in line]

    def plain(cell: str) -> str:
        return cell.replace(r"$\pm$", "±").replace(r"\%", "%").replace(r"\_", "_")

    parsed = [[plain(cell) for cell in line.removesuffix(r" \\").split(" & ")] for line in lines]
    assert parsed == [
        ["ratio", "images", "what", *TABLE_HEADER[9:]],
        ["0", "120", "real images only", *table(given)[0][9:]],
        ["1", "120 + 120", "generator", *table(given)[1][9:]],
    ]


def test_the_footnote_says_only_what_concerns_its_rows():
    usual = report(results(0.0, BASELINE) + results(1.0, MIXED), "terminal").replace("\n", " ")
    single = report(results(0.0, BASELINE[:1]) + results(1.0, MIXED[:1]), "terminal")
    real = report(results(0.0, BASELINE), "terminal").replace("\n", " ")

    assert "before rounding" in usual
    for word in ("strong", "One seed", "replicates", "True renders"):
        assert word not in usual
    assert "a generator was trained on external data" in usual
    assert "a generator was trained" not in real
    assert "One seed: the bootstrap is over queries only" in single.replace("\n", " ")
    renders = results(0.0, BASELINE) + results(1.0, MIXED, method="renderer")
    assert "True renders show" in report(renders, "latex")
    strong = results(0.0, BASELINE, recipe=RECIPE | {"preset": "strong"})
    assert "(of a strong row: strong training)" in report(strong, "markdown")


def test_latex_is_one_tabular_with_its_footnote_inside():
    text = report(results(0.0, BASELINE) + results(1.0, MIXED), "latex")

    lines = text.splitlines()
    rules = [line for line in lines if line.endswith("rule")]
    assert rules == [r"\toprule", r"\midrule", r"\bottomrule"]
    note = lines[lines.index(r"\bottomrule") + 1]
    assert note.startswith(r"\multicolumn{8}{p{0.95\linewidth}}{\footnotesize Mean and standard")
    assert lines[-1] == r"\end{tabular}"


@pytest.mark.slow
def test_latex_compiles(tmp_path):
    if not shutil.which("pdflatex"):
        pytest.skip("pdflatex is not installed")
    strange = {"poses": "a_b&c#~^"}
    given = results(0.0, BASELINE) + results(1.0, MIXED, **strange) + results(2.0, (0.1, 0.2, 0.3))
    head, foot = r"\documentclass{article}\usepackage{booktabs}\begin{document}", r"\end{document}"
    (tmp_path / "table.tex").write_text("\n".join([head, report(given, "latex"), foot]))

    words = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "table.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-1500:]


def test_latex_leaves_no_special_character_bare():
    text = report(results(0.0, BASELINE) + results(1.0, MIXED), "latex")

    body = [line for line in text.splitlines() if not line.startswith("%")]
    bare = "\n".join(body).replace(r"\%", "").replace(r"\_", "")
    assert not set("%_#±") & set(bare)
    assert "&" in bare


def test_the_terminal_table_is_aligned_and_says_above_the_rows_what_they_share():
    given = results(0.0, BASELINE) + results(1.0, MIXED)

    header, rule, title, *rows = report(given, "terminal").split("\n\n")[1].splitlines()

    assert title == "osnet_x0_25, keep 0.2, from scratch, 3 seeds, 120 real images"
    assert set(rule) == {"-", " "}
    for name in ("mAP %", "gain in mAP", "verdict"):
        start = header.index(name)
        cells = column(table(given), name)
        assert [row[start:].startswith(cell) for row, cell in zip(rows, cells, strict=True)] == [
            True,
            True,
        ]


def test_the_terminal_table_has_a_column_of_seeds_where_their_numbers_differ():
    text = report(results(0.0, BASELINE) + results(1.0, (0.5,)), "terminal")

    assert " seeds " in text.split("\n\n")[1].splitlines()[0]
    assert "\nosnet_x0_25, keep 0.2, from scratch, 120 real images\n" in text


def test_the_terminal_text_fits_a_page():
    many = results(0.0, BASELINE, backbone="inception_v2", real=12936)
    many += results(4.0, MIXED, backbone="inception_v2", real=12936, generated=51744,
                    method="generator", cameras="target")  # fmt: skip

    assert max(map(len, report(many, "terminal").splitlines())) <= 100


def test_what_a_row_changes_stands_in_one_column():
    given = results(0.0, BASELINE, keep=1.0)
    given += results(0.5, MIXED, keep=1.0, mode="replace") + results(0.5, MIXED, keep=1.0)
    given += results(1.0, MIXED, keep=1.0, **ERASED)

    text = report(given, "latex")

    assert [line.split(" & ")[2] for line in text.splitlines() if " & " in line] == [
        "what", "real images only", "generator, replacing real images", "generator",
        "generator, random erasing",
    ]  # fmt: skip


@pytest.mark.parametrize("style", TABLE_FORMATS)
def test_tables_hold_no_times_and_no_hosts(style):
    text = report([result(0.0, 0, 0.5)], style)

    assert "somewhere" not in text
    assert "61.5" not in text


def test_an_unknown_format_is_refused_with_the_choices():
    with pytest.raises(UserError, match="terminal, markdown, csv, latex, html, got 'pdf'"):
        report([result(0.0, 0, 0.5)], "pdf")


def test_results_are_found_anywhere_below_a_run_folder(tmp_path):
    given = results(0.0, BASELINE)
    write(tmp_path, *given)

    files = sorted(str(path) for path in tmp_path.rglob("result.json"))
    assert len(files) == len(given)
    assert read_results(tmp_path) == [
        *(record for file, one in zip(files, given, strict=True) for record in records([one], file))
    ]


def test_a_folder_without_results_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(UserError, match=r"holds no result\.json.*reid-aug train-reid") as caught:
        read_results(tmp_path)

    assert str(tmp_path) in str(caught.value)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(
        UserError, match="gone: there is no such run folder; make one with: reid-aug demo"
    ):
        read_results(tmp_path / "gone")


def test_the_error_for_a_missing_folder_lists_those_beside_it(tmp_path):
    names = [f"run{number}" for number in range(10)]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.json").write_text("{}")
    (tmp_path / "no-run").mkdir()

    with pytest.raises(UserError) as caught:
        read_results(tmp_path / "gone")

    assert f"; {tmp_path} holds {', '.join(names[:8])} and 2 more; make one" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"3", b"{}", b'"text"', b"\xff\xfe", b'{"format": "reid_aug.result/2"}',
        b'{"format": "reid_aug.result/1"}', b'{"format": "reid_aug.result/1", "mAP": "high"}',
        json.dumps(result(1.0, 0, 0.5, method=3)).encode(),
    ],
)  # fmt: skip
def test_a_damaged_result_is_refused_by_name(tmp_path, content):
    write(tmp_path, result(0.0, 0, 0.5))
    path = tmp_path / "reid" / "cell0" / "result.json"
    path.write_bytes(content)

    with pytest.raises(UserError) as caught:
        reports.report(read_results(tmp_path), "terminal")

    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mAP": 1.5}, "mAP must be a fraction in [0, 1], got 1.5"),
        ({"mAP": True}, "mAP must be a fraction in [0, 1], got True"),
        ({"mAP": float("nan")}, "mAP must be a finite number, got nan"),
        ({"mAP": "high"}, "mAP must be a fraction in [0, 1], got 'high'"),
        ({"rank1": -0.1}, "rank1 must be a fraction in [0, 1], got -0.1"),
        ({"mINP": 2}, "mINP must be a fraction in [0, 1], got 2"),
        ({"ap": {"0001_c1.jpg": 7.0}}, "ap.0001_c1.jpg must be a fraction in [0, 1], got 7.0"),
        ({"ap": {"": 0.5}}, "a key of ap must be the file name of a query, got ''"),
        ({"ap": [0.5]}, "ap must be a table, got [0.5]"),
        ({"keep": float("inf")}, "keep must be a finite number, got inf"),
        ({"ratio": float("inf")}, "ratio must be a finite number, got inf"),
        ({"ratio": -1}, "ratio must be a finite number of at least 0, got -1"),
        ({"mode": "both"}, "mode must be one of supplement, replace, got 'both'"),
        ({"seed": True}, "seed must be a whole number, got True"),
        ({"seed": 1.0}, "seed must be a whole number, got 1.0"),
        ({"real": -1}, "real must be a whole number of at least 0, got -1"),
        ({"queries": False}, "queries must be a whole number of at least 0, got False"),
        ({"leak_free": 1}, "leak_free must be true or false, got 1"),
        ({"method": 3}, "method must be text, got 3"),
        ({"generator_data": "none"}, "generator_data must be one of kept, external, whole"),
        ({"min_score": {"sharpness": {}}}, "min_score.sharpness.least must be a finite number"),
        ({"recipe": {"steps": 3}}, "recipe.batch must be a whole number of at least 1"),
        ({"recipe": {**RECIPE, "erase": 0}}, "recipe.erase must be true or false, got 0"),
        ({"recipe": {**RECIPE, "preset": "best"}}, "recipe.preset must be one of plain, strong"),
        ({"recipe": {**RECIPE, "lr": True}}, "recipe.lr must be a finite number, got True"),
        ({"recipe": {**RECIPE, "new": []}}, "recipe.new must be text, a finite number"),
        ({"versions": {"torch": 2}}, "versions.torch must be text, got 2"),
    ],
)
def test_a_value_of_a_wrong_type_or_range_is_refused_with_its_file_and_key(tmp_path, change, words):
    write(tmp_path, result(1.0, 0, 0.5) | change)

    with pytest.raises(UserError) as caught:
        read_results(tmp_path)

    path = tmp_path / "reid" / "cell0" / "result.json"
    assert str(caught.value).startswith(f"{path}: {words}")
    assert str(caught.value).endswith("; remove the file")


NEEDED = [
    "backbone", "dataset_sha256", "format", "generated", "generator_data", "keep", "keep_seed",
    "mAP", "mode", "rank1", "ratio", "real", "recipe", "seed", "starting_weights",
]  # fmt: skip


@pytest.mark.parametrize("key", NEEDED)
def test_a_missing_key_is_refused_with_the_file_and_the_key(tmp_path, key):
    content = result(1.0, 0, 0.5)
    del content[key]
    write(tmp_path, content)

    with pytest.raises(UserError, match=rf"result\.json: {key} must be .*, got no such key"):
        read_results(tmp_path)


def test_rows_compare_by_fields_and_the_baseline_replaces_them():
    (one,) = records([result(1.0, 0, 0.5, **ERASED | PRETRAINED, method="copies")])
    key = row_key(one)

    assert key.training.deviations == (("erase", True),)
    assert key.training.start == StartKey("external", None)
    best, same_start, same_training = key.baselines()
    for baseline in (best, same_start, same_training):
        assert (baseline.ratio, baseline.mode, baseline.images) == (0.0, "", None)
        assert baseline.section == key.section
    assert best.training == TrainingKey()
    assert same_start.training == TrainingKey(start=key.training.start)
    assert same_training.training == key.training


def test_declared_weights_are_compared_with_plain_training_from_them():
    declared = {"starting_weights": "12345678abcd", "starting_data": "external"}
    recipe = {**RECIPE, "weights_data": "external"}

    rows = table(
        results(0.0, BASELINE, **declared, recipe=recipe)
        + results(0.0, MIXED, **declared, recipe={**recipe, "erase": True})
    )

    assert sorted(column(rows, "verdict")) == ["baseline", "better"]


def test_a_damaged_result_does_not_hide_the_others(tmp_path):
    write(tmp_path, *results(0.0, BASELINE))
    path = tmp_path / "reid" / "cell1" / "result.json"
    path.write_bytes(b"{")

    found, faults = find_results(tmp_path)

    assert [one.seed for one in found] == [0, 2]
    assert len(faults) == 1
    assert faults[0].startswith(f"{path}: must be a result of train-reid, got no JSON")


def test_the_command_prints_the_sound_ones_names_the_damaged_one_and_fails(tmp_path):
    write(tmp_path, *results(0.0, BASELINE))
    path = tmp_path / "reid" / "cell1" / "result.json"
    path.write_bytes(b"{")

    done = CliRunner().invoke(main, ["report", str(tmp_path)])

    assert done.exit_code == 2
    assert "2 seeds" in done.stdout
    assert done.stderr.startswith(f"left out: {path}: must be a result of train-reid, got no JSON")
    assert done.stderr.endswith("; remove the file\n")


def test_two_data_sets_never_share_a_table():
    results = [result(0, 0, 0.5), result(0, 0, 0.5, dataset_sha256="e" * 64)]

    text = report(results, "terminal")

    assert "data set dddddddd" in text
    assert "data set eeeeeeee" in text


def strong(
    ratio: float, scores: tuple[float, ...], start: dict[str, str] | None = None, **changes: Any
) -> list[dict[str, Any]]:
    recipe = {**RECIPE, "preset": "strong", **PRESETS["strong"], "lr": 1e-3, **changes}
    return results(ratio, scores, recipe={**recipe, "schedule": "cosine"}, **(start or {}))


def test_a_strong_training_is_compared_with_the_strong_one_in_the_same_table():
    given = results(0.0, BASELINE) + results(1.0, MIXED) + strong(0.0, MIXED) + strong(1.0, MIXED)

    rows = table(given)

    assert report(given, "terminal").count("steps of") == 1
    assert column(rows, "training") == [
        "from scratch", "from scratch", "strong, from scratch", "strong, from scratch",
    ]  # fmt: skip
    assert column(rows, "verdict") == ["baseline", "better", "baseline", "within noise"]


def test_a_deviation_from_strong_and_a_policy_for_generated_images_are_named():
    policy = strong(1.0, MIXED, generated_label="uniform", erase=False)

    rows = table(strong(0.0, BASELINE) + policy)

    assert column(rows, "training")[1] == (
        "strong, no random erasing, generated labels uniform, from scratch"
    )
    assert column(rows, "verdict") == ["baseline", "better"]


def test_a_data_set_is_no_run_folder(tmp_path):
    for name in ("bounding_box_train", "query", "bounding_box_test"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0001_c1s1_000001_00.jpg").touch()

    with pytest.raises(UserError, match="must be a run folder, got a data set; name that of --out"):
        find_results(tmp_path)
