"""A working folder that holds a data set."""

import shutil

import pytest


@pytest.fixture
def here(people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(people, "data")
    return tmp_path
