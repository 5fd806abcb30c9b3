"""The package: it loads fast, and offers what it says."""

import subprocess
import sys

import jaxzoo.data


def test_import_loads_numpy_alone():
    code = (
        "import sys, numpy; before = set(sys.modules); import jaxzoo.data;"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["jaxzoo"]


def test_every_name_is_there():
    for name in jaxzoo.data.__all__:
        assert getattr(jaxzoo.data, name) is not None, name
    assert not hasattr(jaxzoo.data, "no_such_name")


WITHOUT_EXTRAS = """
import sys
sys.modules.update(dict.fromkeys(["sklearn", "skimage", "statsmodels", "networkx", "pandas"]))
from jaxzoo import data
for name in ("digits", "breast_cancer", "wine", "iris", "diabetes", "linnerud", "sunspots", "co2", "elnino", "nile",
             "macrodata", "karate", "davis", "florentine", "les_miserables", "graph_atlas", "pydoc_topics"):
    getattr(data, name)()
for load, name in ((data.picture, "camera"), (data.picture, "china"), (data.statsmodels_table, "engel")):
    try:
        load(name)
    except ImportError as error:
        print(error)
"""


def test_small_sets_need_no_extra():
    done = subprocess.run([sys.executable, "-c", WITHOUT_EXTRAS], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f'{package} is not installed: this needs pip install "jaxzoo[data]"'
        for package in ("skimage", "sklearn", "statsmodels")
    ]
