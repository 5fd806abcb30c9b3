"""Chow-Liu trees: structure from pairwise mutual information, laid out for messages in batches; and as a model.

Source: Chow, Liu, "Approximating discrete probability distributions with dependence trees" (1968); the rooting at
centres is that of Liu, Mandt, Van den Broeck (arXiv 2111.11632).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SHAPES = ("centre", "balanced")


class Tree(NamedTuple):
    """A rooted tree over d pixels, with the index tables that batched messages need. All are int32.

    Attributes:
      parent: [d], -1 of the root.
      order: [d] the pixels in post-order: a whole subtree before its parent, a larger child before a smaller.
      nodes: [l, w] the pixels without the root, the deepest first, all of a row of one depth; d where there is none.
      place: [d] of each pixel in `nodes` laid out flat; l w for the root.
      path: [d, p] the pixels from the root down to each one; padded with itself.
      depth: [d] edges between the root and each pixel, its place in its path.
      start: [d] the place in the path above which nothing is known while the pixel is coded in post-order.
    """

    parent: np.ndarray
    order: np.ndarray
    nodes: np.ndarray
    place: np.ndarray
    path: np.ndarray
    depth: np.ndarray
    start: np.ndarray


def tree_from_parents(parent: Sequence[int]) -> Tree:
    """The tree with all its tables.

    Args:
      parent: [d], -1 for the root.

    Raises:
      ValueError: not one root, or a pixel that no path joins to it.
    """
    parent = np.asarray(parent, np.int32)
    d, roots = len(parent), np.flatnonzero(parent < 0)
    if parent.ndim != 1 or len(roots) != 1 or parent.max(initial=-1) >= d:
        raise ValueError(f"parent: expected [d] with one -1 and else pixels below d, got {parent.tolist()}")
    children = [np.flatnonzero(parent == i).tolist() for i in range(d)]
    down = [int(roots[0])]
    for i in down:
        down.extend(children[i])
    if len(down) != d:
        raise ValueError(f"parent: expected every pixel below the root {roots[0]}, got {len(down)} of {d}")
    depth, size, paths = np.zeros(d, np.int32), np.ones(d, np.int32), {}
    for i in down:
        paths[i] = [*paths[parent[i]], i] if parent[i] >= 0 else [i]
        depth[i] = len(paths[i]) - 1
    for i in reversed(down[1:]):
        size[parent[i]] += size[i]
    for each in children:
        each.sort(key=lambda i: (-size[i], i))
    order = _post_order(down[0], children)
    nodes = _rows(depth)
    path = np.array([paths[i] + [i] * (depth.max() - depth[i]) for i in range(d)], np.int32)
    return Tree(parent, order, nodes, _places(nodes, d), path, depth, _starts(path, depth, children))


def _post_order(root, children):
    """Reversed: a parent before its children, the last child first."""
    waiting, order = [root], []
    while waiting:
        order.append(waiting.pop())
        waiting.extend(children[order[-1]])
    return np.array(order[::-1], np.int32)


ROW = 6
"""What a row of `nodes` costs beside its pixels, in pixels."""


def _rows(depth):
    """`nodes` of a `Tree`, in rows as wide as makes the whole table cheapest: depths differ much in their pixels."""
    levels = [np.flatnonzero(depth == k) for k in range(depth.max(), 0, -1)]
    cost = {w: sum(-(-len(level) // w) for level in levels) * (w + ROW) for w in range(1, len(depth) + 1)}
    width = min(cost, key=cost.get)
    rows = [level[begin : begin + width] for level in levels for begin in range(0, len(level), width)]
    nodes = np.full((len(rows), width), len(depth), np.int32)
    for row, level in zip(nodes, rows, strict=True):
        row[: len(level)] = level
    return nodes


def _places(nodes, d):
    """`place` of a `Tree`: what is not among its `nodes` is the root."""
    place = np.full(d + 1, nodes.size, np.int32)
    place[nodes.ravel()] = np.arange(nodes.size)
    return place[:d]


def _starts(path, depth, children):
    """`start` of a `Tree`: the first pixel of the path of which another child comes before the path's own child."""
    start = depth.copy()
    for i in range(len(depth)):
        for j in range(depth[i]):
            if children[path[i, j]][0] != path[i, j + 1]:
                start[i] = j
                break
    return start


def stack_trees(trees: Sequence[Tree], least: tuple[int, int, int] = (0, 0, 0)) -> Tree:
    """Trees over the same number of pixels as one with a leading axis, their tables padded to common shapes.

    Args:
      trees: to stack.
      least: of l, w and p of `Tree`, so that trees which are stacked at other times may have the same shapes.
    """
    d = len(trees[0].parent)
    length, width, reach = (
        max(sizes) for sizes in zip(least, *((*t.nodes.shape, t.path.shape[1]) for t in trees), strict=True)
    )
    padded = []
    for tree in trees:
        rows, columns = tree.nodes.shape
        grow = ((length - rows, 0), (0, width - columns))  # before the deepest row come empty ones
        nodes = np.pad(tree.nodes, grow, constant_values=d)
        padded.append(
            tree._replace(
                nodes=nodes,
                place=_places(nodes, d),
                path=np.pad(tree.path, ((0, 0), (0, reach - tree.path.shape[1])), mode="edge"),
            )
        )
    return Tree(*map(np.stack, zip(*padded, strict=True)))


