"""Neural Tangent Kernel: Convergence and Generalization in Neural Networks (Jacot, Gabriel, Hongler, arXiv 1806.07572).

Gradient descent in the parameters is kernel gradient descent in the outputs, df/dt = -Theta (f - y) / N, with kernel
Theta(x, x') = J(x) J(x')^T, J = df/dparams. As the network grows wide Theta becomes deterministic (Theorem 1) and stays
constant in training (Theorem 2): the trained network is then known in closed form, with its mean and its spread.

Read downwards: the network, its kernels in the limit, and what these say of training. What one layer does to the
covariance of its inputs is in `jaxzoo.theory.duals`. The kernel of a network of finite width is
`jaxzoo.transforms.ntk`, the network trained as a linear model of its parameters `jaxzoo.transforms.linearize`; both
take any model.
"""

import itertools
import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxzoo.model import Model
from jaxzoo.ops import accumulator
from jaxzoo.theory.duals import dual


def ntk_mlp(widths, s=jax.nn.relu, beta=0.1):
    """A fully connected network in the NTK parameterisation (Sec. 2), in which every parameter is drawn from N(0, 1).

    z^1 = W^0 x / sqrt(n_0) + beta b^0,   z^{l+1} = W^l s(z^l) / sqrt(n_l) + beta b^l,   f = z^L

    Args:
      widths: n_1 ... n_L, the size of each layer, the output's last.
      s: elementwise nonlinearity.
      beta: share of the biases. The kernels are those of `analytic_kernels` with w_var = 1 and b_var = beta^2.

    Returns:
      A `Model` of x: [n_0]; params is a list of L dicts, "w": [n_{l+1}, n_l] and "b": [n_{l+1}].
    """

    def init(key, x):
        shapes = list(itertools.pairwise((x.size, *widths)))
        ends = list(itertools.accumulate((1 + n_in) * n_out for n_in, n_out in shapes))
        # One draw for all parameters compiles in a fraction of the time of one for each array.
        parts = jnp.split(jax.random.normal(key, ends[-1:], x.dtype), ends[:-1])
        return [
            {"w": part[n_out:].reshape(n_out, n_in), "b": part[:n_out]}
            for part, (n_in, n_out) in zip(parts, shapes, strict=True)
        ]

    def apply(params, x, *, key=None):
        first, *others = params
        z = _affine(first, x, beta)
        for layer in others:
            z = _affine(layer, s(z), beta)
        return z

    return Model(init, apply)


def _affine(layer, x, beta):
    return layer["w"] @ x / math.sqrt(x.size) + beta * layer["b"]


class Kernels(NamedTuple):
    """The kernels of a network of infinite width between n and m inputs.

    Attributes:
      nngp: [n, m] Sigma^l, covariance of the outputs before training.
      ntk: [n, m] Theta^l.
      q: [n] Sigma^l(x, x) of the first inputs.
      q2: [m] Sigma^l(x', x') of the second.
    """

    nngp: jax.Array
    ntk: jax.Array
    q: jax.Array
    q2: jax.Array


def first_layer(x, x2=None, *, w_var=1.0, b_var=0.01):
    """The kernels of one linear layer: Sigma^1 = Theta^1 = w_var x.x' / n_0 + b_var (Proposition 1).

    Args:
      x: [n, n_0] inputs.
      x2: [m, n_0] inputs, or None for x.
      w_var, b_var: factors of the weights' and of the biases' part.

    Returns:
      `Kernels`, in float32 or better.
    """
    others = x if x2 is None else x2
    for name, a in {"x": x, "x2": others}.items():
        if a.ndim != 2 or a.shape[1] != x.shape[-1]:
            raise ValueError(f"{name}: expected [n, n_0] inputs with one n_0, got {a.shape} beside x {x.shape}")
    x, others = (a.astype(accumulator(jnp.result_type(x, others))) for a in (x, others))

    def layer(product):
        return w_var * product / x.shape[1] + b_var

    sigma = layer(jnp.matmul(x, others.T, precision="highest"))
    # Rounded alike, the diagonal and the variances keep the angle of an input with itself at exactly 0.
    q = jnp.diagonal(sigma) if x2 is None else layer(jnp.sum(x**2, 1))
    return Kernels(sigma, sigma, q, q if x2 is None else layer(jnp.sum(others**2, 1)))


