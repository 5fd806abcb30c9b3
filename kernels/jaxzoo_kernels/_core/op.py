"""An op: one JAX primitive with lowerings per platform and rules for derivatives and batching."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from . import choice, compat

OPS: dict[Primitive, Op] = {}


class Op:
    """A function of arrays that JAX treats as one primitive; the package's docstring explains the arguments."""

    def __init__(
        self,
        name: str,
        *,
        xla: Callable,
        xla_cpu: Callable | None = None,
        shapes: Callable,
        operations: Callable,
        kernels: Mapping[str, str | None] | None = None,
        jvp: Callable | None = None,
        transpose: Callable | None = None,
        batch: Callable | None = None,
        shared: tuple[int, ...] = (),
    ):
        self.name, self.shapes, self.operations = name, shapes, operations
        self.xla, self.xla_cpu = xla, xla_cpu or xla
        self.kernels = dict(kernels or {})
        self.primitive = Primitive(name)
        self.primitive.multiple_results = True
        self.primitive.def_impl(self._run_eagerly)
        self.primitive.def_abstract_eval(self._abstract)
        self._compiled = jax.jit(
            lambda *operands, params: self.primitive.bind(*operands, **dict(params)), static_argnames="params"
        )
        for platform in (None, "cpu", *dict.fromkeys(choice.PLATFORMS[name] for name in self.kernels)):
            mlir.register_lowering(self.primitive, self._lowering(platform), platform=platform)
        if jvp is not None:
            ad.primitive_jvps[self.primitive] = lambda p, t, **params: _jvp(jvp, p, t, params)
        if transpose is not None:
            ad.primitive_transposes[self.primitive] = lambda ct, *x, **params: _transpose(transpose, ct, x, params)
        if batch is None:
            batching.primitive_batchers[self.primitive] = lambda x, a, **params: _merge(self, shared, x, a, params)
        else:
            batching.primitive_batchers[self.primitive] = lambda x, a, **params: _batch(batch, x, a, params)
        OPS[self.primitive] = self

    def __call__(self, *operands, implementation: str | None = None, **params) -> list[jax.Array]:
        """The list of outputs; `implementation` is None, "xla" or the name of one of the op's kernels."""
        if implementation not in (None, "xla", *self.kernels):
            expected = ", ".join(repr(name) for name in (None, "xla", *self.kernels))
            raise ValueError(f"implementation: expected {expected}, got {implementation!r}")
        return self.primitive.bind(*compat.placed_alike(*operands), implementation=implementation, **params)

    def choose(self, platform: str, avals, params) -> str:
        """The name of the implementation that a program lowered for `platform` gets."""
        params = dict(params)
        implementation = params.pop("implementation")
        return choice.choose(self.name, self.kernels, platform, implementation, avals, params)

    def _run_eagerly(self, *operands, **params):
        return self._compiled(*operands, params=tuple(sorted(params.items())))

    def _abstract(self, *avals, **params):
        del params["implementation"]
        return [compat.aval_like(avals[0], out.shape, out.dtype) for out in self.shapes(*avals, **params)]

    def _lowering(self, platform: str | None):
        def rule(context, *operands, **params):
            # The default rule stands for every platform that has no kernel of its own.
            named = platform or "/".join(context.platforms or context.module_context.platforms)
            name = self.choose(named, context.avals_in, params)
            if name == "xla":
                run = self.xla_cpu if platform == "cpu" else self.xla
            else:
                run = choice.load(self.kernels[name]).run
            del params["implementation"]
            # Inside a shard_map each device's program is an ordinary one: which mesh axes a value varies over no longer
            # matters here, and would only make the loops' carries disagree in type.
            plain = [jax.core.ShapedArray(aval.shape, aval.dtype) for aval in context.avals_in]
            return mlir.lower_fun(run, multiple_results=True)(context.replace(avals_in=plain), *operands, **params)

        return rule


def _known(tangent):
    """None for a symbolic zero."""
    if isinstance(tangent, ad.Zero) or getattr(tangent, "dtype", None) == jax.dtypes.float0:
        return None
    return tangent


def _jvp(rule, primals, tangents, params):
    outputs, out_tangents = rule(primals, [_known(t) for t in tangents], **params)
    zeros = [ad.Zero(jax.typeof(out).to_tangent_aval()) for out in outputs]
    return outputs, [zero if t is None else t for t, zero in zip(out_tangents, zeros, strict=True)]


def _transpose(rule, cotangents, operands, params):
    if all(isinstance(ct, ad.Zero) for ct in cotangents):
        return [None] * len(operands)
    known = [None if ad.is_undefined_primal(x) else x for x in operands]
    return rule([ad.instantiate_zeros(ct) for ct in cotangents], known, **params)


def _batch(rule, operands, axes, params):
    size = next(x.shape[axis] for x, axis in zip(operands, axes, strict=True) if axis is not None)
    return rule(operands, axes, size, **params)


def _merge(op, shared, operands, axes, params):
    """The default batching rule: a new batch axis joins the leading axis of independent examples."""

    def rule(operands, axes, size, **params):
        fronted = [x if axis is None else jnp.moveaxis(x, axis, 0) for x, axis in zip(operands, axes, strict=True)]
        lead = max(x.shape[0 if axis is None else 1] for x, axis in zip(fronted, axes, strict=True))
        merged = []
        for position, (x, axis) in enumerate(zip(fronted, axes, strict=True)):
            rest = x.shape[1:] if axis is None else x.shape[2:]
            if axis is None and position in shared and x.shape[0] == 1:
                merged.append(x)
                continue
            x = x[None] if axis is None else x  # [1 or size, 1 or lead, ...]
            merged.append(jnp.broadcast_to(x, (size, lead, *rest)).reshape(size * lead, *rest))
        outputs = op(*merged, **params)
        return [out.reshape(size, lead, *out.shape[1:]) for out in outputs], [0] * len(outputs)

    return _batch(rule, operands, axes, params)
