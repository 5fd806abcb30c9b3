"""Where PyTorch's conventions and those of the JAX libraries differ: a table, held to PyTorch's own results.

PyTorch's results were made once by `tests/golden/make_torch_conventions.py`; nothing here needs PyTorch. For each row
the JAX-side default is shown to differ by the size in the table (0: they agree), and the spelling that gives PyTorch's
result is shown to give it.
"""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxzoo import ops

GOLDEN = Path(__file__).parent / "golden" / "torch_conventions.npz"
STEPS, RATE = 50, 0.05


class Row(NamedTuple):
    """One convention.

    Attributes:
      default: what the JAX side computes with its defaults, from the golden inputs.
      difference: the largest absolute difference of the default from PyTorch, to two digits; 0 where they agree.
      torch_like: the JAX side spelt to agree with PyTorch; None where no such spelling exists.
      tolerance: absolute, of agreement.
    """

    default: Callable
    difference: float
    torch_like: Callable | None
    tolerance: float = 2e-6


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


def descent(make):
    """The end of the optimiser's path on the problem of the golden vectors, in float64."""

    def run(x):
        with jax.enable_x64(True):
            curvature, centre = jnp.asarray(x["x_curvature"]), jnp.asarray(x["x_centre"])
            optimizer, p = make(), jnp.asarray(x["x_start"])

            def step(carry, _):
                p, state = carry
                gradient = curvature * (p - centre) + 0.4 * p**3
                updates, state = optimizer.update(gradient, state, p)
                return (optax.apply_updates(p, updates), state), None

            (p, _), _ = jax.lax.scan(step, (p, optimizer.init(p)), length=STEPS)
            return np.asarray(p)

    return run


def optimizer_row(default, difference, torch_like=None, tolerance=1e-9):
    return Row(descent(default), difference, descent(torch_like or default), tolerance)


def flax_layer(module, x):
    return module.apply(module.init(jax.random.key(0), x), x)


def flax_batch_statistics(x):
    module = nn.BatchNorm(use_running_average=False)
    variables = module.init(jax.random.key(0), x["x_batches"][0])
    for batch in x["x_batches"]:
        _, updated = module.apply(variables, batch, mutable=["batch_stats"])
        variables = {**variables, **updated}
    return np.stack([variables["batch_stats"]["mean"], variables["batch_stats"]["var"]])


def our_batch_statistics(x):
    state = ops.batch_state(4)
    for batch in x["x_batches"]:
        _, state = ops.batch_norm(jnp.asarray(batch), None, None, state, train=True)
    return np.stack([state.mean, state.var])


def weight_statistics(initializer):
    """Standard deviation and largest size of a 400 x 300 matrix."""
    weight = initializer(jax.random.key(0), (400, 300))
    return np.stack([weight.std(), jnp.abs(weight).max()])


def tied_gradient(pool):
    return lambda x: jax.grad(lambda image: pool(image).sum())(jnp.asarray(x["x_tied"]))


def resize(x, size, method, **options):
    return jax.image.resize(x["x_image"], (size, size, 4), method, **options)


def cosines(x):
    return ops.cosine_similarity(jnp.asarray(x["x"]), jnp.roll(jnp.asarray(x["x"]), 1, 0).at[0].set(0.0))


def causal_attention(x):
    q, k, v = (jnp.moveaxis(jnp.asarray(x[name]), 0, 1) for name in ("x_q", "x_k", "x_v"))  # [t, h, d]
    return jnp.moveaxis(jax.nn.dot_product_attention(q, k, v, is_causal=True), 1, 0)


OPTIMIZERS = {
    "sgd_momentum": optimizer_row(lambda: optax.sgd(RATE, momentum=0.9), 0),
    "sgd_nesterov": optimizer_row(lambda: optax.sgd(RATE, momentum=0.9, nesterov=True), 0),
    "adam": optimizer_row(lambda: optax.adam(RATE), 0),
    "adamax": optimizer_row(lambda: optax.adamax(RATE), 0),
    "radam": optimizer_row(lambda: optax.radam(RATE), 0, tolerance=1e-6),
    "adadelta": optimizer_row(lambda: optax.adadelta(RATE), 0),
    "adamw": optimizer_row(lambda: optax.adamw(RATE), 4.7e-3, lambda: optax.adamw(RATE, weight_decay=1e-2)),
    "rmsprop": optimizer_row(
        lambda: optax.rmsprop(RATE), 3.2e-2, lambda: optax.rmsprop(RATE, decay=0.99, eps_in_sqrt=False)
    ),
    # optax adds eps inside the square root.
    "adagrad": optimizer_row(
        lambda: optax.adagrad(RATE), 5.8e-2, lambda: optax.adagrad(RATE, initial_accumulator_value=0, eps=1e-20)
    ),
    # PyTorch's momentum grows over the steps ("momentum_decay"), optax's is constant.
    "nadam": Row(descent(lambda: optax.nadam(RATE)), 7.6e-2, None),
    # The first step and what follows a change of sign are treated otherwise.
    "rprop": Row(descent(lambda: optax.rprop(RATE)), 1.5e-3, None),
}

