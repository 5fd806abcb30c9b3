"""Lossless compression with probabilistic circuits: an entropy coder that is driven by exact marginals.

To code pixel i the coder needs p(x_1 .. x_(i-1), X_i = v) for every value v. A circuit gives it in one pass over all of
its |p| parameters, O(d |p|) for the image. But where pixels come in post-order, a whole subtree before its parent, only
what lies between pixel i and the root has changed since the pixel before: `partial_conditional` visits that path alone,
about log(d) pixels of a balanced tree. Messages of whole subtrees are kept in the state.

NOTE(paper): the paper evaluates the path upward, once for each value. Its result is linear in the leaf's values, so
here a row vector goes down the path once and meets the leaf at its end: the same numbers, without the factor k.

Source: Liu, Mandt, Van den Broeck, "Lossless Compression with Probabilistic Circuits" (arXiv 2111.11632), Sec. 3.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.probabilistic.chow_liu import Tree
from jaxzoo.probabilistic.hclt import HCLT, check_shapes, latent_prior, leaves, message, upward
from jaxzoo.probabilistic.rans import BITS, quantize_pmf, rans_decode, rans_encode


class Circuit(NamedTuple):
    """A circuit made ready for coding.

    Attributes:
      tree: of the pixels.
      params: of the circuit.
      prior: [d, h] probabilities of the latents with nothing known.
    """

    tree: Tree
    params: HCLT
    prior: jax.Array


def prepare(tree: Tree, params: HCLT) -> Circuit:
    """What does not depend on an image is computed once."""
    tree = jax.tree.map(jnp.asarray, tree)
    return Circuit(tree, params, latent_prior(tree, params))


def initial_state(circuit: Circuit):
    """Before the first pixel: [d, h] logarithms of the messages that each pixel got so far, all of them of 1."""
    return jnp.zeros_like(circuit.prior)


def partial_evaluate(circuit: Circuit, state, i, value):
    """Takes note of x_i = value: the subtree of i is complete and tells its parent (Sec. 3.2).

    Args:
      circuit: ready for coding.
      state: [d, h]; the pixels below i are known, those after it in `circuit.tree.order` are not.
      i: the pixel.
      value: of it.

    Returns:
      [d, h] the new state. What the root would tell is dropped.
    """
    tree, params, _ = circuit
    m = message(params.transition[i], jnp.log(params.emission[i, value]) + state[i])
    parent = tree.parent[i]
    to = jnp.where(parent < 0, state.shape[0], parent)
    # Conditionals don't change with the size of a message; without it no sum of logarithms can run away.
    return state.at[to].add(m - m.max(keepdims=True), mode="drop")


def partial_conditional(circuit: Circuit, state, i, *, shortcut: bool = True):
    """p(x_i = v | all pixels before i in post-order), from the path between i and the root (Sec. 3.2).

        r_root = pi,   r_child(z) = sum_u r(u) m(u) A_child(u, z),   p(v) ~ sum_z r_i(z) m(z) E_i(v, z)

    with m(u) the messages that a pixel got from its completed children.

    Args:
      circuit, state, i: as in `partial_evaluate`, all before i and nothing after it known.
      shortcut: begin at the highest pixel of the path that got a message; above it r is the prior of the latents.

    Returns:
      [k].
    """
    path, begin = circuit.tree.path[i], circuit.tree.start[i] if shortcut else 0
    return descend(circuit, i, begin, lambda j: state[path[j]])


def descend(circuit: Circuit, i, begin, got):
    """The row vector r from place `begin` of the path of i down to its leaf; `got(j)`: log m at place j of the path."""
    tree, params, prior = circuit
    path, end = tree.path[i], tree.depth[i]

    def down(j, r):
        r = r * relative(got(j)) @ params.transition[path[j + 1]]
        return r / r.max(keepdims=True)

    r = jax.lax.fori_loop(begin, end, down, prior[path[begin]])
    p = params.emission[i] @ (r * relative(got(end)))
    return p / p.sum(keepdims=True)


def relative(logarithms):
    """exp, with the largest 1."""
    return jnp.exp(logarithms - logarithms.max(keepdims=True))


def naive_conditional(circuit: Circuit, x, observed, i):
    """The same from the whole circuit, every message evaluated again, many pixels of a depth at once.

    Args:
      circuit: ready for coding.
      x: [d] values.
      observed: [d] bool: true of the pixels before i in post-order, and of no other.
      i: the pixel.

    Returns:
      [k].
    """
    tree, params, _ = circuit
    _, incoming, outgoing = upward(tree, params, leaves(params, x, observed))
    path, end = tree.path[i], tree.depth[i]

    def got(j):
        # What comes from the path's own pixel is what the row vector carries, so it is taken out.
        own = jnp.where(j < end, outgoing[path[jnp.minimum(j + 1, end)]], 0.0)
        return incoming[path[j]] - own

    return descend(circuit, i, 0, got)


def conditionals(circuit: Circuit, x, *, naive: bool = False):
    """All d conditional distributions of an image, in the order of coding.

    Args:
      circuit: ready for coding.
      x: [d] values.
      naive: evaluate the whole circuit for every pixel.

    Returns:
      [d, k], row j that of pixel `circuit.tree.order[j]`.
    """
    check_shapes(circuit.tree, circuit.params, x)

    def by_path(state, i):
        return partial_evaluate(circuit, state, i, x[i]), partial_conditional(circuit, state, i)

    def by_circuit(observed, i):
        return observed.at[i].set(True), naive_conditional(circuit, x, observed, i)

    first = jnp.zeros(x.shape, bool) if naive else initial_state(circuit)
    return jax.lax.scan(by_circuit if naive else by_path, first, circuit.tree.order)[1]


def operations(tree: Tree) -> dict[str, float]:
    """Edges of the tree, each of h^2 products, that are visited per pixel on average.

    Returns:
      "partial" with the shortcut, "path" without, "naive" by the whole circuit; one edge of the first two is the
      message of the pixel that became known.
    """
    depth, start = np.asarray(tree.depth), np.asarray(tree.start)
    path = 1 + depth.mean()
    return {"partial": 1 + (depth - start).mean(), "path": path, "naive": len(depth) - 1 + depth.mean()}


class Coder(NamedTuple):
    """Compression of images that come in a fixed number b.

    Attributes:
      encode: `encode(images [b, d]) -> bytes`.
      decode: `decode(bytes) -> images [b, d]`, int64.
    """

    encode: Callable
    decode: Callable


# One program for both directions and one shape: another program, or another shape, may round another way, and one
# different frequency makes all that follows unreadable.
_prepare = jax.jit(prepare)
_conditional = jax.jit(jax.vmap(partial_conditional, (None, 0, None)))
_evaluate = jax.jit(jax.vmap(partial_evaluate, (None, 0, None, 0)))


def coder(tree: Tree, params: HCLT, *, images: int, lanes: int = 1, bits: int = BITS) -> Coder:
    """A compressor of images by a circuit (Sec. 4): its conditionals, quantised, drive rANS.

    Args:
      tree: of the pixels.
      params: of the circuit.
      images: b, the number of images of a file; not written into it.
      lanes: states of the entropy coder, at most b, which share the images.
      bits: precision of the quantised conditionals.

    Returns:
      `Coder`. The decoder reads a file exactly where programs give the same bits as for the encoder: on the same kind
      of machine, with the same version of jax.
    """
    circuit = _prepare(tree, params)
    order = np.asarray(tree.order)
    d = len(order)

    def walk():
        """`frequencies(t, previous)` of an entropy coder."""
        state = jnp.tile(initial_state(circuit)[None], (images, 1, 1))

        def frequencies(t, previous):
            nonlocal state
            if t:
                state = _evaluate(circuit, state, order[t - 1], np.asarray(previous, np.int32))
            return quantize_pmf(_conditional(circuit, state, order[t]), bits)

        return frequencies

    def encode(x):
        x = np.asarray(x)
        if x.shape != (images, d) or not np.issubdtype(x.dtype, np.integer):
            raise ValueError(f"x: expected integers [{images}, {d}], got {x.dtype} {x.shape}")
        if x.min() < 0 or x.max() >= params.emission.shape[1]:
            raise ValueError(f"x: expected 0 to {params.emission.shape[1] - 1}, got {x.min()} to {x.max()}")
        symbols, frequencies = x.T[order].astype(np.int64), walk()
        tables = [frequencies(t, symbols[t - 1] if t else None) for t in range(d)]
        return rans_encode(symbols, np.stack(tables), lanes=lanes, bits=bits)

    def decode(content):
        symbols = rans_decode(content, walk(), (d, images), lanes=lanes, bits=bits)
        return symbols[np.argsort(order)].T

    return Coder(encode, decode)
