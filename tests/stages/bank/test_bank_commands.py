"""reid-aug bank: verify, score, export, import; and what a filter does to a mix."""

import shlex
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from reid_aug.bank import Bank, write_bank
from reid_aug.bank.scores import BUILT_IN_SCORES, needs_of_scores
from reid_aug.cli import main
from reid_aug.cli.errors import with_own_options
from reid_aug.data.dataset import read_market1501
from reid_aug.mixing import Mix, parse_min_score
from reid_aug.runtime.errors import UserError
from reid_aug.stages.bank.import_ import Foreign, read_csv

SMALL = ("--set", "data.height=32", "--set", "data.width=16", "--set", "synthesize.method=copies")


def call(*words, code=0):
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.fixture(scope="module")
def drawn(people, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    call("synthesize", "--data", people, "--out", folder, "--ratio", 1, *SMALL)
    return folder


@pytest.fixture
def run(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "run")


def rewrite(path, scores=None, **attributes):
    """Write a bank again with other attributes or scores, checksums and all."""
    bank = Bank(path)
    about = {name: {"data": "kept"} for name in scores} if scores else None
    pixels = [bank.images(0, len(bank))]
    write_bank(
        path, bank.rows, pixels, replace(bank.attributes, scores=about, **attributes), scores
    )


def test_verify_describes_the_bank(people, run):
    result = call("bank", "verify", "--data", people, "--out", run)

    assert "synthetic images, 32 x 16 pixels, of 4 identities" in result.stdout
    assert "error" not in result.stdout


def test_verify_finds_a_flipped_pixel(people, run):
    path = run / "bank.h5"
    content, start = bytearray(path.read_bytes()), Bank(path)._start
    content[start + 7] ^= 1
    path.write_bytes(content)

    assert "images must have SHA-256" in call("bank", "verify", "--bank", path, code=2).stderr
    words = ("train-reid", "--data", people, "--out", run)
    assert "images must have SHA-256" in call(*words, code=2).stderr


@pytest.fixture
def changed(people, tmp_path):
    """The same people under the same names, but for one byte of one test image."""
    data = shutil.copytree(people, tmp_path / "changed")
    path = read_market1501(data).gallery[0].path
    path.write_bytes(path.read_bytes() + b"\0")
    return data


@pytest.mark.parametrize(
    "words",
    [
        ("train-reid", "--dry-run"),
        ("bank", "score"),
        ("bank", "export", "exported", "--mix"),
        ("bank", "export", "exported"),
    ],
    ids=" ".join,
)
def test_a_bank_is_not_used_on_another_data_set_with_the_same_names(
    changed, run, tmp_path, monkeypatch, words
):
    monkeypatch.chdir(tmp_path)

    line = call(*words, "--data", changed, "--out", run, code=2).stderr.splitlines()[-1]

    assert "bank.h5: must be a bank of this data set, " in line
    assert not (tmp_path / "exported").exists()
    assert not Bank(run / "bank.h5").scores


def test_verify_finds_another_data_set_with_the_same_names(changed, run):
    found = call("bank", "verify", "--data", changed, "--out", run, code=2)

    assert "error: must be a bank of this data set, " in found.stdout


@pytest.mark.parametrize(
    ("attributes", "fault"),
    [
        ({"keep": 2.0}, "keep must be above 0"),
        ({"mode": "swap"}, "mode must be one of"),
        ({"kept_sha256": "no hash"}, "kept_sha256 must be 64 hexadecimal digits"),
        ({}, "card of another bank"),
    ],
)
def test_verify_finds_values_that_cannot_be(run, attributes, fault):
    rewrite(run / "bank.h5", seed=9, **attributes)

    assert fault in call("bank", "verify", "--bank", run / "bank.h5", code=2).stdout


def test_scores_are_stored_and_differ_between_a_copy_and_noise(people, run):
    before = Bank(run / "bank.h5")
    call("bank", "score", "--data", people, "--out", run)

    bank = Bank(run / "bank.h5")
    assert sorted(bank.scores) == ["novelty", "sharpness"]
    assert np.median(bank.scores["novelty"]) < 0.3
    assert bank.attributes.images_sha256 == before.attributes.images_sha256
    assert "error" not in call("bank", "verify", "--data", people, "--out", run).stdout


def test_an_extended_bank_keeps_its_scores_and_asks_for_the_others(people, run):
    call("bank", "score", "--data", people, "--out", run)
    old = Bank(run / "bank.h5")
    call("synthesize", "--data", people, "--out", run, "--ratio", 2, *SMALL)

    bank = Bank(run / "bank.h5")
    np.testing.assert_array_equal(bank.scores["novelty"][: len(old)], old.scores["novelty"])
    assert np.isnan(bank.scores["novelty"][len(old) :]).all()
    with pytest.raises(UserError, match="novelty of every row"):
        Mix(read_market1501(people).train, bank, 2.0, min_score={"novelty": 0.0})


def test_a_filter_fills_seats_from_the_reserve_and_leaves_others_empty(people, run):
    path, train = run / "bank.h5", read_market1501(people).train
    bank = Bank(path)
    scores = np.tile(np.float32([0.0, 1.0]), len(bank))[: len(bank)]
    scores[bank.rows.pid == bank.rows.pid[0]] = 0.0
    rewrite(path, {"quality": scores})
    bank = Bank(path)

    plain, mix = Mix(train, bank, 0.5), Mix(train, bank, 0.5, min_score={"quality": 0.5})

    assert plain.generated == mix.seats == plain.seats
    assert all(scores[row] == 1.0 for row in mix.generated_rows)
    seats = bank.rows.pid[: mix.seats].tolist()
    used = bank.rows.pid[list(mix.generated_rows)].tolist()
    assert all(used.count(pid) <= seats.count(pid) for pid in set(used))
    assert seats[0] not in used
    empty = mix.seats - mix.generated
    assert empty >= seats.count(seats[0])
    assert f"{empty} seats stay empty" in mix.note
    last = len(mix) - 1
    np.testing.assert_array_equal(mix.image(last), bank.image(mix.generated_rows[-1]))
    assert mix.name(last) == f"bank:{mix.generated_rows[-1]}"
    assert mix.rows_sha256() != plain.rows_sha256() == bank.rows_sha256(plain.generated)
    with pytest.raises(UserError, match=r"bank\.h5: no row passes the filter quality=2; lower it"):
        Mix(train, bank, 0.5, min_score={"quality": 2.0})


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("novelty", "make it with: reid-aug bank score --bank {}"),
        ("margin", "make it with: reid-aug bank score --bank {} --scorer MODEL"),
        ("pose", "make it with: reid-aug bank score --bank {} --movenet FILE"),
        ("sharpnes", "reid-aug bank score makes sharpness, novelty, identity, margin, pose"),
    ],
)
def test_a_score_that_is_not_there_names_the_command_that_makes_it(people, run, name, remedy):
    path = run / "bank.h5"

    with pytest.raises(UserError) as caught:
        Mix(read_market1501(people).train, Bank(path), 0.5, min_score={name: 0.0})

    assert str(caught.value).endswith(f"; {remedy.format(path)}")


