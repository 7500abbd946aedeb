"""Names for the random streams that a seed is split into.

A stream is ``numpy.random.default_rng([seed, stream, *key])``: its second entry is a member of one
of the enums below. Streams of different members are independent, so a stage may draw more numbers
from one of them without a change to any other.

One enum per owner. Within an enum no number occurs twice; numbers of different enums may be equal.
The numbers determine the bytes of data sets, banks and trainings. Never change or reuse one.
"""

from enum import IntEnum, unique


@unique
class PeopleStream(IntEnum):
    """Streams of the seed of the built-in people."""

    APPEARANCE = 1  # body and clothes of an identity; key: pid
    SHOTS = 2  # cameras, places and postures of an identity; key: pid
    PHOTOGRAPHS = 4  # frame numbers and the choice of the queries; key: pid
    DISTRACTORS = 5  # distractor and junk boxes; key: pid
    TRANSFERRED_SIGHT = 6  # window and exposure of a render under another camera; key: names, camid
    CAMERA = 9  # position and colours of a camera; key: camera, counted from 0


@unique
class GeneratorStream(IntEnum):
    """Streams of the recipe's seed in the training of the generator."""

    SAMPLES = 0  # the eight pairs of the sample sheet
    PAIRS = 1  # pairs and flips of a batch; key: step
    IMAGE_POOLS = 2  # exchange of images in the pools of the discriminators; key: step
    DROPOUT = 3  # the seed of torch in a step; key: step, rank
    VALIDATION = 4  # the pairs held out for validation


@unique
class BankStream(IntEnum):
    """Streams of the recipe's seed in the generation of a bank."""

    JITTER = 6  # light of a generated image; key: pid of the source, seat


@unique
class ReidStream(IntEnum):
    """Streams of the recipe's seed in the training of the re-ID network."""

    REAL = 4  # order of the (real) images of the mix; key: lap
    IDENTITIES = 5  # order of the identities; key: lap
    REAL_OF_IDENTITY = 6  # order of an identity's (real) images; key: class, lap
    GENERATED = 7  # order of the generated images of the mix; key: lap
    GENERATED_OF_IDENTITY = 8  # order of an identity's generated images; key: class, lap
    TRANSFORM = 9  # random changes of one image; key: number of the image in the training
    DROPOUT = 10  # the seed of torch in a step; key: step, rank


@unique
class UserStudyStream(IntEnum):
    """Streams of the recipe's seed in a user study."""

    ORDER = 7  # order of the crops
    CROPS = 8  # choice of the crops
