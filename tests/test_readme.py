"""What the README shows is run: its three Python blocks, and the lines that install and test."""

import importlib
import re
from pathlib import Path

import jaxzoo_kernels
import numpy as np
import pytest

from jaxzoo.cli import main
from jaxzoo.cli.main import VERBS
from jaxzoo.cli.markdown import BEGIN, END

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
USE, KERNEL, WRITE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_method_example_runs_and_does_what_it_says():
    names = {}
    exec(compile(USE, "README.md", "exec"), names)
    assert names["kernel"].shape == (50, 50)
    np.testing.assert_allclose(names["same"], names["kernel"], rtol=1e-4, atol=1e-4)


def test_kernel_example_runs_and_prints_what_it_says(capsys):
    names = {}
    exec(compile(KERNEL, "README.md", "exec"), names)
    assert names["o"].shape == names["q"].shape
    assert names["state"].shape == (2, 8, 64, 64)
    assert names["last"].shape == (2, 512)
    assert f"# {capsys.readouterr().out.strip()}" in KERNEL


def test_every_kernel_is_named():
    functions = [name for name in jaxzoo_kernels.__all__ if name.islower()]
    assert [name for name in functions if f"`{name}`" not in README and name not in KERNEL] == []


def test_experiment_example_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    (tmp_path / "width_helps.py").write_text(WRITE)
    words = ["--preset", "smoke", "--experiments", str(tmp_path), "--out", str(tmp_path / "runs")]
    assert main(["run", "width_helps", *words]) == 0
    assert "C1 the wide network" in capsys.readouterr().out


def test_table_of_papers_is_that_of_the_committed_records(tmp_path, capsys):
    """If this fails: jaxzoo list --markdown README.md."""
    copy = tmp_path / "README.md"
    copy.write_text(README)
    assert main(["list", "--markdown", str(copy)]) == 0
    assert copy.read_text() == README


def test_table_of_kernels_is_that_of_the_committed_rows(monkeypatch):
    """If this fails: python benchmarks/kernels/table.py README.md."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "kernels"))
    made = importlib.import_module("table")
    assert made.replaced(README, made.table(made.rows())) == README


def test_table_of_papers_goes_where_a_file_has_its_comments(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert main(["list", "--markdown", str(page), "--field", "theory"]) == 0
    before, *table, after = page.read_text().splitlines()
    assert (before, after) == ("before", "after")
    assert "old" not in table
    assert any("Neural Tangent Kernel" in line and "C1a&nbsp;✓" in line for line in table)
    page.write_text("no comments")
    assert main(["list", "--markdown", str(page)]) == 2
    assert BEGIN in capsys.readouterr().err
    assert main(["list", "--markdown", str(tmp_path / "none.md")]) == 2


def test_every_verb_is_explained():
    assert [verb for verb in VERBS if f"`jaxzoo {verb}" not in README] == []


@pytest.mark.parametrize(
    "path", re.findall(r"^    ([a-z]+/)", README.partition("## Where things are")[2], re.MULTILINE)
)
def test_folders_of_the_layout_are_there(path):
    assert (ROOT / path).is_dir()


def test_ci_runs_the_lines_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text()
    install, test = re.search(r"^    (pip install.*test.*) && (pytest.*)$", README, re.MULTILINE).groups()
    assert install in script
    assert re.search(rf"^{re.escape(test)}$", script, re.MULTILINE)
