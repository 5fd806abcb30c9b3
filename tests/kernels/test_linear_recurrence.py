"""linear_recurrence against the float64 loop: values, both derivatives, every system transform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from jaxzoo_kernels import linear_recurrence
from jaxzoo_kernels._core import relative_rms
from jaxzoo_kernels.linear_recurrence.reference import linear_recurrence as reference
from jaxzoo_kernels.linear_recurrence.xla import associative, rows

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _seeded():
    """The same numbers in every test, whichever run before it."""
    global RNG
    RNG = np.random.default_rng(0)


def draw(*shape, dtype=np.float32, scale=1.0):
    x = RNG.normal(size=shape)
    if np.issubdtype(dtype, np.complexfloating):
        x = x + 1j * RNG.normal(size=shape)
    return (scale * x).astype(dtype)


def decay(*shape, dtype=np.float32):
    """Modulus uniform in [0.5, 1.05], any sign or phase."""
    x = draw(*shape, dtype=dtype)
    return (x / np.abs(x) * RNG.uniform(0.5, 1.05, shape)).astype(dtype)


def scan_loop(a, b, h0):
    """Plain differentiable lax.scan over the leading axis."""

    def step(h, inputs):
        h = inputs[0] * h + inputs[1]
        return h, h

    last, h = lax.scan(step, h0, (jnp.broadcast_to(a, b.shape), b))
    return h, last


def loss(function):
    def weighted(a, b, h0):
        h, last = function(a, b, h0)
        w = jnp.cos(jnp.arange(h.size, dtype=jnp.float32)).reshape(h.shape)
        return jnp.sum(jnp.abs(w * h) ** 2) + jnp.sum(jnp.abs(last) ** 2)

    return weighted


def ours(a, b, h0, **options):
    return linear_recurrence(a, b, h0=h0, **options)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("constant", [False, True])
def test_values_and_final_state(dtype, axis, reverse, constant):
    shape = (3, 7, 11)
    a_shape = tuple(1 if constant and i == axis else n for i, n in enumerate(shape))
    a, b, h0 = decay(*a_shape, dtype=dtype), draw(*shape, dtype=dtype), draw(*np.delete(shape, axis), dtype=dtype)
    for got, want in zip(
        linear_recurrence(a, b, h0=h0, reverse=reverse, axis=axis),
        reference(a, b, h0=h0, reverse=reverse, axis=axis),
        strict=True,
    ):
        assert got.dtype == dtype
        assert relative_rms(got, want) < 2e-6


@pytest.mark.parametrize("length", [0, 1, 7, 63, 100, 127])
def test_lengths(length):
    a, b, h0 = decay(length, 5), draw(length, 5), draw(5)
    h, last = linear_recurrence(a, b, h0=h0)
    want_h, want_last = reference(a, b, h0=h0)
    assert h.shape == (length, 5)
    assert relative_rms(last, want_last) < 2e-6
    assert length == 0 or relative_rms(h, want_h) < 2e-6


@pytest.mark.parametrize("shape", [(2, 6, 1), (6,), (1, 6, 3), (2, 3, 6, 2, 5)])
def test_shapes_with_time_anywhere(shape):
    axis = shape.index(6)
    a, b = decay(*shape), draw(*shape)
    h, last = linear_recurrence(a, b, axis=axis - len(shape))
    want_h, want_last = reference(a, b, axis=axis)
    assert relative_rms(h, want_h) < 2e-6
    assert last.shape == want_last.shape


@pytest.mark.parametrize("a_shape", [(), (1,), (5,), (7, 1), (3, 1, 1), (1, 7, 5)])
def test_decay_broadcasts_to_the_input(a_shape):
    a, b = decay(*a_shape), draw(3, 7, 5)
    h, _ = linear_recurrence(a, b, axis=1)
    assert relative_rms(h, reference(a, b, axis=1)[0]) < 2e-6


@pytest.mark.parametrize(("dtype", "bound"), [(jnp.bfloat16, 5e-3), (jnp.float16, 1e-3)])
def test_sixteen_bits_carry_their_state_in_float32(dtype, bound):
    a, b = jnp.asarray(decay(200, 4), dtype), jnp.asarray(draw(200, 4), dtype)
    h, last = linear_recurrence(a, b)
    want_h, want_last = reference(np.float64(a), np.float64(b))
    assert (h.dtype, last.dtype) == (dtype, jnp.float32)
    assert relative_rms(np.float64(h), want_h) < bound
    assert relative_rms(last, want_last) < 2e-6


def test_float64_keeps_its_precision():
    with jax.enable_x64(True):
        a, b = jnp.asarray(decay(50, 3, dtype=np.float64)), jnp.asarray(draw(50, 3, dtype=np.float64))
        assert relative_rms(linear_recurrence(a, b)[0], reference(a, b)[0]) < 1e-15


def test_pairs_are_the_complex_recurrence():
    a, b, h0 = decay(9, 4, dtype=np.complex64), draw(9, 4, dtype=np.complex64), draw(4, dtype=np.complex64)
    (h_re, h_im), (last_re, last_im) = linear_recurrence((a.real, a.imag), (b.real, b.imag), h0=(h0.real, h0.imag))
    h, last = linear_recurrence(a, b, h0=h0)
    np.testing.assert_allclose(h_re + 1j * h_im, h, rtol=1e-5)
    np.testing.assert_allclose(last_re + 1j * last_im, last, rtol=1e-5)


@pytest.mark.parametrize(
    ("a", "b", "h0"),
    [("complex64", "float32", "float32"), ("float32", "complex64", "float32"), ("float32", "float32", "complex64")],
)
def test_one_complex_operand_makes_the_result_complex(a, b, h0):
    a, b, h0 = decay(6, 9, dtype=np.dtype(a).type), draw(6, 9, dtype=np.dtype(b).type), draw(9, dtype=np.dtype(h0).type)
    h, last = linear_recurrence(a, b, h0=h0)
    want_h, want_last = reference(a, b, h0=h0)
    assert h.dtype == last.dtype == jnp.complex64
    assert relative_rms(h, want_h) < 2e-6
    assert relative_rms(last, want_last) < 2e-6


@pytest.mark.parametrize("reverse", [False, True])
def test_a_run_cut_in_two_equals_one_run(reverse):
    a, b, h0 = decay(20, 8), draw(20, 8), draw(8)
    whole, last = linear_recurrence(a, b, h0=h0, reverse=reverse)
    cuts = (slice(13, 20), slice(0, 13)) if reverse else (slice(0, 13), slice(13, 20))
    first, middle = linear_recurrence(a[cuts[0]], b[cuts[0]], h0=h0, reverse=reverse)
    second, end = linear_recurrence(a[cuts[1]], b[cuts[1]], h0=middle, reverse=reverse)
    pieces = [second, first] if reverse else [first, second]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    np.testing.assert_array_equal(end, last)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("t_a", [1, 6])
def test_the_associative_form_equals_the_rows(parts, reverse, after, t_a):
    operands = [decay(1, t_a, 4) for _ in range(parts)] + [draw(2, 6, 4) for _ in range(parts)]
    operands += [draw(2, 4) for _ in range(parts)]
    params = {"reverse": reverse, "after": after, "conjugate": parts == 2}
    for got, want in zip(associative(*operands, **params), rows(*operands, **params), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
@pytest.mark.parametrize("constant", [False, True])
def test_gradients_of_two_orders_match_the_scan(dtype, constant):
    args = decay(1 if constant else 5, 3, dtype=dtype), draw(5, 3, dtype=dtype), draw(3, dtype=dtype)
    directions = tuple(draw(*x.shape, dtype=dtype) for x in args)

    def first_and_second(function):
        gradient = jax.grad(loss(function), (0, 1, 2))
        return jax.jvp(gradient, args, directions)

    got, want = (jax.jit(lambda f=f: first_and_second(f))() for f in (ours, scan_loop))
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert relative_rms(x, np.asarray(y, np.complex128)) < 1e-5


def test_reverse_over_reverse_and_third_order_match_the_scan():
    a, b, h0 = decay(4, 2), draw(4, 2), draw(2)

    def third(function):
        hessian = jax.jacrev(jax.jacrev(lambda a: loss(function)(a, b, h0)))
        return jax.jit(lambda: jax.jvp(hessian, (a,), (jnp.ones_like(a),)))()

    for x, y in zip(third(ours), third(scan_loop), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-4, atol=1e-3)


def test_backwards_in_time_has_the_gradient_of_the_flipped_scan():
    args = decay(6, 3), draw(6, 3), draw(3)
    got = jax.grad(loss(lambda a, b, h0: ours(a[::-1], b[::-1], h0, reverse=True)), (0, 1, 2))(*args)
    want = jax.grad(loss(lambda a, b, h0: (scan_loop(a, b, h0)[0][::-1], scan_loop(a, b, h0)[1])), (0, 1, 2))(*args)
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


def test_linear_transpose_in_the_input():
    a, b, ct = decay(6, 3), draw(6, 3), draw(6, 3)
    (got,) = jax.linear_transpose(lambda b: ours(a, b, None)[0], b)(ct)
    np.testing.assert_allclose(jnp.vdot(got, b), jnp.vdot(ct, ours(a, b, None)[0]), rtol=1e-4)


@pytest.mark.parametrize("paired", ["a", "b", "a, b, h0"])
def test_pairs_and_complex_arrays_mix_with_gradients(paired):
    args = {name: draw(*s, dtype=np.complex64, scale=0.5) for name, s in (("a", (5, 3)), ("b", (5, 3)), ("h0", (3,)))}

    def joined(x):
        return lax.complex(*x) if isinstance(x, tuple) else x

    def total(reals, imags):
        pairs = {name: (reals[name], imags[name]) for name in reals}
        mixed = {name: pair if name in paired else lax.complex(*pair) for name, pair in pairs.items()}
        h, last = linear_recurrence(**mixed)
        return jnp.sum(jnp.abs(joined(h)) ** 2) + jnp.sum(jnp.abs(joined(last) * 3) ** 2)

    def plain(reals, imags):
        h, last = scan_loop(*(lax.complex(reals[name], imags[name]) for name in args))
        return jnp.sum(jnp.abs(h) ** 2) + jnp.sum(jnp.abs(last * 3) ** 2)

    parts = {k: x.real for k, x in args.items()}, {k: x.imag for k, x in args.items()}
    got, want = (jax.grad(f, (0, 1))(*parts) for f in (total, plain))
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4)


def test_a_real_decay_of_a_complex_input_has_a_real_gradient():
    args = decay(5, 3), draw(5, 3, dtype=np.complex64), draw(3)
    got, want = (jax.grad(loss(f), (0, 1, 2))(*args) for f in (ours, scan_complex))
    for x, y in zip(got, want, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4)


def scan_complex(a, b, h0):
    return scan_loop(a, b, h0.astype(jnp.complex64))


@pytest.mark.parametrize("axes", [(0, 0, 0), (None, 1, None), (2, None, 0)])
def test_vmap_of_value_and_gradient(axes):
    shapes = ((5, 4), (5, 4), (4,))
    args = [
        draw(*shape, scale=0.5) if axis is None else draw(*np.insert(shape, axis, 3), scale=0.5)
        for shape, axis in zip(shapes, axes, strict=True)
    ]
    got, want = (jax.vmap(jax.grad(loss(f), (0, 1, 2)), axes)(*args) for f in (ours, scan_loop))
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4)


def test_vmap_reads_a_shared_decay_once():
    jaxpr = str(jax.make_jaxpr(jax.vmap(ours, (None, 0, None)))(decay(5, 4), draw(3, 5, 4), None))
    assert "f32[3,5,4]" in jaxpr
    assert "broadcast_in_dim[shape=(3, 1, 5, 4)" not in jaxpr


def test_remat_and_jit_keep_the_gradient():
    args = decay(6, 3), draw(6, 3), draw(3)
    plain = jax.grad(loss(ours), (0, 1, 2))(*args)
    saved = jax.jit(jax.grad(jax.checkpoint(loss(ours)), (0, 1, 2)))(*args)
    for x, y in zip(plain, saved, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)


@pytest.mark.parametrize("check_vma", [True, False])
def test_shard_map_over_channels(check_vma):
    mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
    a, b = decay(6, 1), draw(6, 8)
    gradient = jax.grad(lambda b, a: jnp.sum(ours(a, b, None)[0] ** 2))
    sharded = jax.shard_map(
        gradient, mesh=mesh, in_specs=(P(None, "d"), P()), out_specs=P(None, "d"), check_vma=check_vma
    )
    np.testing.assert_allclose(jax.jit(sharded)(b, a), gradient(b, a), rtol=1e-5)


def test_runs_are_equal_to_the_bit():
    a, b = decay(64, 16), draw(64, 16)
    gradient = jax.jit(jax.grad(loss(ours), (0, 1, 2)))
    first, second = gradient(a, b, b[0]), gradient(a, b, b[0])
    for x, y in zip(first, second, strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_second_call_does_not_trace_again():
    from jaxzoo_kernels.linear_recurrence import _linear_recurrence

    a, b = decay(5, 3), draw(5, 3)
    linear_recurrence(a, b)
    before = _linear_recurrence._cache_size()
    linear_recurrence(a, b + 1)
    assert _linear_recurrence._cache_size() == before


def test_cpu_gets_no_log_depth_scan():
    text = jax.jit(ours).trace(decay(64, 4), draw(64, 4), None).lower().as_text()
    assert "stablehlo.while" in text
    assert "stablehlo.pad" not in text


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: linear_recurrence(jnp.ones((4, 2)), jnp.ones((5, 2))), ValueError, r"a: expected .*\(5, 2\)"),
        (lambda: linear_recurrence(jnp.ones(5), jnp.ones(5), axis=1), ValueError, "axis: expected one of b's 1 axes"),
        (lambda: linear_recurrence(1.0, jnp.ones((5, 2)), h0=jnp.ones(3)), ValueError, r"h0: expected \(2,\)"),
        (lambda: linear_recurrence(0.5, jnp.ones(5, jnp.int32)), TypeError, "b: expected dtype float16"),
        (lambda: linear_recurrence(0.5, (jnp.ones(5), jnp.ones(4))), ValueError, "b: expected a pair"),
        (lambda: linear_recurrence(0.5, jnp.ones(5), implementation="torch"), ValueError, "implementation: expected"),
        (lambda: linear_recurrence(0.5, jnp.ones(5), implementation="pallas_tpu"), NotImplementedError, "tpu alone"),
    ],
)
def test_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()
