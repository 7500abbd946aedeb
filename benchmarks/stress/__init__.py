"""Attacks on every file that is read and every command that writes; ``make stress`` runs them.

    python -m benchmarks.stress files FOLDER [--cases 10000] [--minutes 60] [--seed 0]
    python -m benchmarks.stress kills FOLDER [--cases 1000] [--minutes 60] [--seed 0]

``files`` mutates valid files of every format, and reads each in a forked process. A file must be
read, or be refused in one sentence (``UserError``). Any other error, a signal, 20 seconds or 4 GB
of memory are a loss. ``kills`` ends commands at random moments, runs them again, and compares their
files byte for byte with those of an undisturbed run. Both print how many cases per class were
tried, survived and lost, and stop at the time limit.

- attempts: one case in a process of its own
- formats: valid files, and the code of the package that reads them
- mutations: what happens to a file
- kills: commands that are ended at random moments
"""
