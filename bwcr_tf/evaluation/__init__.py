"""Predictions of a volume and what they are worth: scores, analysis, calibration, significance."""
