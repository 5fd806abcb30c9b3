"""Smaller networks: pruning, quantisation, factors and distillation."""
