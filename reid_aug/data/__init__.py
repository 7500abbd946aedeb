"""Data sets and keypoints: reading, checking and converting them.

- dataset: PersonImage, Dataset, the kept set, apportionment of counts
- keypoints: the 18 joints of an image, and ``keypoints.csv``
- listing: what a format finds on the disk, and the data set that follows from it
- foreign_images: images that other software generated, by their file names
- formats: every layout that is read, and the conversion to that of Market-1501
- check: counts and faults of a data set
- pair_lists: lists of (source, target) images
- provenance: fingerprints and the leak status of a network
- pictures: pictures of crops and poses
"""
