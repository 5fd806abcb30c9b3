"""Reading and replacing what a linen module computes on the way, by name, without editing it.

A name is the path of a submodule, such as "block_0/mlp", and stands for its output; "block_0/mlp/encode" stands for
what its method `encode` returns. Values that a module sows among its "intermediates" are captured as path/name too.
"""

import flax.linen as nn

from jaxzoo.transforms.linen import as_model, streams
from jaxzoo.transforms.trees import check_like


def capture(module, *names, method=None):
    """A module's apply function that also returns named intermediate values.

    Args:
      module: a flax linen module that acts on one example.
      *names: paths of submodules, of their methods, or of sown values.
      method: the method to call, by name; None is `__call__`.

    Returns:
      `apply(params, *inputs, key=None, **options) -> (y, {name: value})`; a tuple of values, in the order of the calls,
      where a name is called more than once.

    Raises:
      ValueError: at the call, for a name the module does not compute; the message lists those it does.
    """

    def captured(params, *inputs, key=None, **options):
        seen = set()

        def wanted(submodule, method_name):
            name = _name(submodule, method_name)
            seen.add(name)
            return name in names

        y, variables = module.apply(
            {"params": params},
            *inputs,
            rngs=streams(key),
            method=method,
            capture_intermediates=wanted,
            mutable=["intermediates"],
            **options,
        )
        found = dict(_leaves(variables.get("intermediates", {})))
        _check_known(names, seen | set(found))
        return y, {name: found[name] for name in names}

    return captured


def replace(module, replacements, *, method=None):
    """An apply function with named intermediate values replaced.

    Args:
      module: a flax linen module that acts on one example, or an apply function of one, such as `capture` returns: what
        it captures then comes from the changed computation.
      replacements: {name: value or function}. A value takes the place of what was computed and has its shape; a
        function `f(y) -> y` changes it. Names are paths of submodules or of their methods, each call of which is
        replaced.
      method: the method to call, by name; None is `__call__`. Only where `module` is a module.

    Returns:
      `apply(params, *inputs, key=None, **options)`, with the outputs that `module` has. Gradients flow into values and
      through functions.

    Raises:
      ValueError: at the call, for a name the module does not compute, or a value of another shape.
    """
    if method is not None and not isinstance(module, nn.Module):
        raise ValueError(f"method: expected None with an apply function, got {method!r}; name it where that was made")
    apply = as_model(module, method=method).apply if isinstance(module, nn.Module) else module

    def replaced(params, *inputs, **options):
        seen = set()

        def intercept(next_function, args, kwargs, context):
            y = next_function(*args, **kwargs)
            name = _name(context.module, context.method_name)
            seen.add(name)
            if name not in replacements:
                return y
            new = replacements[name]
            if callable(new):
                return new(y)
            check_like(f"replacements[{name!r}]", new, y)
            return new

        with nn.intercept_methods(intercept):
            y = apply(params, *inputs, **options)
        _check_known(replacements, seen)
        return y

    return replaced


def _name(module, method_name):
    return "/".join(module.path if method_name == "__call__" else (*module.path, method_name))


def _leaves(tree, path=()):
    """(name, value) of each sown or captured value; linen keeps a tuple of one value per call."""
    for key, node in tree.items():
        if isinstance(node, dict):
            yield from _leaves(node, (*path, key))
        else:
            name = "/".join(path if key == "__call__" else (*path, key))
            yield name, node[0] if len(node) == 1 else node


def _check_known(names, known):
    unknown = [name for name in names if name not in known]
    if unknown:
        # linen also runs `setup`, the module itself (no name) and functions of its own (<lambda>) as methods.
        public = sorted(name for name in known if name and name.split("/")[-1] not in ("setup", "<lambda>"))
        raise ValueError(f"names: expected some of {', '.join(public)}; got {', '.join(map(repr, unknown))}")
