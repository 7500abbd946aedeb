"""Conversion of other data sets to Market-1501 layout.

- deepfashion: DeepFashion In-shop with the published lists of PATN
"""
