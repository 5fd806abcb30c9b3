"""A batch axis joins the leading axis of independent examples, without copies of what all examples share."""

import jax.numpy as jnp

from .options import OF_LOGITS, Options

SHARED = (*OF_LOGITS, "sink", "dbias")  # operands whose leading axis may have size 1


def batch(op, operands, axes, size, *, options: Options, **params):
    """The batching rule of the attention ops: (outputs, axes).

    An operand that all examples share stays one, unless its own cotangent is asked for, which is one per example.
    """
    names = _names(options, len(operands))
    fronted = [x if axis is None else jnp.moveaxis(x, axis, 0) for x, axis in zip(operands, axes, strict=True)]
    examples = fronted[0].shape[0 if axes[0] is None else 1]
    wanted = ("bias",) if op.name == "attention_backward" and params["with_bias"] else ()
    merged = []
    for name, x, axis in zip(names, fronted, axes, strict=True):
        if axis is None and x.shape[0] == 1 and name in SHARED and name not in wanted:
            merged.append(x)
        else:
            x = x[None] if axis is None else x  # [1 or size, 1 or examples, ..]
            merged.append(jnp.broadcast_to(x, (size, examples, *x.shape[2:])).reshape(-1, *x.shape[2:]))
    outputs = [x.reshape(size, examples, *x.shape[1:]) for x in op(*merged, options=options, **params)]
    if wanted and fronted[3].shape[0 if axes[3] is None else 1] == 1:
        outputs[3] = outputs[3].sum(1, keepdims=True)
    return outputs, [0] * len(outputs)


def _names(options, count):
    """Names of all operands: those of `options`, then the ones that only tangent and backward have."""
    names = options.names()
    rest = ("lse", "dq", "dk", "dv", "dbias") if count - len(names) > 3 else ("lse", "ct_y", "ct_r")
    return (*names, *rest[: count - len(names)])
