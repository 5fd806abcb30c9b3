"""Planetoid's sets: what is read from pickles as Python 2 wrote them, and what is refused, hostile pickles among it."""

import os
import pickle
import struct

import numpy as np
import pytest

from jaxzoo.data import DataError, planetoid

ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"


def old(value):
    """The opcodes that Python 2's pickle writes for a value, protocol 2 without its memo."""
    if isinstance(value, bytes):
        return b"T" + struct.pack("<i", len(value)) + value
    if isinstance(value, str):
        return b"U" + bytes([len(value)]) + value.encode()
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if value is None:
        return b"N"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, tuple):
        return b"(" + b"".join(map(old, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(old, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(old(k) + old(v) for k, v in value.items()) + b"u"
    return old_array(value)


def old_array(array, content=None, shape=None):
    dtype = b"cnumpy\ndtype\n" + old((array.dtype.str[1:], 0, 1)) + b"R"
    dtype += old((3, array.dtype.str[0], None, None, None, -1, -1, 0)) + b"b"
    content = array.tobytes() if content is None else content
    state = old(1) + old(shape or array.shape) + dtype + old(False) + old(content)
    return ARRAY + b"(" + state + b"tb"


def old_matrix(dense, **changed):
    rows, columns = np.nonzero(dense)
    state = {
        "format": "csr",
        "_shape": dense.shape,
        "indptr": np.searchsorted(rows, np.arange(len(dense) + 1)).astype("<i4"),
        "indices": columns.astype("<i4"),
        "data": dense[rows, columns],
        "maxprint": 50,
    }
    return b"cscipy.sparse.csr\ncsr_matrix\n)\x81" + old(state | changed) + b"b"


def old_graph(neighbours):
    return b"ccollections\ndefaultdict\n(c__builtin__\nlist\ntR(" + old(neighbours)[2:]


ALLX = np.array([[1, 0, 0], [0, 1, 0], [0, 2, 3]], "<f4")
TX = np.array([[0, 0, 5], [4, 0, 0]], "<f4")
ALLY, TY = np.eye(4, dtype="<i4")[[0, 2, 1]], np.eye(4, dtype="<i4")[[3, 2]]
GRAPH = {0: [1, 5, 0], 1: [0], 2: [3, 3], 3: [2], 4: [], 5: [0]}
PARTS = {
    "allx": old_matrix(ALLX),
    "ally": old(ALLY),
    "tx": old_matrix(TX),
    "ty": old(TY),
    "graph": old_graph(GRAPH),
    "test.index": b"5\n3\n",
}


def write(folder, **changed):
    for part, content in (PARTS | changed).items():
        start = b"" if part == "test.index" else b"\x80\x02"
        (folder / f"ind.cora.{part}").write_bytes(start + content + (b"." if start else b""))


def test_the_writer_here_writes_what_numpy_reads():
    array = pickle.loads(b"\x80\x02" + old(ALLX).replace(b"numpy.core.", b"numpy._core.") + b".", encoding="latin1")
    np.testing.assert_array_equal(array, ALLX)


@pytest.mark.parametrize("inside", [".", "data", "cora/raw"])
def test_features_classes_and_edges(tmp_path, inside):
    (tmp_path / inside).mkdir(parents=True, exist_ok=True)
    write(tmp_path / inside)
    graph = planetoid(tmp_path, "cora")
    # Node 4 is in no part: it has no features and class 0, as in Citeseer.
    assert graph.x.tolist() == [[1, 0, 0], [0, 1, 0], [0, 2, 3], [4, 0, 0], [0, 0, 0], [0, 0, 5]]
    assert graph.y.tolist() == [0, 2, 1, 2, 0, 3]
    assert graph.edges.tolist() == [[0, 1], [0, 5], [2, 3]]
    assert (graph.x.dtype, graph.y.dtype, graph.edges.dtype) == (np.float32, np.int32, np.int32)
    assert (graph.name, len(graph.sha256)) == ("cora", 64)


def test_big_endian_and_columns_first(tmp_path):
    write(tmp_path, ally=old_array(ALLY.astype(">i8")), ty=old(TY).replace(old(False), old(True)))
    assert planetoid(tmp_path, "cora").y[:3].tolist() == [0, 2, 1]


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_file_is_named(tmp_path, part):
    write(tmp_path)
    (tmp_path / f"ind.cora.{part}").unlink()
    with pytest.raises(DataError, match=rf"missing file: ind\.cora\.{part} or data/ind\.cora\.{part}.*kimiyoung"):
        planetoid(tmp_path, "cora")


class Runs:
    """Unpickled without care it makes a file."""

    def __reduce__(self):
        return os.system, ("touch owned",)


LIST = b"]q\x00(" + 60 * b"K\x01" + b"e0"
MANY = LIST + b"}(" + b"".join(b"K%ch\x00" % node for node in range(9)) + b"u"
HOSTILE = {
    "code": ("allx", pickle.dumps(Runs(), 2)[2:-1], "names posix.system, which no such data set needs"),
    "numpy's own exec": ("allx", b"cnumpy.testing\nrunstring\n", "names numpy.testing.runstring"),
    "a builtin": ("graph", b"c__builtin__\neval\n", "names __builtin__.eval"),
    "nothing": ("graph", b"", "can't be read"),
    "cut off": ("tx", PARTS["tx"][:150], "can't be read"),
    "text": ("ty", b"no pickle at all", "can't be read"),
    "an array in place of a matrix": ("allx", old(ALLY), "expected a sparse matrix in rows, got array"),
    "a class without state": ("allx", b"cscipy.sparse.csr\ncsr_matrix\n)\x81", "expected a sparse matrix"),
    "a class itself": ("allx", b"cscipy.sparse.csr\ncsr_matrix\n", "expected a sparse matrix in rows, got type"),
    "a matrix in place of an array": ("ally", PARTS["tx"], "expected an array, got matrix"),
    "a number": ("ally", old(3), "expected an array, got int"),
    "objects": ("ally", old(ALLY).replace(old("i4"), old("O8")), "expected an array of numbers"),
    "no shape": ("allx", old_matrix(ALLX, _shape=None), "expected the shape of a matrix"),
    "a huge shape": ("allx", old_matrix(ALLX, _shape=(3, 2**31 - 1)), "expected at most 268435456 elements"),
    "a negative shape": ("allx", old_matrix(ALLX, _shape=(-3, 3)), "expected the shape of a matrix"),
    "too few rows": ("allx", old_matrix(ALLX, _shape=(4, 3)), "where 4 rows begin and end"),
    "a column too high": ("allx", old_matrix(ALLX, _shape=(3, 2)), "expected columns 0 to 1, got 0 to 2"),
    "not finite": ("allx", old_matrix(ALLX, data=np.full(4, np.nan, "<f4")), "expected finite entries"),
    "an entry too many": ("allx", old_matrix(ALLX, data=np.ones(5, "<f4")), "expected 4 numbers"),
    "content cut off": ("ally", old_array(ALLY, content=bytes(8)), "it is cut off"),
    "a shape beyond": ("ally", old_array(ALLY, shape=(2**31 - 1, 2**31 - 1)), "it is cut off"),
    "other width": ("tx", old_matrix(TX[:, :2]), "don't fit together"),
    "other classes": ("ty", old(TY[:, :3]), "don't fit together"),
    "too few classes": ("ty", old(TY[:1]), "don't fit together"),
    "a vector of classes": ("ty", old(TY[0]), "don't fit together"),
    "test nodes among the others": ("test.index", b"5\n2\n", "don't fit together"),
    "a test node far away": ("test.index", b"5\n99999999\n", "don't fit together"),
    "a test node twice": ("test.index", b"5\n5\n", "expected the numbers of the test nodes, each once"),
    "no test nodes": ("test.index", b"", "expected the numbers of the test nodes"),
    "no number": ("test.index", b"5\nx\n", "can't be read"),
    "an edge to nowhere": ("graph", old_graph({0: [6]}), "expected nodes 0 to 5"),
    "no node": ("graph", old_graph({0: [None]}), "all of integers"),
    "no lists": ("graph", old_graph({0: 1}), "expected lists of neighbours by node, got dict"),
    "one list for many": ("graph", MANY, "all of integers"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    part, content, message = HOSTILE[case]
    write(tmp_path, **{part: content})
    with pytest.raises(DataError, match=message) as refused:
        planetoid(tmp_path, "cora")
    assert f"ind.cora.{part}" in str(refused.value) or "fit together" in message
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("part", ["allx", "ally", "graph"])
def test_no_changed_byte_does_more_than_raise_data_error(tmp_path, part):
    rng = np.random.default_rng(0)
    write(tmp_path)
    path = tmp_path / f"ind.cora.{part}"
    content = path.read_bytes()
    refused = 0
    for _ in range(150):
        changed = bytearray(content)
        changed[rng.integers(len(content))] = rng.integers(256)
        path.write_bytes(changed)
        try:
            planetoid(tmp_path, "cora")  # any other error fails the test
        except DataError:
            refused += 1
    assert refused > 0


def test_copies_of_copies_take_no_memory(tmp_path):
    # Ten thousand calls of list on the list before: as lists, 80 MB for every kB of them.
    call = b"c__builtin__\nlist\nq\x01" + b"](" + 1000 * b"K\x01" + b"e" + 10_000 * b"q\x02h\x01h\x02\x85R"
    write(tmp_path, graph=call)
    with pytest.raises(DataError, match="expected lists of neighbours by node, got list"):
        planetoid(tmp_path, "cora")


def test_a_file_far_too_large_is_not_read(tmp_path):
    write(tmp_path)
    with (tmp_path / "ind.cora.allx").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="expected at most 67108864 bytes"):
        planetoid(tmp_path, "cora")
