"""Layouts of other data sets, written out in Market-1501 layout.

- deepfashion: DeepFashion In-shop with PATN's published lists
"""
