"""The split of the training identities: validation identities never train."""

import pytest

from benchmarks import validation_split
from reid_aug.data.dataset import read_market1501


@pytest.mark.parametrize("every", [2, 3])
def test_validation_identities_are_tested_and_never_trained(people, tmp_path, every, capsys):
    before = read_market1501(people)

    validation_split.main([str(people), str(tmp_path / "split"), "--every", str(every)])

    after = read_market1501(tmp_path / "split")
    pids = sorted({image.pid for image in before.train})
    trained = {image.pid for image in after.train}
    tested = {image.pid for image in (*after.query, *after.gallery)}
    assert (trained | tested, trained & tested) == ({*pids}, set())
    assert len(tested) == len(pids[every // 2 :: every])
    assert {(i.pid, i.camid) for i in after.query} == {
        (image.pid, image.camid) for image in before.train if image.pid in tested
    }
    assert len(after.query) == len({(image.pid, image.camid) for image in after.query})
    parts = (after.train, after.query, after.gallery)
    assert sorted(i.name for part in parts for i in part) == sorted(i.name for i in before.train)
    assert capsys.readouterr().out.startswith(f"{len(after.train)} in bounding_box_train, ")


def test_an_existing_folder_is_refused(people, tmp_path, capsys):
    with pytest.raises(SystemExit):
        validation_split.main([str(people), str(tmp_path)])

    assert "exists; name another folder" in capsys.readouterr().err
