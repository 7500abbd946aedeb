"""``python -m reid_aug``: the command line."""

from reid_aug.cli import main

main()
