"""Batch norm: the batch's statistics, the running ones, mapped axes, flax as a peer."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxzoo import ops

SCALE, BIAS = jnp.asarray([1.0, -2.0, 0.5]), jnp.asarray([0.1, 0.0, 3.0])


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(2.0, 3.0, shape), jnp.float32)


def test_training_normalises_by_the_batch_and_moves_the_running_statistics():
    x = draw(5, 4, 3)
    state = ops.BatchState(jnp.ones(3), 2 * jnp.ones(3), jnp.asarray(7))
    y, after = ops.batch_norm(x, SCALE, BIAS, state, train=True, momentum=0.3, eps=1e-3)
    rows = np.float64(x).reshape(-1, 3)
    want = (np.float64(x) - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-3) * SCALE[None, None] + BIAS[None, None]
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(after.mean, 0.7 + 0.3 * rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(after.var, 1.4 + 0.3 * rows.var(0, ddof=1), rtol=1e-5)
    assert after.count == 8


def test_evaluation_uses_the_state_and_leaves_it():
    x = draw(5, 3)
    state = ops.BatchState(draw(3, seed=1), jnp.abs(draw(3, seed=2)), jnp.asarray(7))
    y, after = ops.batch_norm(x, SCALE, BIAS, state, train=False)
    want = (x - state.mean[None]) / jnp.sqrt(state.var[None] + 1e-5) * SCALE[None] + BIAS[None]
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5)
    assert after is state


def test_without_momentum_the_running_statistics_are_plain_averages():
    batches = draw(4, 6, 3)
    state = ops.batch_state(3)
    for x in batches:
        _, state = ops.batch_norm(x, SCALE, BIAS, state, train=True, momentum=None)
    np.testing.assert_allclose(state.mean, batches.mean(1).mean(0), rtol=1e-5)
    np.testing.assert_allclose(state.var, batches.var(1, ddof=1).mean(0), rtol=1e-5)


def test_one_example_under_a_named_axis_equals_the_batch():
    x, state = draw(5, 4, 3), ops.batch_state(3)
    whole, whole_state = ops.batch_norm(x, SCALE, BIAS, state, train=True)
    one = partial(ops.batch_norm, train=True, axis_name="b")
    mapped = jax.jit(jax.vmap(one, (0, None, None, None), (0, None), axis_name="b"))
    y, after = mapped(x, SCALE, BIAS, state)
    np.testing.assert_allclose(y, whole, rtol=1e-5, atol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), after, whole_state)


def test_shards_of_a_batch_equal_the_whole():
    x, state = draw(8, 3), ops.batch_state(3)
    whole, whole_state = ops.batch_norm(x, SCALE, BIAS, state, train=True)
    sharded = jax.pmap(partial(ops.batch_norm, train=True, axis_name="data"), "data", in_axes=(0, None, None, None))
    y, after = sharded(x.reshape(4, 2, 3), SCALE, BIAS, state)
    np.testing.assert_allclose(y.reshape(8, 3), whole, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(after.var, np.tile(whole_state.var, (4, 1)), rtol=1e-5)


def test_flax_agrees_with_its_momentum_turned_round_and_its_biased_variance():
    x = draw(5, 4, 3)
    module = nn.BatchNorm(use_running_average=False, momentum=0.9)
    variables = module.init(jax.random.key(0), x)
    want, updated = module.apply(variables, x, mutable=["batch_stats"])
    y, state = ops.batch_norm(x, jnp.ones(3), jnp.zeros(3), ops.batch_state(3), train=True, momentum=0.1)
    np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state.mean, updated["batch_stats"]["mean"], rtol=1e-5)
    biased = 0.9 + (state.var - 0.9) * 19 / 20
    np.testing.assert_allclose(biased, updated["batch_stats"]["var"], rtol=1e-5)


def test_gradients_are_finite_differences_and_go_through_the_batch_alone():
    with jax.enable_x64(True):
        x, scale, bias = (v.astype(jnp.float64) for v in (draw(4, 3), SCALE, BIAS))
        state = ops.BatchState(jnp.zeros(3), jnp.ones(3), jnp.zeros((), jnp.int32))
        normalised = jax.jit(lambda *a: ops.batch_norm(*a, state, train=True)[0])
        check_grads(normalised, (x, scale, bias), order=1, rtol=1e-6, atol=1e-6)
        in_state = jax.grad(lambda x: ops.batch_norm(x, scale, bias, state, train=True)[1].var.sum())(x)
        np.testing.assert_array_equal(in_state, np.zeros((4, 3)))


def test_bfloat16_in_gives_bfloat16_out_with_float32_statistics():
    x = (256 + draw(512, 3)).astype(jnp.bfloat16)
    y, state = ops.batch_norm(x, None, None, ops.batch_state(3), train=True)
    want, want_state = ops.batch_norm(x.astype(jnp.float32), None, None, ops.batch_state(3), train=True)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(y, want.astype(jnp.bfloat16))
    jax.tree.map(np.testing.assert_array_equal, state, want_state)


def test_the_state_keeps_its_type_in_a_scan():
    def step(state, x):
        y, state = ops.batch_norm(x, SCALE, BIAS, state, train=True, momentum=None)
        return state, y

    state, _ = jax.lax.scan(step, ops.batch_state(3), draw(4, 6, 3))
    assert state.count == 4


def test_what_does_not_fit_is_named():
    x, state = jnp.ones((2, 3)), ops.batch_state(3)
    with pytest.raises(ValueError, match=r"scale: expected \[3\].*got \(2,\)"):
        ops.batch_norm(x, jnp.ones(2), None, state, train=True)
    with pytest.raises(ValueError, match=r"state.mean: expected \[3\].*got \(2,\)"):
        ops.batch_norm(x, None, None, ops.batch_state(2), train=False)
    with pytest.raises(ValueError, match=r"x: expected at least 2 values per channel to train on, got \(1, 3\)"):
        ops.batch_norm(x[:1], None, None, state, train=True)


def test_second_derivatives_are_those_of_the_formula():
    def formula(x, scale, bias):
        centred = x - x.mean(0)[None]
        return centred / jnp.sqrt(jnp.square(centred).mean(0) + 1e-5)[None] * scale[None] + bias[None]

    def total(norm):
        return lambda *a: (jnp.sin(norm(*a)) * jnp.arange(12.0).reshape(4, 3)).sum()

    with jax.enable_x64(True):
        given = tuple(v.astype(jnp.float64) for v in (draw(4, 3), SCALE, BIAS))
        state = ops.BatchState(jnp.zeros(3), jnp.ones(3), jnp.zeros((), jnp.int32))
        ours = total(lambda *a: ops.batch_norm(*a, state, train=True)[0])
        got, want = (jax.jit(jax.hessian(f, (0, 1, 2)))(*given) for f in (ours, total(formula)))
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-11), got, want)


def test_the_gradient_sums_over_the_batch_twice():
    def loss(x, scale, bias):
        return ops.batch_norm(x, scale, bias, ops.batch_state(3), train=True)[0]

    _, transpose = jax.vjp(loss, draw(5, 4, 3), SCALE, BIAS)
    sums = [eqn for eqn in jax.make_jaxpr(transpose)(draw(5, 4, 3)).eqns if eqn.primitive.name == "reduce_sum"]
    assert len(sums) == 2
