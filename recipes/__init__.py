"""Recipes: one TOML file contains every setting of an experiment."""
