"""Trains and scores many runs."""
