"""A grid that is killed at random moments ends in the table of one that was not."""

import pytest

from benchmarks.grid_stress import killed


@pytest.mark.slow
def test_killed_at_random_moments_it_goes_on_to_the_same_table(tmp_path):
    assert killed(tmp_path, 3, seed=1).total() == 3
