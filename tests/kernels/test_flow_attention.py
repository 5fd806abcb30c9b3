"""flow_attention against all pairs in float64, its conservation laws, states, packing, padding and derivatives."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from jaxzoo_kernels import FlowState, flow_attention, flow_state
from jaxzoo_kernels._core import compat, relative_rms
from jaxzoo_kernels.flow_attention import reference as written
from jaxzoo_kernels.flow_attention.shapes import TINY


def reference(*args, **options):
    with jax.numpy_rank_promotion("allow"):
        return written.flow_attention(*args, **options)


def operands(lead=(2,), t=TINY.t, s=None, h=TINY.h, d=TINY.d, d_v=TINY.d_v, dtype="float32", scale=1.0):
    rng = np.random.default_rng(0)
    s = t if s is None else s
    return [jnp.asarray(scale * rng.normal(size=(*lead, *x)), dtype) for x in ((t, h, d), (s, h, d), (s, h, d_v))]


def value_and_gradients(function, args, **options):
    def loss(*args):
        o = function(*args, **options)
        return jnp.sum(jnp.sin(o.astype(jnp.promote_types(o.dtype, jnp.float32)))), o

    cts, o = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(*args)
    return [o, *cts]


def compare(args, bound=2e-6, seen=None, **options):
    got = value_and_gradients(flow_attention, args, **options)
    kept = {name: x for name, x in options.items() if name not in ("segment_ids", "chunk")}
    with jax.enable_x64(True):
        want = value_and_gradients(reference, [x.astype(jnp.float64) for x in args], seen=seen, **kept)
    assert relative_rms(np.float64(got[0]), np.asarray(want[0])) < bound
    # All gradients together: with one key the flows cancel, and those of q and k are rounding beside that of v.
    flat = lambda cts: np.concatenate([np.float64(ct).ravel() for ct in cts])  # noqa: E731
    assert relative_rms(flat(got[1:]), flat(want[1:])) < bound


VARIANTS = {
    "plain": {},
    "no clip": {"clip": None},
    "no competition": {"competition": False},
    "no allocation": {"allocation": False},
    "large eps": {"eps": 0.1},
}


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_variants_match_the_reference(options, causal):
    compare(operands(scale=2.0), causal=causal, **options)


@pytest.mark.parametrize(("t", "s"), [(1, 1), (19, 13), (7, 40), (63, 1)])
def test_queries_and_keys_of_different_number(t, s):
    compare(operands((), t, s, 1))


@pytest.mark.parametrize("t", [1, 7, 15, 17, 63, 100])
def test_causal_lengths_and_chunks(t):
    compare(operands((), t, h=1), causal=True, chunk=16)


@pytest.mark.parametrize("causal", [False, True])
def test_packed_sequences_equal_separate_ones(causal):
    args, ends = operands(), (0, 7, 12, 13, 19)
    ids = jnp.asarray(np.repeat(np.arange(4), np.diff(ends)))
    packed = jnp.broadcast_to(ids, (2, 19))
    compare(args, causal=causal, segment_ids=packed, seen=(ids[:, None] == ids[None])[None])
    whole = flow_attention(*args, causal=causal, segment_ids=packed)
    for first, last in itertools.pairwise(ends):
        alone = flow_attention(*(x[:, first:last] for x in args), causal=causal)
        np.testing.assert_allclose(whole[:, first:last], alone, atol=2e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_padding_neither_sends_nor_receives(causal):
    args = operands()
    mask = jnp.arange(19) < 15
    padded = flow_attention(*args, mask=mask, causal=causal)
    np.testing.assert_allclose(padded[:, :15], flow_attention(*(x[:, :15] for x in args), causal=causal), atol=1e-6)
    assert jnp.all(padded[:, 15:] == 0)
    q, k, v = operands((), 9, 6)
    both = flow_attention(q, k, v, mask=(jnp.arange(9) < 7, jnp.arange(6) < 4))
    np.testing.assert_allclose(both[:7], flow_attention(q[:7], k[:4], v[:4]), atol=1e-6)


def test_padding_at_the_front_of_a_causal_sequence():
    args = operands((), 12)
    out = flow_attention(*args, mask=jnp.arange(12) >= 5, causal=True)
    assert jnp.all(out[:5] == 0)
    np.testing.assert_allclose(out[5:], flow_attention(*(x[5:] for x in args), causal=True), atol=1e-6)
    loss = lambda q: jnp.sum(flow_attention(q, *args[1:], mask=jnp.arange(12) >= 5, causal=True))  # noqa: E731
    assert jnp.all(jnp.isfinite(jax.grad(loss)(args[0])))


def test_halves_with_the_state_carried_equal_the_whole_and_so_does_decoding():
    args = operands()
    whole = flow_attention(*args, causal=True)
    state, outputs = flow_state((2,), TINY.h, TINY.d, TINY.d_v), []
    for first, last in ((0, 8), (8, 9), (9, 10), (10, 19)):
        o, state = flow_attention(*(x[:, first:last] for x in args), causal=True, initial_state=state)
        outputs.append(o)
    np.testing.assert_allclose(jnp.concatenate(outputs, 1), whole, atol=2e-6)
    assert jnp.all(state.count == 19)


def test_gradients_flow_through_the_state():
    args = operands((), 10, h=1)

    def halves(*args):
        zero = flow_state((), 1, TINY.d, TINY.d_v)
        first, state = flow_attention(*(x[:6] for x in args), causal=True, initial_state=zero)
        second, _ = flow_attention(*(x[6:] for x in args), causal=True, initial_state=state)
        return jnp.concatenate([first, second])

    for got, want in zip(
        value_and_gradients(halves, args), value_and_gradients(flow_attention, args, causal=True), strict=True
    ):
        assert relative_rms(got, np.asarray(want, np.float64)) < 2e-6


def test_flows_are_conserved():
    """What all sinks receive is what m sources of 1 send, and the other way round (exact check 1)."""
    with jax.enable_x64(True):
        q, k, _ = operands((), 9, 6, 1, dtype="float64")
        sinks, sources = jax.nn.sigmoid(q)[:, 0], jax.nn.sigmoid(k)[:, 0]
        received, sent = sinks @ sources.sum(0), sources @ sinks.sum(0)
        np.testing.assert_allclose((sinks @ (sources / sent[:, None]).sum(0)).sum(), 6)
        np.testing.assert_allclose((sources @ (sinks / received[:, None]).sum(0)).sum(), 9)
        # With one feature of constant capacity per source, the public op shows the same total: w and r are uniform.
        ones = flow_attention(jnp.zeros_like(q), jnp.zeros_like(k), jnp.ones((6, 1, 1)), eps=0.0, allocation=False)
        np.testing.assert_allclose(ones, 1)


def test_equal_queries_and_keys_give_the_gated_mean():
    *_, v = operands((), 9, 6)
    zero = jnp.zeros((9, 2, 5)), jnp.zeros((6, 2, 5))
    expected = jnp.broadcast_to(jax.nn.sigmoid(1.0) * v.mean(0, keepdims=True), (9, 2, 3))
    np.testing.assert_allclose(flow_attention(*zero, v), expected, atol=1e-6)


def test_the_first_step_of_a_causal_sequence_is_its_gated_value():
    q, k, v = operands(scale=3.0)
    out = flow_attention(q, k, v, causal=True)
    np.testing.assert_allclose(out[:, 0], jax.nn.sigmoid(1.0) * v[:, 0], rtol=1e-4)


def test_permuting_sources_changes_nothing_and_permuting_sinks_permutes():
    q, k, v = operands((), 9, 6)
    order = jnp.asarray([3, 1, 5, 0, 2, 4])
    want = flow_attention(q, k, v)
    np.testing.assert_allclose(flow_attention(q, k[order], v[order]), want, atol=1e-6)
    np.testing.assert_allclose(flow_attention(q[::-1], k, v), want[::-1], atol=1e-6)


def test_causal_outputs_do_not_depend_on_later_inputs():
    args = operands((), 12)
    out = flow_attention(*args, causal=True)
    for position in range(3):
        later = list(args)
        later[position] = args[position].at[8:].add(1.0)
        np.testing.assert_array_equal(flow_attention(*later, causal=True)[:8], out[:8])


@pytest.mark.parametrize(("dtype", "bound"), [("bfloat16", 5e-3), ("float16", 1e-3)])
@pytest.mark.parametrize("causal", [False, True])
def test_sixteen_bits(dtype, bound, causal):
    args = operands((), 200, h=1, d=16, dtype=dtype)
    got = flow_attention(*args, causal=causal)
    assert got.dtype == dtype
    with jax.enable_x64(True):
        want = reference(*(x.astype(jnp.float64) for x in args), causal=causal)
    assert relative_rms(np.float32(got), np.asarray(want)) < bound


@pytest.mark.parametrize("causal", [False, True])
def test_second_derivatives_in_float64(causal):
    with jax.enable_x64(True):
        args = operands((), 4, h=1, d=2, d_v=2, dtype="float64")
        hessian = lambda f: jax.hessian(lambda q, k: jnp.sum(jnp.sin(f(q, k, args[2], causal=causal))), (0, 1))  # noqa: E731
        got, want = hessian(flow_attention)(*args[:2]), hessian(reference)(*args[:2])
        for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(x, y, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
def test_vmap_remat_and_sharding(causal):
    args = operands()
    run = lambda *args: flow_attention(*args, causal=causal)  # noqa: E731
    want = run(*args)
    np.testing.assert_allclose(jax.vmap(run)(*args), want, atol=1e-6)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    for check_vma in (True, False):
        sharded = jax.shard_map(run, mesh=mesh, in_specs=P("data"), out_specs=P("data"), check_vma=check_vma)
        np.testing.assert_allclose(jax.jit(sharded)(*args), want, atol=1e-6)
    grad = lambda f: jax.grad(lambda q: jnp.sum(f(q, *args[1:]) ** 2))(args[0])  # noqa: E731
    np.testing.assert_allclose(grad(jax.checkpoint(run)), grad(run), atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_memory_is_linear(causal):
    def temporary(t):
        args = [jax.ShapeDtypeStruct((1, t, 1, 8), jnp.float32)] * 3
        grad = jax.grad(lambda *args: jnp.sum(flow_attention(*args, causal=causal)), (0, 1, 2))
        return jax.jit(grad).lower(*args).compile().memory_analysis().temp_size_in_bytes

    assert temporary(4096) < 5 * temporary(1024)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_lowers(platform, dtype, causal):
    args = [jax.ShapeDtypeStruct((1, 64, 2, 64), dtype)] * 3
    grad = jax.grad(lambda *args: jnp.sum(flow_attention(*args, causal=causal).astype(jnp.float32)), (0, 1, 2))
    with compat.abstract_gpu():
        text = jax.jit(grad).trace(*args).lower(lowering_platforms=(platform,)).as_text()
    assert ("tpu_custom_call" in text) == (causal and platform == "tpu")


@pytest.mark.parametrize(
    ("change", "options", "error", "match"),
    [
        ({"k": lambda x: x[..., :-1]}, {}, ValueError, "k: expected"),
        ({"v": lambda x: x[:, :-1]}, {}, ValueError, "v: expected"),
        ({"k": lambda x: x[:, :-1], "v": lambda x: x[:, :-1]}, {"causal": True}, ValueError, "as many keys as queries"),
        ({"v": lambda x: x.astype(jnp.bfloat16)}, {}, TypeError, "v: expected q's dtype"),
        ({}, {"clip": 0.0}, ValueError, "clip: expected"),
        ({}, {"mask": jnp.ones(19)}, TypeError, "mask: expected booleans"),
        ({}, {"mask": jnp.ones(18, bool)}, ValueError, "mask: expected"),
        ({}, {"segment_ids": jnp.zeros((2, 19))}, TypeError, "segment_ids: expected an integer"),
        ({}, {"initial_state": flow_state((2,), 2, 5, 3)}, ValueError, "initial_state: expected none unless causal"),
        ({}, {"initial_state": flow_state((2,), 2, 5, 4), "causal": True}, ValueError, "initial_state.memory"),
        ({}, {"implementation": "pallas_tpu"}, NotImplementedError, "plain products"),
    ],
)
def test_what_does_not_fit_is_refused(change, options, error, match):
    args = dict(zip(("q", "k", "v"), operands(), strict=True))
    with pytest.raises(error, match=match):
        flow_attention(**args | {name: f(args[name]) for name, f in change.items()}, **options)


def test_the_state_is_a_pytree_of_named_sums():
    assert isinstance(flow_state((), 1, 2, 3), FlowState)
    assert flow_state((4,), 1, 2, 3).memory.shape == (4, 1, 2, 3)
