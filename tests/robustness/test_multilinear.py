"""Multilinear extensions: known values, Boolean points, factors against dense tables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.robustness import multilinear as ml
from jaxzoo.robustness import tensor_sum as ts
from jaxzoo.robustness.m61 import P

RNG = np.random.default_rng(0)


def draw(*shape):
    return RNG.integers(0, P, shape, np.uint64)


def exact_outer(vectors):
    table = np.ones((), object)
    for v in vectors:
        table = np.multiply.outer(table, v.astype(object)) % P
    return table


def test_known_value():
    assert ml.mle_eval(np.uint64([1, 2, 3, 4]), np.uint64([5, 7])) == 20  # 1 + u_0 + 2 u_1
    with jax.enable_x64(True):
        got = jax.jit(ml.mle_eval)(jnp.asarray([1, 2, 3, 4], jnp.uint64), jnp.asarray([5, 7], jnp.uint64))
        assert (got.dtype, int(got)) == (jnp.uint64, 20)


def test_a_boolean_point_returns_the_entry():
    table = draw(16)
    for x in range(16):
        u = np.uint64([x >> i & 1 for i in range(4)])
        assert ml.mle_eval(table, u) == table[x]


def test_eq_table_sums_to_1_and_weighs_the_entries():
    u, table = draw(6), draw(64)
    weights = ml.eq_table(u)
    assert sum(weights.tolist()) % P == 1
    assert sum(w * t for w, t in zip(weights.tolist(), table.tolist(), strict=True)) % P == int(ml.mle_eval(table, u))
    assert ml.eq_table([]).tolist() == [1]


def test_vmap_over_tables_is_a_loop():
    tables, u = draw(3, 8), draw(3)
    with jax.enable_x64(True):
        got = jax.vmap(ml.mle_eval, (0, None))(jnp.asarray(tables), jnp.asarray(u))
        assert got.tolist() == [int(ml.mle_eval(t, u)) for t in tables]


def test_factors_are_their_outer_product():
    vectors, others, table = [draw(2), draw(4), draw(8)], [draw(2), draw(4), draw(8)], draw(2, 4, 8)
    dense = exact_outer(vectors)
    np.testing.assert_array_equal(ml.outer(vectors).astype(object), dense)
    assert ml.inner(vectors, others) == (dense * exact_outer(others)).sum() % P
    assert ml.contract(table, vectors) == (dense * table.astype(object)).sum() % P


def test_contraction_keeps_axes_without_a_vector_and_skips_zeros():
    table, middle = draw(2, 4, 8), np.uint64([0, 5, 0, 7])
    kept = ml.contract(table, [None, middle, None])
    want = (table.astype(object) * middle.astype(object)[None, :, None]).sum(1) % P
    np.testing.assert_array_equal(kept.astype(object), want)
    assert ml.contract(table, [np.zeros(2, np.uint64), None, None]).tolist() == [[0] * 8] * 4


@pytest.mark.parametrize("small", [ts.SMALL, 32])
def test_tensor_sum_in_one_piece_and_in_blocks(small, monkeypatch):
    monkeypatch.setattr(ts, "SMALL", small)
    scales, factors = [3, P - 1], [[draw(4), draw(4), draw(8)] for _ in range(2)]
    want = (3 * exact_outer(factors[0]) - exact_outer(factors[1])) % P
    np.testing.assert_array_equal(ts.tensor_sum(scales, factors).astype(object), want)


def test_shapes_that_do_not_fit_raise():
    with pytest.raises(ValueError, match=r"table: expected \[8\] for 3 variables, got \(4,\)"):
        ml.mle_eval(draw(4), draw(3))
    with pytest.raises(ValueError, match=r"table: expected \[2 n\], got \(3,\)"):
        ml.mle_fold(draw(3), np.uint64(1))
