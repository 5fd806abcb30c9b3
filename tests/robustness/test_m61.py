"""The field of 2^61 - 1: against Python's integers, in NumPy and in JAX; wrong dtypes raise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.robustness import m61
from jaxzoo.robustness.m61 import P

RNG = np.random.default_rng(0)
EDGES = [0, 1, 2, 2**30 - 1, 2**31 - 1, 2**31, 2**60, 2**60 + 1, P - 2, P - 1]


def draw(n):
    """n numbers, with all pairs of the edges first."""
    a, b = RNG.integers(0, P, (2, n), np.uint64)
    pairs = np.array([(x, y) for x in EDGES for y in EDGES], np.uint64)
    a[: len(pairs)], b[: len(pairs)] = pairs.T
    return a, b


@pytest.mark.parametrize(
    ("function", "exact"),
    [
        (m61.m61_add, lambda a, b: (a + b) % P),
        (m61.m61_sub, lambda a, b: (a - b) % P),
        (m61.m61_mul, lambda a, b: a * b % P),
    ],
)
def test_against_python_integers_on_100_000_pairs(function, exact):
    a, b = draw(100_000)
    want = [exact(int(x), int(y)) for x, y in zip(a, b, strict=True)]
    assert function(a, b).tolist() == want
    with jax.enable_x64(True):
        got = jax.jit(function)(jnp.asarray(a), jnp.asarray(b))
        assert got.dtype == jnp.uint64
        assert got.tolist() == want


def test_known_products_and_inverses():
    one = np.ones(1, np.uint64)
    assert m61.m61_mul(one << np.uint64(60), one << np.uint64(60)).item() == 2**59
    assert m61.m61_mul(one * np.uint64(P - 1), one * np.uint64(P - 1)).item() == 1
    assert m61.m61_inv(np.uint64([3])).item() == 1537228672809129301
    assert m61.m61_inv(np.uint64([0, 1, P - 1])).tolist() == [0, 1, P - 1]
    a = RNG.integers(1, P, 100, np.uint64)
    assert m61.m61_mul(a, m61.m61_inv(a)).tolist() == [1] * 100


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_sums_and_inner_products(axis):
    a, b = (RNG.integers(P - 9, P, (40, 30), np.uint64) for _ in "ab")
    exact = lambda x: (x.astype(object).sum(axis) % P).tolist() if axis is not None else int(x.astype(object).sum()) % P  # noqa: E731
    assert m61.m61_sum(a, axis).tolist() == exact(a)
    assert m61.m61_dot(a, b, axis).tolist() == exact(a.astype(object) * b.astype(object) % P)
    with jax.enable_x64(True):
        assert jax.jit(m61.m61_dot, static_argnums=2)(a, b, axis).tolist() == m61.m61_dot(a, b, axis).tolist()


def test_vmap_is_a_loop():
    a, b = (RNG.integers(0, P, (3, 5), np.uint64) for _ in "ab")
    with jax.enable_x64(True):
        each = [m61.m61_mul(*pair) for pair in zip(a, b, strict=True)]
        np.testing.assert_array_equal(jax.vmap(m61.m61_mul)(a, b), np.stack(each))


def test_signed_integers_there_and_back():
    v = np.int64([0, 1, -1, 2**59, -(2**59), P // 2, -(P // 2)])
    assert m61.to_m61(v).tolist() == [int(x) % P for x in v]
    np.testing.assert_array_equal(m61.from_m61(m61.to_m61(v)), v)


def test_wrong_dtypes_raise():
    with pytest.raises(TypeError, match=r"a: expected an array of uint64 .*, got uint32"):
        m61.m61_add(jnp.zeros(2, jnp.uint32), np.zeros(2, np.uint64))
    with pytest.raises(TypeError, match="b: expected an array of uint64"):
        m61.m61_mul(np.zeros(2, np.uint64), 3)
    with pytest.raises(TypeError, match="v: expected dtype int64"):
        m61.to_m61(np.zeros(2, np.int32))
