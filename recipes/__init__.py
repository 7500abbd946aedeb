"""Recipes: one TOML file says everything that an experiment needs."""
