"""Grids of experiments, and what came out of them."""
