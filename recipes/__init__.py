"""Recipes: one TOML file contains every setting of an experiment. Installed as ``reid_aug.recipes``."""
