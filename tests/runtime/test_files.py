import errno
import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import (
    Claim,
    committed,
    joined,
    locked,
    new_folder,
    sha256,
    write_json,
)

KILLED = """
import os, signal, sys
from reid_aug.runtime.files import committed
with committed(sys.argv[1]) as part:
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
KILLED_FOLDER = """
import os, signal, sys
from reid_aug.runtime.files import new_folder
with new_folder(sys.argv[1]) as part:
    (part / "a").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""

HOLDER = """
import sys
from reid_aug.runtime.files import Claim, locked
from pathlib import Path
with locked(sys.argv[1]), Claim(Path(sys.argv[1]) / "a.lock"):
    print("held", flush=True)
    sys.stdin.read()
"""


def write_half(path: Path, error: BaseException | type[BaseException]) -> None:
    with committed(path) as part:
        part.write_text("half")
        raise error


def kill_while_writing(path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert ended.returncode == -9


def test_committed_file_appears_under_its_name_only(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"

    with committed(path) as part:
        part.write_text("whole")
        assert not path.exists()

    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_file_stays_as_it_was_when_the_writer_raises(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    with pytest.raises(error):
        write_half(path, error)

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_appears_when_the_first_writer_raises(tmp_path):
    with pytest.raises(ValueError, match="broken"):
        write_half(tmp_path / "a.txt", ValueError("broken"))

    assert list(tmp_path.iterdir()) == []


def test_nothing_remains_when_the_name_belongs_to_a_folder(tmp_path):
    (tmp_path / "a").mkdir()

    with (
        pytest.raises(UserError, match="a: must be a regular file, got a folder"),
        committed(tmp_path / "a") as part,
    ):
        part.write_text("whole")

    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_temporary_file_is_a_sibling_with_another_suffix(tmp_path):
    with committed(tmp_path / "a.jpg") as part:
        part.write_text("whole")

        assert part.parent == tmp_path
        assert part.suffix == ".part"


def test_committed_file_has_the_permissions_of_a_plain_new_file(tmp_path):
    (tmp_path / "plain").touch()

    with committed(tmp_path / "a.txt") as part:
        part.unlink()
        part.touch(mode=0o600)

    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_file_stays_as_it_was_when_the_writer_is_killed(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    kill_while_writing(path)

    assert path.read_text() == "old"


def test_next_write_removes_the_leftover_of_a_killed_writer(tmp_path):
    path = tmp_path / "a.txt"
    kill_while_writing(path)

    with committed(path) as part:
        part.write_text("whole")

    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_next_new_folder_removes_the_leftover_of_a_killed_one(tmp_path):
    ended = subprocess.run([sys.executable, "-c", KILLED_FOLDER, tmp_path / "data"], check=False)
    assert ended.returncode == -9
    assert len(list(tmp_path.iterdir())) == 1

    with new_folder(tmp_path / "data") as part:
        (part / "a").write_text("whole")

    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_folder_that_another_process_filled_meanwhile_is_unchanged(tmp_path):
    with pytest.raises(UserError, match="data: must be missing or an empty folder"):
        fill_while_another_process_does(tmp_path / "data")

    assert (tmp_path / "data/a").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def fill_while_another_process_does(root: Path) -> None:
    with new_folder(root) as part:
        (part / "a").write_text("ours")
        root.mkdir()
        (root / "a").write_text("theirs")


def test_json_is_written_in_the_order_of_its_keys(tmp_path):
    value = {"mAP": 0.5, "seed": 3, "counts": {"real": 2}, "backbone": "osnet"}

    write_json(tmp_path / "a.json", value)

    read = json.loads((tmp_path / "a.json").read_text())
    assert list(read.items()) == list(value.items())


def test_json_with_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"mAP": float("nan")})

    assert list(tmp_path.iterdir()) == []


def test_sha256_is_the_hash_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")

    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_locks_vanish_with_a_killed_holder(tmp_path):
    command = [sys.executable, "-c", HOLDER, tmp_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another reid-aug command uses this folder"):
            locked(tmp_path).__enter__()
        assert not Claim(tmp_path / "a.lock").is_held

        holder.kill()

    with locked(tmp_path), Claim(tmp_path / "a.lock") as claim:
        assert claim.is_held


@pytest.mark.parametrize("lock", [locked, joined, lambda folder: Claim(folder / "a.lock")])
def test_a_file_system_without_locks_is_one_sentence(tmp_path, monkeypatch, lock):
    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)

    text = rf"{re.escape(str(tmp_path))}.*: must lie on a file system with locks \(flock\), got"
    with pytest.raises(UserError, match=text), lock(tmp_path):
        pass
