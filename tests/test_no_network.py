"""No stage opens a socket: not even the resolution of a name is asked for."""

import socket

import pytest
from click.testing import CliRunner

from reid_aug.cli import main

SMALL = (
    "--set", "data.height=32", "--set", "data.width=16", "--set", "train_reid.height=32",
    "--set", "train_reid.width=16", "--set", "train_reid.steps=2", "--set", "train_reid.batch=4",
    "--set", "train_reid.backbone=osnet_x0_25", "--set", "train_reid.workers=0",
)  # fmt: skip


class NetworkError(Exception):
    pass


def test_the_pipeline_opens_no_socket(people, tmp_path, monkeypatch):
    def refuse(*arguments, **_):
        raise NetworkError(arguments)

    class NoSocket(socket.socket):
        def __init__(self, family=socket.AF_INET, *arguments, **others):
            if family != socket.AF_UNIX:  # which does not leave the machine
                raise NetworkError(family)
            super().__init__(family, *arguments, **others)

    monkeypatch.setattr(socket, "socket", NoSocket)
    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    with pytest.raises(NetworkError):
        socket.socket()

    place = ("--data", people, "--out", tmp_path / "run")
    run = (*place, "--device", "cpu", *SMALL)
    copies = ("--ratio", "0.5", "--set", "synthesize.method=copies")
    for words in (
        ("check", people),
        ("synthesize", *run, *copies),
        ("bank", "score", *run),
        ("bank", "export", tmp_path / "out", *place),
        ("train-reid", *run, "--ratio", "0.5"),
        ("report", tmp_path / "run", "--format", "html"),
    ):
        result = CliRunner().invoke(main, list(map(str, words)))
        assert result.exit_code == 0, (words, result.output, result.exception)
