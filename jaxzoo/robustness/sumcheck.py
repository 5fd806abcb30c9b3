"""Sumcheck: a claimed sum over {0, 1}^n, brought down to one evaluation at a random point, a variable a round.

    S = sum_x f(x),   f a function of multilinear tables, of degree d in each variable
    round i: g_i(X) = sum over the later variables of f(r_1 .. r_{i-1}, X, x_{i+1} ..)
             g_1(0) + g_1(1) = S,   g_i(0) + g_i(1) = g_{i-1}(r_{i-1})

`round_values` and `fold_all` are the prover's work, and most of a proof's time. Here they serve the textbook protocol,
which sends the values of g_i as they are; in `hidden` its coefficients are sent in commitments.

Source: Lund, Fortnow, Karloff, Nisan, "Algebraic Methods for Interactive Proof Systems" (1992).
"""

import jax
import numpy as np

from jaxzoo.robustness.m61 import P, m61_add, m61_mul, m61_sub, m61_sum
from jaxzoo.robustness.multilinear import mle_fold

BLOCK = 2**16
"""Entries that one compiled call takes. Shorter tables stay in NumPy, which needs no compilation per size."""


class Rejected(Exception):
    """A proof that does not hold; the message says which check failed."""


def product(tables):
    """f = product of the tables."""
    total = tables[0]
    for table in tables[1:]:
        total = m61_mul(total, table)
    return total


def round_values(tables, combine, degree) -> list[int]:
    """g(0), g(1) .. g(degree) of the first variable.

    Args:
      tables: arrays [2 n] uint64 below p, alike in shape.
      combine: from a tuple of arrays to an array: f.
      degree: d.

    Returns:
      d + 1 integers below p.
    """
    size = tables[0].shape[0]
    if size <= BLOCK:
        return [int(v) for v in _values(tables, combine, degree)]
    with jax.enable_x64(True):
        parts = [_compiled_values([t[i : i + BLOCK] for t in tables], combine, degree) for i in range(0, size, BLOCK)]
    return [sum(map(int, column)) % P for column in zip(*parts, strict=True)]


def fold_all(tables, r: int):
    """The tables with their first variable bound to r."""
    size, r = tables[0].shape[0], np.uint64(r)
    if size <= BLOCK:
        return [mle_fold(table, r) for table in tables]
    with jax.enable_x64(True):
        parts = [[_compiled_fold(t[i : i + BLOCK], r) for i in range(0, size, BLOCK)] for t in tables]
    return [np.concatenate(part) for part in parts]


def interpolate(values, degree) -> list[int]:
    """The coefficients c_0 .. c_d of the polynomial with these values at 0 .. d."""
    return [sum(a * v for a, v in zip(row, values, strict=True)) % P for row in _INVERSE[degree]]


def evaluate(coefficients, x: int) -> int:
    """sum_j c_j x^j."""
    total = 0
    for c in reversed(coefficients):
        total = (total * x + c) % P
    return total


def sumcheck_prove(tables, combine, degree, transcript):
    """Proves the sum of `combine(tables)`.

    Args:
      tables: arrays [2^n] uint64 below p.
      combine: f, of degree `degree` in each table's variable.
      degree: 1 to 3.
      transcript: a `Transcript` that has absorbed what the sum is about, the sum included.

    Returns:
      `(rounds, point, values)`: d + 1 integers a round; the n challenges; every table's t~(point).
    """
    rounds, point = [], []
    while tables[0].shape[0] > 1:
        values = round_values(tables, combine, degree)
        transcript.absorb("round", values)
        rounds.append(values)
        point.append(transcript.challenge("point"))
        tables = fold_all(tables, point[-1])
    return rounds, point, [int(t[0]) for t in tables]


def sumcheck_verify(claim: int, rounds, degree, variables, transcript):
    """Checks the rounds; what is left is for the caller: that f at the point has the value returned.

    Args:
      claim: the sum that is claimed.
      rounds: what the prover sent.
      degree, variables: d and n.
      transcript: as the prover's was.

    Returns:
      `(value, point)`.

    Raises:
      Rejected: a number of rounds or values that is not n or d + 1, or g(0) + g(1) that is not the last claim.
    """
    if len(rounds) != variables:
        raise Rejected(f"rounds: expected {variables}, got {len(rounds)}")
    point = []
    for values in rounds:
        if len(values) != degree + 1 or not all(0 <= v < P for v in values):
            raise Rejected(f"round: expected {degree + 1} numbers below p")
        if (values[0] + values[1] - claim) % P:
            raise Rejected("round: g(0) + g(1) is not the claim")
        transcript.absorb("round", values)
        point.append(transcript.challenge("point"))
        claim = evaluate(interpolate(values, degree), point[-1])
    return claim, point


def _values(tables, combine, degree):
    lines = [(t[0::2], m61_sub(t[1::2], t[0::2])) for t in tables]
    at = [low for low, _ in lines]
    values = []
    for i in range(degree + 1):
        values.append(m61_sum(combine(at)))
        if i < degree:
            at = [m61_add(x, slope) for x, (_, slope) in zip(at, lines, strict=True)]
    return values


_compiled_values = jax.jit(_values, static_argnums=(1, 2))
_compiled_fold = jax.jit(mle_fold)


def _inverse_vandermonde(degree):
    """Rows: coefficients; columns: values at 0 .. degree. From Lagrange's basis polynomials."""
    columns = []
    for i in range(degree + 1):
        basis, scale = [1], 1
        for j in range(degree + 1):
            if j != i:
                basis = [(b - j * a) % P for a, b in zip([*basis, 0], [0, *basis], strict=True)]
                scale = scale * (i - j) % P
        columns.append([c * pow(scale, -1, P) % P for c in basis])
    return [list(row) for row in zip(*columns, strict=True)]


_INVERSE = {degree: _inverse_vandermonde(degree) for degree in (1, 2, 3)}
