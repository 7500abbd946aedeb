"""``reid-aug`` and ``python -m reid_aug``: the command line."""

import os
import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is still loading is a sentence too."""
    _open_streams()
    try:
        from reid_aug.runtime.interrupts import record_interrupts

        record_interrupts()
        from reid_aug.cli import main as command
    except KeyboardInterrupt:
        sys.stderr.write("error: stopped before anything was done\n")
        sys.exit(130)
    command()


def _open_streams() -> None:
    """Open the streams that the caller has closed, so that no file gets their numbers."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


if __name__ == "__main__":
    main()
