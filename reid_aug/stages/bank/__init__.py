"""What is done with a bank once it is there, or instead of making one.

- verify: check every property and checksum
- score: scores of each image, for ``--min-score``
- show: contact sheet and page
- export: a bank as a folder in Market-1501 layout
- import_: a bank out of images that another generator made
"""
