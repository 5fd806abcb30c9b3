"""The TPU kernels of quantised and of binary products: interpreted against the lax forms, lowered, compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxzoo_kernels import binary_matmul, explain, pack_bits, quantized_matmul
from jaxzoo_kernels._core import deviceless, relative_rms
from jaxzoo_kernels.binary_matmul import tpu as binary
from jaxzoo_kernels.binary_matmul.xla import popcount
from jaxzoo_kernels.quantized_matmul import tpu
from jaxzoo_kernels.quantized_matmul.xla import scaled

RNG = np.random.default_rng(0)
PAIRS = [
    ("int8", "int8"),
    ("int8", "int4"),
    ("float32", "int8"),
    ("bfloat16", "int4"),
    ("bfloat16", "float8_e4m3fn"),
    ("float8_e5m2", "float8_e4m3fn"),
]


@pytest.fixture(autouse=True)
def _seeded():
    """The same numbers in every test, whichever run before it."""
    global RNG
    RNG = np.random.default_rng(0)


def draw(*shape, dtype):
    info = jnp.iinfo(dtype) if dtype.startswith("int") else None
    values = RNG.normal(size=shape) if info is None else RNG.integers(info.min, info.max, shape, endpoint=True)
    return jnp.asarray(values, dtype)


def scale(*shape):
    return jnp.asarray(RNG.uniform(0.01, 0.1, shape), jnp.float32)


@pytest.mark.parametrize(("x", "w"), PAIRS)
@pytest.mark.parametrize(
    ("g", "m", "k", "n", "groups"),
    [(1, 5, 24, 7, (1, 1)), (1, 300, 1100, 130, (1, 1)), (2, 3, 512, 600, (1, 2)), (1, 9, 256, 128, (2, 2))],
)
def test_tpu_kernel_interpreted(x, w, g, m, k, n, groups):
    operands = draw(1, m, k, dtype=x), draw(g, k, n, dtype=w), scale(1, m, groups[0]), scale(g, groups[1], n)
    (got,) = tpu.run(*operands, out_dtype=jnp.float32, interpret=True)
    (want,) = scaled(*operands, jnp.float32)
    assert relative_rms(got, np.float64(want)) < 2e-6


def test_tpu_kernel_writes_the_narrow_result():
    operands = draw(1, 9, 256, dtype="bfloat16"), draw(1, 256, 40, dtype="int8"), scale(1, 1, 1), scale(1, 2, 40)
    (got,) = tpu.run(*operands, out_dtype=jnp.bfloat16, interpret=True)
    (want,) = scaled(*operands, jnp.float32)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(got), want, rtol=2**-8)


def test_the_kernels_are_taken_where_they_are_named_alone():
    x, w = jax.ShapeDtypeStruct((8, 256), "bfloat16"), jax.ShapeDtypeStruct((256, 64), "int4")
    s = jax.ShapeDtypeStruct((2, 64), "float32")
    (unnamed,) = explain(quantized_matmul, x, w, s)
    assert unnamed.choices["tpu"] == "xla"
    assert unnamed.blocks["pallas_tpu"] == {"m": 8, "n": 64, "k": 128}
    run = jax.jit(lambda *a: quantized_matmul(*a, implementation="pallas_tpu"))
    assert "tpu_custom_call" in run.trace(x, w, s).lower(lowering_platforms=("tpu",)).as_text()
    with pytest.raises(NotImplementedError, match="groups of 32 terms, which are not a multiple of 128"):
        run.trace(x, w, jax.ShapeDtypeStruct((8, 64), "float32")).lower(lowering_platforms=("tpu",))
    with pytest.raises(NotImplementedError, match="neither float16 nor float64"):
        run.trace(x.update(dtype=jnp.float16), w, s).lower(lowering_platforms=("tpu",))
    with pytest.raises(NotImplementedError, match="runs on tpu alone"):
        run(*(jnp.zeros(z.shape, z.dtype) for z in (x, w, s)))


@pytest.mark.parametrize(("m", "k", "n"), [(3, 1, 5), (5, 100, 7), (300, 4097, 130)])
def test_binary_tpu_kernel_interpreted(m, k, n):
    x, w = pack_bits(draw(1, m, k, dtype="float32")), pack_bits(draw(2, k, n, dtype="float32"), axis=-2)
    (got,) = binary.run(x, w, k=k, interpret=True)
    np.testing.assert_array_equal(got, popcount(x, w, k=k)[0])


def test_binary_kernel_ignores_bits_past_k():
    x, w = (jnp.asarray(RNG.integers(0, 2**32, shape, np.uint32)) for shape in ((1, 4, 2), (1, 2, 3)))
    np.testing.assert_array_equal(binary.run(x, w, k=40, interpret=True)[0], popcount(x, w, k=40)[0])


def test_binary_kernel_lowers():
    x, w = jax.ShapeDtypeStruct((40, 10), "uint32"), jax.ShapeDtypeStruct((10, 50), "uint32")
    run = jax.jit(lambda x, w: binary_matmul(x, w, 300, implementation="pallas_tpu"))
    assert "tpu_custom_call" in run.trace(x, w).lower(lowering_platforms=("tpu",)).as_text()


@pytest.mark.parametrize("topology", deviceless.TPU_GENERATIONS)
@pytest.mark.parametrize(("x", "w"), PAIRS)
def test_compiles_for_tpu(topology, x, w):
    pytest.importorskip("libtpu")
    if x == "int8" and topology.startswith("v4"):
        pytest.skip("the compiler takes no int8 product for v4")
    sharding = deviceless.tpu(topology)
    shapes = ((16, 1024), x), ((1024, 640), w), ((8, 640), "float32"), ((16,), "float32")
    args = [jax.ShapeDtypeStruct(*s, sharding=sharding) for s in shapes]
    run = jax.jit(lambda x, w, s, t: quantized_matmul(x, w, s, x_scale=t, implementation="pallas_tpu"))
    assert "tpu_custom_call" in run.lower(*args).compile().as_text()


@pytest.mark.parametrize("topology", deviceless.TPU_GENERATIONS[1:])
def test_binary_compiles_for_tpu(topology):
    pytest.importorskip("libtpu")
    sharding = deviceless.tpu(topology)
    x, w = (jax.ShapeDtypeStruct(s, "uint32", sharding=sharding) for s in ((300, 200), (200, 640)))
    run = jax.jit(lambda x, w: binary_matmul(x, w, 6390, implementation="pallas_tpu"))
    assert "tpu_custom_call" in run.lower(x, w).compile().as_text()
