"""Makes the files that jaxzoo carries, from the packages they come from: `python -m jaxzoo.data.make_files [FOLDER]`.

Needs the extra `data`. The topics of the Python documentation differ between versions of Python; the frozen ones are
those of `TOPICS_PYTHON`. After a change, enter the printed sha256 values where the files are loaded.
"""

import gzip
import hashlib
import io
import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxzoo.extras import require

TOPICS_PYTHON = "3.11.7"


def compressed_arrays(**arrays) -> bytes:
    """An .npz archive of the arrays. numpy dates every member 1980-01-01, so that equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def compressed_text(documents: dict[str, str]) -> bytes:
    """Gzipped JSON of name -> text in sorted order, without date or file name in the header."""
    content = json.dumps(documents, ensure_ascii=False, sort_keys=True).encode()
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", filename="", mtime=0) as file:
        file.write(content)
    return buffer.getvalue()


def table_file(name: str, x, y, feature_names, target_names) -> tuple[str, bytes]:
    """A table: inputs float32, targets float32 or small classes, names of columns."""
    y = np.asarray(y)
    return f"{name}.npz", compressed_arrays(
        x=np.asarray(x, np.float32),
        y=y.astype(np.uint8 if np.issubdtype(y.dtype, np.integer) else np.float32),
        feature_names=np.array(feature_names),
        target_names=np.array(target_names),
    )


def table_files() -> Iterator[tuple[str, bytes]]:
    """The small tables of scikit-learn."""
    datasets = require("sklearn.datasets", "data")
    digits = datasets.load_digits()
    yield "digits.npz", compressed_arrays(x=digits.images.astype(np.uint8), y=digits.target.astype(np.uint8))
    for name in ("breast_cancer", "wine", "iris", "linnerud"):
        table = getattr(datasets, f"load_{name}")()
        yield table_file(name, table.data, table.target, table.feature_names, table.target_names)
    diabetes = datasets.load_diabetes(scaled=False)
    yield table_file("diabetes", diabetes.data, diabetes.target, diabetes.feature_names, ["progression"])


def decimal_years(dates) -> np.ndarray:
    """Dates as years: 1958.5 is the middle of 1958, whatever its number of days."""
    days = np.asarray(dates, "datetime64[D]")
    years = days.astype("datetime64[Y]")
    length = (years + np.timedelta64(1, "Y")).astype("datetime64[D]") - years.astype("datetime64[D]")
    return 1970 + years.astype(int) + (days - years.astype("datetime64[D]")) / length


def series_files() -> Iterator[tuple[str, bytes]]:
    """The small time series of statsmodels."""

    def load(name):
        return require(f"statsmodels.datasets.{name}", "data").load_pandas().data

    sunspots = load("sunspots")
    yield table_file("sunspots", sunspots["YEAR"], sunspots["SUNACTIVITY"], ["year"], ["sunspots"])
    co2 = load("co2")["co2"]
    yield table_file("co2", decimal_years(co2.index), co2, ["year"], ["ppm"])
    elnino = load("elnino").set_index("YEAR")
    yield table_file("elnino", elnino.index, elnino, ["year"], [month.lower() for month in elnino])
    nile = load("nile")
    yield table_file("nile", nile["year"], nile["volume"], ["year"], ["volume"])
    macrodata = load("macrodata").set_index(["year", "quarter"])
    quarters = [year + (quarter - 1) / 4 for year, quarter in macrodata.index]
    yield table_file("macrodata", quarters, macrodata, ["year"], list(macrodata))


def graph_file(name: str, graph, labels) -> tuple[str, bytes]:
    """A graph of networkx, its nodes numbered in its order: every edge once, smaller node first, sorted."""
    number = {node: i for i, node in enumerate(graph)}
    edges = sorted((*sorted((number[u], number[v])), weight) for u, v, weight in graph.edges(data="weight", default=1))
    return f"{name}.npz", compressed_arrays(
        edges=np.array([edge[:2] for edge in edges], np.uint8),
        weights=np.array([edge[2] for edge in edges], np.uint8),
        names=np.array([str(node) for node in graph]),
        labels=np.array(labels, np.uint8),
    )


def graph_files() -> Iterator[tuple[str, bytes]]:
    """The social networks and the atlas of networkx."""
    networkx = require("networkx", "data")
    karate = networkx.karate_club_graph()
    yield graph_file("karate", karate, [club == "Officer" for _, club in karate.nodes(data="club")])
    davis = networkx.davis_southern_women_graph()
    yield graph_file("davis", davis, [side for _, side in davis.nodes(data="bipartite")])
    yield graph_file("florentine", networkx.florentine_families_graph(), [])
    yield graph_file("les_miserables", networkx.les_miserables_graph(), [])
    atlas = networkx.graph_atlas_g()
    yield (
        "graph_atlas.npz",
        compressed_arrays(
            edges=np.array([sorted(edge) for graph in atlas for edge in sorted(graph.edges)], np.uint8),
            edge_counts=np.array([graph.number_of_edges() for graph in atlas], np.uint8),
            node_counts=np.array([graph.number_of_nodes() for graph in atlas], np.uint8),
        ),
    )


def topics_file() -> tuple[str, bytes]:
    """The topics of `help()` of this Python, which must be the frozen version."""
    if platform.python_version() != TOPICS_PYTHON:
        raise RuntimeError(
            f"pydoc_topics.json.gz: made with Python {TOPICS_PYTHON}, this is {platform.python_version()}"
        )
    from pydoc_data.topics import topics

    return "pydoc_topics.json.gz", compressed_text(topics)


def main(folder: Path) -> None:
    for name, content in (*table_files(), *series_files(), *graph_files(), topics_file()):
        (folder / name).write_bytes(content)
        print(f"{name:24s} {len(content):7d} bytes  sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "files")
