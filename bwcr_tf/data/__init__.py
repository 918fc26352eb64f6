"""Scans and labels from disk, the data sets, who is trained on, and preprocessed volumes."""
