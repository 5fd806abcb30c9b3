"""The wheel: what is in it, that it runs from anywhere, and that it leaves a package named `kernels` alone."""

import itertools
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPARE = shutil.ignore_patterns("__pycache__", ".git", ".*_cache", "runs")


def build(source: Path, target: Path, kind: str = "wheel") -> Path:
    """Builds a wheel or an sdist of the tree in `source`."""
    words = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
    done = subprocess.run(words, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(target.glob("*.whl" if kind == "wheel" else "*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """A folder as an installation of the wheel makes it, with another project's `kernels` package in it."""
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "kernels").mkdir()
    (site / "kernels" / "__init__.py").write_text("OWNER = 'another project'\n")
    return site


def run(site: Path, folder: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def committed(folder: str) -> set[str]:
    files = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in files}


def test_wheel_has_two_packages_and_nothing_else_at_the_top(wheel):
    tops = {name.split("/")[0] for name in names(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"jaxzoo", "jaxzoo_kernels"}


def test_wheel_carries_experiments_and_results_as_data(wheel):
    assert {f"jaxzoo/_data/{name}" for name in committed("experiments") | committed("results")} <= names(wheel)


def test_wheel_carries_every_file_of_the_packages(wheel):
    kernels = {name.removeprefix("kernels/") for name in committed("kernels/jaxzoo_kernels")}
    assert committed("jaxzoo") | kernels <= names(wheel)
    assert not [name for name in names(wheel) if name.endswith(".pyc") or "__pycache__" in name]


def test_command_line_runs_from_the_wheel_in_any_folder(site, tmp_path):
    code = "from jaxzoo.experiment import discover; print(discover.experiments_folder(), discover.results_folder())"
    data = site / "jaxzoo" / "_data"
    assert run(site, tmp_path, "-c", code).split() == [str(data / "experiments"), str(data / "results")]
    listed = run(site, tmp_path, "-m", "jaxzoo", "list")
    slugs = {Path(name).stem for name in committed("experiments")}
    assert {line.split()[0] for line in listed.splitlines()[1 : 1 + len(slugs)]} == slugs


def test_neither_package_shadows_another_named_kernels(site, tmp_path):
    code = "import kernels, jaxzoo, jaxzoo_kernels as k; print(kernels.OWNER, jaxzoo.__file__, k.__file__, sep='\\n')"
    expected = ["another project", str(site / "jaxzoo/__init__.py"), str(site / "jaxzoo_kernels/__init__.py")]
    assert run(site, tmp_path, "-c", code).splitlines() == expected


def test_tree_without_experiments_or_results_builds(tmp_path):
    source = tmp_path / "source"
    for part in ("jaxzoo", "kernels"):
        shutil.copytree(ROOT / part, source / part, ignore=SPARE)
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, source / part)
    (source / "results").mkdir()
    assert not [name for name in names(build(source, tmp_path)) if "/_data/" in name]


def test_source_archive_builds_the_same_wheel(wheel, tmp_path):
    with tarfile.open(build(ROOT, tmp_path, "sdist")) as archive:
        archive.extractall(tmp_path, filter="data")
    source = next(path for path in tmp_path.iterdir() if path.is_dir())
    assert names(build(source, tmp_path)) == names(wheel)


def test_constraints_are_names_and_versions_of_all_that_is_required():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-z.]*", line)] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = itertools.chain(project["dependencies"], *project["optional-dependencies"].values())
    wanted = {re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower() for requirement in required} - {"jaxzoo"}
    assert wanted <= {line.split("==")[0] for line in lines}
