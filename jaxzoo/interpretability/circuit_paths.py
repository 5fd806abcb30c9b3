"""The paths by which a transcoder feature became active, found greedily through features and attention heads.

Source: Dunefsky, Chlenski, Nanda, "Transcoders Find Interpretable LLM Feature Circuits" (arXiv 2406.11944), Sec. 4.2.
"""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from jaxzoo.interpretability.circuits import (
    attributions,
    circuit_weights,
    feature_constant,
    feature_direction,
    trace_circuit,
)

KINDS = ("embedding", "bias", "error", "feature", "head", "offset")
"""What a step of a path can be; a bias is of a transcoder, an offset of an attention."""


class Node(NamedTuple):
    """A step of a path.

    Attributes:
      kind: one of `KINDS`.
      layer: of the feature, head, bias, offset or error; -1 for an embedding.
      index: which feature or head; -1 for other kinds.
      place: in the text; for a head, where it reads.
    """

    kind: str
    layer: int
    index: int
    place: int


class Reading(NamedTuple):
    """What a path has to split next: the product of a direction with the residual stream, plus a constant.

    Attributes:
      direction: [d].
      layer, before, place: where the residual stream is read, as in `attributions`.
      constant: what no input moves.
    """

    direction: np.ndarray
    layer: int
    before: str
    place: int
    constant: float


class Path(NamedTuple):
    """A way back from a feature.

    Attributes:
      value: what came this way, in the unit of the first feature's pre-activation.
      nodes: from the feature's nearest cause to the farthest.
      reads: the `Reading` of the last node; None where the path ends.
    """

    value: float
    nodes: tuple[Node, ...]
    reads: Reading | None


def path_search(weights, trace, layer, feature, place, *, depth=3, width=5, parallel=False):
    """The paths by which most of a feature's activation came, found greedily (Sec. 4.2).

    Every path is grown by its `width` largest parts, and of all paths the `width` largest are kept, `depth` times. A
    path through a feature goes on to what made that feature active, in the same proportions. The values of all paths
    (width None) sum to the pre-activation.

    Args:
      weights, trace: of the host and of the text.
      layer, feature, place: what to explain.
      depth: steps of a path, at most.
      width: paths that are kept; None for all.
      parallel: whether an MLP of the host reads the stream before the attention of its own block.

    Returns:
      A list of `Path`, the largest first.
    """
    weights, trace = jax.tree.map(np.asarray, (weights, trace))
    read = partial(_feature_reading, weights, trace, "mixer" if parallel else "mlp")
    paths = [Path(0.0, (), read(layer, feature, place, 1.0))]
    for _ in range(depth):
        grown = [path for path in paths if path.reads is None]
        for path in paths:
            if path.reads is not None:
                grown += _grow(weights, trace, path, width, read)
        paths = sorted(grown, key=lambda path: -path.value)[:width]
    return paths


_attributions = jax.jit(attributions, static_argnames=("layer", "before"))


def _grow(weights, trace, path, width, read):
    """The path with each of its largest next steps."""
    reads = path.reads
    parts = _attributions(weights, trace, reads.direction, reads.place, layer=reads.layer, before=reads.before)
    causes = sorted(_causes(jax.tree.map(np.asarray, parts), reads), key=lambda cause: -cause[0])[:width]
    return [
        Path(float(value), (*path.nodes, node), _next_reading(weights, trace, reads, node, read))
        for value, node in causes
    ]


def _causes(parts, reads):
    """`(value, node)` of everything that is not zero, from the largest structure to the smallest."""
    place = reads.place
    yield parts.embedding, Node("embedding", -1, -1, place)
    yield reads.constant, Node("bias", reads.layer, -1, place)
    for i in range(reads.layer):
        yield parts.biases[i], Node("bias", i, -1, place)
        yield parts.errors[i], Node("error", i, -1, place)
    for i, j in np.argwhere(parts.features):
        yield parts.features[i, j], Node("feature", int(i), int(j), place)
    for (i,) in np.argwhere(parts.offsets):
        yield parts.offsets[i], Node("offset", int(i), -1, place)
    for i, h, s in np.argwhere(parts.heads):
        yield parts.heads[i, h, s], Node("head", int(i), int(h), int(s))


def _next_reading(weights, trace, reads, node, read):
    """What a step leads to; None for an end. `read(layer, feature, place, scale)` is of a feature."""
    if node.kind == "feature":
        scale = weights.dictionaries.W_dec[node.layer, node.index] @ reads.direction
        return read(node.layer, node.index, node.place, scale)
    if node.kind == "head":
        weight = trace.pattern[node.layer, node.index, reads.place, node.place]
        written = weights.output[node.layer, node.index] @ reads.direction  # [k]
        v = weights.value[node.layer][:, node.index] @ written * weights.gain_mixer[node.layer]
        scale = weight * trace.scale_mixer[node.layer, node.place]
        return Reading(scale * v, node.layer, "mixer", node.place, 0.0)
    return None


def _feature_reading(weights, trace, before, layer, feature, place, scale):
    direction = scale * feature_direction(weights, trace, layer, feature, place)
    return Reading(direction, layer, before, place, float(scale * feature_constant(weights, layer, feature)))


def paths_as_array(paths, width, depth):
    """The nodes of paths as integers: [width, depth, 4] of kind (a position in `KINDS`), layer, index, place.

    Rows and steps that do not exist are -2 throughout.
    """
    nodes = np.full((width, depth, 4), -2)
    for p, path in enumerate(paths):
        for n, node in enumerate(path.nodes):
            nodes[p, n] = KINDS.index(node.kind), *node[1:]
    return nodes


def most_active_circuit(module, params, dictionaries, tokens, *, depth, width):
    """The circuit of the most active feature of the last layer, in the second half of a text.

    Args:
      module, params, dictionaries, tokens: as of `trace_circuit`.
      depth, width: as of `path_search`.

    Returns:
      "nodes" as from `paths_as_array` and "values" [width] of its paths; the "target" (layer, feature, place) and its
      "target activation".
    """
    last, half = dictionaries.W_enc.shape[0] - 1, tokens.shape[0] // 2
    weights = circuit_weights(params, dictionaries)
    trace = jax.jit(partial(trace_circuit, module))(params, dictionaries, tokens)
    z = np.asarray(trace.z[last])[half:]
    place, feature = (int(i) for i in np.unravel_index(z.argmax(), z.shape))
    options = {"depth": depth, "width": width, "parallel": module.parallel}
    found = path_search(weights, trace, last, feature, place + half, **options)
    return {
        "nodes": paths_as_array(found, width, depth),
        "values": np.array([path.value for path in found]),
        "target": np.array([last, feature, place + half]),
        "target activation": z.max(),
    }
