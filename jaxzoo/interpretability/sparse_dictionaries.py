"""Sparse dictionaries: a wide ReLU layer under an L1 penalty, with decoder rows of length 1.

    z = relu((x - b_in) W_enc + b_enc)        out = z W_dec + b_out
    loss = mean over coordinates of (out - target)^2 / |target|  +  sparsity |z|_1

With target = x it is a sparse autoencoder; with target = f(x), a transcoder of f. The penalty is not free of scale:
without unit rows features would shrink and rows grow, so the gradient's part along each row is removed before a step
and the rows are scaled back to length 1 after it. Options of the authors' training: ghost gradients for features that
no longer fire (`ghost_gradients`), and biases that begin at the geometric median (`geometric_median`).

Sources: Dunefsky, Chlenski, Nanda, "Transcoders Find Interpretable LLM Feature Circuits" (arXiv 2406.11944), Sec. 3;
the unit rows: Bricken et al., "Towards Monosemanticity" (Transformer Circuits Thread, 2023).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxzoo.interpretability.ghost_gradients import ghost_loss
from jaxzoo.ops import normalize, safe_norm
from jaxzoo.train import Task


class Dictionary(NamedTuple):
    """The parameters of one dictionary of F features; a stack of n of them has a leading axis.

    Attributes:
      b_in: [d] taken from the input.
      W_enc: [d, F].
      b_enc: [F].
      W_dec: [F, e], rows of length 1.
      b_out: [e].
    """

    b_in: jax.Array
    W_enc: jax.Array
    b_enc: jax.Array
    W_dec: jax.Array
    b_out: jax.Array


class DictionaryState(NamedTuple):
    """The state of `train_dictionary`.

    Attributes:
      params: a stack of n dictionaries.
      optimizer: what the optimiser remembers.
      inputs: what `pairs` needs beside a key.
      idle: [n, F] updates since each feature was last active; None without ghost gradients.
    """

    params: Dictionary
    optimizer: optax.OptState
    inputs: tuple
    idle: jax.Array | None = None


def mean(x):
    """The mean of points: [n, d] -> [d]."""
    return x.mean(0)


def init_dictionary(key, x, target, width, *, middle=mean):
    """A dictionary before training: Kaiming-uniform weights, rows of the decoder of length 1, biases in the middle.

    Args:
      key: a PRNG key.
      x: [b, d] a sample of inputs.
      target: [b, e] their targets.
      width: number of features F.
      middle: of [b, d] points, [d], for both biases: `mean` or `geometric_median`.

    Returns:
      A `Dictionary`.
    """
    key_encoder, key_decoder = jax.random.split(key)
    draw = jax.nn.initializers.he_uniform()
    return renorm_decoder(
        Dictionary(
            b_in=middle(x),
            W_enc=draw(key_encoder, (x.shape[1], width)),
            b_enc=jnp.zeros(width),
            W_dec=draw(key_decoder, (width, target.shape[1])),
            b_out=middle(target),
        )
    )


def sparse_mlp(params, x):
    """Applies a dictionary: z = relu((x - b_in) W_enc + b_enc), out = z W_dec + b_out.

    Args:
      params: a `Dictionary` of d inputs, F features and e outputs.
      x: [d] the input.

    Returns:
      `(out [e], z [F])`.

    Raises:
      ValueError: x is not [d].
    """
    if x.shape != params.b_in.shape:
        raise ValueError(f"x: expected {list(params.b_in.shape)}, the inputs of the dictionary, got {list(x.shape)}")
    z = jax.nn.relu((x - params.b_in) @ params.W_enc + params.b_enc)
    return z @ params.W_dec + params.b_out, z


def dictionary_loss(out, target, z, sparsity):
    """Squared error over the target's length, and the L1 penalty: mean((out - target)^2) / |target| + sparsity |z|_1.

    NOTE(paper): this is the convention of the authors' code. The paper's formula is |target - out|^2 + sparsity |z|_1,
    with the sum of squares and no division, so that its sparsity is d |target| times ours.

    Args:
      out, target: [e].
      z: [F] activations, not negative.
      sparsity: lambda, a scalar; may be traced.

    Returns:
      A scalar, of one example.
    """
    return reconstruction_error(out, target) + sparsity * jnp.abs(z).sum()


def reconstruction_error(out, target):
    """mean((out - target)^2) / |target|, a scalar of two [e]."""
    return jnp.square(out - target).mean() / jnp.maximum(safe_norm(target), 1e-8)


def renorm_decoder(params):
    """The dictionary with every row of its decoder scaled to length 1."""
    return params._replace(W_dec=normalize(params.W_dec))


def project_gradient(gradient, params):
    """The gradient without its part along each row of the decoder: <g_j, W_dec_j> = 0 for every feature j."""
    rows = normalize(params.W_dec)  # [..., F, e]
    along = (gradient.W_dec * rows).sum(-1, keepdims=True)
    return gradient._replace(W_dec=gradient.W_dec - along * rows)


def train_dictionary(
    pairs: Callable[..., tuple[Any, Any]],
    width: int,
    sparsity: Any,
    optimizer: optax.GradientTransformation,
    *,
    dead_after: int | None = None,
    middle: Callable[[jax.Array], jax.Array] = mean,
) -> Task:
    """Trains n dictionaries side by side, each with a sparsity and activations of its own; all begin alike.

    Args:
      pairs: `pairs(key, *inputs) -> (x [n, b, d], target [n, b, e])`, fresh activations of one update for each of the n
        dictionaries. `inputs` are those of `task.init`, such as the parameters of the network that is read.
      width: number of features F.
      sparsity: [n] lambda of each; data, so that one program serves any grid.
      optimizer: any optax transformation.
      dead_after: updates without being active after which a feature is dead and gets ghost gradients
        (`ghost_gradients`); None for no such gradients. They need room for as many activations again.
      middle: as of `init_dictionary`.

    Returns:
      A task with state `DictionaryState` and the scalars "loss" and "l0", means over dictionaries and examples. With
      ghost gradients their loss is part of the loss, and "dead" is the mean number of dead features.
    """
    sparsity = jnp.asarray(sparsity, jnp.float32)
    if sparsity.ndim != 1:
        raise ValueError(f"sparsity: expected [n], one for each dictionary, got shape {sparsity.shape}")

    def init(key, *inputs):
        key_weights, key_sample = jax.random.split(key)
        x, target = pairs(key_sample, *inputs)
        if x.shape[0] != sparsity.shape[0]:
            raise ValueError(f"sparsity: expected [{x.shape[0]}], one for each row of pairs, got {sparsity.shape}")
        make = partial(init_dictionary, middle=middle)
        params = jax.vmap(make, (None, 0, 0, None))(key_weights, x, target, width)
        idle = None if dead_after is None else jnp.zeros((len(sparsity), width), jnp.int32)
        return DictionaryState(params, optimizer.init(params), inputs, idle)

    def batch_loss(params, x, target, sparsity, dead):
        out, z = jax.vmap(sparse_mlp, (None, 0))(params, x)
        losses = jax.vmap(dictionary_loss, (0, 0, 0, None))(out, target, z, sparsity)
        if dead is None:
            return losses.mean(), (l0(z), None)
        errors = jax.vmap(reconstruction_error)(out, target)
        losses += jax.vmap(ghost_loss, (None, 0, 0, 0, None))(params, x, target - out, errors, dead)
        return losses.mean(), (l0(z), (z > 0).any(0))

    def total(params, x, target, dead):
        losses, (active, fired) = jax.vmap(batch_loss)(params, x, target, sparsity, dead)
        return losses.sum(), (losses.mean(), active.mean(), fired)

    def update(state, key):
        x, target = pairs(key, *state.inputs)
        dead = None if dead_after is None else state.idle > dead_after
        gradient, (loss, active, fired) = jax.grad(total, has_aux=True)(state.params, x, target, dead)
        change, memory = optimizer.update(project_gradient(gradient, state.params), state.optimizer, state.params)
        params = renorm_decoder(optax.apply_updates(state.params, change))
        idle = None if dead is None else jnp.where(fired, 0, state.idle + 1)
        scalars = {"loss": loss, "l0": active}
        scalars |= {} if dead is None else {"dead": dead.sum(-1).astype(jnp.float32).mean()}
        return DictionaryState(params, memory, state.inputs, idle), scalars

    return Task(init, update)


def l0(z):
    """The mean number of active features: z [..., F] -> scalar."""
    return (z > 0).sum(-1).astype(jnp.float32).mean()