def mutual_information(data: np.ndarray, pseudocount: float = 0.1) -> np.ndarray:
    """Mutual information of every pair of pixels, in nats, from smoothed counts.

    I(i, j) = sum over a, b of p_ij(a, b) log(p_ij(a, b) / (p_i(a) p_j(b))), with p_ij ~ count + pseudocount / k^2

    Args:
      data: [n, d] integers in 0..k-1.
      pseudocount: added to a pair's table, in all.

    Returns:
      [d, d] float64; the diagonal has no meaning.
    """
    data = np.asarray(data)
    if data.ndim != 2 or not np.issubdtype(data.dtype, np.integer) or data.min() < 0:
        raise ValueError(f"data: expected [n, d] integers of 0 or more, got {data.dtype} {data.shape}")
    (n, d), k = data.shape, int(data.max()) + 1
    hot = (data[..., None] == np.arange(k)).astype(np.float32).reshape(n, d * k)
    out = np.empty((d, d))
    single = (hot.sum(0).reshape(d, k) + pseudocount / k) / (n + pseudocount)
    entropy = -(single * np.log(single)).sum(1)
    for i in range(d):  # a row of tables at a time: all of them would not fit the memory at 784 pixels
        joint = (hot[:, i * k : (i + 1) * k].T @ hot).reshape(k, d, k).astype(np.float64)
        joint = (joint + pseudocount / k**2) / (n + pseudocount)
        out[i] = (joint * np.log(joint)).sum((0, 2)) + entropy[i] + entropy
    return out


def maximum_spanning_tree(weights: np.ndarray) -> list[tuple[int, int]]:
    """The d - 1 edges of the spanning tree with the largest sum of weights [d, d], by Prim's algorithm."""
    d = len(weights)
    best, via, outside = weights[0].copy(), np.zeros(d, int), np.ones(d, bool)
    outside[0] = False
    edges = []
    for _ in range(d - 1):
        new = int(np.flatnonzero(outside)[best[outside].argmax()])
        edges.append((int(via[new]), new))
        outside[new] = False
        closer = weights[new] > best
        best, via = np.where(closer, weights[new], best), np.where(closer, new, via)
    return edges


def chow_liu_tree(data: np.ndarray, pseudocount: float = 0.1, *, bins: int = 8, shape: str = "centre") -> Tree:
    """The tree over pixels with the most mutual information along its edges, rooted at its centre.

    Args:
      data: [n, d] integers in 0..k-1; k > bins is coarsened to equal intervals.
      pseudocount: of the tables of pairs.
      bins: values of a coarsened pixel.
      shape: "centre" keeps the edges; "balanced" takes the centre away and hangs the centres of what is left, again
        and again, below it: depth about log2 of the diameter, for edges of less information.

    Returns:
      `Tree`.
    """
    if shape not in SHAPES:
        raise ValueError(f"shape: expected one of {', '.join(SHAPES)}, got {shape!r}")
    data = np.asarray(data)
    top = int(data.max()) + 1
    coarse = data if top <= bins else data.astype(np.int64) * bins // top
    edges = maximum_spanning_tree(mutual_information(coarse, pseudocount))
    neighbours = [[] for _ in range(data.shape[1])]
    for a, b in edges:
        neighbours[a].append(b)
        neighbours[b].append(a)
    return tree_from_parents(_balanced(neighbours) if shape == "balanced" else _hang(neighbours))


def _hang(neighbours):
    """Parents in the tree rooted at its centre."""
    centre, _ = _centre(neighbours, 0, set(range(len(neighbours))))
    parent, seen = np.full(len(neighbours), -1), [centre]
    for i in seen:
        for j in neighbours[i]:
            if j != parent[i]:
                parent[j] = i
                seen.append(j)
    return parent


def _balanced(neighbours):
    """Parents in the tree of centres of components."""
    parent, left, waiting = np.full(len(neighbours), -1), set(range(len(neighbours))), [(0, -1)]
    while waiting:
        inside, above = waiting.pop()
        centre, _ = _centre(neighbours, inside, left)
        parent[centre] = above
        left.remove(centre)
        waiting.extend((j, centre) for j in neighbours[centre] if j in left)
    return parent


def _centre(neighbours, inside, left):
    """The middle of a longest path in the component of `inside` among the pixels in `left`, and that path."""

    def farthest(source):
        via, queue = {source: None}, [source]
        for i in queue:
            for j in neighbours[i]:
                if j in left and j not in via:
                    via[j] = i
                    queue.append(j)
        path = [queue[-1]]
        while via[path[-1]] is not None:
            path.append(via[path[-1]])
        return path

    path = farthest(farthest(inside)[0])
    return path[len(path) // 2], path
