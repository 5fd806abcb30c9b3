"""The field of 2^61 - 1 in 32-bit words: against Python's integers, in lax and in the interpreted TPU kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxzoo_kernels import explain
from jaxzoo_kernels._core import deviceless
from jaxzoo_kernels.m61 import from_words, limbs, m61_mul, mle_fold, reference, to_words, tpu, xla
from jaxzoo_kernels.m61.shapes import TINY

P = reference.P
RNG = np.random.default_rng(0)
EDGES = [0, 1, 2**13 - 1, 2**13, 2**32 - 1, 2**32, 2**52 - 1, 2**60, P - 2, P - 1]


@pytest.fixture(autouse=True)
def _seeded():
    """The same numbers in every test, whichever run before it."""
    global RNG
    RNG = np.random.default_rng(0)


def draw(n):
    """n numbers, the edges among them."""
    values = RNG.integers(0, P, n, np.uint64)
    values[RNG.permutation(n)[: len(EDGES)]] = EDGES[:n]
    return values


def integers(words):
    return from_words(words).tolist()


@pytest.mark.parametrize("n", TINY.values(), ids=TINY)
def test_products_and_folds_equal_python_integers(n):
    a, b, table = draw(n), draw(n), draw(2 * n)
    assert integers(m61_mul(to_words(a), to_words(b))) == reference.m61_mul(a.tolist(), b.tolist())
    got = mle_fold(to_words(table), to_words(b[0]))
    assert (got.dtype, got.shape) == (jnp.uint32, (2, n))
    assert integers(got) == reference.mle_fold(table.tolist(), int(b[0]))


def test_all_pairs_of_edges():
    a, b = np.array([(x, y) for x in EDGES for y in EDGES], np.uint64).T
    words = [list(to_words(v)) for v in (a, b)]
    sums = {limbs.add: lambda x, y: x + y, limbs.subtract: lambda x, y: x - y, limbs.multiply: lambda x, y: x * y}
    for ours, exact in sums.items():
        got = limbs.join(ours(*(limbs.split(*map(jnp.asarray, w)) for w in words), tpu.unrolled))
        assert integers(np.stack(got)) == [exact(x, y) % P for x, y in zip(a.tolist(), b.tolist(), strict=True)]


@pytest.mark.parametrize("n", [TINY["one"], TINY["blocks"]])
def test_tpu_kernel_of_products_interpreted(n):
    a, b = (jnp.asarray(np.stack([to_words(draw(n)) for _ in range(2)])) for _ in "ab")  # [2, 2, n]
    np.testing.assert_array_equal(tpu.run_multiply(a, b, interpret=True)[0], jax.jit(xla.multiply)(a, b)[0])


@pytest.mark.parametrize(("n", "points"), [(TINY["odd"], 2), (TINY["blocks"], 1)])
def test_tpu_kernel_of_folds_interpreted(n, points):
    a, b = (jnp.asarray(np.stack([to_words(draw(n)) for _ in range(2)])) for _ in "ab")  # [2, 2, n]
    u = a[:points, :, :1]
    np.testing.assert_array_equal(tpu.run_fold(a, b, u, interpret=True)[0], jax.jit(xla.fold)(a, b, u)[0])


def test_vmap_is_a_loop_and_reads_a_shared_point_once():
    tables, points = (jnp.asarray(np.stack([to_words(draw(n)) for _ in range(3)])) for n in (10, 1))
    points = points[:, :, 0]
    each = np.stack([mle_fold(t, u) for t, u in zip(tables, points, strict=True)])
    np.testing.assert_array_equal(jax.vmap(mle_fold)(tables, points), each)
    shared = np.stack([mle_fold(t, points[0]) for t in tables])
    np.testing.assert_array_equal(jax.vmap(mle_fold, (0, None))(tables, points[0]), shared)
    np.testing.assert_array_equal(jax.vmap(m61_mul)(tables, tables)[1], m61_mul(tables[1], tables[1]))


def test_every_function_lowers_for_tpu_and_cuda():
    x, u = jax.ShapeDtypeStruct((2, 1000), "uint32"), jax.ShapeDtypeStruct((2,), "uint32")
    for function, arguments in ((m61_mul, (x, x)), (mle_fold, (x, u))):
        named = jax.jit(lambda *a, f=function: f(*a, implementation="pallas_tpu"))
        assert "tpu_custom_call" in named.trace(*arguments).lower(lowering_platforms=("tpu",)).as_text()
        assert "custom_call" not in jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()
        (op,) = explain(function, *arguments)
        assert op.choices == {"cpu": "xla", "cuda": "xla", "tpu": "pallas_tpu"}


@pytest.mark.parametrize("topology", deviceless.TPU_GENERATIONS)
def test_compiles_for_tpu(topology):
    pytest.importorskip("libtpu")
    sharding = deviceless.tpu(topology)
    x, u = (jax.ShapeDtypeStruct(s, "uint32", sharding=sharding) for s in ((2, 40_000), (2,)))
    for function, arguments in ((m61_mul, (x, x)), (mle_fold, (x, u))):
        run = jax.jit(lambda *a, f=function: f(*a, implementation="pallas_tpu"))
        assert "tpu_custom_call" in run.lower(*arguments).compile().as_text()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: m61_mul(x, x[:, :2]), ValueError, r"b: expected a's shape \(2, 3\), got \(2, 2\)"),
        (lambda x: m61_mul(x[:1], x), ValueError, r"a: expected \[2, ...\], got \(1, 3\)"),
        (lambda x: m61_mul(x.astype(np.int32), x), TypeError, "a: expected dtype uint32 from to_words, got int32"),
        (lambda x: mle_fold(x, x[:, 0]), ValueError, r"table: expected \[2, 2 n\], got \(2, 3\)"),
        (lambda x: mle_fold(x[:, :2], x), ValueError, r"u: expected \[2\], got \(2, 3\)"),
        (lambda x: m61_mul(x, x, implementation="pallas_tpu"), NotImplementedError, "runs on tpu alone"),
    ],
)
def test_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call(np.zeros((2, 3), np.uint32))
