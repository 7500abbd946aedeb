"""Distributed training equals training in one process; real processes, on the loopback device."""

import json
import multiprocessing
import os
import socket
import time

import pytest
import torch
from torch import nn

from reid_aug.data.dataset import DataConfig, read_market1501
from reid_aug.data.keypoints import read_keypoints
from reid_aug.generator import GeneratorConfig, load_with_metadata
from reid_aug.runtime.distributed import ProcessGroup, process_group_of_environment
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.sync_batch_norm import SharedBatchNorm, share_norms
from reid_aug.runtime.weights import read_tensors
from reid_aug.stages.train_generator import pairs_of, train_generator, training_metadata
from reid_aug.stages.train_generator.settings import TrainGeneratorConfig
from reid_aug.stages.train_generator.trainer import Trainer

CPU = torch.device("cpu")
DATA = DataConfig(height=32, width=16)
LIMIT = 120  # seconds, after which a process counts as hung
PROCESSES = multiprocessing.get_context("forkserver")  # torch is imported once for all processes
PROCESSES.set_forkserver_preload(["reid_aug.stages.train_generator"])


def settings(**changes):
    small = {"steps": 4, "batch": 4, "discriminator_width": 4, "pool": 3, "save_every": 2}
    return TrainGeneratorConfig(**{**small, **changes})


def network(norm="instance", dropout=0.0):
    return GeneratorConfig(width=4, blocks=2, norm=norm, dropout=dropout)


def job(people, config, group):
    real, poses = read_market1501(people).train, read_keypoints(people / "keypoints.csv")
    return real, poses, pairs_of(real, poses, DATA, config, 0, group)


