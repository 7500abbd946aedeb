"""The rows of a CSV file with commas, quoted as by RFC 4180."""

import csv
import io
from pathlib import Path

from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.regular_files import TEXT, read_text


def read_rows(path: Path | str, remedy: Remedy | str = "") -> list[list[str]]:
    """All rows, also empty ones; the text may begin with a byte order mark.

    Args:
        remedy: what to do if the file is missing.

    Raises:
        UserError: If the file is missing, no regular file, too large, not in UTF-8 or no CSV.
    """
    text = read_text(path, TEXT, remedy, encoding="utf-8-sig")
    try:
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise UserError(f"{path}: must be a CSV file, got {error}; save it again") from None
