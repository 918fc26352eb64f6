"""Predictions of a volume and their scores; analysis, calibration, intervals and significance."""
