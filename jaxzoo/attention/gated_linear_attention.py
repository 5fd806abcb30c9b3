"""Gated linear attention: linear attention that forgets, channel by channel, as its input tells it to.

A head keeps a matrix S [dk, dv], its memory of key-value pairs. Each step multiplies its rows by a gate in (0, 1), adds
one pair and reads with a query:

    S_t = Diag(a_t) S_{t-1} + k_t v_t^T        o_t = S_t^T q_t / sqrt(dk)                                  (eq. 3)

Forms of the gate give the family: none (linear attention), constant (RetNet), a scalar that depends on the input, and
here one for every channel of the key. The same function can be computed in four ways: step by step (`gla_recurrent`,
`gla_step` for decoding), all at once (`gla_parallel`, which overflows), and in chunks (`gla_chunked`), as in training.

Source: Yang, Wang, Shen, Panda, Kim, "Gated Linear Attention Transformers with Hardware-Efficient Training"
(arXiv 2312.06635).
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxzoo_kernels import gated_linear_attention as gla_chunked
from jaxzoo_kernels import gated_linear_attention_step as gla_step

from jaxzoo.layers import RMSNorm

__all__ = [
    "VARIANTS",
    "Gate",
    "GatedLinearAttention",
    "gate_gradient",
    "gla_chunked",
    "gla_parallel",
    "gla_recurrent",
    "gla_step",
    "reset_recall",
    "retnet_log_decays",
]

VARIANTS = ("none", "retnet", "scalar", "full")


def gla_recurrent(q, k, v, log_a, state=None):
    """The definition, one step after the other: what the other forms have to equal.

    Args:
      q, k: [t, h, dk] queries and keys.
      v: [t, h, dv] values.
      log_a: [t, h, dk] logarithms of the gates, at most 0.
      state: [h, dk, dv], by default zero.

    Returns:
      `(o [t, h, dv], state [h, dk, dv])`.
    """
    state = jnp.zeros((*q.shape[1:], v.shape[-1]), q.dtype) if state is None else state
    return tuple(reversed(jax.lax.scan(lambda s, x: gla_step(s, *x), state, (q, k, v, log_a))))


def gla_parallel(q, k, v, log_a):
    """All at once, as an attention matrix: O = ((Q * B) (K / B)^T * mask) V with B the products of the gates (eq. 4).

    1 / B overflows as soon as a product of gates underflows: with a = 0.5, after 127 steps in float32. Shown to be
    avoided; `gla_chunked` never forms a positive exponent.

    Args:
      q, k, v, log_a: as in `gla_recurrent`.

    Returns:
      [t, h, dv].
    """
    b = jnp.exp(jnp.cumsum(log_a, axis=0))
    scores = jnp.einsum("thk,shk->hts", q * b, k / b) * q.shape[-1] ** -0.5  # [h, t, t]
    mask = jnp.tril(jnp.ones(scores.shape[1:], bool))
    return jnp.einsum("hts,shv->thv", jnp.where(mask[None], scores, 0), v)


def gate_gradient(q, k, ct_q, ct_k):
    """The gradient in the gates from those in queries and keys, with no state in memory (Sec. 4.4, eq. 8).

        d log b_t = q_t * dq_t - k_t * dk_t,   d log a_t = sum over s >= t of d log b_s

    Args:
      q, k: [t, h, dk].
      ct_q, ct_k: [t, h, dk] gradients of the loss in them; the final state must not enter the loss.

    Returns:
      [t, h, dk] gradient in log_a.
    """
    return jax.lax.cumsum(q * ct_q - k * ct_k, axis=0, reverse=True)


def retnet_log_decays(heads, first=5.0, last=None):
    """RetNet's constant gates, log(1 - 2^-e) with exponents e from `first`, one more for each head or evenly to `last`.

    Returns:
      [h].
    """
    exponents = first + jnp.arange(heads) if last is None else jnp.linspace(first, last, heads)
    return jnp.log1p(-(2.0**-exponents))


class Gate(nn.Module):
    """The data-dependent gate of low rank, log a = log sigmoid(x W1 W2 + b) / tau: [t, d] -> [t, *shape].

    Attributes:
      shape: (h, dk) for a gate per channel, (h,) for one per head.
      rank: of W1 W2.
      tau: temperature; 16 keeps a near 1, 0.957 at initialisation and zero input.
    """

    shape: tuple[int, ...]
    rank: int = 16
    tau: float = 16.0

    @nn.compact
    def __call__(self, x):
        low = nn.Dense(self.rank, use_bias=False, name="down")(x)
        logits = nn.DenseGeneral(self.shape, name="up")(low)
        # Gates and states are float32 whatever x is: a cumulative sum of log a drifts in bfloat16.
        return jax.nn.log_sigmoid(logits.astype(jnp.float32)) / self.tau


class GatedLinearAttention(nn.Module):
    """The token mixer: [t, d] -> [t, d], causal, without a positional code (Sec. 4.5).

    y = W_o (rms_norm(o) * swish(x W_r)), the norm over each head.

    Attributes:
      heads: h; divides the two widths.
      key_features: total width of queries and keys; None for d / 2.
      variant: of the gate: "none", "retnet", "scalar" or "full".
      tau: temperature of the gate.
      decays: [h] logarithms of constant gates, for "retnet"; None for RetNet's own. As an array they are data, so that
        models with other decays, 0 for no gate among them, share one program.
      chunk: steps that are computed in parallel.
    """

    heads: int = 4
    key_features: int | None = None
    variant: str = "full"
    tau: float = 16.0
    decays: tuple[float, ...] | jax.Array | None = None
    chunk: int = 64

    @nn.compact
    def __call__(self, x, state=None):
        """Applies the mixer.

        Args:
          x: [t, d].
          state: [h, dk, dv] to go on from, as an earlier call returned it; None to begin.

        Returns:
          [t, d], or `([t, d], state)` where a state was given.
        """
        t, d = x.shape
        wide = self.key_features or d // 2
        if self.variant not in VARIANTS:
            raise ValueError(f"variant: expected one of {', '.join(VARIANTS)}, got {self.variant!r}")
        if wide % self.heads or d % self.heads:
            raise ValueError(f"heads: expected a divisor of key_features {wide} and of d {d}, got {self.heads}")
        project = partial(nn.DenseGeneral, use_bias=False)
        q = project((self.heads, wide // self.heads), name="q")(x)
        k = project((self.heads, wide // self.heads), name="k")(x)
        v = project((self.heads, d // self.heads), name="v")(x)
        o, after = gla_chunked(q, k, v, self.log_gate(x, q.shape), initial_state=state, chunk=self.chunk)
        o = RMSNorm(name="norm")(o).reshape(t, d)
        y = project(d, name="o")(o * jax.nn.swish(project(d, name="r")(x)))
        return y if state is None else (y, after)

    def log_gate(self, x, shape):
        """None, [t, h] or [t, h, dk]: the variants of the family."""
        if self.variant == "none":
            return None
        if self.variant == "retnet":
            decays = retnet_log_decays(self.heads) if self.decays is None else jnp.asarray(self.decays, jnp.float32)
            return jnp.broadcast_to(decays, shape[:2])
        return Gate(shape[1:] if self.variant == "full" else shape[1:2], tau=self.tau, name="gate")(x)


def reset_recall(key, length, *, keys=8, values=8, write=0.55, reset=0.08, once=False):
    """A task that needs forgetting on command: recall what was last written to a key since the last reset.

    Tokens are write(key, value), numbers key * values + value; query(key), numbers keys * values + key; and RESET, the
    last. At a query the target is the value last written to that key since the last reset, or `values` for none.

    Args:
      key: of the sequence.
      length: number of tokens t.
      keys, values: how many there are.
      write, reset: chances of a write and of a reset; the rest are queries. May be traced.
      once: write to a key only once, later writes becoming queries: with reset = 0 nothing has to be forgotten. May be
        traced.

    Returns:
      `(tokens, (targets, asked))`, each [t]: `asked` is true at queries, and only there the target counts.
    """
    key_kind, key_key, key_value = jax.random.split(key, 3)
    kind = jax.random.uniform(key_kind, (length,))
    which = jax.random.randint(key_key, (length,), 0, keys)
    value = jax.random.randint(key_value, (length,), 0, values)
    of_key = jax.nn.one_hot(which, keys, dtype=bool)  # [t, keys]
    writes, cleared = of_key & (kind < write)[:, None], kind >= 1 - reset
    writes &= (jnp.cumsum(writes, axis=0) == 1) | jnp.logical_not(once)
    written = writes.any(1)
    asked = ~written & ~cleared
    place = jnp.arange(length)
    last_reset = jax.lax.cummax(jnp.where(cleared, place, -1))
    last_write = jax.lax.cummax(jnp.where(writes, place[:, None], -1), axis=0)[place, which]
    target = jnp.where(last_write > last_reset, value[jnp.maximum(last_write, 0)], values)
    query = jnp.where(asked, keys * values + which, keys * values + keys)
    return jnp.where(written, which * values + value, query), (target, asked)
