"""Arrays in .npy and .npz files: what is read, and what is refused before memory is allocated."""

import io
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxzoo.data import DataError, npy, npz

ARRAYS = {
    "matrix": np.arange(12.0).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(24, dtype=np.int16).reshape(2, 3, 4)),
    "big_endian": np.arange(5, dtype=">f4"),
    "scalar": np.float32(3.5),
    "empty": np.zeros((0, 3), np.float16),
    "flags": np.array([True, False]),
    "complex": np.array([1 + 2j]),
    "names": np.array(["one", "zwölf"]),
    "big_endian_names": np.array(["one", "zwölf"]).astype(">U5"),
    "bytes": np.array([b"ab", b"c"]),
}


def npy_bytes(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asanyarray(array), **options)
    return buffer.getvalue()


def with_header(header, content=b"", version=1):
    """A .npy file whose header is that text."""
    header = header.encode("latin1")
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + content


def plain_header(descr="'<f8'", shape="(3,)", order="False"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


@pytest.mark.parametrize("name", ARRAYS)
def test_npy_is_read(tmp_path, name):
    np.save(tmp_path / "x.npy", ARRAYS[name])
    array = npy(tmp_path, "x.npy")
    np.testing.assert_array_equal(array, ARRAYS[name])
    assert array.dtype == ARRAYS[name].dtype.newbyteorder("=")
    assert array.dtype.isnative
    assert array.flags.writeable


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_all_versions_of_the_format_are_read(tmp_path, version):
    (tmp_path / "x.npy").write_bytes(npy_bytes(np.arange(4), version=version))
    np.testing.assert_array_equal(npy(tmp_path, "x.npy"), np.arange(4))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_is_read(tmp_path, save):
    save(tmp_path / "set.npz", **ARRAYS, **{"layer/kernel": np.ones(3)})
    arrays = npz(tmp_path, "set.npz")
    assert list(arrays) == [*ARRAYS, "layer/kernel"]
    for name in ARRAYS:
        np.testing.assert_array_equal(arrays[name], ARRAYS[name])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(
        DataError, match=r"missing file: clips/set\.npz in the data folder .*an archive of numpy arrays"
    ):
        npz(tmp_path, "clips/set.npz")


HOSTILE = {
    "nothing": (b"", "starts with nothing"),
    "another file": (b"%PDF-1.7 and so on", "starts with 25 50 44 46"),
    "a future version": (b"\x93NUMPY\x04\x00" + bytes(20), "not a numpy array"),
    "cut off": (npy_bytes(np.arange(100))[:-1], r"declares \(100,\) of int64, 800 bytes, but it holds 799"),
    "too long": (npy_bytes(np.arange(100)) + b"\0", "800 bytes, but it holds 801"),
    "8 terabytes": (with_header(plain_header(shape="(1000000000000,)").ljust(118)), "8000000000000 bytes"),
    "more than 64 bits": (with_header(plain_header(shape="(4294967296, 4294967296, 4)")), "bytes, but it holds 0"),
    "nothing of everything": (with_header(plain_header(shape="(0, 999999999999, 999999999)")), "but it holds 0"),
    "negative": (with_header(plain_header(shape="(-3,)")), "plain array"),
    "too many axes": (with_header(plain_header(shape=f"({'1, ' * 40})"), bytes(8)), "not a shape"),
    "a long number": (with_header(plain_header(shape=f"({'9' * 5000},)")), "not a shape"),
    "a broken number": (with_header(plain_header(shape="(1 2,)")), "not a shape"),
    "objects": (npy_bytes(np.array([{"a": 1}, None], object), allow_pickle=True), "plain array"),
    "an object type with a size": (with_header(plain_header(descr="'|O8'"), bytes(24)), "expected numbers"),
    "a record": (npy_bytes(np.zeros(3, [("a", "f4"), ("b", "i4")])), "plain array"),
    "dates": (npy_bytes(np.zeros(3, "datetime64[s]")), "plain array"),
    "raw bytes": (with_header(plain_header(descr="'|V8'"), bytes(24)), "expected numbers"),
    "a type that is none": (with_header(plain_header(descr="'<f7'"), bytes(21)), "got the type '<f7'"),
    "text of no length": (with_header(plain_header(descr="'<U0'")), "expected numbers"),
    "text that is none": (with_header(plain_header(descr="'<U2'", shape="(1,)"), b"\xff" * 8), "no characters"),
    "code": (with_header(plain_header(shape="(__import__('os').getpid(),)")), "plain array"),
    "nesting": (with_header("(" * 9000), "plain array"),
    "many digits": (with_header(plain_header(shape=f"({'1' * 60000}")), "plain array"),
    "a long header": (b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little") + bytes(20), "header of 2147483648 bytes"),
    "a header that is no text": (with_header("\xff\xff"), "can't be read"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["npy", "npz"])
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_arrays_are_refused_at_once(tmp_path, case, packed):
    content, message = HOSTILE[case]
    path = tmp_path / ("x.npz" if packed else "x.npy")
    if packed:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", content)
    else:
        path.write_bytes(content)
    tracemalloc.start()
    begun = time.process_time()
    with pytest.raises(DataError, match=message) as error:
        npz(tmp_path, "x.npz") if packed else npy(tmp_path, "x.npy")
    assert time.process_time() - begun < 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2e6
    assert str(path) in str(error.value)


def write_zip(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("name", ["../x.npy", "/x.npy", "a/../../x.npy", "..\\x.npy", "C:x.npy", "x.txt", "x/"])
def test_members_with_other_names_are_refused(tmp_path, name):
    write_zip(tmp_path / "x.npz", {name: npy_bytes(np.arange(3))})
    with pytest.raises(DataError, match=r"expected members named like 'x\.npy'"):
        npz(tmp_path, "x.npz")


def test_members_of_the_same_name_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", npy_bytes(np.arange(3)))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("x.npy", npy_bytes(np.arange(4)))
    with pytest.raises(DataError, match="two members have the same name"):
        npz(tmp_path, "x.npz")


def test_other_compressions_are_refused(tmp_path):
    write_zip(tmp_path / "x.npz", {"x.npy": npy_bytes(np.arange(3))}, compression=zipfile.ZIP_BZIP2)
    with pytest.raises(DataError, match="compressed in another way"):
        npz(tmp_path, "x.npz")


def test_a_decompression_bomb_is_refused_but_a_few_zeros_are_not(tmp_path):
    np.savez_compressed(tmp_path / "small.npz", x=np.zeros(100_000))
    assert npz(tmp_path, "small.npz")["x"].shape == (100_000,)
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros(10_000_000))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"declares 80000128 bytes .*decompression bomb"):
        npz(tmp_path, "bomb.npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6


def test_overlapping_members_are_refused(tmp_path):
    write_zip(tmp_path / "x.npz", {"a.npy": npy_bytes(np.arange(500))})
    content = bytearray((tmp_path / "x.npz").read_bytes())
    start = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    entry = bytes(content[start:end])
    # Nine entries of the directory that all point to the one member.
    entries = b"".join(entry.replace(b"a.npy", b"%d.npy" % i) for i in range(9))
    tail = content[end:]
    tail[8:12] = (9).to_bytes(2, "little") * 2
    tail[12:16] = len(entries).to_bytes(4, "little")
    (tmp_path / "x.npz").write_bytes(content[:start] + entries + tail)
    with pytest.raises(DataError, match="bomb"):
        npz(tmp_path, "x.npz")


def test_a_member_shorter_than_declared_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    whole = npy_bytes(np.arange(100))
    write_zip(path, {"x.npy": whole[:-8]}, compression=zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    # The directory's entry holds the size of the member at byte 24.
    size = content.index(b"PK\x01\x02") + 24
    content[size : size + 4] = len(whole).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(DataError, match="cut off: expected 800 bytes after the header, got 792"):
        npz(tmp_path, "x.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_no_flipped_bit_goes_unseen(tmp_path, save):
    expected = np.random.default_rng(0).integers(0, 100, 40)
    path = tmp_path / "x.npz"
    save(path, x=expected)
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), 13):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            arrays = npz(tmp_path, "x.npz")
        except DataError:
            continue
        # What is left are dates, versions and other remarks of the archive, and the name if both copies say the same.
        np.testing.assert_array_equal(arrays["x"], expected)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("arrays")


def changed(content, changes, end):
    content = bytearray(content)
    for place, value in changes:
        content[place % len(content)] = value
    return bytes(content[: len(content) - end])


@settings(derandomize=True, max_examples=400, deadline=None)
@given(
    name=st.sampled_from(list(ARRAYS)),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=5),
    end=st.integers(0, 30),
    kind=st.sampled_from(["npy", "npz", "npy in npz"]),
)
def test_no_input_does_more_than_raise_data_error(scratch, name, changes, end, kind):
    if kind == "npy":
        (scratch / "x.npy").write_bytes(changed(npy_bytes(ARRAYS[name]), changes, end))
    elif kind == "npz":
        buffer = io.BytesIO()
        np.savez_compressed(buffer, x=ARRAYS[name])
        (scratch / "x.npz").write_bytes(changed(buffer.getvalue(), changes, end))
    else:
        write_zip(scratch / "x.npz", {"x.npy": changed(npy_bytes(ARRAYS[name]), changes, end)})
    refusal = None
    try:
        found = npy(scratch, "x.npy") if kind == "npy" else npz(scratch, "x.npz")
    except DataError as error:
        refusal = str(error)
    if refusal is None:
        arrays = [found] if kind == "npy" else list(found.values())
        assert sum(array.nbytes for array in arrays) < 10_000
        assert all(len(array.ravel().tolist()) == array.size for array in arrays)
    else:
        assert str(scratch) in refusal


HEADERS = r"\{'descr': '[<>|]?[a-zA-Z]\d{1,2}', 'fortran_order': (True|False), 'shape': \(([0-9]{0,2}, ?){0,3}\), \}"


@settings(derandomize=True, max_examples=300, deadline=None)
@given(header=st.one_of(st.text(max_size=80), st.from_regex(HEADERS, fullmatch=True)))
def test_no_header_does_more_than_raise_data_error(scratch, header):
    content = header.encode()
    (scratch / "h.npy").write_bytes(b"\x93NUMPY\x03\x00" + len(content).to_bytes(4, "little") + content + bytes(16))
    try:
        array = npy(scratch, "h.npy")
    except DataError:
        return
    assert array.nbytes == 16
