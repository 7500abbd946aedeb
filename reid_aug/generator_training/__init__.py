"""The training of a generator, in parts; :mod:`reid_aug.train_generator` is the whole.

    settings           the recipe's table ``[train_generator]``
    pairs              whom a step sees: two images of one person
    trainer            one step of generator and discriminators
    teacher            a re-ID network that says whom a drawing shows
    starting_weights   what a training goes on from, where that is not random
    folder, record     what it leaves behind: states, log, samples, the best so far

Nothing here knows where the data are from, or how long the training is.
"""
