"""A data set and its keypoints: what is read from disk before anything is computed.

- dataset: PersonImage, Dataset, the kept set, apportionment of counts
- keypoints: the 18 joints of an image, and ``keypoints.csv``
- formats: the layouts that are converted into ours
- check: counts and faults of a data set
- pair_lists: lists of (source, target) images
- provenance: fingerprints, and which images trained a network
- pictures: crops with poses, tables of crops
"""
