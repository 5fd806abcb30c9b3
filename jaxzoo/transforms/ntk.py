"""The empirical neural tangent kernel of any function."""

import jax
import jax.numpy as jnp

from jaxzoo.ops import accumulator


def ntk(apply, *, impl="jacobian", trace=False, chunk=None):
    """The empirical neural tangent kernel: Theta(x, x') = J(x) J(x')^T, where J = d apply(params, x) / d params.

    "jacobian" differentiates each example once and contracts Jacobians of chunk * k * P numbers, for P parameters: n m
    k^2 P operations (n m k P for the trace), the better for one output and for shared weights. "vjp" pulls k unit
    vectors back to the parameters for one x' at a time and pushes them forward at every x: n m k forward passes, the
    better for dense networks with many outputs; no batch of Jacobians is stored.

    Args:
      apply: `apply(params, x) -> y` for one example; params any pytree of floating arrays, y an array.
      impl: "jacobian" or "vjp". They differ in cost alone.
      trace: sum over the diagonal of each k x k block. (neural-tangents divides this by k.)
      chunk: at most this many examples of a batch are differentiated at once; None for all of them.

    Returns:
      `kernel(params, x1, x2=None)`, where x1 and x2 are pytrees of arrays with leading axes n and m; x2 = None stands
      for x1. It gives [n, m, k, k] for y of shape [k]: entry [i, j, a, b] pairs output a at x1[i] with b at x2[j].
      Scalar y, or `trace`, gives [n, m]; y of shape s gives [n, m, *s, *s]. The kernel is float32 or better, and
      "jacobian" sums in it whatever the dtype of the parameters.

    Raises:
      ValueError: impl is none of the two; chunk < 1; batches are empty or their axes differ.

    Source: Jacot, Gabriel, Hongler, "Neural Tangent Kernel" (arXiv 1806.07572), Sec. 4; the two forms are "Jacobian
    contraction" and "NTK-vector products" of Novak, Sohl-Dickstein, Schoenholz, "Fast Finite Width Neural Tangent
    Kernel" (arXiv 2206.08720).
    """
    if impl not in _BLOCKS:
        raise ValueError(f'impl: expected "jacobian" or "vjp", got {impl!r}')
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk: expected at least 1 example, got {chunk}")
    block = _BLOCKS[impl]

    def kernel(params, x1, x2=None):
        n = _batch_size("x1", x1)
        m = n if x2 is None else _batch_size("x2", x2)
        x2 = x1 if x2 is None else x2
        first = jax.eval_shape(lambda x: apply(params, jax.tree.map(lambda leaf: leaf[0], x)), x1)
        if not isinstance(first, jax.ShapeDtypeStruct):
            raise ValueError(f"apply: expected one array as output, got {jax.tree.structure(first)}")
        theta = block(lambda p, x: apply(p, x).ravel(), params, x1, x2, trace, chunk)
        return theta if trace else theta.reshape(n, m, *first.shape, *first.shape)

    return kernel


def _by_jacobian(f, params, x1, x2, trace, chunk):
    """Contracts Jacobians, chunk x chunk pairs at a time; those of x2 are made anew for each chunk of x1."""
    form = "ap,ap->" if trace else "ap,bp->ab"

    def jacobian(x):
        return [leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(jax.jacrev(f)(params, x))]  # [k, p] each

    def contract(j1, j2):
        return jnp.einsum(form, j1, j2, preferred_element_type=accumulator(j1.dtype))

    def row(x):
        j1 = jacobian(x)
        return _map(lambda other: sum(map(contract, j1, jacobian(other))), x2, chunk)

    return _map(row, x1, chunk)  # [n, m, k, k] or [n, m]


def _by_vjp(f, params, x1, x2, trace, chunk):
    """Pulls back the unit vectors of one x' at a time, then pushes forward along them at chunks of x1."""

    def column(other):
        y, pull = jax.vjp(lambda p: f(p, other), params)
        units = jnp.eye(y.size, dtype=y.dtype)  # [k, k]
        tangents = jax.vmap(pull)(units)  # leaves [k, ...]

        def entries(x):
            push = jax.vmap(lambda tangent: jax.jvp(lambda p: f(p, x), (params,), tangent)[1])
            block = push(tangents).astype(accumulator(y.dtype))  # [b, a]
            return jnp.trace(block) if trace else block.T

        return _map(entries, x1, chunk)

    return jnp.moveaxis(jax.lax.map(column, x2), 0, 1)  # [n, m, k, k] or [n, m]


_BLOCKS = {"jacobian": _by_jacobian, "vjp": _by_vjp}


def _map(f, xs, chunk):
    return jax.vmap(f)(xs) if chunk is None else jax.lax.map(f, xs, batch_size=chunk)


def _batch_size(name, x):
    sizes = {leaf.shape[0] if leaf.ndim else None for leaf in jax.tree.leaves(x)}
    if len(sizes) != 1 or not sizes - {None, 0}:
        shapes = jax.tree.map(jnp.shape, x)
        raise ValueError(f"{name}: expected arrays with one common leading axis, of at least 1, got {shapes}")
    return sizes.pop()
