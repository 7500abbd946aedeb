"""Attacks on every file that is read and every command that writes; ``make stress`` runs them.

    python -m benchmarks.stress files FOLDER [--cases 10000] [--minutes 60] [--seed 0]
    python -m benchmarks.stress kills FOLDER [--cases 1000] [--minutes 60] [--seed 0]
    python -m benchmarks.stress faults FOLDER [--cases 400] [--minutes 30] [--seed 0]

``files`` mutates valid files of every format, and reads each in a forked process. A file must be
read, or be refused in one sentence (``UserError``). Any other error, a signal, 20 seconds or 4 GB
of memory are a loss. ``kills`` ends commands at random moments, and ``faults`` runs them on a
machine with a fault: a full disk, a folder that cannot be written, an image that is deleted in the
meantime. Both run the commands again, and compare their files byte for byte with those of an
undisturbed run. All print how many cases per class were tried, survived and lost, and stop at the
time limit. ``--only NAME`` chooses a format or a command, and may be repeated.

- attempts: one case in a process of its own
- formats: valid files, and the code of the package that reads them
- mutations: what happens to a file
- commands: the commands that write, and the comparison of their files
- kills: commands that are ended at random moments
- faults: commands under faults of the machine
"""
