"""The hidden Chow-Liu tree (HCLT), a probabilistic circuit: likelihood and conditionals of any subset of pixels.

Every pixel i has a latent z_i in 1..h, and the latents form a tree:

    p(x) = sum over z of p(z_root) prod_i p(z_i | z_parent(i)) p(x_i | z_i)

As a circuit it has sum units over z_i, product units over children and categorical leaves; one pass from the leaves up
gives the probability of what was observed, all else being summed out. Messages go depth by depth, in batches, and are
logarithms.

Source: Liu, Mandt, Van den Broeck, "Lossless Compression with Probabilistic Circuits" (arXiv 2111.11632), Sec. 5.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxzoo.probabilistic.chow_liu import Tree


class HCLT(NamedTuple):
    """Parameters, all of them probabilities.

    NOTE(paper): the official circuit gives a leaf of the tree no latent of its own, its categorical hangs at the
    parent's. That is this form with one matrix multiplied into the other.

    Attributes:
      root: [h] p(z_root = z).
      transition: [d, h, h] p(z_i = z | z_parent(i) = u) at [i, u, z]; that of the root has no meaning.
      emission: [d, k, h] p(x_i = v | z_i = z) at [i, v, z].
    """

    root: jax.Array
    transition: jax.Array
    emission: jax.Array


AXES = HCLT(-1, -1, -2)
"""The axis over which each of the parameters sums to 1."""


def normalise(params: HCLT) -> HCLT:
    """Scales positive numbers to probabilities."""
    return HCLT(*(x / x.sum(axis, keepdims=True) for x, axis in zip(params, AXES, strict=True)))


def hclt_init(key, pixels: int, levels: int, latents: int) -> HCLT:
    """Uniform probabilities times 1 +- 0.4, normalised.

    Args:
      key: of the noise.
      pixels, levels, latents: d, k, h.
    """
    if min(pixels, levels, latents) < 1:
        raise ValueError(f"pixels, levels, latents: expected 1 or more, got {pixels}, {levels}, {latents}")
    shapes = HCLT((latents,), (pixels, latents, latents), (pixels, levels, latents))
    # The same numbers as in three dimensions; but several draws of many axes compile several times more slowly.
    noise = [
        jax.random.uniform(k, math.prod(shape), minval=0.6, maxval=1.4).reshape(shape)
        for k, shape in zip(jax.random.split(key, 3), shapes, strict=True)
    ]
    return normalise(HCLT(*noise))


def check_shapes(tree: Tree, params: HCLT, x) -> None:
    """Raises ValueError where the three don't fit each other."""
    d, k, h = params.emission.shape
    wanted = {"tree.parent": (d,), "params.root": (h,), "params.transition": (d, h, h), "x": (d,)}
    given = {"tree.parent": tree.parent, "params.root": params.root, "params.transition": params.transition, "x": x}
    for name, shape in wanted.items():
        if jnp.shape(given[name]) != shape:
            raise ValueError(f"{name}: expected {list(shape)}, got {jnp.shape(given[name])}")
    if not jnp.issubdtype(jnp.result_type(x), jnp.integer):
        raise ValueError(f"x: expected integers in 0..{k - 1}, got {jnp.result_type(x)}")


def leaves(params: HCLT, x, observed=None):
    """log E_i(z) = log p(x_i | z_i = z), and 0 of a pixel that was not observed: [d, h].

    Args:
      params: of the circuit.
      x: [d] values; those of unobserved pixels don't matter.
      observed: [d] bool; None for all.
    """
    leaf = jnp.log(params.emission[jnp.arange(x.shape[0]), x])
    return leaf if observed is None else jnp.where(observed[:, None], leaf, 0.0)


def message(transition, b):
    """What a pixel tells its parent, m(u) = sum_z A(u, z) b(z), of logarithms and with the largest b taken out.

    Args:
      transition: [..., h, h] A(u, z).
      b: [..., h] logarithms.

    Returns:
      [..., h] logarithms.
    """
    # About 30 pixels' product would underflow; the largest of every message is therefore kept apart.
    top = jax.lax.stop_gradient(b.max(-1, keepdims=True))
    return top + jnp.log(jnp.einsum("...uz,...z->...u", transition, jnp.exp(b - top)))


