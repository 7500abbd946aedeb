"""A training that goes on from given weights: what it takes, what it refuses, what it has seen."""

import pytest
import torch

from reid_aug.generator import (
    Generator,
    GeneratorConfig,
    demo_generator,
    load_generator,
    load_with_metadata,
    save_generator,
)
from reid_aug.generator.adversary import import_discriminator_checkpoint, read_discriminator
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256
from reid_aug.stages.train_generator.starting_weights import read_discriminator_of
from reid_aug.stages.train_generator.trainer import Trainer
from tests.generator.test_adversary import official
from tests.stages.test_train_generator import CPU, NETWORK, config, job, run

SEEN = "0123456789ab"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A generator that says what it has seen, and two released discriminators, imported."""
    folder = tmp_path_factory.mktemp("start")
    torch.manual_seed(5)
    save_generator(Generator(NETWORK), folder / "generator.safetensors", {"trained_on": SEEN})
    for discriminator, channels in (("appearance", 6), ("pose", 21)):
        torch.save(official(channels, 4, 3, "batch"), folder / f"{discriminator}.pth")
        import_discriminator_checkpoint(
            folder / f"{discriminator}.pth", discriminator, folder / f"{discriminator}.safetensors"
        )
    return folder


def starting(files, *discriminators, **changes):
    given = {
        f"start_{discriminator}": str(files / f"{discriminator}.safetensors")
        for discriminator in discriminators
    }
    return config(start=str(files / "generator.safetensors"), **given, **changes)


def test_all_three_networks_start_from_their_files(files):
    trainer = Trainer(NETWORK, starting(files, "appearance", "pose"), 0, CPU)

    given = load_generator(files / "generator.safetensors").state_dict()
    for name, tensor in trainer.generator.state_dict().items():
        assert torch.equal(tensor, given[name]), name
        assert torch.equal(trainer.average[name], given[name]), name
    for discriminator in ("appearance", "pose"):
        tensors, _ = read_discriminator(files / f"{discriminator}.safetensors", discriminator)
        for name, tensor in trainer.networks[discriminator].state_dict().items():
            assert torch.equal(tensor, tensors[name]), name


def test_what_is_not_given_starts_at_random(files):
    fresh, begun = (
        Trainer(NETWORK, settings, 0, CPU).state() for settings in (config(), starting(files))
    )
    discriminators = [name for name in fresh if name.startswith(("appearance/", "pose/"))]
    assert len(discriminators) > 20
    assert all(torch.equal(fresh[name], begun[name]) for name in discriminators)
    assert not fresh["generator/decode.7.weight"].equal(begun["generator/decode.7.weight"])


def test_a_training_state_gives_its_discriminators(people, tmp_path):
    run(people, tmp_path, config(steps=2))
    state = tmp_path / "training/00000002.safetensors"
    settings = config(start_appearance=str(state), start_pose=str(state))

    trainer = Trainer(NETWORK, settings, 1, CPU)

    for discriminator in ("appearance", "pose"):
        tensors, notes = read_discriminator_of(state, discriminator)
        assert len(notes["trained_on"]) > 12
        own = trainer.networks[discriminator].state_dict()
        assert own.keys() == tensors.keys()
        assert all(torch.equal(own[name], tensors[name]) for name in own)


def test_what_the_start_has_seen_the_generator_has_seen(people, files):
    plain, begun, unknown = (
        job(people, settings)[-1]
        for settings in (config(), starting(files), starting(files, "pose"))
    )

    assert set(fingerprints(begun)) == {*fingerprints(plain), SEEN}
    assert unknown["trained_on"] == ""
    assert begun["recipe"]["train_generator"]["start"] == "generator.safetensors"
    assert plain["start_sha256"] == {}
    assert unknown["start_sha256"] == {
        "start": sha256(files / "generator.safetensors"),
        "start_pose": sha256(files / "pose.safetensors"),
    }


def fingerprints(notes):
    return [notes["trained_on"][i : i + 12] for i in range(0, len(notes["trained_on"]), 12)]


@pytest.mark.parametrize(
    ("network", "remedy"),
    [
        (GeneratorConfig(width=8, blocks=2), "--set generator.width=4"),
        (GeneratorConfig(width=4, blocks=2, limbs=True), "--set generator.limbs=false"),
    ],
)
def test_a_generator_of_another_shape_is_refused(files, network, remedy):
    with pytest.raises(UserError, match=f"must be a generator of this recipe, .* {remedy}") as e:
        Trainer(network, starting(files), 0, CPU)
    assert str(e.value).endswith("from random weights with --set train_generator.start=")


def test_dropout_may_be_another_one(files):
    Trainer(GeneratorConfig(width=4, blocks=2, dropout=0.1), starting(files), 0, CPU)


def test_a_discriminator_of_another_shape_is_refused(files):
    settings = starting(files, "pose", discriminator_blocks=2)
    with pytest.raises(UserError, match=r"start_pose must be a discriminator .* blocks\.2"):
        Trainer(NETWORK, settings, 0, CPU)


def test_the_other_discriminator_is_refused(files):
    settings = config(start_pose=str(files / "appearance.safetensors"))
    with pytest.raises(UserError, match=r"must hold the pose discriminator .* appearance"):
        Trainer(NETWORK, settings, 0, CPU)


def test_a_discriminator_for_a_generator_without_one_is_refused(files):
    with pytest.raises(
        UserError, match="start_pose must not be given with discriminator_start = 1"
    ):
        Trainer(NETWORK, starting(files, "pose", discriminator_start=1.0), 0, CPU)


@pytest.mark.parametrize("key", ["start", "start_pose"])
def test_released_weights_must_be_imported_first(files, key):
    settings = config(**{key: str(files / "pose.pth")})
    with pytest.raises(UserError, match=r"convert released weights.* reid-aug generator import"):
        Trainer(NETWORK, settings, 0, CPU)


def test_a_released_discriminator_of_the_other_kind_is_not_imported(files, tmp_path):
    with pytest.raises(
        UserError, match=r"must be the pose discriminator, which has 21 input channels, got .* 6"
    ):
        import_discriminator_checkpoint(
            files / "appearance.pth", "pose", tmp_path / "pose.safetensors"
        )
    assert list(tmp_path.iterdir()) == []


def test_an_imported_discriminator_is_not_overwritten_by_another(files, tmp_path):
    path, other = tmp_path / "pose.safetensors", tmp_path / "other.pth"
    torch.save(official(21, 3, 3, "batch"), other)
    import_discriminator_checkpoint(files / "pose.pth", "pose", path)
    before = path.read_bytes()

    import_discriminator_checkpoint(files / "pose.pth", "pose", path)
    with pytest.raises(
        UserError, match="must be missing or the same discriminator, got another one"
    ):
        import_discriminator_checkpoint(other, "pose", path)

    assert path.read_bytes() == before


def test_demo_starts_from_the_generator_of_the_package(people):
    checkpoint, metadata = load_with_metadata(demo_generator(), Generator)
    settings = config(start="demo", discriminator_start=1.0)

    own = Trainer(checkpoint.config, settings, 0, CPU).networks["generator"].state_dict()
    about = job(people, settings)[-1]

    assert all(torch.equal(own[name], tensor) for name, tensor in checkpoint.state_dict().items())
    assert about["recipe"]["train_generator"]["start"] == "demo"
    assert about["start_sha256"] == {"start": sha256(demo_generator())}
    assert {*fingerprints({"trained_on": metadata["trained_on"]})} <= {*fingerprints(about)}
