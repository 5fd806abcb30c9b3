"""Data: real sets behind one call each, splits, batches, generators, and loaders for the usual research formats.

Importing this package loads numpy alone; the functions that draw batches load jax when they are first asked for.
"""

from jaxzoo.data.dataset import DataError, Dataset
from jaxzoo.data.splitting import split, split_by_position, standardise
from jaxzoo.data.tables import breast_cancer, diabetes, digits, iris, linnerud, wine
from jaxzoo.data.text import OTHER, Corpus, characters, encode, pydoc_corpus, pydoc_topics, python_source, words

_NEEDS_JAX = {
    "all_windows": "sampling",
    "minibatches": "sampling",
    "sampler": "sampling",
    "windows": "sampling",
}

__all__ = [
    "OTHER",
    "Corpus",
    "DataError",
    "Dataset",
    "breast_cancer",
    "characters",
    "diabetes",
    "digits",
    "encode",
    "iris",
    "linnerud",
    "pydoc_corpus",
    "pydoc_topics",
    "python_source",
    "split",
    "split_by_position",
    "standardise",
    "wine",
    "words",
    *_NEEDS_JAX,
]


def __getattr__(name: str):
    if name not in _NEEDS_JAX:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_NEEDS_JAX[name]}"), name)
