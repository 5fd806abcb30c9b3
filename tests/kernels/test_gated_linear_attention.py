"""gated_linear_attention against the float64 loop: values, derivatives, strong gates, packing, transforms."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from jaxzoo_kernels import explain, gated_linear_attention, gated_linear_attention_step
from jaxzoo_kernels._core import relative_rms
from jaxzoo_kernels.gated_linear_attention import parallel, xla
from jaxzoo_kernels.gated_linear_attention.reference import gated_linear_attention as reference

RNG = np.random.default_rng(0)
GATES = ("none", "scalar", "vector")
H, DK, DV = 2, 5, 4


@pytest.fixture(autouse=True)
def _seeded():
    """The same numbers in every test, whichever run before it."""
    global RNG
    RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _in_chunks(monkeypatch):
    """States as small as these would go step by step on cpu."""
    monkeypatch.setattr(xla, "SMALL_STATES", 0)


def draw(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def inputs(t, gate, *lead, strength=0.5, h=H):
    """q, k, v, log_a (or None) and an initial state."""
    shape = {"none": None, "scalar": (*lead, t, h), "vector": (*lead, t, h, DK)}[gate]
    log_a = None if shape is None else (-strength * RNG.exponential(size=shape)).astype(np.float32)
    return draw(*lead, t, h, DK), draw(*lead, t, h, DK), draw(*lead, t, h, DV), log_a, draw(*lead, h, DK, DV)


def ours(q, k, v, log_a, state, chunk=4):
    """In small chunks: more of them in a short sequence, and less to compile."""
    return gated_linear_attention(q, k, v, log_a, initial_state=state, chunk=chunk)


def loop(q, k, v, log_a, state):
    """The plain jnp loop over time, differentiable."""
    log_a = jnp.zeros_like(q) if log_a is None else log_a
    log_a = jnp.broadcast_to(log_a[..., None], q.shape) if log_a.ndim < q.ndim else log_a

    def step(state, inputs):
        q, k, v, log_a = inputs
        return gated_linear_attention_step(state, q, k, v, log_a)

    state, o = lax.scan(step, state, (q, k, v, log_a))
    return o, state


def loss(function):
    def weighted(*args):
        o, state = function(*args)
        return jnp.sum(jnp.sin(o) * o) + jnp.sum(state**2)

    return weighted


def check(got, want, bound=2e-6):
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert relative_rms(x, np.asarray(y, np.float64)) < bound


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("length", [1, 7, 15, 17, 63, 64, 65, 100])
def test_values_and_final_state(gate, length):
    args = inputs(length, gate)
    o, state = ours(*args, chunk=16)
    assert (o.dtype, state.dtype) == (jnp.float32, jnp.float32)
    check((o, state), reference(*args[:4], initial_state=args[4]))


def test_small_states_go_step_by_step_and_large_ones_in_chunks(monkeypatch):
    q, k, v, log_a, state = inputs(37, "vector", 1)
    params = {"gate": "vector", "chunk": 8, "scale": 0.3}
    want = reference(q, k, v, log_a, initial_state=state, scale=0.3)
    for limit in (0, state.size):
        monkeypatch.setattr(xla, "SMALL_STATES", limit)
        check(xla.forward(q, k, v, log_a, state, **params), want)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("length", [1, 21, 32])
def test_all_chunks_at_once_equal_the_loop_over_chunks(gate, length):
    q, k, v, log_a, state = inputs(length, gate, 1)
    operands = [x for x in (q, k, v, log_a, state) if x is not None]
    params = {"gate": gate, "chunk": 8, "scale": 0.3}
    check(parallel.forward(*operands, **params), xla.forward(*operands, **params))
    operands += [draw(*v.shape), draw(*state.shape)]
    run = jax.jit(lambda *x: (parallel.backward(*x, **params), xla.backward(*x, **params)))
    check(*run(*operands))


def test_no_steps_return_the_initial_state():
    args = inputs(0, "vector")
    o, state = ours(*args)
    assert o.shape == (0, H, DV)
    np.testing.assert_array_equal(state, args[4])


@pytest.mark.parametrize("chunk", [1, 4, 128])
def test_the_chunk_changes_rounding_alone(chunk):
    args = inputs(50, "vector")
    check(ours(*args, chunk=chunk), reference(*args[:4], initial_state=args[4]))


@pytest.mark.parametrize("gate", ["scalar", "vector"])
@pytest.mark.parametrize("strength", ["zero", "mixed", "strong", "infinite"])
def test_gates_from_keeping_all_to_forgetting_all(gate, strength):
    q, k, v, log_a, state = inputs(100, gate)
    few = RNG.random(log_a.shape) < 0.2
    log_a = {
        "zero": np.zeros_like(log_a),
        "mixed": np.where(few, np.float32(-1e4), 1e-3 * log_a),
        "strong": np.full_like(log_a, -1e4),
        "infinite": np.where(few, np.float32(-np.inf), log_a),
    }[strength]
    got = ours(q, k, v, log_a, state, chunk=32)
    check(got, reference(q, k, v, log_a, initial_state=state))
    gradients = jax.grad(loss(ours), (0, 1, 2, 3, 4))(q, k, v, log_a, state)
    assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("gate", ["scalar", "vector"])
def test_gradients_beside_gates_that_forget_all_keep_their_digits(gate):
    q, k, v, log_a, state = inputs(40, gate, strength=0.01)
    log_a = np.where(RNG.random(log_a.shape) < 0.2, np.float32(-1e4), log_a)
    got, want = (jax.jit(jax.grad(loss(f), (0, 1, 2, 3, 4)))(q, k, v, log_a, state) for f in (ours, loop))
    check(got, want)
    assert not np.any(np.asarray(got[3])[log_a == -1e4])


@pytest.mark.parametrize("gate", GATES)
def test_gradients_of_two_orders_match_the_loop(gate):
    args = inputs(21, gate)
    numbers = tuple(i for i, x in enumerate(args) if x is not None)
    directions = tuple(draw(*args[i].shape) for i in numbers)

    def both(function):
        def of(*given):
            full = list(args)
            for i, x in zip(numbers, given, strict=True):
                full[i] = x
            return loss(function)(*full)

        gradient = jax.grad(of, tuple(range(len(numbers))))
        return jax.jit(lambda *x: jax.jvp(gradient, x, directions))(*(args[i] for i in numbers))

    check(both(ours), both(loop), 1e-5)


def test_reverse_over_reverse_matches_the_loop():
    q, k, v, log_a, state = inputs(10, "vector")

    def penalty(function):
        gradient = jax.grad(loss(function), (0, 3))
        return jax.jit(jax.grad(lambda q, g: sum(jnp.sum(x**2) for x in gradient(q, k, v, g, state)), (0, 1)))(q, log_a)

    check(penalty(ours), penalty(loop), 1e-5)


def test_forward_mode_matches_the_loop():
    args = inputs(21, "scalar")
    got, want = (jax.jvp(f, args, args)[1] for f in (ours, loop))
    check(got, want, 4e-6)


@pytest.mark.parametrize(("dtype", "bound"), [(jnp.bfloat16, 5e-3), (jnp.float16, 1e-3)])
def test_sixteen_bits_accumulate_in_float32(dtype, bound):
    q, k, v, log_a, state = inputs(100, "vector")
    q, k, v = (jnp.asarray(x, dtype) for x in (q, k, v))
    o, last = ours(q, k, v, log_a, state)
    want_o, want_last = reference(q, k, v, log_a, initial_state=state)
    assert (o.dtype, last.dtype) == (dtype, jnp.float32)
    assert relative_rms(np.asarray(o, np.float64), want_o) < bound
    assert relative_rms(last, want_last) < 2e-6


def test_float64_keeps_its_precision():
    with jax.enable_x64(True):
        args = [jnp.asarray(x, jnp.float64) for x in inputs(20, "vector")]
        o, _ = ours(*args)
        assert relative_rms(o, reference(*args[:4], initial_state=args[4])[0]) < 1e-14


@pytest.mark.parametrize("gate", GATES)
def test_packed_sequences_equal_separate_ones(gate):
    q, k, v, log_a, _ = inputs(50, gate)
    cuts = (0, 1, 14, 33, 50)
    ids = np.repeat([7, 2, 7, 0], np.diff(cuts))
    packed, last = gated_linear_attention(q, k, v, log_a, segment_ids=ids, chunk=16)
    for start, stop in itertools.pairwise(cuts):
        part = slice(start, stop)
        alone, state = reference(q[part], k[part], v[part], None if log_a is None else log_a[part])
        assert relative_rms(packed[part], alone) < 2e-6
    assert relative_rms(last, state) < 2e-6


def test_no_gradient_crosses_a_boundary():
    q, k, v, log_a, state = inputs(12, "vector")
    ids = np.array([0] * 5 + [1] * 7)

    def second_half(k, log_a, state):
        return jnp.sum(gated_linear_attention(q, k, v, log_a, initial_state=state, segment_ids=ids)[0][5:] ** 2)

    for gradient in jax.grad(second_half, (0, 1))(k, log_a, state):
        assert not np.any(gradient[:5])
        assert np.any(gradient[6:])
    assert not np.any(jax.grad(second_half, 2)(k, log_a, state))


@pytest.mark.parametrize("gate", GATES)
def test_a_run_cut_in_two_equals_one_run(gate):
    args = inputs(45, gate)
    o, last = ours(*args, chunk=16)
    head, tail = ([None if x is None else x[part] for x in args[:4]] for part in (slice(0, 29), slice(29, 45)))
    o1, middle = ours(*head, args[4], chunk=16)
    o2, end = ours(*tail, middle, chunk=16)
    check((jnp.concatenate([o1, o2]), end), (o, last))


def test_the_gradient_flows_through_a_state_handed_on():
    q, k, v, log_a, state = inputs(20, "vector")

    def cut(q, k, v, log_a, state):
        o1, state = ours(q[:9], k[:9], v[:9], log_a[:9], state)
        o2, state = ours(q[9:], k[9:], v[9:], log_a[9:], state)
        return jnp.concatenate([o1, o2]), state

    got, want = (jax.grad(loss(f), (0, 1, 2, 3, 4))(q, k, v, log_a, state) for f in (cut, ours))
    check(got, want)


@pytest.mark.parametrize("gate", GATES)
def test_decoding_step_by_step_equals_the_whole(gate):
    args = inputs(6, gate, 2)
    o, last = ours(*args)
    state = args[4]
    for i in range(6):
        q, k, v, log_a = (None if x is None else x[:, i] for x in args[:4])
        state, now = gated_linear_attention_step(state, q, k, v, log_a)
        check(now, o[:, i])
    check(state, last)


@pytest.mark.parametrize("lead", [(), (1,), (2, 3)])
def test_leading_axes_are_batch_axes(lead):
    q, k, v, log_a, state = inputs(9, "vector", *lead, h=1)
    o, last = ours(q, k, v, log_a, state)
    check((o, last), reference(q, k, v, log_a, initial_state=state))
    assert last.shape == (*lead, 1, DK, DV)


def test_the_scale():
    q, k, v, log_a, state = inputs(9, "scalar")
    half, _ = gated_linear_attention(q, k, v, log_a, initial_state=state, scale=0.5)
    np.testing.assert_allclose(half, 0.5 * DK**0.5 * ours(q, k, v, log_a, state)[0], rtol=1e-5, atol=1e-6)
    _, first = gated_linear_attention_step(state, q[0], k[0], v[0], log_a[0], scale=0.5)
    np.testing.assert_allclose(first, half[0], rtol=1e-5)


def test_vmap_of_value_and_gradient_with_shared_operands():
    _, k, v, log_a, state = inputs(9, "vector")
    many = draw(9, 3, H, DK)
    gradient = jax.grad(loss(ours), (0, 1))
    got = jax.vmap(gradient, (1, None, None, None, None))(many, k, v, log_a, state)
    want = [gradient(many[:, i], k, v, log_a, state) for i in range(3)]
    check(got, jax.tree.map(lambda *x: jnp.stack(x), *want))


def test_remat_and_jit_keep_the_gradient():
    args = inputs(9, "vector")
    plain = jax.grad(loss(ours), (0, 1, 2, 3, 4))(*args)
    saved = jax.jit(jax.grad(jax.checkpoint(loss(ours)), (0, 1, 2, 3, 4)))(*args)
    check(saved, plain, 1e-6)


@pytest.mark.parametrize("check_vma", [True, False])
def test_shard_map_over_heads(check_vma):
    mesh = jax.make_mesh((4,), ("h",), axis_types=(AxisType.Auto,))
    args = inputs(9, "vector", h=4)
    gradient = jax.grad(loss(ours), (0, 1, 2, 3, 4))
    specs = (P(None, "h"),) * 4 + (P("h"),)
    sharded = jax.shard_map(gradient, mesh=mesh, in_specs=specs, out_specs=specs, check_vma=check_vma)
    check(jax.jit(sharded)(*args), gradient(*args))


def test_what_lives_between_the_passes_is_the_operands():
    args = inputs(64, "vector")
    _, pull = jax.vjp(ours, *args)
    saved = sum(x.size for x in jax.tree.leaves(pull) if hasattr(x, "size"))
    assert saved <= sum(x.size for x in args)


def test_runs_are_equal_to_the_bit():
    args = inputs(40, "vector")
    gradient = jax.jit(jax.grad(loss(ours), (0, 1, 2, 3, 4)))
    for x, y in zip(gradient(*args), gradient(*args), strict=True):
        np.testing.assert_array_equal(x, y)


def test_explain_counts_a_linear_number_of_operations():
    short, long = (explain(ours, *inputs(t, "vector"))[0] for t in (64, 128))
    assert long.operations == 2 * short.operations == 128 * H * (4 * DK * DV + 4 * (DK + DV))
    assert short.choices["cpu"] == "xla"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"k": draw(9, H, DK + 1)}, ValueError, r"k: expected q's shape \(9, 2, 5\)"),
        ({"v": draw(8, H, DV)}, ValueError, "v: expected"),
        ({"log_a": draw(9, DK)}, ValueError, r"log_a: expected \(9, 2\) or \(9, 2, 5\), got \(9, 5\)"),
        ({"initial_state": draw(DK, DV)}, ValueError, r"initial_state: expected \(2, 5, 4\)"),
        ({"segment_ids": np.zeros(8, int)}, ValueError, r"segment_ids: expected \(9,\)"),
        ({"segment_ids": np.zeros(9)}, TypeError, "segment_ids: expected an integer dtype"),
        ({"chunk": 48}, ValueError, "chunk: expected a power of two, got 48"),
        ({"q": np.zeros((9, H, DK), np.int32)}, TypeError, "q: expected dtype float16"),
        ({"implementation": "pallas_tpu"}, NotImplementedError, "tpu alone"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    q, k, v, _, _ = inputs(9, "none")
    with pytest.raises(error, match=message):
        gated_linear_attention(**({"q": q, "k": k, "v": v} | change))
