"""More training data for person re-identification, and an honest answer to whether it helps."""

__version__ = "0.1.0"
