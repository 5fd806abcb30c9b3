import asyncio
import json
import logging
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxzoo.experiment import checkpoint, manifest
from jaxzoo.experiment.checkpoint import CheckpointError, DamagedCheckpoint, restore, save


def training_state(seed):
    """Parameters, optimiser state, typed keys, bfloat16, a NaN with a payload, and leaves without elements."""
    key_w, key_b, key_run = jax.random.split(jax.random.key(seed), 3)
    params = {
        "w": jax.random.normal(key_w, (3, 4)).at[0, 0].set(jnp.nan),
        "b/c": jax.random.normal(key_b, (4,), jnp.bfloat16),
        "empty": jnp.zeros((0, 3)),
    }
    state = optax.adam(1e-3).init(params)
    history = {"loss": np.arange(6.0).reshape(2, 3) + seed, "mask": np.array([True, False]), "n": np.int64(seed)}
    return (params, state), jax.random.split(key_run, 2), jax.random.key(seed, impl="rbg"), history


def bits(leaf):
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return leaf.shape, leaf.dtype, np.asarray(jax.random.key_data(leaf) if is_key else leaf).tobytes()


def assert_same(tree, expected):
    assert jax.tree.structure(tree) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
        assert bits(one) == bits(other)


def steps(folder):
    return sorted(path.name for path in folder.iterdir())


def small(step):
    return {"w": jnp.full((2, 3), step, jnp.float32), "n": jnp.int32(step)}


def saved(folder, *which):
    for step in which:
        save(folder, step, small(step), {"step": step})
    return folder


def test_a_training_state_comes_back_bit_for_bit(tmp_path):
    tree = training_state(1)
    save(tmp_path / "a" / "b", 7, tree, {"stage": "walk", "loss": float("nan")})
    found = restore(tmp_path / "a" / "b", tree)
    assert_same(found.tree, tree)
    assert found.step == 7
    assert found.meta == {"stage": "walk", "loss": "nan"}
    assert isinstance(found.tree[3]["loss"], np.ndarray)
    assert isinstance(found.tree[0][0]["w"], jax.Array)


def test_shapes_and_dtypes_are_enough_to_restore(tmp_path):
    tree = training_state(1)[:3]
    save(tmp_path, 0, tree, None)
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)
    assert_same(restore(tmp_path, like).tree, tree)


def test_without_like_the_leaves_come_by_name(tmp_path):
    save(tmp_path, 3, {"y": np.arange(3.0), "k": jax.random.split(jax.random.key(0), 2)}, {})
    found = restore(tmp_path, None).tree
    assert_same(found, {"y": np.arange(3.0), "k": jax.random.split(jax.random.key(0), 2)})


@pytest.mark.parametrize("dtype", ["float16", "complex64", "int4", "float8_e4m3fn", "uint8", ">f4"])
def test_dtypes_come_back(tmp_path, dtype):
    array = np.array([0, 1, 2, 3]).astype(jnp.dtype(dtype))
    save(tmp_path, 0, [array], {})
    found = restore(tmp_path, [array]).tree[0]
    assert found.dtype.name == array.dtype.name
    np.testing.assert_array_equal(found.astype(np.complex64), array.astype(np.complex64))


def test_arrays_come_back_where_like_has_them(tmp_path):
    mesh = jax.make_mesh((4,), ("s",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.NamedSharding(mesh, jax.P("s"))
    x = jax.device_put(jnp.arange(8.0).reshape(4, 2), sharding)
    keys = jax.device_put(jax.random.split(jax.random.key(0), 4), sharding)
    free = jnp.arange(8.0)
    save(tmp_path, 0, [x, keys, free], {})
    found = restore(tmp_path, [x, keys, free]).tree
    assert [leaf.sharding for leaf in found] == [x.sharding, keys.sharding, free.sharding]
    assert [leaf.committed for leaf in found] == [True, True, False]
    assert_same(found, [x, keys, free])
    other = jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=jax.NamedSharding(mesh, jax.P(None)))
    assert restore(tmp_path, [other, keys, free]).tree[0].sharding == other.sharding


def test_a_double_is_never_narrowed_in_silence(tmp_path):
    save(tmp_path, 0, [np.arange(3.0)], {})
    with pytest.raises(CheckpointError, match="leaf 0: found float64, which needs jax_enable_x64"):
        restore(tmp_path, [jax.ShapeDtypeStruct((3,), np.float64)])


def test_it_works_inside_a_running_event_loop(tmp_path):
    async def cell():
        saved(tmp_path, 1)
        return restore(tmp_path, small(0))

    assert_same(asyncio.run(cell()).tree, small(1))


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (3.0, "expected an array, got the float 3.0; make it one by jnp.asarray"),
        ("x", "expected an array, got the str 'x'"),
        (np.array([None]), "expected numbers, booleans or PRNG keys, got dtype object"),
        (np.array(["a"]), "got dtype <U1"),
        (np.array([1], "m8[s]"), "got dtype timedelta64"),
    ],
)
def test_a_leaf_that_is_no_array_of_numbers_is_refused_and_named(tmp_path, leaf, message):
    with pytest.raises(TypeError, match=re.escape("params.w: ") + ".*" + re.escape(message)):
        save(tmp_path, 1, {"params": {"w": leaf}}, {})
    assert not list(tmp_path.iterdir())


