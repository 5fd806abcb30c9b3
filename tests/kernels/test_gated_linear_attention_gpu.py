"""The Mosaic GPU kernels of gated_linear_attention: interpreted, lowered, compiled, and taken where they are named."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from jaxzoo_kernels import explain, gated_linear_attention
from jaxzoo_kernels._core import compat, deviceless, relative_rms
from jaxzoo_kernels.gated_linear_attention import gpu, gpu_backward, xla
from jaxzoo_kernels.gated_linear_attention.shapes import Shape

GATES = ("none", "scalar", "vector")
# More than one chunk, a ragged end, both widths of keys, one and several blocks of values.
INTERPRETED = {
    "no gate": (Shape(1, 150, 2, 128, 64, "none"), "bfloat16", None),
    "scalar gate": (Shape(1, 70, 2, 64, 128, "scalar"), "float16", "float32"),
    "vector gate": (Shape(1, 130, 1, 64, 192, "vector"), "bfloat16", "float32"),
    "vector gate of 16 bits": (Shape(2, 64, 1, 128, 64, "vector"), "bfloat16", "bfloat16"),
}


def operands(shape, dtype, gate_dtype):
    """The operands of the backward op; those of the forward op are all but the last two."""
    b, t, h, dk, dv, gate = shape
    rng = np.random.default_rng(0)
    draw = lambda *size, dtype=dtype: jnp.asarray(rng.normal(size=size), dtype)  # noqa: E731
    state = lambda: draw(b, h, dk, dv, dtype="float32")  # noqa: E731
    given = [draw(b, t, h, dk), draw(b, t, h, dk), draw(b, t, h, dv)]
    if gate != "none":
        # From 0 to -1e4, side by side: most gates are mild, some close.
        log_a = -(rng.exponential(size=(b, t, h, dk)[: 3 + (gate == "vector")]) ** 2) / 8
        log_a[rng.uniform(size=log_a.shape) < 0.02] = -1e4
        given.append(jnp.asarray(log_a, gate_dtype))
    return [*given, state(), draw(b, t, h, dv), state()]


def params(shape):
    return {"gate": shape.gate, "chunk": 64, "scale": 0.3}


def public(gate="vector", dtype="bfloat16", dk=64, dv=64, t=200, h=2, implementation="pallas_gpu", **given):
    """The public op on abstract arguments, as (function, arguments)."""
    sharding, gate_dtype = given.get("sharding"), given.get("gate_dtype", "float32")
    make = lambda *size, dtype=dtype: jax.ShapeDtypeStruct(size, dtype, sharding=sharding)  # noqa: E731
    args = [make(2, t, h, dk), make(2, t, h, dk), make(2, t, h, dv)]
    if gate != "none":
        args.append(make(2, t, h, *([dk] if gate == "vector" else []), dtype=gate_dtype))
    return lambda *args: gated_linear_attention(*args, implementation=implementation), args


def gradient(function, args):
    def loss(*args):
        return sum(jnp.sum(x.astype(jnp.float32) ** 2) for x in function(*args))

    return jax.grad(loss, tuple(range(len(args))))


def lowered(function, args):
    with compat.abstract_gpu():
        return jax.jit(function).trace(*args).lower(lowering_platforms=("cuda",)).as_text()


def interpreter():
    return compat.gpu_interpreter() or pytest.skip("this JAX has no public GPU interpreter")


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "dtype", "gate_dtype"), INTERPRETED.values(), ids=INTERPRETED)
def test_interpreted(shape, dtype, gate_dtype):
    given = operands(shape, dtype, gate_dtype)
    for kernel, form, args in ((gpu.forward, xla.forward, given[:-2]), (gpu_backward.backward, xla.backward, given)):
        assert kernel.refuse(*args, **params(shape)) is None
        with interpreter():
            got = kernel.run(*args, **params(shape))
        wanted = form(*(x.astype("float32") for x in args), **params(shape))
        for x, y, z in zip(got, wanted, jax.eval_shape(functools.partial(form, **params(shape)), *args), strict=True):
            assert x.dtype == z.dtype
            assert relative_rms(np.float32(x), np.asarray(y, np.float64)) < 5e-3


@pytest.mark.slow
@pytest.mark.parametrize("gate", ["scalar", "vector"])
def test_a_gate_that_forgets_leaves_no_trace(gate):
    """Steps before it get cotangents of exactly zero from what comes after it."""
    start, shape = 66, Shape(1, 100, 1, 64, 64, gate)
    q, k, v, log_a, state, ct_o, ct_last = operands(shape, "bfloat16", "float32")
    log_a, ct_o = log_a.at[:, start].set(-1e4), ct_o.at[:, :start].set(0)
    with interpreter():
        *cts, ct_state = gpu_backward.backward.run(q, k, v, log_a, state, ct_o, ct_last, **params(shape))
    for ct in cts:
        assert not np.any(np.float32(ct[:, :start]))
        assert np.any(np.float32(ct[:, start:]))
    assert not np.any(ct_state)


@pytest.mark.slow
def test_two_parts_of_values_add_up_as_one_does(monkeypatch):
    shape = Shape(1, 64, 1, 64, 128, "none")
    args = operands(shape, "float16", None)
    results = []
    for width in (128, 64):
        monkeypatch.setattr(gpu_backward, "_width", lambda _, width=width: width)
        with interpreter():
            results.append(gpu_backward.backward.run(*args, **params(shape)))
    for x, y in zip(*results, strict=True):
        assert relative_rms(np.float32(x), np.asarray(y, np.float64)) < 1e-3


@pytest.mark.parametrize(("dtype", "dk"), [(gpu.DTYPES[0], 64), (gpu.DTYPES[1], 64), (gpu.DTYPES[0], 128)])
@pytest.mark.parametrize("gate", GATES)
def test_every_dtype_lowers_for_cuda(gate, dtype, dk):
    function, args = public(gate, dtype, dk, dv=192)
    text = lowered(gradient(function, args), args)
    # Two forward; backward the first of them again, two sweeps, a passage and what a chunk does by itself.
    assert len(re.findall("custom_call @mosaic_gpu", text)) == 7


@pytest.mark.parametrize("gate_dtype", gpu.GATES)
def test_every_dtype_of_a_gate_lowers(gate_dtype):
    function, args = public("scalar", "float16", gate_dtype=gate_dtype)
    assert "mosaic_gpu" in lowered(gradient(function, args), args)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"dtype": "float32"}, "multiply bfloat16 or float16 exactly, q, k and v alike, not float32"),
        ({"dk": 96}, "dk of 64 or 128 and dv a multiple of 64"),
        ({"dv": 32}, "dk of 64 or 128 and dv a multiple of 64"),
        ({"t": 0}, "fill the tiles"),
        ({"h": 70_000}, "at most 65535 examples, heads and chunks"),
        ({"t": 64 * 65535 + 1}, "at most 65535 examples, heads and chunks"),
    ],
)
def test_what_they_cannot_take_they_refuse(given, reason):
    function, args = public(**given)
    with pytest.raises(NotImplementedError, match=reason):
        lowered(function, args)


def test_the_backward_pass_refuses_what_the_forward_pass_does():
    shape = Shape(1, 64, 1, 64, 64, "vector")
    avals = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in operands(shape, "bfloat16", "float32")]
    assert gpu_backward.backward.refuse(*avals, **params(shape)) is None
    avals[-2] = jax.ShapeDtypeStruct(avals[-2].shape, "float32")
    assert "not float32" in gpu_backward.backward.refuse(*avals, **params(shape))
    avals[3] = jax.ShapeDtypeStruct(avals[3].shape, "float8_e4m3fn")
    assert "a gate is bfloat16, float16, float32" in gpu.forward.refuse(*avals[:-2], **params(shape))


@pytest.mark.parametrize("gate", GATES)
def test_they_are_taken_where_they_are_named_alone(gate):
    function, args = public(gate, dv=128, implementation=None)
    ops = {op.op: op for op in explain(gradient(function, args), *args)}
    names = "gated_linear_attention", "gated_linear_attention_backward"
    assert [ops[name].choices for name in names] == [{"cpu": "xla", "cuda": "xla", "tpu": "pallas_tpu"}] * 2
    assert ops[names[0]].blocks["pallas_gpu"] == {"chunk": 64, "values": 64, "stages": 2}
    assert ops[names[1]].blocks["pallas_gpu"] == {"chunk": 64, "keys": 64, "values": 128, "stages": 2}
    assert "mosaic_gpu" not in lowered(gradient(function, args), args)
    function, args = public(gate)
    ops = {op.op: op for op in explain(gradient(function, args), *args)}
    assert [ops[name].choices["cuda"] for name in names] == ["pallas_gpu"] * 2


def test_lowers_under_vmap():
    function, args = public()
    batched = [jax.ShapeDtypeStruct((3, *x.shape), x.dtype) for x in args]
    assert "mosaic_gpu" in lowered(jax.vmap(gradient(function, args)), batched)


def test_lowers_inside_a_shard_map():
    function, args = public()  # the mesh is that of `abstract_gpu`, one device along "x"
    specs = (P(None, None, "x"),) * len(args)
    sharded = jax.shard_map(gradient(function, args), in_specs=specs, out_specs=specs)
    assert "mosaic_gpu" in lowered(sharded, args)


def test_exports():
    function, args = public()
    with compat.abstract_gpu():
        exported = jax.export.export(
            jax.jit(gradient(function, args)), platforms=("cuda",), disabled_checks=compat.exportable_kernels()
        )(*args)
    assert "mosaic_gpu" in exported.mlir_module()
    assert [(x.shape, x.dtype) for x in exported.out_avals] == [(x.shape, x.dtype) for x in args]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", gpu.DTYPES)
@pytest.mark.parametrize("dk", [64, 128])
@pytest.mark.parametrize("gate", GATES)
def test_compiles_for_hopper_without_spills(gate, dk, dtype, capfd, monkeypatch):
    pytest.importorskip("jax_cuda13_plugin")
    monkeypatch.setenv("MOSAIC_GPU_DUMP_PTXAS", "1")
    for dv, gate_dtype in ((128, "float32"), (64, "bfloat16")):
        function, args = public(gate, dtype, dk, dv, gate_dtype=gate_dtype, sharding=deviceless.hopper())
        jax.jit(gradient(function, args)).lower(*args).compile()
        report = "".join(capfd.readouterr())
        spills = re.findall(r"\d+ bytes spill stores", report)
        print(gate, dk, dv, dtype, *re.findall(r"Used \d+ registers", report), *spills)
        assert "sm_90a" in report
        assert set(spills) == {"0 bytes spill stores"}
        assert "serialized" not in report  # what ptxas says where products wait for registers
