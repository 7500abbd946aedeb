from pathlib import Path

import pytest

from reid_aug.people import PeopleConfig, write_people


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "people"
    write_people(folder, PeopleConfig(identities=4, test_identities=4))
    return folder
