"""The Pallas TPU kernels of gated_linear_attention: interpreted, lowered, and compiled where possible."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxzoo_kernels import explain, gated_linear_attention
from jaxzoo_kernels._core import compat, deviceless, relative_rms
from jaxzoo_kernels.gated_linear_attention import tpu, xla
from jaxzoo_kernels.gated_linear_attention.shapes import TINY

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _seeded():
    """The same numbers in every test, whichever run before it."""
    global RNG
    RNG = np.random.default_rng(0)


def operands(shape, dtype="float32"):
    """The forward operands, then what the backward pass takes besides."""
    b, t, h, dk, dv, gate = shape
    draw = lambda *size, dtype=dtype: jnp.asarray(RNG.normal(size=size), dtype)  # noqa: E731
    log_a = {
        "none": [],
        "scalar": [-jnp.abs(draw(b, t, h, dtype="float32"))],
        "vector": [-jnp.abs(draw(b, t, h, dk, dtype="float32"))],
    }[gate]
    log_a = [x.at[:, ::5].set(-1e4) for x in log_a]
    forward = [draw(b, t, h, dk), draw(b, t, h, dk), draw(b, t, h, dv), *log_a, draw(b, h, dk, dv, dtype="float32")]
    return forward, [draw(b, t, h, dv), draw(b, h, dk, dv, dtype="float32")]


def public(shape, dtype, implementation=None, **options):
    """The public op on abstract arguments, as (function, arguments)."""
    b, t, h, dk, dv, gate = shape
    make = lambda *size, dtype=dtype: jax.ShapeDtypeStruct(size, dtype, **options)  # noqa: E731
    args = [make(b, t, h, dk), make(b, t, h, dk), make(b, t, h, dv)]
    if gate != "none":
        args.append(make(b, t, h, *([dk] if gate == "vector" else []), dtype="float32"))
    return lambda *args: gated_linear_attention(*args, implementation=implementation), args


def both_passes(function):
    return jax.grad(lambda *args: sum(jnp.sum(jnp.float32(x) ** 2) for x in function(*args)), (0, 1, 2))


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("gate", TINY)
def test_tpu_kernel_interpreted(gate, direction):
    args, cotangents = operands(TINY[gate])
    params = {"gate": gate, "chunk": 16, "scale": 0.3}
    if direction == "forward":
        got, want = tpu.forward.run(*args, interpret=True, **params), xla.forward(*args, **params)
    else:
        args = [*args, *cotangents]
        got, want = tpu.backward.run(*args, interpret=True, **params), xla.backward(*args, **params)
    for x, y in zip(got, want, strict=True):
        assert relative_rms(x, np.asarray(y, np.float64)) < 2e-6


@pytest.mark.parametrize("dtype", tpu.DTYPES)
@pytest.mark.parametrize("gate", TINY)
def test_every_dtype_lowers_for_tpu(gate, dtype):
    function, args = public(TINY[gate], dtype, "pallas_tpu")
    text = jax.jit(both_passes(function)).trace(*args).lower(lowering_platforms=("tpu",)).as_text()
    assert len(re.findall("custom_call @tpu_custom_call", text)) == 3


def test_what_a_kernel_cannot_take_falls_back_or_says_why():
    wide = TINY["vector"]._replace(dk=512)
    function, args = public(wide, "float32")
    (op,) = explain(function, *args)
    assert op.choices["tpu"] == "xla"
    assert "dk and dv of at most 256" in op.refusals["pallas_tpu"]
    function, args = public(wide, "float32", "pallas_tpu")
    with pytest.raises(NotImplementedError, match="at most 256"):
        jax.jit(function).trace(*args).lower(lowering_platforms=("tpu",))


def test_one_export_holds_three_platforms():
    function, args = public(TINY["scalar"], "float32")
    with compat.abstract_gpu():
        exported = jax.export.export(
            jax.jit(function), platforms=("cpu", "tpu", "cuda"), disabled_checks=compat.exportable_kernels()
        )(*args)
    assert "tpu_custom_call" in exported.mlir_module()
    *given, _ = operands(TINY["scalar"])[0]
    for x, y in zip(exported.call(*given), function(*given), strict=True):
        assert relative_rms(x, np.asarray(y, np.float64)) < 2e-6


@pytest.mark.parametrize("topology", deviceless.TPU_GENERATIONS)
@pytest.mark.parametrize("gate", TINY)
def test_compiles_for_tpu(topology, gate):
    pytest.importorskip("libtpu")
    for dtype in tpu.DTYPES:
        shape = TINY[gate]._replace(t=128, dk=128, dv=128)
        function, args = public(shape, dtype, "pallas_tpu", sharding=deviceless.tpu(topology))
        assert "tpu_custom_call" in jax.jit(both_passes(function)).lower(*args).compile().as_text()
