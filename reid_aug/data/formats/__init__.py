"""Layouts of data sets: those that are read, and those that are converted to Market-1501's.

- deepfashion: DeepFashion In-shop with the published lists of PATN, converted
"""

from pathlib import Path

from reid_aug.data.dataset import Dataset, read_market1501


def read_dataset(path: Path | str) -> Dataset:
    """Read a data set in a layout that is read directly: Market-1501's; file names, no pixels.

    Raises:
        UserError: If a folder is missing or empty, or the name of an image does not fit.
    """
    return read_market1501(path)
