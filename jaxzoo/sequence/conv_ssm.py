"""ConvS5: a linear recurrence over feature maps, whose state kernel is pointwise, so that a clip is one parallel scan.

    dx/dt = lam x + B * u,  y = 2 Re(C * x)                    (* a convolution, lam one number a channel)
    x_k = a x_{k-1} + Bbar * u_k,  a = exp(lam D), Bbar = ((a - 1) / lam) B

Like ConvLSTM it remembers in space. Unlike ConvLSTM it is linear in its state, and per pixel it is a state space model:
HiPPO's spectrum gives it a long memory, and the scan needs no step after step. A state kernel larger than 1x1 would
grow under the scan: two of size k compose to one of size 2k - 1. The nonlinearity stands between layers.

Complex numbers are kept as real leaves with a leading axis [2], (re, im): optimisers treat complex leaves otherwise.

Source: Smith, De Mello, Kautz, Linderman, Byeon, "Convolutional State Space Models for Long-Range Spatiotemporal
Modeling" (arXiv 2310.19694).
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxzoo import ops
from jaxzoo.layers import Conv, LayerNorm
from jaxzoo.sequence.hippo import diag_linear_scan, discretize_zoh, hippo_normal
from jaxzoo.sequence.video_model import FrameNorm, ResidualBlock, lecun_normal, norm_groups

SPECTRA = ("hippo", "random", "discrete")
BLOCKS = ("resnet", "standard")
MODES = ("scan", "step")
DYNAMICS = ("lam", "log_step", "modulus", "phase")
"""Parameters that say how fast the state decays. They are trained without weight decay, which would choose for them."""

STABLE = -1e-4
"""The real parts of eigenvalues stay at or below this."""
RADIUS = 0.95
"""Eigenvalues of the "discrete" initialisation lie in the disc of this radius."""


def convs5_init(key, *, features, state_size, window=3, blocks=1, spectrum="hippo", step_range=(1e-3, 0.1)):
    """Parameters of one recurrence; the same key gives all spectra the same B and C.

    Args:
      key: a PRNG key.
      features: channels of the input and output, u.
      state_size: channels of the real state; half as many complex ones are kept, p.
      window: size of the kernels B and C, k.
      blocks: copies of HiPPO-N along the diagonal.
      spectrum: "hippo"; "random", eigenvalues of a Gaussian matrix moved into the left half-plane; "discrete", the
        decay itself is the parameter, uniform in the disc of radius 0.95: no time step and no continuous system.
      step_range: of D, log-uniform per channel.

    Returns:
      "B" [2, k, k, u, p] and "C" [2, k, k, p, u] with "lam" [2, p] and "log_step" [p], or, if discrete, with "modulus"
      [p], before a sigmoid, and "phase" [p] in radians.

    Raises:
      ValueError: an unknown spectrum; `state_size` is no multiple of 2 * blocks.

    Source: arXiv 2310.19694, its initialisation; "random" and "discrete" are ablations.
    """
    if spectrum not in SPECTRA:
        raise ValueError(f"spectrum: expected one of {', '.join(SPECTRA)}, got {spectrum!r}")
    lam, v = hippo_normal(state_size, blocks=blocks)
    p, v = len(lam), jnp.asarray(v, jnp.complex64)
    key_b, key_c, key_spectrum, key_time = jax.random.split(key, 4)
    # Drawn along one axis for the sake of compile time, as in `video_model.lecun_normal`.
    count = window**2 * features * state_size
    b0 = jax.random.normal(key_b, count).reshape(window, window, features, state_size)
    c0 = jax.random.normal(key_c, count).reshape(window, window, state_size, features)
    b0, c0 = (x * (2 / (inputs * window**2)) ** 0.5 for x, inputs in ((b0, features), (c0, state_size)))
    shared = {"B": _parts(b0 @ v.conj()), "C": _parts(jnp.einsum("ijnu,np->ijpu", c0, v))}
    if spectrum == "discrete":
        key_modulus, key_phase = jax.random.split(key_spectrum)
        modulus = RADIUS * jnp.sqrt(jax.random.uniform(key_modulus, (p,), minval=1e-4))
        phase = jax.random.uniform(key_phase, (p,), maxval=2 * jnp.pi)
        return shared | {"modulus": jax.scipy.special.logit(modulus), "phase": phase}
    if spectrum == "random":
        lam = jnp.linalg.eigvals(jax.random.normal(key_spectrum, (p, p)) * p**-0.5)
        lam = lam - lam.real.max() + STABLE
    low, high = (jnp.log(step) for step in step_range)
    log_step = jax.random.uniform(key_time, (p,), minval=low, maxval=high)
    return shared | {"lam": _parts(jnp.asarray(lam, jnp.complex64)), "log_step": log_step}


def discretized(params):
    """The recurrence that the parameters stand for: decay a [p] and input kernel Bbar [k, k, u, p], both complex.

    Args:
      params: as from `convs5_init`.
    """
    b = lax.complex(*params["B"])
    if "log_step" in params:
        lam = lax.complex(jnp.minimum(params["lam"][0], STABLE), params["lam"][1])
        return discretize_zoh(lam, b, jnp.exp(params["log_step"]))
    modulus, phase = jax.nn.sigmoid(params["modulus"]), params["phase"]
    # The factor gives the state the variance of a white input, whatever the decay.
    scale = jnp.sqrt(1 - modulus**2)[None, None, None]
    return lax.complex(modulus * jnp.cos(phase), modulus * jnp.sin(phase)), scale * b


def convs5_apply(params, u, x0=None, *, mode="scan"):
    """The recurrence over one clip.

    Args:
      params: as from `convs5_init`.
      u: [t, h, w, u] features of the frames.
      x0: [h, w, p] complex state before the first frame, by default zero. It enters the scan as b_1 + a x0.
      mode: "scan", all frames at once by the kernel `linear_recurrence`; "step", frame by frame.

    Returns:
      `(x [h, w, p] complex, y [t, h, w, u])`: the state after the last frame, and the outputs.

    Raises:
      ValueError: shapes do not fit, or an unknown mode.

    Source: arXiv 2310.19694, the ConvSSM layer and its parallel scan.
    """
    *_, features, p = params["B"].shape
    if u.ndim != 4 or u.shape[-1] != features or not len(u):
        raise ValueError(f"u: expected [t, h, w, {features}] with t at least 1, got {u.shape}")
    if x0 is not None and x0.shape != (*u.shape[1:3], p):
        raise ValueError(f"x0: expected {(*u.shape[1:3], p)}, got {x0.shape}")
    if mode not in MODES:
        raise ValueError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")
    a, kernel = discretized(params)
    if mode == "scan":
        # a stays [p]: the kernel reads a constant decay once, and nothing of size [t, h, w, p] is made for it.
        x = diag_linear_scan(a, convolved(u, kernel), x0)
        return x[-1], readout(params, x)

    def step(x, u):
        x = a[None, None] * x + convolved(u, kernel)
        return x, readout(params, x)

    return lax.scan(step, jnp.zeros((*u.shape[1:3], p), a.dtype) if x0 is None else x0, u)


def convolved(u, kernel):
    """Bbar * u of a real u [..., h, w, u] and a complex kernel [k, k, u, p], as a real convolution: [..., h, w, p]."""
    y = ops.conv(u, jnp.concatenate([kernel.real, kernel.imag], -1))
    return lax.complex(*jnp.split(y, 2, -1))


def readout(params, x):
    """y = 2 Re(C * x) of a complex x [..., h, w, p], as one real convolution: [..., h, w, u].

    Twice, for the conjugate half of the state that is not kept.
    """
    re, im = params["C"]
    return ops.conv(jnp.concatenate([x.real, x.imag], -1), 2 * jnp.concatenate([re, -im], 2))


class ConvS5Layer(nn.Module):
    """The recurrence, what makes it nonlinear, a skip and a layer norm: [t, h, w, u] -> the same.

    Attributes:
      state_size, blocks, spectrum: as in `convs5_init`.
      window: size of all kernels; with 1 the layer is an S5 layer at every pixel, and nothing in it mixes places but
        the statistics of the group norm.
      block: "resnet", gelu(residual block of y), as on Moving-MNIST; "standard", gelu(norm(y + D * u)).
    """

    state_size: int
    window: int = 3
    blocks: int = 1
    spectrum: str = "hippo"
    block: str = "resnet"

    @nn.compact
    def __call__(self, u, state=None):
        """`(y [t, h, w, u], x)`; `state` and x are [h, w, p] complex."""
        if self.block not in BLOCKS:
            raise ValueError(f"block: expected one of {', '.join(BLOCKS)}, got {self.block!r}")
        options = {"window": self.window, "blocks": self.blocks, "spectrum": self.spectrum}
        start = partial(convs5_init, features=u.shape[-1], state_size=self.state_size, **options)
        state, y = convs5_apply(self.param("ssm", start), u, state)
        if self.block == "resnet":
            y = jax.nn.gelu(ResidualBlock(self.window, name="block")(y))
        else:
            direct = Conv(u.shape[-1], (self.window, self.window), use_bias=False, kernel_init=lecun_normal, name="D")(
                u
            )
            y = jax.nn.gelu(FrameNorm(norm_groups(u.shape[-1]), name="block_norm")(y + direct))
        return LayerNorm(name="norm")(y + u), state


def decayed(params):
    """Which leaves weight decay acts on, for `optax.adamw(mask=decayed)`: all but `DYNAMICS`."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key not in DYNAMICS, params)


