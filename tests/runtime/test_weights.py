import os
import pickle
from pathlib import Path

import h5py
import pytest
import torch

from reid_aug.runtime.errors import UserError
from reid_aug.runtime.weights import LARGEST_FILE, read_tensors, read_weights, write_tensors


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


def tensors() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(7)}


def assert_same(got: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        assert got[name].dtype == tensor.dtype
        assert torch.equal(got[name], tensor)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_wrapper_and_prefixes_are_removed(tmp_path, prefix, wrapped):
    state = {prefix + name: tensor for name, tensor in tensors().items()}
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, tmp_path / "w.pth")

    assert_same(read_weights(tmp_path / "w.pth"), tensors())


def test_prefixes_of_a_compiled_data_parallel_network_are_removed(tmp_path):
    state = {"_orig_mod.module." + name: tensor for name, tensor in tensors().items()}
    torch.save(state, tmp_path / "w.pth")

    assert_same(read_weights(tmp_path / "w.pth"), tensors())


def test_file_in_the_format_of_old_torch_is_read(tmp_path):
    torch.save(tensors(), tmp_path / "w.pth", _use_new_zipfile_serialization=False)

    assert_same(read_weights(tmp_path / "w.pth"), tensors())


def test_weights_are_read_from_safetensors_too(tmp_path):
    write_tensors(tmp_path / "w.safetensors", tensors(), {})

    assert_same(read_weights(tmp_path / "w.safetensors"), tensors())


def test_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path):
    mark = tmp_path / "ran"
    torch.save({"a": torch.zeros(1), "b": Bomb(mark)}, tmp_path / "w.pth")

    with pytest.raises(UserError, match=r"w\.pth: must be a PyTorch weight file of tensors only"):
        read_weights(tmp_path / "w.pth")

    assert not mark.exists()
    torch.load(tmp_path / "w.pth", weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_plain_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path, name):
    mark = tmp_path / "ran"
    (tmp_path / name).write_bytes(pickle.dumps(Bomb(mark), protocol=2))

    with pytest.raises(UserError, match=name):
        read_weights(tmp_path / name)

    assert not mark.exists()
    pickle.loads((tmp_path / name).read_bytes())
    assert mark.exists()


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_damaged_file_is_an_error_that_names_it(tmp_path, name, part):
    path = tmp_path / name
    if path.suffix == ".pth":
        torch.save(tensors(), path)
    else:
        write_tensors(path, tensors(), {})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])

    with pytest.raises(UserError, match=name):
        read_weights(path)


def test_damaged_file_in_the_format_of_old_torch_is_an_error_that_names_it(tmp_path):
    torch.save(tensors(), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    whole = (tmp_path / "w.pth").read_bytes()

    for end in range(0, len(whole), 17):
        (tmp_path / "w.pth").write_bytes(whole[:end])
        with pytest.raises(UserError, match=r"w\.pth"):
            read_weights(tmp_path / "w.pth")


def test_text_file_is_an_error_that_names_it(tmp_path):
    (tmp_path / "w.pth").write_text("404 not found")

    with pytest.raises(UserError, match=r"w\.pth"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "value",
    [torch.zeros(3), [torch.zeros(3)], {"a": 1.5}, {"state_dict": {"a": "b"}}, {0: torch.zeros(1)}],
    ids=["a tensor", "a list", "a number inside", "a text inside", "a number as a name"],
)
def test_file_without_a_state_dict_is_an_error_that_names_it(tmp_path, value):
    torch.save(value, tmp_path / "w.pth")

    with pytest.raises(UserError, match=r"w\.pth: must hold a state dict of tensors"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_missing_file_is_an_error_that_names_it(tmp_path, name):
    with pytest.raises(UserError, match=f"{name} is missing"):
        read_weights(tmp_path / name)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_file_beyond_the_limit_is_refused_unread(tmp_path, name):
    with (tmp_path / name).open("wb") as file:
        file.truncate(LARGEST_FILE + 1)

    with pytest.raises(UserError, match=f"{name}: must be at most"):
        read_weights(tmp_path / name)


def test_tensors_and_metadata_are_read_as_written(tmp_path):
    metadata = {
        "format": "x/1",
        "step": 7,
        "config": {"norm": "batch", "p": 0.5},
        "trained_on": ["é", None],
    }

    write_tensors(tmp_path / "w.safetensors", tensors(), metadata)

    got, got_metadata = read_tensors(tmp_path / "w.safetensors")
    assert_same(got, tensors())
    assert got_metadata == metadata


def test_tensors_that_need_gradients_or_are_views_are_written_by_value(tmp_path):
    weight = torch.arange(6.0).reshape(2, 3).requires_grad_()

    write_tensors(tmp_path / "w.safetensors", {"a": weight, "b": weight.T}, {})

    got, _ = read_tensors(tmp_path / "w.safetensors")
    assert_same(got, {"a": weight.detach(), "b": weight.detach().T})


def test_metadata_that_is_not_json_is_not_written(tmp_path):
    with pytest.raises(TypeError):
        write_tensors(tmp_path / "w.safetensors", tensors(), {"config": object()})

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (lambda path: h5py.File(path, "w").close(), "an HDF5 file, as a bank is"),
        (lambda path: torch.save(tensors(), path), "a zip archive, as torch.save writes"),
        (
            lambda path: torch.save(tensors(), path, _use_new_zipfile_serialization=False),
            "a pickle, as torch.save wrote before version 1.6",
        ),
    ],
)
def test_a_file_of_another_kind_in_place_of_safetensors_is_named(tmp_path, write, kind):
    write(tmp_path / "model.safetensors")

    with pytest.raises(UserError) as refused:
        read_tensors(tmp_path / "model.safetensors")

    assert str(refused.value) == (
        f"{tmp_path / 'model.safetensors'}: must be a safetensors file, got {kind}; give the "
        ".safetensors file"
    )
