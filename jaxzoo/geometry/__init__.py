"""Symmetries of data: networks that respect them, and that measure or learn them."""