def test_two_leaves_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.b: two leaves have this name"):
        save(tmp_path, 1, {"a": {"b": jnp.ones(1)}, "a.b": jnp.ones(1)}, {})


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({"w": jnp.ones((2, 4)), "n": jnp.int32(0)}, r"leaf w: expected float32\[2, 4\], found float32\[2, 3\]"),
        ({"w": jnp.ones((2, 3)), "n": jnp.ones(())}, r"leaf n: expected float32\[\], found int32\[\]"),
        (small(0) | {"b": jnp.ones(2)}, r"leaf b: expected float32\[2\], found no such leaf"),
        ({"n": jnp.int32(0)}, r"leaf w: expected no such leaf, found float32\[2, 3\]"),
    ],
)
def test_another_structure_is_an_error_that_names_the_leaf(tmp_path, like, message):
    saved(tmp_path, 1, 2)
    with pytest.raises(CheckpointError, match=message):
        restore(tmp_path, like)
    assert steps(tmp_path) == ["1", "2"]


def test_the_folder_may_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved("runs/a", 1)
    assert restore("runs/a", small(0)).step == 1


def test_nothing_stored_is_none(tmp_path):
    assert restore(tmp_path / "none", small(0)) is None
    assert restore(tmp_path, small(0)) is None


def test_the_newest_steps_are_kept(tmp_path):
    saved(tmp_path, 5, 10, 20)
    assert steps(tmp_path) == ["10", "20"]
    save(tmp_path, 30, small(30), {}, keep=1)
    assert steps(tmp_path) == ["30"]


def test_a_step_is_replaced(tmp_path):
    saved(tmp_path, 1, 2)
    save(tmp_path, 2, small(9), {"step": 9})
    assert steps(tmp_path) == ["1", "2"]
    assert_same(restore(tmp_path, small(0)).tree, small(9))


def test_a_save_after_a_damaged_step_clears_it_away_and_not_the_good_one(tmp_path):
    saved(tmp_path, 10, 40)
    (tmp_path / "40" / "manifest.json").unlink()
    with pytest.warns(DamagedCheckpoint):
        assert restore(tmp_path, small(0)).step == 10
    saved(tmp_path, 30)
    assert steps(tmp_path) == ["10", "30"]


def files_of(step):
    return sorted(path for path in step.rglob("*") if path.is_file())


