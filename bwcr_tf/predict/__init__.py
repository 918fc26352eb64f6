"""Segments scans with an exported model: labels, probabilities, entropy, volumes."""
