"""A study: many trainings, one table.

benchmark               runs a whole grid
grid, cell              the grid file with its axes, and one training of the grid
cost                    estimates of time and disk space
shared_work             generators, banks and scores that several cells need, each made once
tasks                   one training as a task, with retries
local_pool, ray_pool    pools that run the tasks: on this machine, on a Ray cluster
report                  rows, gains, tables, the HTML page
"""
