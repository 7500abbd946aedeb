"""A study, in parts: many trainings, one table; :mod:`reid_aug.benchmark` is the whole.

    grid, cell              the file that says what is varied, and one training of it
    cost                    what it will take
    shared_work             generators, banks and scores that several cells need, each made once
    tasks                   one training, run and run again
    local_pool, ray_pool    where trainings run: this machine, a cluster

What a training is for, and what its table says, is not known here.
"""