def next_layer(kernels, s=jax.nn.relu, *, w_var=1.0, b_var=0.01):
    """The kernels one layer deeper (Proposition 1, Theorem 1), elementwise over the Gram matrix.

    Sigma^{l+1} = w_var E s(u) s(v) + b_var,   Theta^{l+1} = w_var Theta^l E s'(u) s'(v) + Sigma^{l+1}

    Args:
      kernels: `Kernels` of the network so far.
      s: nonlinearity before the layer.
      w_var, b_var: as in `first_layer`.

    Returns:
      `Kernels`.
    """
    kappa0, kappa1 = dual(s)
    sigma, theta, q, q2 = kernels
    pairs = (sigma, q[:, None], q2[None, :])
    sigma = w_var * kappa1(*pairs) + b_var
    theta = w_var * theta * kappa0(*pairs) + sigma
    return Kernels(sigma, theta, w_var * kappa1(q, q, q) + b_var, w_var * kappa1(q2, q2, q2) + b_var)


@partial(jax.jit, static_argnames=("depth", "s"))
def analytic_kernels(x, x2=None, *, depth, s=jax.nn.relu, w_var=1.0, b_var=0.01):
    """The kernels of a fully connected network of infinite width; the block of k outputs is theirs times the identity.

    Args:
      x: [n, n_0] inputs.
      x2: [m, n_0] inputs, or None for x.
      depth: L, the number of layers; L - 1 of them are hidden.
      s: nonlinearity (`dual`).
      w_var, b_var: factors of the weights' and of the biases' part: 1 and beta^2 for `ntk_mlp`.

    Returns:
      `(nngp [n, m], ntk [n, m])`, in float32 or better.

    Raises:
      ValueError: depth < 1, or inputs of other shapes.

    Source: Jacot, Gabriel, Hongler (arXiv 1806.07572), Proposition 1 and Theorem 1.
    """
    if depth < 1:
        raise ValueError(f"depth: expected at least 1 layer, got {depth}")
    kernels = first_layer(x, x2, w_var=w_var, b_var=b_var)
    for _ in range(depth - 1):  # unrolled: XLA fuses all layers into one pass over the Gram matrix
        kernels = next_layer(kernels, s, w_var=w_var, b_var=b_var)
    return kernels.nngp, kernels.ntk


def kernel_pca_rates(ntk_tt):
    """How fast gradient flow learns, and along which directions: the kernel principal components (Sec. 5).

    Along direction k the error decays as exp(-rate_k t), rate_k = lambda_k / N, on the cost |f(X) - y|^2 / (2 N).

    Args:
      ntk_tt: [n, n] kernel of the training points, positive semidefinite.

    Returns:
      `(rates [n], directions [n, n])`: fastest first; direction k is the column `directions[:, k]`, of length 1.
    """
    eigenvalues, vectors = jnp.linalg.eigh(ntk_tt)
    return eigenvalues[::-1] / len(ntk_tt), vectors[:, ::-1]


