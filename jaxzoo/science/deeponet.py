"""DeepONet: a network for operators, that takes a function and gives its image under an operator at any point.

A branch network reads the input function u at m fixed sensors, a trunk network the point y, and their inner product is
the output function at y:

    G(u)(y) = sum_k b_k(u(x_1), .., u(x_m)) t_k(y) + b_0                                                       (eq. 2)

The trunk so learns a basis of output functions and the branch the coefficients. The structure, not the size, is what
makes the error on new functions small, against a network that reads u and y side by side.

With linear interpolation between the sensors as a measure, m of them suffice for random functions of length scale l
once 1 / (m^2 l^2) is small (`interpolation_error`).

Source: Lu, Jin, Karniadakis, "DeepONet: Learning nonlinear operators for identifying differential equations based on
the universal approximation theorem of operators" (arXiv 1910.03193).
"""

from itertools import pairwise

import jax
import jax.numpy as jnp

from jaxzoo.model import Model
from jaxzoo.science.ode import ode_response
from jaxzoo.science.random_functions import chebyshev_space, grf_rbf, interpolation_error, resample
from jaxzoo.science.reaction_diffusion import reaction_diffusion

__all__ = [
    "chebyshev_space",
    "deeponet",
    "deeponet_apply",
    "deeponet_cartesian",
    "deeponet_init",
    "fnn",
    "grf_rbf",
    "interpolation_error",
    "mlp_apply",
    "mlp_init",
    "ode_response",
    "reaction_diffusion",
    "resample",
    "robust_mse",
]


def mlp_init(key, sizes, *, bias=True, last_bias=True):
    """Layers of a dense network, a list of {"w" [in, out], "b" [out]}: Glorot normal weights, zero offsets.

    Args:
      key: of the weights.
      sizes: widths from input to output.
      bias: learn offsets.
      last_bias: of the last layer too.

    Raises:
      ValueError: fewer than two sizes.
    """
    if len(sizes) < 2:
        raise ValueError(f"sizes: expected widths from input to output, two or more, got {sizes}")
    layers, keys = [], jax.random.split(key, len(sizes) - 1)
    for i, (before, after) in enumerate(pairwise(sizes)):
        layer = {"w": jax.nn.initializers.glorot_normal()(keys[i], (before, after))}
        if bias and (last_bias or i < len(sizes) - 2):
            layer["b"] = jnp.zeros(after)
        layers.append(layer)
    return layers


def mlp_apply(layers, x, *, activation=jax.nn.relu, activate_last=False):
    """[..., in] -> [..., out], an activation between layers and, if told so, after the last."""
    for i, layer in enumerate(layers):
        x = x @ layer["w"]
        x = x + _row(layer["b"], x) if "b" in layer else x
        x = activation(x) if activate_last or i < len(layers) - 1 else x
    return x


def deeponet_init(key, branch_sizes, trunk_sizes, *, stacked=False, bias=True):
    """Parameters of a DeepONet.

    Args:
      key: of the weights.
      branch_sizes: m, widths, and p, the number of basis functions. Stacked: m and the width w of p networks
        m -> w -> 1, p being the trunk's last width.
      trunk_sizes: d, widths and p.
      stacked: one branch network for each basis function.
      bias: b_0, and offsets of the branch; without, neither has any. The trunk always has them.

    Returns:
      {"branch", "trunk", "b0"}; no "b0" without bias. Stacked, "branch" is {"w1" [p, m, w], "b1" [p, w], "w2" [p, w]}.

    Raises:
      ValueError: branch and trunk differ in p, or sizes of the stacked branch that are not m and w.
    """
    key_branch, key_trunk = jax.random.split(key)
    p = trunk_sizes[-1]
    if stacked:
        if len(branch_sizes) != 2:
            raise ValueError(f"branch_sizes: expected (m, w) of the stacked networks m -> w -> 1, got {branch_sizes}")
        branch = _stacked_init(key_branch, p, *branch_sizes, bias=bias)
    else:
        if branch_sizes[-1] != p:
            raise ValueError(f"branch_sizes: expected to end with the trunk's {p} basis functions, got {branch_sizes}")
        branch = mlp_init(key_branch, branch_sizes, bias=bias)
    params = {"branch": branch, "trunk": mlp_init(key_trunk, trunk_sizes)}
    return params | {"b0": jnp.zeros(())} if bias else params