def test_every_flipped_bit_is_found_and_named(tmp_path):
    rng = np.random.default_rng(0)
    save(tmp_path, 1, training_state(1), {})
    save(tmp_path, 2, training_state(2), {})
    like, names = training_state(0), leaf_names(tmp_path / "2")
    for path in files_of(tmp_path / "2"):
        whole = path.read_bytes()
        for bit in rng.choice(len(whole) * 8, size=2, replace=False):
            broken = bytearray(whole)
            broken[bit // 8] ^= 1 << bit % 8
            path.write_bytes(broken)
            with pytest.warns(DamagedCheckpoint, match=blamed(path, tmp_path / "2", names)):
                found = restore(tmp_path, like)
            assert found.step == 1
            path.write_bytes(whole)
    assert_same(restore(tmp_path, like).tree, training_state(2))


@pytest.mark.parametrize("harm", ["truncated", "lengthened", "emptied", "deleted", "a folder"])
def test_harm_to_any_file_is_found_and_named(tmp_path, harm):
    saved(tmp_path, 1, 2)
    names = leaf_names(tmp_path / "2")
    for path in files_of(tmp_path / "2"):
        whole = path.read_bytes()
        if harm in ("deleted", "a folder"):
            path.unlink()
            path.mkdir() if harm == "a folder" else None
        else:
            path.write_bytes({"truncated": whole[:-1], "lengthened": whole + b"\0", "emptied": b""}[harm])
        with pytest.warns(DamagedCheckpoint, match=blamed(path, tmp_path / "2", names)):
            assert restore(tmp_path, small(0)).step == 1
        shutil.rmtree(path) if harm == "a folder" else None
        path.write_bytes(whole)


def test_a_file_that_grew_is_not_read(tmp_path):
    saved(tmp_path, 1)
    with (tmp_path / "1" / "arrays" / "1" / "0.0").open("r+b") as file:
        file.truncate(2**42)
    with pytest.warns(DamagedCheckpoint, match=r"arrays/1/0\.0 \(leaf w\): expected 24 bytes, got 4398046511104"):
        assert restore(tmp_path, small(0)) is None


def leaf_names(step):
    return [leaf["name"] for leaf in json.loads((step / "manifest.json").read_text())["leaves"]]


def blamed(path, step, names):
    """What a warning must say of a file of step 2: its name and that of its leaf."""
    file = path.relative_to(step).as_posix()
    leaf = re.fullmatch(r"arrays/(\d+)/.*", file)
    shown = f"{file} (leaf {names[int(leaf[1])]})" if leaf else file
    return r"2 is damaged: .*" + re.escape(shown) + ".*; step 1 is taken instead"


def test_an_empty_folder_named_like_a_step_is_no_step(tmp_path):
    saved(tmp_path, 1)
    (tmp_path / "5").mkdir()
    with pytest.warns(DamagedCheckpoint, match=r"5 is damaged: manifest.json: it is missing; step 1 is taken instead"):
        assert restore(tmp_path, small(0)).step == 1
    saved(tmp_path, 5)
    assert restore(tmp_path, small(0)).step == 5


def test_when_no_step_is_good_there_is_none_and_all_are_named(tmp_path):
    saved(tmp_path, 1, 2)
    for step in "12":
        (tmp_path / step / "manifest.sha256").unlink()
    with pytest.warns(DamagedCheckpoint) as caught:
        assert restore(tmp_path, small(0)) is None
    assert ["2 is damaged" in str(caught[0].message), "1 is damaged" in str(caught[1].message)] == [True, True]
    assert "there is no step before it" in str(caught[1].message)


def forge(folder, changes):
    """A manifest with other content and the right sha256."""
    content = json.loads((folder / "manifest.json").read_text()) | changes
    (folder / "manifest.json").write_text(json.dumps(content))
    (folder / "manifest.sha256").write_bytes(manifest.digest_line((folder / "manifest.json").read_bytes()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step": 9}, "it belongs to step 9"),
        ({"leaves": 3}, "it is no manifest"),
        ({"leaves": [{"name": "w"}]}, "it is no manifest"),
        ({"files": {"arrays/0/.zarray": []}}, "it is no manifest"),
        ({"leaves": [{"name": "w", "shape": [2**40], "dtype": "float32", "impl": None}]}, "more than its files hold"),
        ({"leaves": [{"name": "w", "shape": [-1, 0], "dtype": "int8", "impl": None}]}, "it is no manifest"),
        ({"leaves": [{"name": "w", "shape": [0, 2**99], "dtype": "int8", "impl": None}]}, "manifest.json: leaf w: "),
        ({"leaves": [{"name": "w", "shape": [1], "dtype": "none", "impl": None}]}, "manifest.json: leaf w: "),
        ({"leaves": [{"name": "w", "shape": [1], "dtype": "key<x>", "impl": "x"}]}, "manifest.json: leaf w: "),
        ({"leaves": [{"name": "w", "shape": [2, 3], "dtype": "int32", "impl": None}]}, "its arrays are not those"),
        ({"files": {"/dev/zero": [0, ""]}}, "/dev/zero: it is missing"),
    ],
)
def test_a_forged_manifest_is_damage_and_allocates_nothing(tmp_path, changes, message):
    forge(saved(tmp_path, 1) / "1", changes)
    with pytest.warns(DamagedCheckpoint, match=re.escape(message)):
        assert restore(tmp_path, None) is None


def test_an_array_that_claims_to_be_larger_than_the_manifest_says_is_damage(tmp_path):
    step = saved(tmp_path, 1) / "1"
    path = step / "arrays" / "1" / ".zarray"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shape": [2**21, 2**21], "chunks": [2**21, 2**21]}))
    files = json.loads((step / "manifest.json").read_text())["files"]
    files["arrays/1/.zarray"] = (path.stat().st_size, manifest.hashlib.sha256(path.read_bytes()).hexdigest())
    forge(step, {"files": files})
    with pytest.warns(DamagedCheckpoint, match="its arrays are not those of the manifest"):
        assert restore(tmp_path, small(0)) is None


def test_another_format_is_an_error_and_not_damage(tmp_path):
    forge(saved(tmp_path, 1) / "1", {"format": 2})
    with pytest.raises(CheckpointError, match="expected a checkpoint of format 1, got 2"):
        restore(tmp_path, small(0))


def test_orbax_keeps_its_log_to_itself_and_leaves_that_of_others_alone(tmp_path, caplog):
    with caplog.at_level(logging.DEBUG):
        saved(tmp_path, 1)
        restore(tmp_path, small(0))
        assert [record for record in caplog.records if record.name == "absl"] == []
        with checkpoint._orbax():
            logging.getLogger("absl").error("not of Orbax")
    assert "not of Orbax" in caplog.text


def test_a_deleted_array_is_refused_before_anything_is_written(tmp_path):
    x = jnp.ones(3)
    x.delete()
    with pytest.raises(RuntimeError, match="deleted"):
        save(tmp_path, 1, [x], {})
    assert not list(tmp_path.iterdir())
