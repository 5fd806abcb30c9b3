"""The Pallas kernels of linear_recurrence: interpreted against the lax form, lowered and, where possible, compiled."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxzoo_kernels import explain, linear_recurrence
from jaxzoo_kernels._core import compat, deviceless
from jaxzoo_kernels.linear_recurrence import gpu, tpu
from jaxzoo_kernels.linear_recurrence.shapes import GPU, TINY, Shape
from jaxzoo_kernels.linear_recurrence.xla import rows

RNG = np.random.default_rng(0)
FORMS = [(False, False), (True, True)]


@pytest.fixture(autouse=True)
def _seeded():
    """The same numbers in every test, whichever run before it."""
    global RNG
    RNG = np.random.default_rng(0)


def operands(shape, dtype="float32"):
    """The primitive's operands: parts of a, of b, of the initial state."""
    n, t, c, constant, is_complex = shape
    sizes = [(1, 1, c) if constant else (n, t, c), (n, t, c), (n, c)]
    dtypes = (dtype, dtype, "float32")
    parts = 2 if is_complex else 1
    draw = lambda size, dtype: jnp.asarray(0.6 * RNG.normal(size=size), dtype)  # noqa: E731
    return [draw(size, d) for size, d in zip(sizes, dtypes, strict=True) for _ in range(parts)]


def params(shape, reverse, after):
    return {"reverse": reverse, "after": after, "conjugate": shape.complex and after}


def gpu_interpreter():
    context = compat.gpu_interpreter()
    return context or pytest.skip("this JAX has no public GPU interpreter")


def check(got, want, dtype="float32"):
    bound = 1e-5 if dtype == "float32" else 1e-2
    for x, y in zip(got, want, strict=True):
        wide = np.complex64 if np.iscomplexobj(x) else np.float32
        np.testing.assert_allclose(np.asarray(x, wide), np.asarray(y, wide), rtol=bound, atol=bound)


def public(shape, dtype, implementation=None, **options):
    """The public op on abstract arguments, as (function, arguments)."""
    n, t, c, constant, is_complex = shape
    x = jax.ShapeDtypeStruct((n, t, c), dtype, **options)
    a = jax.ShapeDtypeStruct((1, 1, c) if constant else (n, t, c), dtype, **options)
    pair = (lambda x: (x, x)) if is_complex else (lambda x: x)
    return lambda a, b: linear_recurrence(a, b, axis=1, implementation=implementation), (pair(a), pair(x))


@pytest.mark.parametrize(("reverse", "after"), FORMS)
@pytest.mark.parametrize("name", TINY)
def test_tpu_kernel_interpreted(name, reverse, after):
    args, options = operands(TINY[name]), params(TINY[name], reverse, after)
    check(tpu.run(*args, interpret=True, **options), rows(*args, **options))


def test_complex_arrays_go_through_the_kernel_in_parts():
    parts = operands(TINY["complex"])
    args = [jax.lax.complex(*parts[i : i + 2]) for i in (0, 2, 4)]
    options = {"reverse": True, "after": True, "conjugate": False}
    check(tpu.recurrence.run(*args, interpret=True, **options), rows(*args, **options))
    assert tpu.recurrence.refuse(*args) is None
    assert gpu.recurrence.blocks(*args) == {"time": 8, "channels": 128, "stages": 3}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_tpu_kernel_masks_the_rows_past_the_end(dtype, monkeypatch):
    monkeypatch.setattr(tpu, "blocks", lambda *_: {"time": 16, "channels": 128})
    args, options = operands(TINY["rows"], dtype), params(TINY["rows"], True, False)
    check(tpu.run(*args, interpret=True, **options), rows(*args, **options), dtype)


@pytest.mark.parametrize(("reverse", "after"), FORMS)
@pytest.mark.parametrize("name", TINY)
def test_gpu_kernel_interpreted(name, reverse, after):
    args, options = operands(TINY[name]), params(TINY[name], reverse, after)
    with gpu_interpreter():
        got = gpu.run(*args, **options)
    check(got, rows(*args, **options))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_gpu_kernel_interpreted_in_sixteen_bits(dtype):
    args, options = operands(TINY["rows"], dtype), params(TINY["rows"], False, False)
    with gpu_interpreter():
        got = gpu.run(*args, **options)
    check(got, rows(*args, **options), dtype)


@pytest.mark.parametrize(("reverse", "after"), FORMS)
@pytest.mark.parametrize("shape", [Shape(2, 43, 128), Shape(1, 40, 128, constant=True, complex=True)])
def test_gpu_kernel_refills_its_tiles_and_ends_on_a_shorter_one(shape, reverse, after, monkeypatch):
    monkeypatch.setattr(gpu, "blocks", lambda *_: {"time": 8, "channels": 128, "stages": 2})
    args, options = operands(shape), params(shape, reverse, after)
    with gpu_interpreter():
        got = gpu.run(*args, **options)
    check(got, rows(*args, **options))


@pytest.mark.parametrize("sequences", [1, 2])
def test_gpu_kernel_takes_a_decay_of_its_own_dtype_shared_or_not(sequences):
    (_, b, s), options = operands(Shape(2, 21, 128), "bfloat16"), params(TINY["rows"], True, False)
    a = operands(Shape(sequences, 21, 128))[0]
    assert gpu.blocks(a, b, s)["time"] == 16
    with gpu_interpreter():
        got = gpu.run(a, b, s, **options)
    check(got, rows(a, b, s, **options), "bfloat16")


