"""Diagonal state space models: HiPPO's spectrum, zero-order hold, and the linear recurrence that runs them.

    continuous  dx/dt = diag(lam) x + B u        held input      x_t = diag(a) x_{t-1} + Bbar u_t

Sources: Gu, Goel, Gupta, Re, "On the Parameterization and Initialization of Diagonal State Space Models" (arXiv
2206.11893); Smith, Warrington, Linderman, "Simplified State Space Layers for Sequence Modeling" (S5, arXiv 2208.04933).
"""

import jax.numpy as jnp
import numpy as np
from jaxzoo_kernels import linear_recurrence


def hippo_matrix(n):
    """The normal part S = h + p p^T of HiPPO-LegS, [n, n] float64: -1/2 on the diagonal, the rest skew-symmetric.

    h_ij = -sqrt((2i + 1)(2j + 1)) below the diagonal, -(i + 1) on it, 0 above;  p_i = sqrt(i + 1/2)

    Args:
      n: size of the state.

    Returns:
      [n, n].

    Source: arXiv 2208.04933, its HiPPO-N.
    """
    root = np.sqrt(2 * np.arange(n) + 1.0)
    h = -np.tril(np.outer(root, root), -1) - np.diag(np.arange(n) + 1.0)
    return h + np.outer(root, root) / 2


def hippo_normal(n, *, blocks=1, halve=True):
    """Eigenvalues and eigenvectors of HiPPO-N: S = V diag(lam) V^H, repeated along the diagonal.

    Args:
      n: size of the real state.
      blocks: copies of HiPPO-N of size n / blocks, which is even.
      halve: keep of each conjugate pair the one of negative frequency; the output is then twice the real part.

    Returns:
      lam: [p] complex128 with p = n / 2 (n if not `halve`); frequencies ascend within a block, all real parts -1/2.
      v: [n, p] complex128, with orthonormal columns.

    Raises:
      ValueError: `blocks` does not cut n into even sizes.
    """
    if blocks < 1 or n < 2 * blocks or n % (2 * blocks):
        raise ValueError(f"n: expected a multiple of 2 * blocks = {2 * blocks}, got {n}")
    size = n // blocks
    skew = hippo_matrix(size) + np.eye(size) / 2
    frequency, vectors = np.linalg.eigh(-1j * skew)  # Hermitian, so that V is unitary
    kept = size // 2 if halve else size
    lam = np.tile(-0.5 + 1j * frequency[:kept], blocks)
    return lam, np.kron(np.eye(blocks), vectors[:, :kept])


def discretize_zoh(lam, b, dt):
    """The recurrence of a continuous system whose input is held for a step: a = exp(lam dt), Bbar = (a - 1) / lam B.

    Args:
      lam: [p] complex eigenvalues, none of them 0.
      b: [..., p] complex input matrix or convolution kernel.
      dt: [p] step sizes, above 0.

    Returns:
      a: [p]. b_bar: [..., p].

    Raises:
      ValueError: shapes do not fit.

    Source: arXiv 2208.04933; arXiv 2310.19694.
    """
    if lam.ndim != 1 or b.shape[-1:] != lam.shape or dt.shape != lam.shape:
        raise ValueError(f"lam, b, dt: expected [p], [..., p], [p], got {lam.shape}, {b.shape}, {dt.shape}")
    # expm1: with dt = 0.001 the difference a - 1 would lose three digits.
    gain = jnp.expm1(lam * dt) / lam
    return jnp.exp(lam * dt), gain.reshape((1,) * (b.ndim - 1) + (-1,)) * b


def compose(first, second):
    """Composition of two steps x -> a x + b, the operator of the parallel scan: (a2 a1, a2 b1 + b2).

    Associative, which is what lets a whole clip be scanned in logarithmic depth.

    Args:
      first, second: pairs (a, b) of arrays of one shape; `first` comes earlier in time.

    Returns:
      A pair (a, b).

    Source: arXiv 2310.19694, the operator of its scan.
    """
    (a1, b1), (a2, b2) = first, second
    return a2 * a1, a2 * b1 + b2


def diag_linear_scan(a, b, x0=None):
    """All states of x_t = a_t x_{t-1} + b_t.

    Args:
      a: [p] decay, the same at all times, or [t, p].
      b: [t, ..., p] forcing.
      x0: [..., p] initial state, by default zero.

    Returns:
      [t, ..., p].

    Raises:
      ValueError: shapes do not fit.
    """
    if a.shape not in (b.shape[-1:], (b.shape[0], b.shape[-1])):
        raise ValueError(f"a: expected [p] or [t, p] with b [t, ..., p] = {b.shape}, got {a.shape}")
    if a.ndim == 2:
        a = a.reshape(a.shape[0], *(1,) * (b.ndim - 2), a.shape[1])
    return linear_recurrence(a, b, h0=x0)[0]
