"""Scans and labels from disk, the data sets, their splits, and preprocessed volumes."""
