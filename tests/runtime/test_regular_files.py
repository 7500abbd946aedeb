import os
import socket
import tempfile
from pathlib import Path

import pytest

from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.regular_files import open_regular, read_bytes, read_text, require_regular


def a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def a_socket(folder: Path) -> Path:
    path = Path(tempfile.mkdtemp(dir="/tmp")) / "s"  # a socket has a short path
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
    return path


def a_link_to_a_device(folder: Path) -> Path:
    (folder / "link.jpg").symlink_to("/dev/zero")
    return folder / "link.jpg"


OTHERS = {
    "a named pipe": a_pipe,
    "a socket": a_socket,
    "a device": a_link_to_a_device,
    "a folder": lambda folder: folder,
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("read", [require_regular, open_regular, read_bytes, read_text])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, kind, read):
    path = OTHERS[kind](tmp_path)

    with pytest.raises(UserError, match=rf"^{path}: must be a regular file, got {kind}; move it$"):
        read(path, remedy="move it")


@pytest.mark.parametrize("path", ["none.json", "file/none.json"])
def test_a_missing_file_has_its_remedy(tmp_path, path):
    (tmp_path / "file").touch()

    with pytest.raises(UserError, match=r"none.json is missing; make it with: reid-aug demo$"):
        read_bytes(tmp_path / path, remedy=Remedy(("demo",)))


def test_a_link_to_a_regular_file_is_read(tmp_path):
    (tmp_path / "file").write_text("größer")
    (tmp_path / "link").symlink_to("file")

    assert read_text(tmp_path / "link") == "größer"


def test_a_large_file_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)

    with pytest.raises(UserError, match=r"must be at most 100 bytes, got 1099511627776"):
        read_bytes(tmp_path / "sparse", 100)


def test_a_file_that_states_no_size_is_read_up_to_the_limit():
    with pytest.raises(UserError, match=r"/proc/self/status: must be at most 10 bytes, got 11"):
        read_bytes("/proc/self/status", 10)


def test_text_must_be_utf_8(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a,\xff")

    with pytest.raises(UserError, match=r"a.csv: must be text in UTF-8, got the byte 0xff at pos"):
        read_text(tmp_path / "a.csv")
