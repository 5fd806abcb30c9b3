"""From a flax linen module to a `Model`."""

import jax

from jaxzoo.model import Model


def as_model(module, *, method=None):
    """A linen module as a pair of pure functions.

    `init(key, *inputs) -> params` gives the module's "params" collection. `apply(params, *inputs, key=None, **options)`
    passes inputs and options to the module; `key` feeds the stream "dropout" and, apart from it, every other stream.
    Layers of `jaxzoo.layers` drop values exactly where a key is given.

    Args:
      module: a flax linen module that acts on one example.
      method: the method to call, by name; None is `__call__`.

    Returns:
      A `Model`.

    Raises:
      ValueError: at `init`, where the module keeps variables other than parameters: state is passed in and returned.
    """

    def init(key, *inputs, **options):
        variables = module.init(key, *inputs, method=method, **options)
        others = sorted(set(variables) - {"params"})
        if others:
            raise ValueError(
                f"module: expected variables in the collection 'params' alone, {type(module).__name__} also keeps "
                f"{others}; pass state in as an argument and return it, as jaxzoo.layers.BatchNorm does"
            )
        return variables.get("params", {})

    def apply(params, *inputs, key=None, **options):
        return module.apply({"params": params}, *inputs, rngs=streams(key), method=method, **options)

    return Model(init, apply)


def streams(key):
    """The linen random streams made of one key, or None: "dropout", and one that every other stream falls back to."""
    if key is None:
        return None
    key_dropout, key_other = jax.random.split(key)
    return {"dropout": key_dropout, "params": key_other}
