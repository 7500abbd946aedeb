"""The scores of ``bank score``, without the code that computes them.

    sharpness    contrast of neighbouring pixels; 1 as in the median kept image
    novelty      1 minus the correlation with the nearest kept image; 0 is a copy
    identity     cosine to the mean feature of the person's kept images
    margin       identity minus the largest cosine to another person
    pose         the part of the requested joints that MoveNet finds in the image

A larger score is better. The options of the command, the advice of a mix that lacks a score, and
the scores that a grid can filter by follow from :func:`bank_scores`. An installed package adds a
score through the entry point group ``reid_aug.bank_scores`` (:mod:`reid_aug.runtime.extensions`);
its class derives from :class:`reid_aug.stages.bank.score.BankScore`.
"""

from reid_aug.runtime.extensions import Declaration, declared

SCORE_GROUP = "reid_aug.bank_scores"
_SCORES = "reid_aug.stages.bank.score"

PIXELS = Declaration(f"{_SCORES}:PixelScore", ("sharpness", "novelty"))
NETWORK = Declaration(
    f"{_SCORES}:NetworkScore",
    ("identity", "margin"),
    "scorer",
    "MODEL",
    "A model.safetensors of train-reid, for identity and margin.  [default: not scored]",
)
JOINTS_SCORE = Declaration(
    f"{_SCORES}:JointsScore",
    ("pose",),
    "movenet",
    "FILE",
    "Weights of MoveNet, for pose.  [default: pose is not scored]",
)

SCORE_MEANINGS = {
    "sharpness": "contrast of neighbouring pixels; 1 is that of the median kept image, less is "
    "blurred",
    "novelty": "1 minus the correlation with the nearest kept image; 0 is a copy. A failed "
    "image is novel too, so novelty by itself is no quality",
    "identity": "cosine of its feature to the mean feature of the person's kept images; 1 is the "
    "same",
    "margin": "identity minus the largest such cosine to another person; below 0, the network "
    "takes the image for somebody else",
    "pose": "the part of the joints of the target pose that MoveNet finds in the image, 0 to 1",
}
PREFERRED_SCORES = (
    "margin",
    "identity",
    "pose",
    "sharpness",
)  # by which a page sorts if none is named

BUILT_IN_SCORES = (PIXELS, NETWORK, JOINTS_SCORE)


def bank_scores() -> tuple[Declaration, ...]:
    """The built-in scores, then those of installed packages.

    Raises:
        UserError: If the name of an entry point cannot be an option, or is taken.
    """
    return declared(BUILT_IN_SCORES, SCORE_GROUP)


def needs_of_scores() -> dict[str, dict[str, str]]:
    """The options that ``bank score`` needs for every score, as {"scorer": "MODEL"}; {} for none.

    The classes of installed packages are imported.
    """
    resolved = (one.resolved() for one in bank_scores())
    return {
        name: {one.option: "FILE" if one.group else one.needs} if one.option and one.needs else {}
        for one in resolved
        for name in one.names
    }


def scores_of_grid() -> tuple[str, ...]:
    """The scores that a grid computes itself: those of its own network, and those without weights.

    The classes of installed packages are imported.
    """
    resolved = [one.resolved() for one in bank_scores()]
    without_weights = [name for one in resolved if not one.needs for name in one.names]
    return (*NETWORK.names, *without_weights)
