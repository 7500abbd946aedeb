"""Checking a data set in several processes finds what one process finds."""

import shutil

from reid_aug.data.check import check_dataset, images


def test_two_processes_find_what_one_finds(people, tmp_path, monkeypatch):
    data = shutil.copytree(people, tmp_path / "data")
    broken, *_ = sorted((data / "query").iterdir())
    broken.write_bytes(b"no image")
    shutil.copy(sorted((data / "query").iterdir())[1], data / "query" / "0001_c1s1_999999_00.jpg")
    monkeypatch.setattr(images, "DECODED_AT_ONCE", 16)
    seen = []

    def progress(files):
        for path in files:
            seen.append(path)
            yield path

    single = check_dataset(data, None)
    monkeypatch.setattr(images, "CORES", 2)
    monkeypatch.setattr(images, "FILES_PER_PROCESS", 1)
    together = check_dataset(data, None, progress)

    assert together.record() == single.record()
    assert together.images.contents.keys() == single.images.contents.keys()
    for path, content in together.images.contents.items():
        assert content.sha256 == single.images.contents[path].sha256
    assert any(str(broken) in fault.text for fault in together.faults)
    assert len(seen) == len(set(seen)) > 32
