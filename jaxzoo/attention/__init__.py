"""Attention, what replaces it, and the blocks around it."""
