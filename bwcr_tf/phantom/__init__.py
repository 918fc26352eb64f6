"""The synthetic data set: hearts whose true class probabilities are known."""