@pytest.mark.parametrize("dtype", gpu.DTYPES)
@pytest.mark.parametrize("name", GPU)
def test_two_gpu_blocks_fit_on_a_multiprocessor(name, dtype):
    n, t, c, constant, is_complex = GPU[name]
    x, state = jax.ShapeDtypeStruct((n, t, c), dtype), jax.ShapeDtypeStruct((n, c), "float32")
    a, parts = jax.ShapeDtypeStruct((1, 1, c), dtype) if constant else x, 2 if is_complex else 1
    size = gpu.blocks(*[a] * parts, *[x] * parts, *[state] * parts)
    tiles = size["stages"] + 1  # a shorter one at the end of a t that is no multiple
    streamed = parts if constant else 2 * parts
    held = tiles * size["time"] * size["channels"] * streamed * jnp.dtype(dtype).itemsize
    assert 64 * 1024 < held <= 113 * 1024  # half of 228 KB, less 1 KB that each block reserves


@pytest.mark.parametrize(
    ("platform", "implementation", "dtype", "target"),
    [("tpu", "pallas_tpu", dtype, "tpu_custom_call") for dtype in tpu.DTYPES]
    + [("cuda", "pallas_gpu", dtype, "mosaic_gpu") for dtype in gpu.DTYPES],
)
@pytest.mark.parametrize("name", ["rows", "complex_constant"])
def test_every_dtype_lowers(platform, implementation, dtype, target, name):
    function, args = public(TINY[name], dtype, implementation)
    with compat.abstract_gpu():
        lowered = jax.jit(function).trace(*args).lower(lowering_platforms=(platform,))
    assert target in lowered.as_text()


@pytest.mark.parametrize(
    ("platform", "implementation", "target"),
    [("tpu", None, "tpu_custom_call"), ("cuda", "pallas_gpu", "mosaic_gpu")],
)
def test_the_backward_pass_runs_the_kernel_too(platform, implementation, target):
    function, args = public(TINY["rows"], "float32", implementation)
    gradient = jax.grad(lambda a, b: jnp.sum(function(a, b)[0] ** 2), (0, 1))
    with compat.abstract_gpu():
        text = jax.jit(gradient).trace(*args).lower(lowering_platforms=(platform,)).as_text()
    assert len(re.findall(f"custom_call @{target}", text)) == 2


def test_what_a_kernel_cannot_take_falls_back_or_says_why():
    x = jax.ShapeDtypeStruct((8, 128), jnp.float16)
    (op,) = explain(linear_recurrence, x, x)
    assert op.choices == {"cpu": "xla", "cuda": "xla", "tpu": "xla"}
    assert op.blocks["pallas_gpu"] == {"time": 32, "channels": 128, "stages": 1}
    with pytest.raises(NotImplementedError, match="float32 and bfloat16, not float16"):
        jax.jit(lambda a, b: linear_recurrence(a, b, implementation="pallas_tpu")).trace(x, x).lower(
            lowering_platforms=("tpu",)
        )


@pytest.mark.parametrize("name", ["rows", "complex"])
def test_the_gpu_kernel_is_taken_where_it_is_named_alone(name):
    function, args = public(TINY[name], "float32")
    assert {op.choices["cuda"] for op in explain(function, *args)} == {"xla"}
    function, args = public(TINY[name], "float32", "pallas_gpu")
    assert {op.choices["cuda"] for op in explain(function, *args)} == {"pallas_gpu"}


def test_the_gpu_kernel_exports():
    function, args = public(TINY["odd"], "float32", "pallas_gpu")
    with compat.abstract_gpu():
        exported = jax.export.export(
            jax.jit(function), platforms=("cuda",), disabled_checks=compat.exportable_kernels()
        )(*args)
    assert "mosaic_gpu" in exported.mlir_module()


def test_one_export_holds_three_platforms():
    function, args = public(TINY["odd"], "float32")
    with compat.abstract_gpu():
        exported = jax.export.export(
            jax.jit(function), platforms=("cpu", "tpu", "cuda"), disabled_checks=compat.exportable_kernels()
        )(*args)
    assert "tpu_custom_call" in exported.mlir_module()
    a, b, _ = operands(TINY["odd"])
    check(exported.call(a, b), function(a, b))


@pytest.mark.parametrize("topology", deviceless.TPU_GENERATIONS)
@pytest.mark.parametrize("name", ["rows", "complex_constant"])
def test_compiles_for_tpu(topology, name):
    pytest.importorskip("libtpu")
    for dtype in tpu.DTYPES:
        function, args = public(TINY[name], dtype, "pallas_tpu", sharding=deviceless.tpu(topology))
        assert "tpu_custom_call" in jax.jit(function).lower(*args).compile().as_text()


@pytest.mark.parametrize("name", ["rows", "complex_constant"])
@pytest.mark.parametrize("dtype", gpu.DTYPES)
def test_compiles_for_hopper_without_spills(name, dtype, capfd, monkeypatch):
    pytest.importorskip("jax_cuda13_plugin")
    monkeypatch.setenv("MOSAIC_GPU_DUMP_PTXAS", "1")
    function, args = public(TINY[name], dtype, "pallas_gpu", sharding=deviceless.hopper())
    jax.jit(function).lower(*args).compile()
    report = "".join(capfd.readouterr())
    print(*re.findall(r"Used \d+ registers|\d+ bytes spill stores", report))
    assert "sm_90a" in report
    assert set(re.findall(r"(\d+) bytes spill stores", report)) == {"0"}
