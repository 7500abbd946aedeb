"""The command line: parse options, call one stage, print its result.

Heavy modules are imported inside the commands, so that ``--help`` takes little time. A
``UserError`` becomes one line on stderr and exit code 2. Any other exception is a fault of this
package and shows its traceback.

    stages                         a data set in, files of a run folder out
    generator, bank, poses, reid   commands for generators, banks, poses and re-ID networks
    grids                          many trainings, and their tables
    machine                        doctor, and the options --version and --json
    options, errors                the options that commands share, and the report of errors
    declared                       options that follow from declared metrics and scores
    recipes                        the keys of recipes
"""

import click

from reid_aug.cli.bank import bank
from reid_aug.cli.errors import OneLine
from reid_aug.cli.generator import generator
from reid_aug.cli.grids import benchmark, demo, report
from reid_aug.cli.machine import doctor, version_options
from reid_aug.cli.poses import estimate_poses
from reid_aug.cli.recipes import recipe
from reid_aug.cli.reid import reid
from reid_aug.cli.stages import (
    check,
    convert,
    deepfashion,
    people,
    synthesize,
    train_generator,
    train_reid,
)


@click.group(cls=OneLine, context_settings={"help_option_names": ["-h", "--help"]})
@version_options
def main() -> None:
    """Make more training data for person re-identification, and measure whether it helps.

    Without --recipe and --data, every command works on the built-in people with the generator of
    the package, so these commands run on a fresh machine:

    \b
        reid-aug demo
        reid-aug synthesize --ratio 0.5
        reid-aug train-reid --backbone resnet50

    With your own images (a folder in a usual layout, or a CSV of path,pid,camid,split; with their
    keypoints.csv):

    \b
        reid-aug check DIR
        reid-aug train-generator --recipe market1501 --data DIR
        reid-aug synthesize --recipe market1501 --data DIR --ratio 1
        reid-aug train-reid --recipe market1501 --data DIR --ratio 0
        reid-aug train-reid --recipe market1501 --data DIR --ratio 1
        reid-aug report runs/NAME

    NAME is the name of the folder DIR, unless --out names a run folder.
    """  # noqa: D301 (click's mark for "do not re-wrap" is this control character)


for command in (
    bank, benchmark, check, convert, deepfashion, demo, doctor, estimate_poses, generator, people,
    recipe, reid, report, synthesize, train_generator, train_reid,
):  # fmt: skip
    main.add_command(command)
