"""What every other package stands on; nothing here knows about persons or images.

- errors: the one error that a user can mend
- files: atomic commits, locks, hashes
- weights: reading and writing tensors without executing code
- progress: progress bars
- random_streams: names of the streams that a seed is split into
- workers: threads and processes
- distributed: the process group of ``torchrun``
- sync_batch_norm: batch norm over a process group
- bfloat16: whether this processor computes bfloat16 right
- optimizer_state: the state of Adam as named tensors
- pages: self-contained HTML files
- extensions: classes that installed packages add through entry points
"""