def started(function, size, *rest):
    """Start ``function(group, *rest)`` in ``size`` processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        PROCESSES.Process(target=run_rank, args=(rank, size, port, function, *rest), daemon=True)
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    return processes


def exit_codes(processes):
    """Wait for the processes; one that hangs is killed and counts as failed."""
    until = time.monotonic() + LIMIT
    for process in processes:
        process.join(max(0, until - time.monotonic()))
        process.kill()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def run_rank(rank, size, port, function, *rest):
    os.environ |= {
        "RANK": str(rank), "WORLD_SIZE": str(size), "GLOO_SOCKET_IFNAME": "lo",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    torch.set_num_threads(1)
    group = process_group_of_environment()
    try:
        with group.joined(CPU):
            function(group, *rest)
    except UserError as error:
        (rest[-1] / f"error-{rank}").write_text(str(error))
        os._exit(2)


def steps(group, people, out):
    """Train with both norms; save the losses of all steps and the first and the last state.

    Dropout is off, because its random numbers differ between processes.
    """
    for norm in ("instance", "batch"):
        config = settings(sync_batch_norm=True)
        pairs = job(people, config, group)[-1]
        trainer = Trainer(network(norm), config, 0, CPU, group)
        losses, states = [], []
        for number in range(config.steps):
            losses.append(trainer.step(pairs[number], number))
            states.append({name: tensor.clone() for name, tensor in trainer.state().items()})
        torch.save((losses, states[0], states[-1]), out / f"{norm}-{group.rank}-of-{group.size}.pt")


@pytest.fixture(scope="module")
def trained(people, tmp_path_factory):
    """The folder with the results of one process and of two processes for the same batches."""
    out = tmp_path_factory.mktemp("processes")
    assert exit_codes(started(steps, 2, people, out)) == [0, 0]
    steps(ProcessGroup(), people, out)
    return out


def results(out, norm, size):
    return [torch.load(out / f"{norm}-{rank}-of-{size}.pt") for rank in range(size)]


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_two_processes_equal_one_process_with_the_whole_batch(trained, norm):
    single, first, _ = results(trained, norm, 1)[0]
    (left, early, last), (right, _, other) = results(trained, norm, 2)
    assert left == right
    assert all(torch.equal(last[name], other[name]) for name in last)
    assert [list(step) for step in left] == [list(step) for step in single]
    for ours, theirs in zip(left, single, strict=True):
        assert ours == pytest.approx(theirs, rel=2e-3)
    gradients = [name for name in first if name.endswith("exp_avg")]
    assert len(gradients) > 50
    scale = max(first[name].abs().max().item() for name in gradients)
    for name in gradients:
        torch.testing.assert_close(early[name], first[name], rtol=1e-2, atol=1e-4 * scale)
    for name in first:
        if "running" in name:
            torch.testing.assert_close(early[name], first[name], rtol=1e-4, atol=1e-6)


def verb(group, people, config, fails_at, folder):
    """Train as the command does; rank 1 fails at step ``fails_at``."""
    real, poses, pairs = job(people, config, group)
    shape = network("batch", 0.5)
    if fails_at is not None:
        step = Trainer.step

        def failing(self, batch, number):
            if (number, group.rank) == (fails_at, 1):
                raise UserError("out of luck")
            return step(self, batch, number)

        Trainer.step = failing
    metadata = training_metadata(pairs, shape, config, real, poses)
    train_generator(pairs, shape, config, folder, metadata, CPU, group)


def test_failed_process_ends_the_others_and_the_resumed_training_is_the_same(people, tmp_path):
    config, parts, whole = settings(steps=5), tmp_path / "parts", tmp_path / "whole"
    assert exit_codes(started(verb, 2, people, config, 3, parts)) == [2, 2]
    assert (parts / "error-1").read_text() == "out of luck"
    assert "processes of this training lost their connection" in (parts / "error-0").read_text()
    assert not (parts / "generator.safetensors").exists()

    assert exit_codes(started(verb, 2, people, config, None, parts)) == [0, 0]
    assert exit_codes(started(verb, 2, people, config, None, whole)) == [0, 0]

    files = [tmp_path / name / "generator.safetensors" for name in ("parts", "whole")]
    assert files[0].read_bytes() == files[1].read_bytes()
    metadata = load_with_metadata(files[0])[1]
    assert (metadata["processes"], metadata["step"]) == (2, 5)
    log = (tmp_path / "parts/training/log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [1, 2, 3, 4, 5]
    states = sorted((tmp_path / "parts/training").glob("*.safetensors"))
    assert [state.name for state in states] == ["00000004.safetensors", "00000005.safetensors"]
    pools = [name for name in read_tensors(states[-1])[0] if ".pool/" in name]
    assert len(pools) == 2 * config.pool  # one per discriminator, not per process
    refuse_without_discriminators(people, config, tmp_path / "whole")


def refuse_without_discriminators(people, config, folder):
    """A training that two processes finished is done; one that they began is refused."""
    verb(ProcessGroup(), people, config, None, folder)
    (folder / "generator.safetensors").unlink()
    with pytest.raises(
        UserError, match=r"was made by 2 processes, and 1 would get other weights .*; continue"
    ):
        verb(ProcessGroup(), people, config, None, folder)


def test_parts_of_the_processes_make_up_the_batch(people):
    config = settings()
    whole = job(people, config, ProcessGroup())[-1][7]
    parts = [job(people, config, ProcessGroup(rank, 2))[-1][7] for rank in range(2)]

    for got, *both in zip(whole, *parts, strict=True):
        torch.testing.assert_close(torch.cat(both), got, equal_nan=True, rtol=0, atol=0)


def test_batch_that_is_not_a_multiple_of_the_processes_is_refused(people):
    with pytest.raises(UserError, match=r"batch of all 3 processes .* multiple of 3, got 4"):
        job(people, settings(), ProcessGroup(0, 3))


def test_dropout_differs_by_rank_and_step():
    config = settings(discriminator_start=1.0)
    trainers = [Trainer(network(), config, 0, CPU, ProcessGroup(rank, 2)) for rank in range(2)]

    assert len({trainer._dropout_seed(step) for trainer in trainers for step in range(3)}) == 6


def test_group_of_one_process_returns_its_inputs():
    values, single = torch.arange(3.0, requires_grad=True), ProcessGroup()
    values.sum().backward()
    single.average_gradients([values])

    assert values.grad.tolist() == [1, 1, 1]
    assert single.gather(values) is values
    assert single.average({"a": torch.tensor(2.0)}) == {"a": 2.0}
    assert single.is_agreed(3)
    norm = nn.Sequential(nn.BatchNorm2d(3))
    share_norms(norm, single)
    assert not isinstance(norm[0], SharedBatchNorm)


def test_failed_connection_is_a_user_error(monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(UserError, match="lost their connection"), ProcessGroup(1, 2).joined(CPU):
        pass
