"""The grids that ship with the package, installed as ``reid_aug.grids``."""
