"""Boundary-weighted logit consistency for segmentation (Karani, Dey, Golland), in TensorFlow."""

__version__ = "0.1.0"
