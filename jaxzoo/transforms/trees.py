"""Checks on pytrees of arrays that transforms share."""

import jax
import jax.numpy as jnp


def check_like(name, tree, reference):
    """Raises ValueError unless `tree` has the structure and shapes of `reference`, naming the first leaf that differs.

    Args:
      name: what the message calls `tree`.
      tree: a pytree of arrays.
      reference: the pytree it goes with.
    """
    want = {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in jax.tree.leaves_with_path(reference)}
    got = {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in jax.tree.leaves_with_path(tree)}
    for path in [*want, *got]:
        if want.get(path) != got.get(path):
            raise ValueError(
                f"{name}{path}: expected {_show(want, path)}, got {_show(got, path)}; "
                "its structure and shapes must be those of the parameters it goes with"
            )
    if jax.tree.structure(tree) != jax.tree.structure(reference):
        raise ValueError(
            f"{name}: expected the structure {jax.tree.structure(reference)}, got {jax.tree.structure(tree)}"
        )


def _show(shapes, path):
    return f"shape {shapes[path]}" if path in shapes else "no such leaf"
