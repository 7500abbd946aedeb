"""Services that every other package uses; nothing here is specific to people or images.

- errors: UserError, the error that a user can correct
- regular_files: reading regular files only, up to a size
- json_toml: the one parser of JSON and TOML
- csv_rows: the rows of a CSV file
- records: checked values of tables
- capacity: whether memory and disk suffice
- files: atomic commits, locks, hashes
- weights: reading and writing tensors without executing code
- interrupts: Ctrl-C, also where a package or Python swallows it
- progress: progress bars
- random_streams: names of the streams that a seed is split into
- workers: parallel maps over threads and processes
- distributed: the process group of ``torchrun``
- sync_batch_norm: batch norm over a process group
- bfloat16: whether this processor computes bfloat16 right
- machine: versions, devices, threads and CPU features
- optimizer_state: the state of Adam as named tensors
- pages: self-contained HTML files
- extensions: classes that installed packages add through entry points
"""
