"""binary_matmul against the product of signs: exact, for every length, both lax forms, every transform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from jaxzoo_kernels import binary_matmul, explain, pack_bits
from jaxzoo_kernels._core import deviceless
from jaxzoo_kernels.binary_matmul import _binary_matmul, reference
from jaxzoo_kernels.binary_matmul.shapes import TINY
from jaxzoo_kernels.binary_matmul.xla import matrix_unit, popcount, unpack

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _seeded():
    """The same numbers in every test, whichever run before it."""
    global RNG
    RNG = np.random.default_rng(0)


def draw(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def ours(x, w, **options):
    return binary_matmul(pack_bits(x), pack_bits(w, axis=-2), x.shape[-1], **options)


@pytest.mark.parametrize("name", TINY)
def test_both_forms_are_exact(name):
    m, k, n = TINY[name]
    x, w = draw(m, k), draw(k, n)
    want = reference.binary_matmul(x, w)
    got = ours(x, w)
    assert got.dtype == jnp.int32
    np.testing.assert_array_equal(got, want)
    words = pack_bits(x)[None], pack_bits(w, axis=-2)[None]
    for form in (popcount, matrix_unit):
        np.testing.assert_array_equal(jax.jit(form, static_argnames="k")(*words, k=k)[0][0], want)


def test_bits_are_where_the_docstring_says():
    x = np.ones(70, np.int8)
    x[[0, 33, 69]] = -1
    np.testing.assert_array_equal(pack_bits(x), np.uint32([1, 2, 1 << 5]))
    np.testing.assert_array_equal(pack_bits(np.float32([0.0, -0.0, np.nan, -1e-30, -np.inf])), np.uint32([0b11000]))


@pytest.mark.parametrize(("shape", "axis"), [((40,), 0), ((3, 40, 2), 1), ((3, 40, 2), -2), ((64, 2), 0)])
def test_unpacking_gives_the_signs_back(shape, axis):
    x = draw(*shape)
    np.testing.assert_array_equal(unpack(pack_bits(x, axis=axis), x.shape[axis], axis % x.ndim), np.sign(x))


@pytest.mark.parametrize("form", [popcount, matrix_unit])
def test_bits_past_the_end_are_ignored(form):
    x, w = (RNG.integers(0, 2**32, shape, np.uint32) for shape in ((1, 3, 2), (1, 2, 4)))
    (got,) = jax.jit(form, static_argnames="k")(x, w, k=37)
    signs = unpack(x, 37, 2)[0].astype(np.int32) @ unpack(w, 37, 1)[0].astype(np.int32)
    np.testing.assert_array_equal(got[0], signs)


@pytest.mark.parametrize("shapes", [((2, 3, 40), (40, 5)), ((3, 40), (2, 40, 5)), ((2, 1, 3, 40), (6, 40, 5))])
def test_leading_axes_broadcast(shapes):
    x, w = (draw(*shape) for shape in shapes)
    np.testing.assert_array_equal(ours(x, w), reference.binary_matmul(x, w))


@pytest.mark.parametrize("axes", [(0, None), (None, 1), (2, 0)])
def test_vmap(axes):
    x, w = draw(3, 40, 2), draw(2, 40, 5)
    x = x[:, :, 0] if axes[0] is None else np.moveaxis(x, 2, axes[0])
    w = w[0] if axes[1] is None else np.moveaxis(w, 0, axes[1])
    each = [[z if a is None else np.take(z, i, a) for i in range(2)] for z, a in zip((x, w), axes, strict=True)]
    want = [reference.binary_matmul(*pair) for pair in zip(*each, strict=True)]
    np.testing.assert_array_equal(jax.vmap(ours, axes)(x, w), want)


@pytest.mark.parametrize("check_vma", [True, False])
def test_shard_map(check_vma):
    mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
    x, w = draw(3, 40), draw(40, 8)
    sharded = jax.shard_map(ours, mesh=mesh, in_specs=(P(), P(None, "d")), out_specs=P(None, "d"), check_vma=check_vma)
    np.testing.assert_array_equal(jax.jit(sharded)(x, w), reference.binary_matmul(x, w))


def test_a_network_around_it_can_be_differentiated():
    x, w = draw(3, 40), draw(40, 8)
    gradient = jax.grad(lambda s: jnp.sum(s * ours(x, w).astype(jnp.float32)))(jnp.float32(2))
    assert gradient == reference.binary_matmul(x, w).sum()
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(ours(x, w).astype(jnp.float32)))(x), np.zeros_like(x))


def test_never_holds_every_word():
    x = jax.ShapeDtypeStruct((128, 128), jnp.uint32)
    memory = jax.jit(lambda x, w: binary_matmul(x, w, 128 * 32)).lower(x, x).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 4 * 128**3 / 4


@pytest.mark.parametrize(("wheel", "device"), [("libtpu", deviceless.tpu), ("jax_cuda13_plugin", deviceless.hopper)])
def test_compiles_for_accelerators(wheel, device):
    pytest.importorskip(wheel)
    sharding = device()
    x, w = (jax.ShapeDtypeStruct(shape, "uint32", sharding=sharding) for shape in ((64, 8), (8, 64)))
    jax.jit(lambda x, w: binary_matmul(x, w, 250)).lower(x, w).compile()


def test_one_export_explain_and_one_trace():
    x, w = draw(3, 40), draw(40, 8)
    exported = jax.export.export(jax.jit(ours), platforms=("cpu", "tpu", "cuda"))(x, w)
    np.testing.assert_array_equal(exported.call(x, w), ours(x, w))
    (op,) = explain(ours, x, w)
    assert (op.op, op.operations) == ("binary_matmul", 2 * 3 * 40 * 8)
    assert op.bytes == 4 * (3 * 2 + 2 * 8 + 3 * 8)
    before = _binary_matmul._cache_size()
    ours(x + 1, w)
    assert _binary_matmul._cache_size() == before


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda w: binary_matmul(w, w, 40), ValueError, r"w: expected \[..., 2, n\], got \(3, 2\)"),
        (lambda w: binary_matmul(w, w.T, 70), ValueError, r"x: expected \[..., m, 3\] for k = 70, got \(3, 2\)"),
        (
            lambda w: binary_matmul(w.astype(int), w.T, 40),
            TypeError,
            "x: expected dtype uint32 from pack_bits, got int32",
        ),
        (lambda w: pack_bits(w), TypeError, "x: expected a floating or signed integer dtype, got uint32"),
        (lambda w: pack_bits(w.astype(jnp.int32), axis=2), ValueError, "axis: expected one of x's 2 axes, got 2"),
        (lambda w: binary_matmul(w, w.T, 40, implementation="cudnn"), ValueError, "implementation: expected None"),
    ],
)
def test_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call(jnp.zeros((3, 2), jnp.uint32))
