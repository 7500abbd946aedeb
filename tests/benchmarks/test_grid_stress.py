"""A grid that is killed at random moments prints the table of an uninterrupted one."""

import pytest

from benchmarks.grid_stress import killed


@pytest.mark.slow
def test_a_grid_killed_at_random_moments_resumes_to_the_same_table(tmp_path):
    assert killed(tmp_path, 3, seed=1).total() == 3
