"""A study: many trainings, one table.

    benchmark               all of it, from a grid file to a table
    grid, cell              the file that says what is varied, and one training of it
    cost                    what it will take
    shared_work             generators, banks and scores that several cells need, each made once
    tasks                   one training, run and run again
    local_pool, ray_pool    where trainings run: this machine, a cluster
    report                  rows, gains, tables, the HTML page

What a training is for, and what its table says, is not known here.
"""
