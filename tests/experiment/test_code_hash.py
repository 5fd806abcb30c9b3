"""The code that a record depends on: what is followed, what counts, and what it costs to check."""

import hashlib
import json
import time
from pathlib import Path

import pytest

from jaxzoo.experiment import code_hash
from jaxzoo.experiment.code_hash import code, stale

TREE = {
    "jaxzoo/__init__.py": "__version__ = '1'\n",
    "jaxzoo/ops/__init__.py": "from jaxzoo.ops.norms import norm, scale\nfrom .conv import conv as conv2\n",
    "jaxzoo/ops/norms.py": '"""Norms."""\ndef norm(x):\n    """One."""\n    return x\n\n'
    "def scale(x):\n    return 2 * x\n",
    "jaxzoo/ops/conv.py": "from .patches import cut\n\ndef conv(x):\n    return cut(x)\n",
    "jaxzoo/ops/patches.py": "def cut(x):\n    return x\n",
    "jaxzoo/ops/alone.py": "def alone(x):\n    return x\n",
    "jaxzoo/data/__init__.py": "from .digits import digits\n_LAZY = {'sampler': 'sampling', 'x': 'nothing'}\n"
    "def __getattr__(name):\n    return name\n",
    "jaxzoo/data/digits.py": "def digits():\n    return 0\n",
    "jaxzoo/data/sampling.py": "def sampler():\n    return 0\n",
    "jaxzoo/train/__init__.py": "from . import loop\n\nRATE = 0.1\n",
    "jaxzoo/train/loop.py": "def fit():\n    import jaxzoo_kernels.scan as s\n    return s.run()\n",
    "jaxzoo/experiment/__init__.py": "from jaxzoo.experiment.runner import run\n",
    "jaxzoo/experiment/runner.py": "def run():\n    pass\n",
    "jaxzoo_kernels/__init__.py": "from .scan import scan\n",
    "jaxzoo_kernels/scan/__init__.py": "from .run import run\n\ndef scan():\n    'jaxzoo_kernels.scan.tpu:run'\n",
    "jaxzoo_kernels/scan/scan.py": "def other():\n    return 2\n",
    "jaxzoo_kernels/scan/run.py": "def run():\n    return 0\n",
    "jaxzoo_kernels/scan/tpu.py": "def run():\n    return 1\n",
}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Two small packages in place of the real ones, and the path of an experiment beside them."""
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(code_hash, "_root", lambda package: tmp_path / package)
    (tmp_path / "experiments/theory").mkdir(parents=True)
    return tmp_path


def write(tree: Path, text: str) -> Path:
    path = tree / "experiments/theory/ntk.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("import os, numpy as np\nfrom jax import jit\nx = 1\n", []),
        ("from jaxzoo.ops import norm\n", ["ops/__init__.py", "ops/norms.py"]),
        ("from jaxzoo.ops import conv2\n", ["ops/__init__.py", "ops/conv.py", "ops/patches.py"]),
        ("from jaxzoo.ops import alone\n", ["ops/alone.py"]),
        ("from jaxzoo.ops.patches import cut\n", ["ops/patches.py"]),
        ("from jaxzoo import ops\nops.norm(1)\n", ["ops/__init__.py", "ops/norms.py"]),
        ("from jaxzoo import ops as o\no.scale(o.norm(1))\n", ["ops/__init__.py", "ops/norms.py"]),
        ("import jaxzoo.ops as o\no.norm(1)\n", ["ops/__init__.py", "ops/norms.py"]),
        ("import jaxzoo.ops\n", ["ops/__init__.py", "ops/conv.py", "ops/norms.py", "ops/patches.py"]),
        ("from jaxzoo.ops import *\n", ["ops/__init__.py", "ops/conv.py", "ops/norms.py", "ops/patches.py"]),
        (
            "from jaxzoo import ops\nf = ops\nops.norm\n",
            ["ops/__init__.py", "ops/conv.py", "ops/norms.py", "ops/patches.py"],
        ),
        ("def f():\n    from jaxzoo.ops import norm\n", ["ops/__init__.py", "ops/norms.py"]),
        ("from jaxzoo.experiment import run\nfrom jaxzoo import experiment\nimport jaxzoo.experiment.runner\n", []),
        ("from jaxzoo import __version__\n", ["__init__.py"]),
        ("from jaxzoo.train.loop import fit\n", ["train/loop.py", "scan/__init__.py", "scan/run.py"]),
        ("from jaxzoo.train import loop\n", ["train/loop.py", "scan/__init__.py", "scan/run.py"]),
        ("from jaxzoo.train import RATE\n", ["train/__init__.py", "train/loop.py", "scan/__init__.py", "scan/run.py"]),
        ("from jaxzoo_kernels import scan\n", ["jaxzoo_kernels/__init__.py", "scan/__init__.py", "scan/run.py"]),
        ("import jaxzoo_kernels.scan.run\n", ["scan/run.py"]),
        ("from jaxzoo import data\ndata.sampler\n", ["data/__init__.py", "data/sampling.py"]),
        ("from jaxzoo import data\ndata.digits\n", ["data/__init__.py", "data/digits.py"]),
        ("from jaxzoo.data import x\n", ["data/__init__.py", "data/digits.py"]),
        ("from jaxzoo.missing import x\nimport jaxzoo.gone\n", []),
    ],
)
def test_what_is_followed(tree, text, files):
    found = {
        name.removeprefix("jaxzoo/").replace("jaxzoo_kernels/scan", "scan") for name in code(write(tree, text))["files"]
    }
    assert found == {"experiments/theory/ntk.py", *files}


def edited(tree: Path, name: str, old: str, new: str) -> None:
    text = (tree / name).read_text()
    assert old in text
    (tree / name).write_text(text.replace(old, new))


USES = 'CLAIM = "c"\nfrom jaxzoo.ops import norm\n\ndef run(x):\n    return norm(x)\n'


def test_fresh(tree):
    path = write(tree, USES)
    assert stale({"code": json.loads(json.dumps(code(path)))}, path) is None


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("jaxzoo/ops/norms.py", '"""Norms."""', '"""Other words."""'),
        ("jaxzoo/ops/norms.py", '    """One."""\n', ""),
        ("jaxzoo/ops/norms.py", "return x\n", "return (x)  # the same\n\n"),
        ("jaxzoo/ops/norms.py", "\n", "\r\n"),
        ("jaxzoo/ops/__init__.py", "from .conv", "from .patches import cut\nfrom .conv"),
        ("jaxzoo/ops/__init__.py", "import norm, scale", "import norm"),
        ("jaxzoo/ops/conv.py", "cut(x)", "cut(2 * x)"),
        ("experiments/theory/ntk.py", "CLAIM", '"""Docs."""\nCLAIM'),
    ],
)
def test_prose_and_what_is_not_used_leave_it_fresh(tree, name, old, new):
    path = write(tree, USES)
    before = code(path)
    edited(tree, name, old, new)
    assert stale({"code": before}, path) is None
    assert code(path)["hash"] == before["hash"]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("jaxzoo/ops/norms.py", "return x\n", "return x + 1\n"),
        ("jaxzoo/ops/norms.py", "return x\n", "return None\n"),
        ("jaxzoo/ops/norms.py", "2 * x", "2.0 * x"),
        ("jaxzoo/ops/norms.py", "def norm(x)", "def norm(x, /)"),
        ("jaxzoo/ops/norms.py", "2 * x", "2 *"),
        ("jaxzoo/ops/__init__.py", "jaxzoo.ops.norms import norm, scale", "jaxzoo.ops.conv import conv as norm"),
        ("jaxzoo/ops/__init__.py", "import norm, scale", "import scale as norm"),
        ("experiments/theory/ntk.py", '"c"', '"d"'),
    ],
)
def test_a_change_that_counts_is_named(tree, name, old, new):
    path = write(tree, USES)
    before = code(path)
    edited(tree, name, old, new)
    assert stale({"code": before}, path) == f"{name} has changed since this run"


def test_a_file_that_is_gone_and_many_that_changed(tree):
    path = write(tree, "from jaxzoo.ops import norm, conv2\n")
    before = code(path)
    (tree / "jaxzoo/ops/norms.py").unlink()
    assert stale({"code": before}, path) == "jaxzoo/ops/norms.py has changed since this run"
    (tree / "jaxzoo/ops/conv.py").write_text("x = 3\n")
    assert stale({"code": before}, path) == "jaxzoo/ops/conv.py, jaxzoo/ops/norms.py have changed since this run"
    for name in ("jaxzoo/ops/patches.py", "experiments/theory/ntk.py"):
        (tree / name).write_text("x = 3\n")
    listing = "experiments/theory/ntk.py, jaxzoo/ops/conv.py, jaxzoo/ops/norms.py and 1 more have"
    assert stale({"code": before}, path) == f"{listing} changed since this run"


def test_checking_182_fresh_records_is_quick(tree):
    """Each paper has two files of its own and twelve of forty that papers share; files are 300 lines long."""
    source = "def f(x):\n    return x + 1\n\n" * 100

    def entry(name):
        (tree / name).write_text(f"# {name}\n{source}")
        return {"sha256": hashlib.sha256((tree / name).read_bytes()).hexdigest(), "code": ""}

    shared = {name: entry(name) for name in (f"jaxzoo/ops/shared{i}.py" for i in range(40))}
    records = []
    for i in range(182):
        own = {name: entry(name) for name in (f"experiments/theory/paper{i}.py", f"jaxzoo/ops/paper{i}.py")}
        some = {name: shared[name] for name in list(shared)[i % 28 :][:12]}
        records.append(({"code": {"files": own | some}}, tree / f"experiments/theory/paper{i}.py"))
    begin = time.process_time()
    assert not any(stale(record, path) for record, path in records)
    assert time.process_time() - begin < 0.3


def test_the_real_packages_are_found_without_importing_them():
    files = code(Path(__file__))["files"]
    assert set(files) == {"experiments/experiment/test_code_hash.py"}
    assert code_hash._root("jaxzoo") == Path(code_hash.__file__).parents[1]
    assert (code_hash._root("jaxzoo_kernels") / "__init__.py").is_file()