def test_the_command_that_makes_a_score_runs_as_printed(people, run):
    train, least = read_market1501(people).train, {"novelty": 0.0}
    with pytest.raises(UserError) as caught:
        Mix(train, Bank(run / "bank.h5"), 0.5, min_score=least)

    told = with_own_options(caught.value, ["train-reid", "--data", str(people)], main)
    call(*shlex.split(told.partition("make it with: reid-aug ")[2]))

    assert Mix(train, Bank(run / "bank.h5"), 0.5, min_score=least).generated


def test_what_a_score_needs_is_known_of_every_score():
    needs = needs_of_scores()

    kinds = [declaration.load() for declaration in BUILT_IN_SCORES]
    assert [*needs] == [name for kind in kinds for name in kind.names]
    assert all(bool(needs[name]) == bool(kind.needs) for kind in kinds for name in kind.names)


@pytest.mark.parametrize("text", ["identity", "identity=", "identity=much", "identity=nan"])
def test_a_filter_that_cannot_be_read(text):
    with pytest.raises(UserError, match="--min-score must be NAME=VALUE"):
        parse_min_score([text])


def test_what_is_exported_is_imported_again(people, run, tmp_path):
    folder = tmp_path / "exported"
    call("bank", "export", folder, "--data", people, "--out", run, "--mix")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    call("bank", "export", folder, "--data", people, "--out", run, "--mix")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    data, bank = read_market1501(folder), Bank(run / "bank.h5")
    assert len(data.train) == len(bank) + len(read_market1501(people).train)
    assert len(data.query) == len(read_market1501(people).query)

    words = ("--csv", folder / "provenance.csv", "--out", tmp_path / "again", *SMALL)
    images = folder / "bounding_box_train"
    call("bank", "import", images, "--data", people, "--trained-on", "kept", *words)
    again = Bank(tmp_path / "again/bank.h5")
    for column in ("pid", "camid", "source", "target"):
        np.testing.assert_array_equal(getattr(again.rows, column), getattr(bank.rows, column))
    before = {path: path.read_bytes() for path in (tmp_path / "again").iterdir()}
    call("bank", "import", images, "--data", people, "--trained-on", "kept", *words)
    assert {path: path.read_bytes() for path in (tmp_path / "again").iterdir()} == before
    (tmp_path / "again/bank.json").unlink()  # as after a kill that came late
    call("bank", "import", images, "--data", people, "--trained-on", "kept", *words)
    assert (tmp_path / "again/bank.h5").read_bytes() == before[tmp_path / "again/bank.h5"]
    other = call("bank", "import", images, "--data", people, "--name", "x", *words, code=2)
    assert "again/bank.h5: holds another bank; choose another folder with --out" in other.stderr
    drawn, copied = (b.images(0, len(b)).astype(int) for b in (bank, again))
    assert np.abs(drawn - copied).mean() < 4
    words = ("--data", people, "--out", tmp_path / "again")
    assert "error" not in call("bank", "verify", *words).stdout
    assert (
        "must be missing or an empty folder"
        in call("bank", "export", folder, "--data", people, "--out", run, code=2).stderr
    )


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("../a.jpg,1,1,,", "file must be an image in"),
        ("a.jpg,one,1,,", "pid and camid must be numbers"),
        ("a.jpg,1", "got 2 columns"),
        ("a.jpg,777,1,,", "must show an identity of the kept set, got pid 777"),
        ("a.jpg,1,1,b.jpg,", "its source must be a kept image of pid 1"),
        ("a.jpg,1,1,,b.jpg", "its target must be a kept image"),
    ],
)
def test_an_import_that_cannot_be_is_one_sentence(people, tmp_path, line, fault):
    shutil.copyfile(read_market1501(people).train[0].path, tmp_path / "a.jpg")
    table = tmp_path / "a.csv"
    table.write_text(f"file,pid,camid,source,target\n{line}\n")
    words = ("--csv", table, "--data", people, "--out", tmp_path / "run")

    assert fault in call("bank", "import", tmp_path, *words, code=2).stderr
    assert not (tmp_path / "run").exists()


def test_a_table_that_excel_saved_is_read_too(tmp_path):
    (tmp_path / "a.jpg").touch()
    table = tmp_path / "a.csv"
    table.write_text("\ufefffile,pid,camid,source,target\r\na.jpg,1,2,,\r\n", encoding="utf-8")

    assert read_csv(table, tmp_path) == [Foreign(tmp_path / "a.jpg", 1, 2)]


def test_an_import_by_a_name_that_cannot_be_printed_is_one_sentence(people, tmp_path):
    words = ("--name", "a\x1b[31m", "--data", people, "--out", tmp_path / "run")

    result = call("bank", "import", people / "bounding_box_train", *words, code=2)

    assert "--name must be printable text" in result.stderr
    assert not (tmp_path / "run/bank.h5").exists()
