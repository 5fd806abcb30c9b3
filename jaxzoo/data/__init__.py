"""Data: real sets behind one call each, splits, batches, generators, and loaders for the usual research formats.

Importing this package loads numpy alone; the functions that draw batches load jax when they are first asked for.
"""

from jaxzoo.data.arrays import npy, npz
from jaxzoo.data.cifar import cifar_binary
from jaxzoo.data.dataset import DataError, Dataset
from jaxzoo.data.downsampled_imagenet import downsampled_imagenet
from jaxzoo.data.ett import Borders, ett_csv
from jaxzoo.data.folder import data_folder, find_file
from jaxzoo.data.geom_gcn import NodeGraph, geom_gcn, geom_gcn_split
from jaxzoo.data.glue import GLUE, GlueSplit, GlueTask, glue_tsv
from jaxzoo.data.gnn_benchmark import gnn_benchmark
from jaxzoo.data.graphs import Graph, davis, florentine, graph_atlas, karate, les_miserables
from jaxzoo.data.idx import mnist_idx
from jaxzoo.data.image_folder import image_folder
from jaxzoo.data.image_store import ImageStore, image_store
from jaxzoo.data.number_table import edge_list
from jaxzoo.data.pictures import PICTURES, Picture, lfw_subset, picture
from jaxzoo.data.planetoid import planetoid
from jaxzoo.data.safetensors_file import json_file, safetensors_arrays
from jaxzoo.data.series import co2, co2_weekly, elnino, macrodata, nile, sunspots
from jaxzoo.data.splitting import split, split_by_position, standardise
from jaxzoo.data.statsmodels_tables import STATSMODELS, statsmodels_table
from jaxzoo.data.tables import breast_cancer, diabetes, digits, iris, linnerud, wine
from jaxzoo.data.text import (
    OTHER,
    Corpus,
    characters,
    encode,
    pydoc_corpus,
    pydoc_topics,
    python_source,
    text_file,
    words,
)
from jaxzoo.data.tiny_imagenet import tiny_imagenet
from jaxzoo.data.token_file import token_file
from jaxzoo.data.tu import GraphSet, tu_dataset
from jaxzoo.data.uci_har import uci_har
from jaxzoo.data.wordpiece import WordPiece, wordpiece

_NEEDS_JAX = {
    "all_windows": "sampling",
    "cluttered_digits": "clutter",
    "minibatches": "sampling",
    "sampler": "sampling",
    "windows": "sampling",
}

__all__ = [
    "GLUE",
    "GlueSplit",
    "GlueTask",
    "WordPiece",
    "glue_tsv",
    "wordpiece",
    "OTHER",
    "PICTURES",
    "STATSMODELS",
    "Borders",
    "Corpus",
    "DataError",
    "Dataset",
    "Graph",
    "GraphSet",
    "ImageStore",
    "NodeGraph",
    "Picture",
    "breast_cancer",
    "characters",
    "cifar_binary",
    "co2",
    "co2_weekly",
    "data_folder",
    "davis",
    "diabetes",
    "digits",
    "downsampled_imagenet",
    "edge_list",
    "elnino",
    "encode",
    "ett_csv",
    "find_file",
    "florentine",
    "geom_gcn",
    "geom_gcn_split",
    "gnn_benchmark",
    "graph_atlas",
    "image_folder",
    "image_store",
    "iris",
    "json_file",
    "karate",
    "les_miserables",
    "lfw_subset",
    "linnerud",
    "macrodata",
    "mnist_idx",
    "nile",
    "npy",
    "npz",
    "picture",
    "planetoid",
    "pydoc_corpus",
    "pydoc_topics",
    "python_source",
    "safetensors_arrays",
    "split",
    "split_by_position",
    "standardise",
    "statsmodels_table",
    "sunspots",
    "text_file",
    "tiny_imagenet",
    "token_file",
    "tu_dataset",
    "uci_har",
    "wine",
    "words",
    *_NEEDS_JAX,
]


def __getattr__(name: str):
    if name not in _NEEDS_JAX:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_NEEDS_JAX[name]}"), name)