def kernel_smoother(ntk_tt, ntk_xt, t=math.inf, *, rate=None):
    """The weights T with which training to time t moves other points: f_t(x) = f_0(x) + T (y - f_0(X)).

    T = Theta(x, X) Theta^{-1} (I - exp(-Theta t / N)),   with (I - rate Theta / N)^t in place of exp for discrete steps

    Taken eigenvalue by eigenvalue, so that nothing is inverted; directions whose eigenvalue is lost in rounding,
    lambda <= N eps lambda_1, are not learnt.

    Args:
      ntk_tt: [n, n] kernel of the training points.
      ntk_xt: [m, n] kernel of other points with them.
      t: time of gradient flow, or number of steps; inf for the limit.
      rate: learning rate of gradient descent, or None for gradient flow.

    Returns:
      T: [m, n].

    Raises:
      ValueError: kernels whose shapes do not fit.
    """
    n = len(ntk_tt)
    if ntk_tt.shape != (n, n) or ntk_xt.ndim != 2 or ntk_xt.shape[1] != n:
        raise ValueError(f"ntk_xt: expected [m, n] beside ntk_tt [n, n], got {ntk_xt.shape} and {ntk_tt.shape}")
    rates, directions = kernel_pca_rates(ntk_tt)
    learnt = -jnp.expm1(-rates * t) if rate is None else _learnt_by_steps(rate * rates, t)
    visible = rates > n * jnp.finfo(rates.dtype).eps * rates[0]
    gain = jnp.where(visible, learnt / jnp.where(visible, n * rates, 1), 0)
    return jnp.linalg.multi_dot([ntk_xt, directions * gain[None, :], directions.T], precision="highest")


def _learnt_by_steps(steps, t):
    """1 - (1 - step)^t, to full precision for small steps too."""
    small = steps < 0.5
    return jnp.where(small, -jnp.expm1(t * jnp.log1p(-jnp.where(small, steps, 0))), 1 - (1 - steps) ** t)


def predict_mse(ntk_tt, ntk_xt, y, t=math.inf, f0=None, *, rate=None):
    """The outputs of a network after training on the cost |f(X) - y|^2 / (2 N), if its kernel stays as it is.

    f_t(x) = f_0(x) + Theta(x, X) Theta^{-1} (I - exp(-Theta t / N)) (y - f_0(X))     (Sec. 5)

    Args:
      ntk_tt: [n, n] kernel of the training points X.
      ntk_xt: [m, n] kernel of the points x with them; `ntk_tt` again for the outputs at X.
      y: [n] or [n, k] targets.
      t, rate: as in `kernel_smoother`.
      f0: `(f_0(X), f_0(x))`, outputs before training, of shapes [n] and [m] or [n, k] and [m, k]; None for zeros.

    Returns:
      f_t(x): [m] or [m, k].
    """
    f0_t, f0_x = (0.0, 0.0) if f0 is None else f0
    return f0_x + jnp.matmul(kernel_smoother(ntk_tt, ntk_xt, t, rate=rate), y - f0_t, precision="highest")


def predict_ensemble(nngp, ntk, y, t=math.inf, *, rate=None):
    """Mean and covariance over random networks of infinite width after training.

    f_0 is a Gaussian process of covariance Sigma, and training is linear in it: f_t = T y + [-T I] f_0, T as in
    `kernel_smoother`. So mean = T y and cov = [-T I] Sigma [-T I]^T.

    Args:
      nngp: [n + m, n + m] Sigma of the n training points followed by m others.
      ntk: [n + m, n + m] Theta of the same points.
      y: [n] or [n, k] targets.
      t, rate: as in `kernel_smoother`.

    Returns:
      `(mean [m] or [m, k], cov [m, m])`; the covariance is that of each of the k outputs.

    Raises:
      ValueError: kernels whose shapes do not fit.

    Source: Lee et al., "Wide Neural Networks of Any Depth Evolve as Linear Models" (arXiv 1902.06720), eqs. 14 and 15.
    """
    n = len(y)
    if nngp.shape != ntk.shape or nngp.shape != (len(ntk), len(ntk)) or len(ntk) < n:
        raise ValueError(
            f"nngp, ntk: expected [n + m, n + m] with the {n} points of y first, got {nngp.shape} and {ntk.shape}"
        )
    smoother = kernel_smoother(ntk[:n, :n], ntk[n:, :n], t, rate=rate)
    from_start = jnp.concatenate([-smoother, jnp.eye(len(ntk) - n, dtype=smoother.dtype)], 1)  # [m, n + m]
    cov = jnp.linalg.multi_dot([from_start, nngp, from_start.T], precision="highest")
    return jnp.matmul(smoother, y, precision="highest"), cov
