"""Data sets and keypoints: reading, checking and converting them.

- dataset: PersonImage, Dataset, the kept set, apportionment of counts
- keypoints: the 18 joints of an image, and ``keypoints.csv``
- formats: conversion from the layouts of other data sets
- check: counts and faults of a data set
- pair_lists: lists of (source, target) images
- provenance: fingerprints and the leak status of a network
- pictures: pictures of crops and poses
"""
