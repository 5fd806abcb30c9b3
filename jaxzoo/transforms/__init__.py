"""Transforms of models and of their apply functions; they compose with each other and with `jax.vmap`."""

from jaxzoo.transforms.intermediates import capture, replace
from jaxzoo.transforms.linearize import linearize
from jaxzoo.transforms.linen import as_model
from jaxzoo.transforms.masked import masked
from jaxzoo.transforms.ntk import ntk
from jaxzoo.transforms.subspace import Subspace, in_subspace

__all__ = ["Subspace", "as_model", "capture", "in_subspace", "linearize", "masked", "ntk", "replace"]
