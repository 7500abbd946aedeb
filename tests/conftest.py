import os
from pathlib import Path

import pytest

# oneDNN reads this at its first use. With AMX, its bfloat16 convolutions return NaN on some
# processors. A training on a CPU is checked for that, one on the pretend CUDA device is not.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")

from reid_aug.people import PeopleConfig, write_people


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "people"
    write_people(folder, PeopleConfig(identities=4, test_identities=4))
    return folder
