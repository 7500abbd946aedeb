"""Grids of experiments, the scripts that measure, and their results."""
