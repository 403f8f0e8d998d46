"""Measurements: what a model still knows and still can."""
