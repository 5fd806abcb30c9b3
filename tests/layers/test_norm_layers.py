"""Norm layers: the parameters they make and the function they call."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo import ops
from jaxzoo.layers import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from jaxzoo.transforms import as_model

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4)), jnp.float32)


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (LayerNorm(eps=0.1), lambda x, scale, bias: ops.layer_norm(x, scale, bias, eps=0.1)),
        (RMSNorm(eps=0.1), lambda x, scale: ops.rms_norm(x, scale, eps=0.1)),
        (GroupNorm(groups=2, eps=0.1), lambda x, scale, bias: ops.group_norm(x, scale, bias, groups=2, eps=0.1)),
    ],
)
def test_it_calls_its_function_with_its_parameters(module, function):
    model = as_model(module)
    params = model.init(jax.random.key(0), X)
    np.testing.assert_array_equal(params["scale"], np.ones(4))
    params = {name: value + jnp.arange(4.0) for name, value in params.items()}
    np.testing.assert_array_equal(model.apply(params, X), function(X, **params))


@pytest.mark.parametrize("norm", [LayerNorm, RMSNorm, lambda **options: GroupNorm(groups=2, **options)])
def test_without_scale_and_bias_there_are_no_parameters(norm):
    options = {"use_scale": False} if norm is RMSNorm else {"use_scale": False, "use_bias": False}
    assert as_model(norm(**options)).init(jax.random.key(0), X) == {}


def test_batch_norm_on_single_examples_under_a_named_axis():
    model, state = as_model(BatchNorm(axis_name="b", momentum=0.3, eps=0.1)), ops.batch_state(4)
    params = model.init(jax.random.key(0), X[0], state, train=True)
    params = {name: value + jnp.arange(4.0) for name, value in params.items()}
    mapped = jax.vmap(partial(model.apply, train=True), (None, 0, None), (0, None), axis_name="b")
    y, after = mapped(params, X, state)
    want, want_state = ops.batch_norm(X, **params, state=state, train=True, momentum=0.3, eps=0.1)
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), after, want_state)
    evaluated, unchanged = model.apply(params, X[0], after, train=False)
    np.testing.assert_array_equal(evaluated, ops.batch_norm(X[0], **params, state=after, train=False, eps=0.1)[0])
    jax.tree.map(np.testing.assert_array_equal, unchanged, after)
