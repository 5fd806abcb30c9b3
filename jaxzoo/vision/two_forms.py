"""VanillaNet as trained against its merged form: are they the same function, and how fast is either."""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.vision.vanillanet import apply_deployed, apply_vanillanet, deploy, merged


def compare_forms(params, batch, pictures, *, strides, prepare=lambda x: x):
    """How far the merged form is from the trained one; and from one whose activations have faded by half alone.

    Args:
      params, batch: of a network whose activations have faded.
      pictures: [n, h, w, c], of any n: they are taken 400 at a time.
      strides: of the blocks.
      prepare: what the network sees of a picture.

    Returns:
      "same prediction", the share of pictures; "difference" and "difference at half", the largest of any logit; and
      the "parameters" and "layers" of either, "parameters trained" and so on.
    """
    flat, half_flat = deploy(params, batch), merged(params, batch)

    def logits(x):
        x = prepare(x)
        trained, half = (apply_vanillanet(params, batch, x, lam, strides=strides)[0] for lam in (1.0, 0.5))
        deployed, half_deployed = (apply_deployed(form, x, strides=strides) for form in (flat, half_flat))
        return trained, half, deployed, half_deployed

    trained, half, deployed, half_deployed = jax.lax.map(logits, pictures, batch_size=400)
    count = lambda tree: np.float32(sum(leaf.size for leaf in jax.tree.leaves(tree)))  # noqa: E731
    return {
        "same prediction": (deployed.argmax(-1) == trained.argmax(-1)).mean(),
        "difference": jnp.abs(deployed - trained).max(),
        "difference at half": jnp.abs(half_deployed - half).max(),
        "parameters trained": count(params),
        "parameters deployed": count(flat),
        "layers trained": jnp.float32(4 + 2 * len(strides)),
        "layers deployed": jnp.float32(2 + len(strides)),
    }


def time_forms(params, batch, x, *, strides, repeats=30):
    """Seconds of a forward pass of either form on `x` [b, h, w, c], compiled: the fastest of several, in turn."""
    forms = {
        "trained": (lambda net, x: apply_vanillanet(*net, x, 1.0, strides=strides)[0], (params, batch)),
        "deployed": (partial(apply_deployed, strides=strides), deploy(params, batch)),
    }
    compiled = {name: (jax.jit(f).lower(net, x).compile(), net) for name, (f, net) in forms.items()}
    seconds = {name: [] for name in compiled}
    for _ in range(repeats):
        for name, (f, net) in compiled.items():
            begin = time.perf_counter()
            jax.block_until_ready(f(net, x))
            seconds[name].append(time.perf_counter() - begin)
    return {f"seconds {name}": min(times) for name, times in seconds.items()}
