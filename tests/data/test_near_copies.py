"""Nearly equal images are found, however many files show one image."""

import tracemalloc
from pathlib import Path

import numpy as np

from reid_aug.data.check.near_copies import near_copies, signature

A, B, C, D, E = (Path(f"{letter}.jpg") for letter in "abcde")


def described(*images):
    """Signatures and hashes of (path, grey level, hash)."""
    signatures = {p: signature(np.full((16, 8, 3), grey, np.uint8)) for p, grey, _ in images}
    return signatures, {path: digest for path, _, digest in images}


def test_every_file_is_paired_with_the_first_near_one():
    known = described((A, 50, "x"), (B, 50, "x"), (C, 53, "y"), (D, 54, "z"), (E, 90, "e"))

    assert near_copies([B, A, E], [D, C], *known) == [(A, C), (B, C)]


def test_equal_pixels_are_no_near_copy():
    known = described((A, 50, "x"), (B, 50, "x"), (C, 51, "y"))

    assert near_copies([A], [B], *known) == []
    assert near_copies([A], [B, C], *known) == [(A, C)]
    assert near_copies([], [B], *known) == near_copies([A], [], *known) == []


def test_thousands_of_one_blank_image_take_no_memory():
    train, test = ([Path(f"{split}{n}.jpg") for n in range(4000)] for split in ("a", "b"))
    one = signature(np.zeros((16, 8, 3), np.uint8))
    signatures = dict.fromkeys([*train, *test], one)
    hashes = dict.fromkeys(train, "x") | dict.fromkeys(test, "y")
    tracemalloc.start()

    pairs = near_copies(train, test, signatures, hashes)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pairs == [(path, test[0]) for path in sorted(train)]
    assert peak < 10**7
