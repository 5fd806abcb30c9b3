"""Pairs of graphs that the Weisfeiler-Leman test on pairs of nodes or less can't tell apart, for expressiveness."""

import numpy as np


def hexagon():
    """The cycle of six nodes: `(edges [6, 2], 6)`. Like `two_triangles` for 1-WL."""
    return np.array([(i, (i + 1) % 6) for i in range(6)], np.int32), 6


def two_triangles():
    """Two triangles apart: `(edges [6, 2], 6)`."""
    return np.array([(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)], np.int32), 6


def _torus(steps):
    """The Cayley graph of Z_4 x Z_4 with these steps and their inverses: `(edges, 16)`."""
    edges = {
        tuple(sorted((4 * a + b, 4 * ((a + i) % 4) + (b + j) % 4)))
        for a in range(4)
        for b in range(4)
        for i, j in steps
    }
    return np.array(sorted(edges), np.int32), 16


def rook():
    """The 4 x 4 rook's graph, same row or same column: `(edges [48, 2], 16)`. Like `shrikhande` even for 2-WL."""
    return _torus([(0, 1), (0, 2), (1, 0), (2, 0)])


def shrikhande():
    """The Shrikhande graph: `(edges [48, 2], 16)`; its triangles are as many as the rook's, but in no 4-clique."""
    return _torus([(0, 1), (1, 0), (1, 1)])
