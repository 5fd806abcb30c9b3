"""Transforms of models and of their apply functions; they compose with each other and with `jax.vmap`."""

from jaxzoo.transforms.linearize import linearize
from jaxzoo.transforms.linen import as_model
from jaxzoo.transforms.ntk import ntk

__all__ = ["as_model", "linearize", "ntk"]
