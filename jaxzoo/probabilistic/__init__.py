"""Probabilistic models and inference: one file per paper, and what they share."""
