"""The cost of a job: time and disk space."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Cost:
    """An estimate, measured on one step."""

    seconds: float
    """Working time on the device that was measured."""
    bytes: int
    """The most disk space that the files of the job need."""

    def describe(self, device: "torch.device") -> str:
        """The estimate in words.

        >>> import torch
        >>> Cost(600, 12_000_000).describe(torch.device("cpu"))
        'about 10 min on cpu, 12 MB'
        """
        return f"about {duration(self.seconds)} on {device}, {amount(self.bytes)}"


def amount(size: int) -> str:
    """A number of bytes in the unit that suits it.

    >>> amount(400), amount(12_000_000), amount(2_500_000_000)
    ('0.4 kB', '12 MB', '2.5 GB')
    """
    for least, unit in ((1e9, "GB"), (1e6, "MB")):
        if size >= least:
            return f"{size / least:.{0 if size >= 10 * least else 1}f} {unit}"
    return f"{size / 1e3:.{0 if size >= 10_000 else 1}f} kB"


def duration(seconds: float) -> str:
    """A time in the unit that suits its size.

    >>> duration(90), duration(600), duration(9000), duration(1_000_000)
    ('90 s', '10 min', '2.5 h', '11.6 days')
    """
    for size, unit, digits in ((86_400, "days", 1), (3600, "h", 1), (60, "min", 0)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.{digits}f} {unit}"
    return f"{seconds:.0f} s"