def clip_pixels(frame):
    """Limits a frame to the range of pixels, [-1, 1].

    NOTE(paper): the paper's models end in tanh as they generate. A linear output trained towards pixels of -1 and 1
    would come out of it as -0.76 and 0.76; clipped it stays what it was.
    """
    return jnp.clip(frame, -1, 1)


def generate(apply, params, context, n_frames, *, limit: Callable = clip_pixels):
    """Goes on with a clip: one scan over the context, then a step for each frame on the model's own output.

    Args:
      apply: `apply(params, frames [t, h, w, c], states or None) -> (next frames [t, h, w, c], states)`.
      params: of the model.
      context: [t, h, w, c].
      n_frames: how many to make, at least 1.
      limit: acts on each made frame.

    Returns:
      [n_frames, h, w, c]. Time and memory of a frame don't depend on how many there were before it.

    Raises:
      ValueError: `n_frames` below 1, or no context.
    """
    if n_frames < 1 or context.ndim != 4 or not len(context):
        raise ValueError(f"expected n_frames >= 1 and context [t >= 1, h, w, c], got {n_frames} and {context.shape}")
    after, states = apply(params, context)
    first = limit(after[-1])

    def step(carry, _):
        frame, states = carry
        after, states = apply(params, frame[None], states)
        frame = limit(after[0])
        return (frame, states), frame

    _, rest = lax.scan(step, (first, states), length=n_frames - 1)
    return jnp.concatenate([first[None], rest])


def loop_lengths(function, *arguments):
    """The sequential loops in a function's program: the length of each `scan`, and None for each `while`.

    Args:
      function: traceable.
      *arguments: or their shapes.

    Returns:
      A list, over all nested programs. A kernel such as `linear_recurrence` is one operation here, however a platform
      computes it inside: on CPU as a loop over time that is compiled into the operation.
    """

    def visit(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name in ("scan", "while"):
                yield equation.params.get("length")
            for leaf in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns")):
                if hasattr(leaf, "eqns"):
                    yield from visit(leaf)

    return list(visit(jax.make_jaxpr(function)(*arguments).jaxpr))


def _parts(z):
    return jnp.stack([z.real, z.imag])
