"""``reid-aug`` and ``python -m reid_aug``: the command line."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is still loading is a sentence too."""
    try:
        from reid_aug.cli import main as command
    except KeyboardInterrupt:
        sys.stderr.write("error: stopped before anything was done\n")
        sys.exit(130)
    command()


if __name__ == "__main__":
    main()
