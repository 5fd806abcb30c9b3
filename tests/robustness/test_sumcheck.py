"""Sumcheck: constants, products, the identity of matrix products; every change of a coefficient is rejected."""

import numpy as np
import pytest

from jaxzoo.robustness import sumcheck as sc
from jaxzoo.robustness.m61 import P, m61_mul, to_m61
from jaxzoo.robustness.multilinear import contract, eq_table, mle_eval
from jaxzoo.robustness.transcript import Transcript

RNG = np.random.default_rng(0)


def draw(*shape):
    return RNG.integers(0, P, shape, np.uint64)


def exact_sum(tables):
    return sum(int(np.prod([int(v) for v in row], dtype=object)) for row in zip(*tables, strict=True)) % P


def proved(tables, degree):
    return sc.sumcheck_prove(tables, sc.product, degree, Transcript("test"))


def test_the_sum_of_32_ones():
    rounds, _, values = proved([np.ones(32, np.uint64)], 1)
    assert rounds[0][0] + rounds[0][1] == 32
    assert values == [1]
    value, _ = sc.sumcheck_verify(32, rounds, 1, 5, Transcript("test"))
    assert value == 1


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_honest_rounds_lead_to_the_product_of_the_values_at_the_point(degree):
    tables = [draw(32) for _ in range(degree)]
    rounds, point, values = proved(tables, degree)
    value, same_point = sc.sumcheck_verify(exact_sum(tables), rounds, degree, 5, Transcript("test"))
    assert point == same_point
    assert values == [int(mle_eval(t, np.array(point, np.uint64))) for t in tables]
    assert value == exact_sum([[v] for v in values])


def test_each_round_sums_to_the_last_claim():
    tables = [draw(16), draw(16)]
    rounds, point, _ = proved(tables, 2)
    claim = exact_sum(tables)
    for values, r in zip(rounds, point, strict=True):
        assert (values[0] + values[1]) % P == claim
        claim = sc.evaluate(sc.interpolate(values, 2), r)


def test_every_changed_value_is_rejected():
    tables = [draw(8), draw(8)]
    rounds, _, values = proved(tables, 2)
    for i in range(3):
        for j in range(3):
            changed = [list(row) for row in rounds]
            changed[i][j] = (changed[i][j] + 1) % P
            with pytest.raises(sc.Rejected):  # noqa: PT012
                value, _ = sc.sumcheck_verify(exact_sum(tables), changed, 2, 3, Transcript("test"))
                if value != exact_sum([[v] for v in values]):
                    raise sc.Rejected


def test_a_wrong_sum_and_rounds_of_other_size_are_rejected():
    tables = [draw(8)]
    rounds, _, _ = proved(tables, 1)
    for claim, sent in (
        (exact_sum(tables) + 1, rounds),
        (exact_sum(tables), rounds[:2]),
        (exact_sum(tables), [[*r, 0] for r in rounds]),
        (exact_sum(tables), [[rounds[0][0] + P, rounds[0][1]], *rounds[1:]]),
    ):
        with pytest.raises(sc.Rejected):
            sc.sumcheck_verify(claim, sent, 1, 3, Transcript("test"))


def test_blocks_compiled_by_jax_equal_numpy(monkeypatch):
    tables = [draw(64), draw(64)]
    whole = sc.round_values(tables, sc.product, 2), sc.fold_all(tables, 12345)
    monkeypatch.setattr(sc, "BLOCK", 16)
    assert sc.round_values(tables, sc.product, 2) == whole[0]
    np.testing.assert_array_equal(sc.fold_all(tables, 12345), whole[1])


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_interpolation(degree):
    coefficients = [int(c) for c in draw(degree + 1)]
    assert sc.interpolate([sc.evaluate(coefficients, x) for x in range(degree + 1)], degree) == coefficients


def test_matrix_products_at_50_random_points():
    a, w = RNG.integers(-(2**15), 2**15, (4, 8)), RNG.integers(-(2**15), 2**15, (8, 2))
    a_, w_, z_ = map(to_m61, (a, w, a @ w))
    for _ in range(50):
        u_b, u_o = eq_table(draw(2)), eq_table(draw(1))
        by_inner = m61_mul(contract(a_, [u_b, None]), contract(w_, [None, u_o]))
        assert contract(z_, [u_b, u_o]) == sum(by_inner.tolist()) % P