def upward(tree: Tree, params: HCLT, leaf):
    """One pass over the circuit, many pixels of a depth at once.

        b_i(z) = E_i(z) prod over children c of m_c(z),   m_i(u) = sum_z A_i(u, z) b_i(z)

    Args:
      tree: of the pixels.
      params: of the circuit.
      leaf: [d, h] log E.

    Returns:
      `(log p, incoming [d, h], outgoing [d, h])`: the sum of the logarithms of the messages that each pixel gets, and
      the message that it sends; that of the root has no meaning.
    """
    (d, h), nodes, root = leaf.shape, jnp.asarray(tree.nodes), tree.order[-1]
    # Where a row has no pixel, any other's leaf will do: it reads from row d, which stays 0, and tells row d + 1.
    there = jnp.minimum(nodes, d - 1)
    above = jnp.where(nodes < d, jnp.asarray(tree.parent)[there], d + 1)

    def row(incoming, at):
        node, above, leaf, transition = at
        m = message(transition, leaf + incoming[node])
        return incoming.at[above].add(m), m

    rows = (nodes, above, leaf[there], params.transition[there])
    incoming, outgoing = jax.lax.scan(row, jnp.zeros((d + 2, h), leaf.dtype), rows)
    outgoing = jnp.concatenate([outgoing.reshape(-1, h), incoming[d : d + 1]])[jnp.asarray(tree.place)]
    return jax.nn.logsumexp(jnp.log(params.root) + leaf[root] + incoming[root]), incoming[:d], outgoing


def hclt_loglik(tree: Tree, params: HCLT, x, observed=None):
    """log p of the observed pixels of one image, in nats; the others are summed out.

    Args:
      tree: of the pixels.
      params: of the circuit.
      x: [d] integers in 0..k-1.
      observed: [d] bool; None for all.

    Returns:
      A scalar.
    """
    check_shapes(tree, params, x)
    return upward(tree, params, leaves(params, x, observed))[0]


def conditional(tree: Tree, params: HCLT, x, observed):
    """p(x_i = v | the observed pixels) for every pixel, by one derivative of the circuit.

    d log p / d log E_i(z) is the posterior of z_i; an unobserved pixel's value is drawn from it.

    Args:
      tree, params, x, observed: as in `hclt_loglik`.

    Returns:
      [d, k]; of an observed pixel 1 at its value.
    """
    check_shapes(tree, params, x)
    posterior = jax.grad(lambda leaf: upward(tree, params, leaf)[0])(leaves(params, x, observed))  # [d, h]
    p = jnp.einsum("dkh,dh->dk", params.emission, posterior)
    return jnp.where(observed[:, None], jax.nn.one_hot(x, p.shape[1], dtype=p.dtype), p)


def sample(tree: Tree, params: HCLT, key):
    """Draws an image: latents from the root down, then values.

    Returns:
      [d] int32.
    """
    d = params.emission.shape[0]
    key_root, key_latents, key_values = jax.random.split(key, 3)
    order = jnp.asarray(tree.order)[::-1]
    z = jnp.zeros(d, jnp.int32).at[order[0]].set(jax.random.categorical(key_root, jnp.log(params.root)))
    gumbel = jax.random.gumbel(key_latents, params.transition.shape[:2])  # adding it to log p draws from p by argmax

    def step(z, i):
        row = params.transition[i, z[jnp.asarray(tree.parent)[i]]]
        return z.at[i].set(jnp.argmax(jnp.log(row) + gumbel[i]).astype(jnp.int32)), None

    z, _ = jax.lax.scan(step, z, order[1:])
    chosen = params.emission[jnp.arange(d), :, z]  # [d, k]
    return jax.random.categorical(key_values, jnp.log(chosen)).astype(jnp.int32)


def latent_prior(tree: Tree, params: HCLT):
    """q_i(z) = p(z_i = z) with nothing observed, from the root down: [d, h]."""
    order, parent = jnp.asarray(tree.order)[::-1], jnp.asarray(tree.parent)
    q = jnp.zeros(params.transition.shape[:2]).at[order[0]].set(params.root)
    return jax.lax.fori_loop(
        1, len(order), lambda j, q: q.at[order[j]].set(q[parent[order[j]]] @ params.transition[order[j]]), q
    )
