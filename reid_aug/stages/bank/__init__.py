"""Commands on a finished bank, and the import of images from other software.

- opening: the bank that a command works on
- verify: check every property and checksum
- score: scores of each image, for ``--min-score``
- show: contact sheet and page
- export: a bank as a folder in Market-1501 layout
- import_: a bank of images that other software generated
"""
