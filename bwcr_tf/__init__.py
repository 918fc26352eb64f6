"""Boundary-weighted logit consistency for segmentation (Karani, Dey, Golland), in TensorFlow."""
