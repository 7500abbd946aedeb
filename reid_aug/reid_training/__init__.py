"""The training of a re-ID network, in parts; :mod:`reid_aug.train_reid` is the whole.

    settings   the recipe's table ``[train_reid]``, and its named trainings, plain and strong
    batches    which images a step sees, with which random changes
    losses     what a real and a generated image count
    trainer    one step
    folder     what a training leaves behind, and where it goes on

torchreid's networks and transforms are not known here: they are handed in.
"""
