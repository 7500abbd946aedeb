"""The command line: wrong input gives one line and exit code 2, and writes nothing."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from click.testing import CliRunner
from PIL import Image

from reid_aug.cli import main
from reid_aug.cli.errors import with_own_options
from reid_aug.data.dataset import read_market1501
from reid_aug.generator import Generator, GeneratorConfig, save_generator
from reid_aug.runtime.errors import Remedy, UserError


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def copy(people, here):
    return shutil.copytree(people, here / "data")


def call(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def refused(*words):
    """The one line that a refused command prints; it must have written nothing."""
    result = call(*words)
    lines = result.stderr.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert result.exit_code == 2, (result.output, result.exception)
    assert len(errors) == 1, lines
    assert lines[-1] == errors[0], lines
    return errors[0]


STAGES = ("train-generator", "synthesize", "train-reid")


@pytest.mark.parametrize("stage", STAGES)
def test_a_missing_folder_is_refused(here, stage):
    assert "nowhere: there is no such folder" in refused(stage, "--data", "nowhere")
    assert not list(here.iterdir())


@pytest.mark.parametrize("stage", STAGES)
def test_a_folder_in_another_layout_is_refused(here, stage):
    (here / "photos").mkdir()
    assert "must be in Market-1501 layout" in refused(stage, "--data", "photos")
    assert [path.name for path in here.iterdir()] == ["photos"]


@pytest.mark.parametrize("stage", ["train-generator", "synthesize"])
def test_an_image_that_does_not_decode_is_refused(here, copy, stage):
    for path in (copy / "bounding_box_train").iterdir():
        path.write_bytes(path.read_bytes()[:200])
    line = refused(stage, "--data", copy, "--generator", "demo") if stage == "synthesize" else None
    line = line or refused(stage, "--data", copy)
    assert "bounding_box_train" in line
    assert "must be an image" in line
    assert not (here / "runs/data/bank.h5").exists()
    assert not (here / "runs/data/generator.safetensors").exists()


def test_an_image_that_does_not_decode_stops_a_re_id_training(here, copy):
    next((copy / "bounding_box_train").iterdir()).write_bytes(b"no image")
    settings = ("--set", "train_reid.height=32", "--set", "train_reid.width=16")
    assert "must be an image" in refused("train-reid", "--data", copy, "--ratio", 0, *settings)
    assert not list(here.rglob("result.json"))


def test_a_bad_test_image_stops_a_grid_before_it_begins(here, copy):
    next((copy / "query").iterdir()).write_bytes(b"no image")
    assert "must be an image" in refused("benchmark", "demo", "--data", copy, "--generator", "demo")
    assert not (here / "runs").exists()


def test_keypoints_may_lie_beside_the_nested_layout(here, copy):
    (here / "outer").mkdir()
    copy.rename(here / "outer/Market-1501-v15.09.15")
    (here / "outer/Market-1501-v15.09.15/keypoints.csv").rename(here / "outer/keypoints.csv")
    assert call("check", "outer").exit_code == 0
    words = ("synthesize", "--data", "outer", "--generator", "demo", "--dry-run")
    assert call(*words).exit_code == 0


def test_the_result_of_another_data_set_is_not_reused(here, copy):
    small = ("--set", "train_reid.steps=1", "--set", "train_reid.batch=2", "--ratio", 0)
    sizes = ("--set", "train_reid.height=32", "--set", "train_reid.width=16")
    assert call("train-reid", "--data", copy, *small, *sizes).exit_code == 0
    next((copy / "bounding_box_test").glob("0000_*")).unlink()
    line = refused("train-reid", "--data", copy, *small, *sizes)
    assert "another experiment, which differs in dataset_sha256" in line


def test_a_malformed_keypoint_row_is_refused_with_its_line(here, copy):
    path = copy / "keypoints.csv"
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace("[", "[x", 1)
    path.write_text("\n".join(lines))
    line = refused("synthesize", "--data", copy, "--generator", "demo")
    assert f"{path}: line 4: a row must be" in line
    assert not (here / "runs").exists()


@pytest.mark.parametrize("ratio", ["nan", "inf", "-0.5"])
@pytest.mark.parametrize("stage", ["synthesize", "train-reid"])
def test_an_impossible_ratio_is_refused(here, copy, stage, ratio):
    assert f"ratio must be 0 or a positive number, got {float(ratio)}" in refused(
        stage, "--data", copy, f"--ratio={ratio}"
    )
    assert not (here / "runs").exists()


@pytest.mark.parametrize("stage", ["synthesize", "train-reid"])
def test_replace_needs_a_ratio_below_one(here, copy, stage):
    line = refused(stage, "--data", copy, "--ratio", 1, "--mode", "replace")
    assert "ratio must be below 1 in mode replace" in line
    assert not (here / "runs").exists()


def test_a_missing_checkpoint_names_the_command_that_makes_it(here, copy):
    line = refused("synthesize", "--data", copy, "--ratio", 1)
    assert "runs/data/generator.safetensors is missing" in line
    assert "reid-aug train-generator" in line
    assert "absent.safetensors is missing" in refused(
        "synthesize", "--data", copy, "--generator", "absent.safetensors"
    )
    assert not (here / "runs").exists()


def test_copies_need_no_generator(here, copy):
    words = ("synthesize", "--data", copy, "--ratio", 0.25, "--set", "synthesize.method=copies")
    assert "--generator must not be given for method copies" in refused(
        *words, "--generator", "demo"
    )
    assert not (here / "runs").exists()
    result = call(*words)
    assert result.exit_code == 0, result.output
    assert "mirrored and colour-jittered copies" in result.stderr


def test_a_missing_bank_names_the_command_that_makes_it(here, copy):
    line = refused("train-reid", "--data", copy, "--ratio", 1)
    assert "bank.h5 is missing; make it with: reid-aug synthesize" in line
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("train_generator.stepz=3", "did you mean train_generator.steps?"),
        ("train_generatr.steps=3", "did you mean train_generator?"),
        ("train_generator.steps=many", "must be of type int, got 'many'"),
        ("steps", "must be table.key=value"),
    ],
)
def test_a_misspelt_setting_gets_the_nearest_key(here, copy, setting, hint):
    assert hint in refused("train-generator", "--data", copy, "--set", setting)
    assert not (here / "runs").exists()


def test_a_misspelt_key_in_a_recipe_file_gets_the_nearest_key(here, copy):
    (here / "mine.toml").write_text("[train_reid]\nbackbon = 'resnet50'\n")
    line = refused("train-reid", "--recipe", "mine.toml", "--data", copy)
    assert "mine.toml: train_reid: unknown key 'backbon'; did you mean backbone?" in line


def test_unknown_names_are_refused_with_the_known_ones(here, copy):
    assert "demo, market1501" in refused("train-generator", "--recipe", "markt", "--data", copy)
    assert "must be a TOML file or one of demo" in refused("benchmark", "dmo", "--data", copy)
    words = ("train-reid", "--data", copy, "--ratio", 0)
    line = refused(*words, "--backbone", "resnet5")
    assert "there is no backbone 'resnet5'; did you mean resnet50?; the backbones are" in line
    (here / "file").touch()
    assert "file: --out must be a folder, got a file" in refused(*words, "--out", "file")
    assert "make one with: reid-aug demo" in refused("report", "nowhere")
    assert "--device must be cpu" in refused(*words, "--device", "tpu")
    assert "--device cuda:99" in refused(*words, "--device", "cuda:99")
    assert "No such option" in refused("synthesize", "--ratoi", 1)
    assert "No such command" in refused("sythesize")
    assert not (here / "runs").exists()


def test_identities_with_one_image_make_no_pair(here, copy):
    for pid in {image.pid for image in read_market1501(copy).train}:
        _, *others = sorted((copy / "bounding_box_train").glob(f"{pid:04d}_*"))
        for path in others:
            path.unlink()
    assert "no pair" in refused("train-generator", "--data", copy)


def test_check_prints_errors_and_exits_with_2(here, copy):
    good = call("check", copy)
    assert good.exit_code == 0, good.output
    assert good.stdout.splitlines()[1].startswith("train: ")
    next((copy / "query").iterdir()).write_bytes(b"")
    bad = call("check", copy)
    assert bad.exit_code == 2
    assert "error: " in bad.stdout


def test_check_strict_makes_warnings_errors(here, copy):
    with (copy / "keypoints.csv").open("a") as file:
        file.write(f"other.jpg: {[-1] * 18}: {[-1] * 18}\n")
    assert call("check", copy).exit_code == 0
    assert call("check", copy, "--strict").exit_code == 2


def test_people_writes_a_data_set_and_never_into_a_full_folder(here):
    result = call("people", "made", "--identities", 2, "--test-identities", 2, "--first", 7)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "made"
    assert {image.pid for image in read_market1501(here / "made").train} == {7, 8}
    assert "made" in refused("people", "made")


def test_a_dry_run_writes_nothing(here, copy):
    small = ("--set", "generator.width=4", "--set", "generator.blocks=1")
    result = call("train-generator", "--data", copy, "--dry-run", *small)
    assert result.exit_code == 0, result.output
    assert "would write runs/data/generator.safetensors: about" in result.stdout
    result = call("synthesize", "--data", copy, "--generator", "demo", "--dry-run")
    assert "would write runs/data/bank.h5: " in result.stdout
    sizes = ("--set", "train_reid.height=32", "--set", "train_reid.width=16")
    result = call("train-reid", "--data", copy, "--ratio", 0, "--dry-run", *sizes)
    assert "result.json: about" in result.stdout
    result = call("benchmark", "demo", "--data", copy, "--generator", "demo", "--dry-run")
    assert "9 trainings" in result.stdout
    assert not (here / "runs").exists()


def test_images_of_another_size_are_resized_to_the_recipe_size(here, copy):
    for path in (copy / "bounding_box_train").iterdir():
        with Image.open(path) as image:
            image.resize((48, 100)).save(path)
    result = call("synthesize", "--data", copy, "--generator", "demo", "--ratio", 1)
    assert result.exit_code == 0, result.output
    assert result.stdout == "runs/data/bank.h5\n"


def test_the_module_prints_its_version(here):
    result = subprocess.run(
        [sys.executable, "-m", "reid_aug", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("reid-aug, version ")


def test_the_attention_masks_of_a_generator_become_a_picture(here, people):
    source, target = (image.name for image in read_market1501(people).train[:2])
    words = ("--data", people, "--generator", "demo", "--out", "run")

    result = call("generator", "attention", source, target, *words)

    assert result.exit_code == 0, result.output
    with Image.open(result.stdout.strip()) as picture:
        assert picture.height > 2 * 128
    assert "did you mean" in refused("generator", "attention", source[:-1], target, *words)
    save_generator(Generator(GeneratorConfig(width=4, blocks=1)), here / "fresh.safetensors")
    words = ("--data", people, "--generator", "fresh.safetensors", "--out", "run")
    assert "records no training" in call("generator", "attention", source, target, *words).stderr
    assert "records no training" not in result.stderr


def test_a_file_without_released_weights_is_refused(here):
    (here / "latest_net_netG.pth").write_bytes(b"no weights")
    assert "latest_net_netG.pth" in refused("generator", "import", "latest_net_netG.pth")
    assert not (here / "runs").exists()


BANK = Remedy(("synthesize",))


@pytest.mark.parametrize(
    ("remedy", "args", "places"),
    [
        (BANK, ["bank", "show", "--out", "o", "--bank", "b"], " --out o"),
        (Remedy(("train-generator",)), ["synthesize", "--data=d"], " --data d"),
        (
            BANK,
            ["train-reid", "--keep", "0.5", "--set", "a.b=1", "--ratio", "4", "--set", "a.c=2"],
            " --keep 0.5 --ratio 4 --set a.b=1 --set a.c=2",
        ),
        (
            Remedy(("bank", "score")),
            ["train-reid", "--recipe", "r", "--seed", "1", "--ratio", "4"],
            " --recipe r",
        ),
        (BANK, ["reid", "evaluate", "m", "--keypoints", "k.csv"], " --keypoints k.csv"),
        (Remedy(("check",)), ["train-reid", "--out", "o"], ""),
        (BANK, ["benchmark", "g", "--out", "o"], ""),
        (BANK, [], ""),
    ],
)
def test_a_remedy_has_the_places_of_the_user_s_own_command(remedy, args, places):
    text = f"wrong; make it with: reid-aug {' '.join(remedy.command)}"

    assert str(UserError("wrong", remedy)) == text
    assert with_own_options(UserError("wrong", remedy), args, main) == text + places


def test_the_options_of_a_remedy_overrule_those_of_the_user_s_own_command():
    remedy = Remedy(("synthesize",), {"ratio": "1", "keep": "0.5"}, otherwise=", or none")
    args = ["train-reid", "--keep", "1", "--data", "d"]

    line = with_own_options(UserError("wrong", remedy), args, main)

    assert line == (
        "wrong; make it with: reid-aug synthesize --data d --ratio 1 --keep 0.5, or none"
    )


def test_an_error_keeps_its_remedy_between_processes():
    error = pickle.loads(pickle.dumps(UserError("wrong", BANK)))

    assert str(error) == "wrong; make it with: reid-aug synthesize"
    assert error.remedy == BANK


def test_released_discriminators_are_imported_beside_the_generator(tmp_path):
    import torch

    from reid_aug.generator.adversary import read_discriminator
    from tests.generator.test_adversary import official
    from tests.generator.test_generator import SMALL, random_official

    torch.save(random_official(SMALL), tmp_path / "G.pth")
    torch.save(official(6, 4, 3, "batch"), tmp_path / "PP.pth")
    torch.save(official(21, 4, 3, "batch"), tmp_path / "PB.pth")
    discriminators = ("--appearance", tmp_path / "PP.pth", "--pose", tmp_path / "PB.pth")

    call("generator", "import", tmp_path / "G.pth", *discriminators, "--out", tmp_path / "run")

    for name in ("appearance", "pose"):
        tensors, metadata = read_discriminator(tmp_path / f"run/{name}.safetensors", name)
        assert len(tensors) > 20
        assert metadata["trained_on"] == ""
    assert (tmp_path / "run/generator.safetensors").exists()


@pytest.mark.parametrize("group", [[], ["bank"], ["generator"], ["reid"]])
def test_the_sentence_of_every_command_fits_into_the_list(group):
    listed = call(*group, "--help").stdout.split("Commands:\n")[1].splitlines()

    assert len(listed) >= 2
    assert [line for line in listed if not line.endswith(".") or line.endswith("..")] == []


@pytest.fixture
def default_ctrl_c():
    """Ctrl-C as in a terminal; a process in the background may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_that_an_import_turns_into_another_error_is_still_ctrl_c(
    monkeypatch, default_ctrl_c
):
    def import_numpy(**_):
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        raise ImportError("cannot load module more than once per process")

    monkeypatch.setattr(main.commands["doctor"], "callback", import_numpy)

    result = call("doctor")

    assert result.exit_code == 130, result.output
    assert result.stderr.startswith("error: stopped; the same command goes on")
    monkeypatch.setattr(main.commands["doctor"], "callback", lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # the next command was not interrupted
        main(["doctor"])


def test_a_full_output_is_one_sentence():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "reid_aug", "recipe", "market1501"]
        found = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)

    assert found.returncode == 2
    assert found.stderr == "error: a file or the output: No space left on device\n"


def test_closed_streams_are_no_error(here):
    words = f"{sys.executable} -m reid_aug people few --identities 1 --test-identities 1"

    assert subprocess.run(f"exec {words} 0<&- >&- 2>&-", shell=True).returncode == 0
    assert (here / "few" / "people.json").exists()