def deeponet_apply(params, u, y, *, activation=jax.nn.relu):
    """G(u)(y), one point for each function.

    Args:
      params: as from `deeponet_init`.
      u: [..., m] functions at the sensors.
      y: [..., d] points, with u's leading axes.
      activation: of both networks.

    Returns:
      [...].
    """
    b, t = _branch(params["branch"], u, activation), _trunk(params["trunk"], y, activation)
    return _offset(params, (b * t).sum(-1))


def deeponet_cartesian(params, u, y, *, activation=jax.nn.relu):
    """G(u)(y) of every function at every point: u [b, m], y [q, d] -> [b, q]."""
    b, t = _branch(params["branch"], u, activation), _trunk(params["trunk"], y, activation)
    return _offset(params, b @ t.T)


def deeponet(branch_sizes, trunk_sizes, *, stacked=False, bias=True, activation=jax.nn.relu):
    """A DeepONet as a `Model` of the example `(u [m], y [d])`; options as in `deeponet_init`."""

    def init(key, example):
        return deeponet_init(key, branch_sizes, trunk_sizes, stacked=stacked, bias=bias)

    return Model(init, lambda params, example, *, key=None: deeponet_apply(params, *example, activation=activation))


def fnn(widths, *, residual=False, activation=jax.nn.relu):
    """The baseline as a `Model` of `(u [m], y [d])`: one dense network of [u, y], with one output.

    Args:
      widths: of the hidden layers.
      residual: add each hidden layer's input to its output; then the first layer only sets the width.
      activation: of the hidden layers.
    """

    def init(key, example):
        return mlp_init(key, (sum(x.shape[-1] for x in example), *widths, 1))

    def apply(params, example, *, key=None):
        x = jnp.concatenate(example, -1)
        if not residual:
            return mlp_apply(params, x, activation=activation)[..., 0]
        first, *middle, last = params
        x = mlp_apply([first], x, activation=activation)
        for layer in middle:
            x = x + mlp_apply([layer], x, activation=activation, activate_last=True)
        return mlp_apply([last], x)[..., 0]

    return Model(init, apply)


def robust_mse(errors, *, share=1e-3):
    """The mean square without the largest `share` of squares, the measure of the official code: [n] -> scalar."""
    squares = jnp.sort(jnp.square(errors.reshape(-1)))
    return squares[: max(1, round(len(squares) * (1 - share)))].mean()


def _stacked_init(key, p, m, w, *, bias):
    key_1, key_2 = jax.random.split(key)
    normal = jax.nn.initializers.glorot_normal(in_axis=-2, out_axis=-1, batch_axis=0)
    branch = {"w1": normal(key_1, (p, m, w)), "w2": normal(key_2, (p, w, 1))[..., 0]}
    return branch | {"b1": jnp.zeros((p, w))} if bias else branch


def _branch(branch, u, activation):
    """[..., m] -> [..., p]; no activation after the last layer."""
    if isinstance(branch, list):
        return mlp_apply(branch, u, activation=activation)
    h = jnp.einsum("...m,pmw->...pw", u, branch["w1"])
    h = h + branch["b1"].reshape((1,) * (h.ndim - 2) + branch["b1"].shape) if "b1" in branch else h
    return jnp.einsum("...pw,pw->...p", activation(h), branch["w2"])


def _trunk(trunk, y, activation):
    """[..., d] -> [..., p]; the last layer is activated too, for its outputs are a basis."""
    return mlp_apply(trunk, y, activation=activation, activate_last=True)


def _offset(params, g):
    return g + params["b0"].reshape((1,) * g.ndim) if "b0" in params else g


def _row(b, x):
    return b.reshape((1,) * (x.ndim - 1) + b.shape)
