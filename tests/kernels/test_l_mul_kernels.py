"""The Pallas kernel of l_mul_matmul: interpreted against the lax form, lowered and, where possible, compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxzoo_kernels import explain, l_mul, l_mul_matmul
from jaxzoo_kernels._core import deviceless
from jaxzoo_kernels.l_mul import tpu
from jaxzoo_kernels.l_mul.shapes import TINY
from jaxzoo_kernels.l_mul.xla import matmul

RNG = np.random.default_rng(0)
OPTIONS = {"semantics": "bits", "rounding": "nearest", "gradient": "straight_through"}
DTYPES = ["float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"]


@pytest.fixture(autouse=True)
def _seeded():
    """The same numbers in every test, whichever run before it."""
    global RNG
    RNG = np.random.default_rng(0)


def draw(*shape, dtype="float32"):
    return jnp.asarray(RNG.normal(size=shape), dtype)


@pytest.mark.parametrize(("shape", "bits"), [(TINY["odd"], 23), (TINY["heads"], 3), ((1, 40, 70, 130), 23)])
def test_tpu_kernel_interpreted(shape, bits):
    g, m, k, n = shape
    x, y = draw(g, m, k), draw(g, k, n)
    (got,), (want,) = (
        jax.jit(lambda x, y, f=f, o=o: f(x, y, mantissa_bits=bits, **OPTIONS, **o))(x, y)
        for f, o in ((tpu.run, {"interpret": True}), (matmul, {}))
    )
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_tpu_kernel_guards_as_the_lax_form_does():
    raw = RNG.integers(0, 2**32, (2, 300), np.uint32, endpoint=False).view(np.float32)
    raw[0, :6], raw[1, :6] = [0.0, -0.0, 1e-40, 1e30, np.inf, 3.0], [3e38, 1.0, 1e30, -1e30, 0.0, np.nan]
    x, y = raw[0][None, :, None], raw[1][None, None, :]
    (got,), (want,) = (
        f(x, y, mantissa_bits=23, **OPTIONS, **o) for f, o in ((tpu.run, {"interpret": True}), (matmul, {}))
    )
    np.testing.assert_array_equal(got, want)


def test_tpu_kernel_reads_a_shared_operand_once():
    x, y = draw(1, 5, 9), draw(2, 9, 6)
    (got,) = tpu.run(x, y, mantissa_bits=23, interpret=True, **OPTIONS)
    (want,) = matmul(x, y, mantissa_bits=23, **OPTIONS)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_lowers(dtype):
    x = jax.ShapeDtypeStruct((40, 40), dtype)
    run = jax.jit(lambda x, y: l_mul_matmul(x, y, implementation="pallas_tpu"))
    assert "tpu_custom_call" in run.trace(x, x).lower(lowering_platforms=("tpu",)).as_text()


def test_the_literal_form_is_left_to_the_matrix_unit():
    x = jax.ShapeDtypeStruct((40, 40), "bfloat16")
    (bits,), (literal,) = (explain(l_mul_matmul, x, x, semantics=s) for s in ("bits", "literal"))
    assert bits.choices == {"cpu": "xla", "cuda": "xla", "tpu": "pallas_tpu"}
    assert bits.blocks["pallas_tpu"] == {"m": 32, "n": 128, "k": 32}
    assert literal.choices["tpu"] == "xla"
    assert "two ordinary products" in literal.refusals["pallas_tpu"]


@pytest.mark.parametrize("topology", deviceless.TPU_GENERATIONS)
def test_compiles_for_tpu(topology):
    pytest.importorskip("libtpu")
    for dtype in ("float32", "float8_e4m3fn"):
        x = jax.ShapeDtypeStruct((300, 300), dtype, sharding=deviceless.tpu(topology))
        run = jax.jit(lambda x, y: l_mul_matmul(x, y, implementation="pallas_tpu"))
        assert "tpu_custom_call" in run.lower(x, x).compile().as_text()


@pytest.mark.parametrize(("wheel", "device"), [("libtpu", deviceless.tpu), ("jax_cuda13_plugin", deviceless.hopper)])
@pytest.mark.parametrize("semantics", ["bits", "literal"])
def test_the_lax_forms_compile_for_accelerators(semantics, wheel, device):
    pytest.importorskip(wheel)
    x = jax.ShapeDtypeStruct((64, 64), "bfloat16", sharding=device())
    options = {"semantics": semantics}
    run = jax.jit(lambda x: l_mul_matmul(x, x, implementation="xla", **options) + l_mul(x, x, **options))
    run.lower(x).compile()