FUNCTIONS = {
    "layer_norm": Row(
        lambda x: flax_layer(nn.LayerNorm(), 1e-3 * x["x"]), 0.53, lambda x: ops.layer_norm(1e-3 * jnp.asarray(x["x"]))
    ),
    "rms_norm": Row(
        lambda x: ops.rms_norm(1e-3 * jnp.asarray(x["x"])),
        0.72,
        lambda x: ops.rms_norm(1e-3 * jnp.asarray(x["x"]), eps=jnp.finfo(jnp.float32).eps),
    ),
    "group_norm": Row(
        lambda x: flax_layer(nn.GroupNorm(2), 1e-2 * x["x_image"]),
        0.75,
        lambda x: ops.group_norm(1e-2 * jnp.asarray(x["x_image"]), groups=2),
    ),
    # The meaning of momentum is turned round, its default differs, and flax keeps the biased variance.
    "batch_norm": Row(flax_batch_statistics, 3.2, our_batch_statistics),
    "gelu": Row(lambda x: jax.nn.gelu(x["x"]), 2.3e-4, lambda x: jax.nn.gelu(x["x"], approximate=False)),
    "leaky_relu": Row(lambda x: jax.nn.leaky_relu(x["x"]), 0, lambda x: jax.nn.leaky_relu(x["x"])),
    "std": Row(lambda x: jnp.std(x["x"]), 1.7e-2, lambda x: jnp.std(x["x"], ddof=1)),
    # PyTorch gives the lower of the two middle values.
    "median": Row(
        lambda x: jnp.median(x["x_image"][..., 0]),
        3.2e-2,
        lambda x: jnp.sort(x["x_image"][..., 0].ravel())[(64 - 1) // 2],
    ),
    "conv_stride_2": Row(
        lambda x: ops.conv(x["x_image"], x["x_kernel"], stride=2),
        13.5,
        lambda x: ops.conv(x["x_image"], x["x_kernel"], stride=2, padding=1),
        1e-5,
    ),
    "avg_pool_padded": Row(
        lambda x: ops.avg_pool(x["x_image"], (3, 3), stride=2, padding=1, count_padding=False),
        0.89,
        lambda x: ops.avg_pool(x["x_image"], (3, 3), stride=2, padding=1),
    ),
    # Of equal values PyTorch's first takes the whole gradient; jnp.max shares it.
    "max_pool_ties": Row(
        tied_gradient(lambda image: image.reshape(2, 2, 2, 2, 2).max((1, 3))),
        0.75,
        tied_gradient(partial(ops.max_pool, window=(2, 2))),
    ),
    "bilinear_down": Row(lambda x: resize(x, 3, "bilinear"), 1.3, lambda x: resize(x, 3, "bilinear", antialias=False)),
    # PyTorch's cubic has a = -0.75, JAX's -0.5.
    "bicubic_up": Row(lambda x: resize(x, 16, "bicubic"), 0.27, None),
    # A zero vector has cosine 0 with all.
    "cosine_similarity": Row(cosines, 0, cosines),
    # With fewer queries than keys PyTorch aligns the causal mask at the first key, as JAX does.
    "causal_attention": Row(causal_attention, 0, causal_attention),
    "linear_init": Row(
        lambda x: weight_statistics(nn.initializers.lecun_normal()),
        6.4e-2,
        lambda x: weight_statistics(nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")),
        3e-4,
    ),
}
ROWS = OPTIMIZERS | FUNCTIONS


@pytest.mark.parametrize("name", ROWS)
def test_the_default_differs_by_what_the_table_says(golden, name):
    row = ROWS[name]
    difference = np.abs(np.asarray(row.default(golden)) - golden[name]).max()
    if row.difference == 0:
        assert difference <= row.tolerance
    else:
        assert difference == pytest.approx(row.difference, rel=0.05)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.torch_like])
def test_the_torch_like_spelling_agrees(golden, name):
    row = ROWS[name]
    np.testing.assert_allclose(row.torch_like(golden), golden[name], rtol=0, atol=row.tolerance)


def test_every_golden_vector_is_what_its_record_says(golden):
    about = json.loads(GOLDEN.with_suffix(".json").read_text())
    assert (about["package"], about["version"], about["seed"]) == ("torch", "2.13.0", 0)
    assert golden.keys() == about["arrays"].keys()
    for name, array in golden.items():
        assert hashlib.sha256(array.tobytes()).hexdigest() == about["arrays"][name]["sha256"], name


def test_every_golden_result_has_a_row(golden):
    assert {name for name in golden if not name.startswith("x")} == ROWS.keys()
