"""Discovery: what is read without running a file, and one clear error for each breach of the contract."""

import subprocess
import sys
from pathlib import Path

import pytest

from jaxzoo.experiment import ContractError, discover
from jaxzoo.experiment.discover import find, list_files, load, read_all, read_head

GOOD = '''"""Uniform means (2020): the mean of uniform numbers is a half. It is."""

import dataclasses
import math

import jax
from jax import numpy as jnp

from jaxzoo.experiment import Claim, Oracle, Paper, setting

PAPER = Paper(title="Uniform means", authors="Doe et al.", year=2020, arxiv="2001.00001")
ARMS = ("none", "full")
TABLE = jnp.arange(3)


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes."""

    seeds: int = setting(5, "number of seeds", low=1)
    steps: int = setting(800, "updates of every arm", low=1)
    rate: float = setting(math.exp(-4), "learning rate", low=0.0)
    arms: tuple[str, ...] = setting(ARMS, "arms to compare", choices=ARMS)

    def decay(self, x: jax.Array) -> jax.Array:
        return jnp.exp(-x / self.steps)


PRESETS = {
    "smoke": Config(steps=10),
    "default": Config(),
    "paper": Config(steps=100_000, rate=1),
}


def gap(arm):
    return lambda results: results[arm]


def run(config: Config, runner) -> dict[str, jax.Array]:
    return {arm: runner.map(f"mean/{arm}", lambda key: jax.random.uniform(key, (100,)).mean()) for arm in config.arms}


CLAIMS = (
    Claim(id="C1", says="above 0.4", source="Table 1", paper_value="0.5", measure=gap("full"), at_least=0.4),
    *(
        Claim(id=f"C2{x}", says="below", source="Fig. 1", paper_value="1", measure=lambda r, x=x: r[x], at_most=0.9)
        for x in "ab"
    ),
    Claim(id="C3", says="for all numbers", source="Sec. 9", paper_value="all", full_scale_only="needs all numbers"),
)
ORACLES = (Oracle(says="at most 1", holds=lambda results: results["full"] <= 1),)


def plot(results, figure):
    figure.subplots().plot(results["full"])
'''


def write(folder: Path, name: str = "uniform", text: str = GOOD) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


def test_head_holds_all_that_the_file_declares(tmp_path):
    head = read_head(write(tmp_path / "theory"))
    assert (head.slug, head.field, head.path) == ("uniform", "theory", tmp_path / "theory" / "uniform.py")
    assert head.docstring.startswith("Uniform means (2020)")
    assert head.paper.arxiv == "2001.00001"
    assert head.presets["smoke"].steps == 10
    assert head.presets["default"] == head.config_class()
    assert type(head.presets["paper"].rate) is float
    assert [claim.id for claim in head.claims] == ["C1", "C2a", "C2b", "C3"]
    assert head.oracles[0].says == "at most 1"
    assert head.settings["arms"].legal == "words among 'none', 'full'"


def test_claims_of_a_head_can_not_be_measured(tmp_path):
    with pytest.raises(TypeError, match="only be called on the loaded module"):
        read_head(write(tmp_path)).claims[0].measure({})


def test_reading_imports_neither_jax_nor_numpy(tmp_path):
    write(tmp_path / "theory")
    code = (
        "import sys\nfrom jaxzoo.experiment import discover\n"
        f"assert len(discover.read_all({str(tmp_path)!r}).heads) == 1\n"
        "print(sorted({'jax', 'numpy', 'flax', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "[]", done.stderr


BREACHES = {
    "syntax": ("PAPER = Paper(", "PAPER = = Paper(", "PAPER = =", "not valid Python: invalid syntax"),
    "docstring": ('"""Uniform', 'MORE = """', "", "missing docstring"),
    "no paper": ("PAPER = ", "PAPERS = ", "", "missing PAPER; an experiment defines PAPER, Config, PRESETS, run"),
    "no run": ("def run(", "def go(", "", "missing run;"),
    "run is imported": ("def run(", "run = 3\ndef go(", "run", r"run: expected def run\(config, runner\)"),
    "run's arguments": ("run(config: Config, runner)", "run(runner, config)", "run", r"got \(runner, config\)"),
    "plot's arguments": ("plot(results, figure)", "plot(results, figure, *, x)", "def plot", "got .results, figure"),
    "paper's type": ("PAPER = Paper(", "PAPER = dict(", "PAPER =", r"PAPER: expected Paper\(...\), got dict"),
    "paper's argument": ("year=2020", "yaer=2020", "PAPER =", "TypeError: .*unexpected keyword argument 'yaer'"),
    "title": ('title="Uniform means"', 'title=" "', "PAPER =", "PAPER: title: expected text, got ' '"),
    "year": ("year=2020", 'year="2020"', "PAPER =", "PAPER: year: expected a year such as 2024, got '2020'"),
    "arxiv": ('arxiv="2001.00001"', 'arxiv="arXiv:2001.1"', "PAPER =", "PAPER: arxiv: expected an identifier"),
    "not frozen": ("(frozen=True)", "", "class Config", "Config: expected a class under @dataclasses"),
    "no setting": ('setting(800, "updates of every arm", low=1)', "800", "steps: int", "Config.steps: declare it as"),
    "default's type": ("setting(800,", "setting(8.5,", "steps: int", "Config.steps: its default .* got 8.5"),
    "default's range": ("setting(800,", "setting(0,", "steps: int", "its default .* an integer >= 1, got 0"),
    "type of a bound": ('"learning rate", low=0.0', '"learning rate", low="0"', "class Config", "Config: can't be"),
    "no seeds": ("seeds: int", "seed: int", "class Config", "Config: needs seeds: int = setting"),
    "jax in the head": ("setting(math.exp(-4)", "setting(jnp.exp(-4)", "rate: float", "'jnp' is not defined: PAPER"),
    "no smoke": ('"smoke": Config(', '"tiny": Config(', "PRESETS", "expected a dict of smoke, .*tiny"),
    "preset's range": ("Config(steps=10)", "Config(steps=0)", '"smoke"', r'PRESETS\["smoke"\]: config.steps: expected'),
    "preset's field": ("Config(steps=10)", "Config(stesp=10)", '"smoke"', "unexpected keyword argument 'stesp'"),
    "preset's type": ("Config(steps=10)", "{}", '"smoke"', r'PRESETS\["smoke"\]: expected Config\(...\), got {}'),
    "default preset": ('"default": Config()', '"default": Config(steps=9)', '"default"', "expected Config.., the"),
    "claims' type": ("CLAIMS = (", "CLAIMS = 3\n_ = (", "CLAIMS", "CLAIMS: expected a tuple, got int"),
    "claim's argument": ('source="Table 1", ', "", 'id="C1"', "missing 1 required keyword-only argument: 'source'"),
    "claim's text": ('source="Table 1"', 'source=""', 'id="C1"', "C1: source: expected text"),
    "no bound": (", at_least=0.4", "", 'id="C1"', "C1: expected one of at_least, at_most, between"),
    "bound": ("at_least=0.4", "at_least=0.4, no_effect=0.5", 'id="C1"', "C1: at_least: expected more than no_effect"),
    "claim twice": ('id="C3"', 'id="C1"', "CLAIMS", "C1: two claims have this id"),
    "not a claim": ("CLAIMS = (", "CLAIMS = (3,", "CLAIMS = (3", r"CLAIMS: expected only Claim\(...\), got 3"),
    "oracle's text": ('says="at most 1"', "says=1", "ORACLES", "ORACLES: "),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "at", "message"), BREACHES.values(), ids=BREACHES)
def test_a_breach_is_named_with_file_and_line(tmp_path, old, new, at, message):
    path = write(tmp_path / "theory", text=GOOD.replace(old, new, 1))
    assert path.read_text() != GOOD
    with pytest.raises(ContractError, match=message) as error:
        read_head(path)
    line = int(str(error.value).removeprefix(f"{path}:").partition(":")[0])
    assert at in path.read_text().splitlines()[line - 1]


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"x = 1\0", b"(" * 5000])
def test_bytes_that_are_no_python_are_one_error(tmp_path, raw):
    (tmp_path / "broken.py").write_bytes(raw)
    with pytest.raises(ContractError, match=r"broken\.py.*: not valid Python"):
        read_head(tmp_path / "broken.py")


def test_a_file_that_can_not_be_read_is_an_error(tmp_path):
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ContractError, match=r"gone\.py: can't be read"):
        read_head(tmp_path / "gone.py")


def test_the_slug_is_an_identifier(tmp_path):
    with pytest.raises(ContractError, match="expected a Python identifier, got 'my-paper'"):
        read_head(write(tmp_path, "my-paper"))


def test_a_broken_file_hides_no_other(tmp_path):
    for name in ("alpha", "omega"):
        write(tmp_path / "theory", name)
    write(tmp_path / "theory", "middle", "PAPER = ")
    found = read_all(tmp_path)
    assert [head.slug for head in found.heads] == ["alpha", "omega"]
    assert len(found.errors) == 1
    assert "middle.py:1: not valid Python" in str(found.errors[0])


def test_a_folder_may_be_flat_or_have_fields(tmp_path):
    flat, deep = write(tmp_path, "flat"), write(tmp_path / "theory", "deep")
    for hidden in (tmp_path / "_drafts", tmp_path / ".trash", tmp_path / "theory" / "deeper"):
        write(hidden)
    write(tmp_path, "_helper")
    assert list_files(tmp_path) == [flat, deep]


def test_a_slug_names_one_paper_only(tmp_path):
    write(tmp_path / "theory")
    write(tmp_path / "vision")
    write(tmp_path / "vision", "other")
    with pytest.raises(ContractError, match=r"'uniform' is used twice: .*theory/uniform.py and .*vision/uniform.py"):
        find("uniform", tmp_path)
    found = read_all(tmp_path)
    assert [head.slug for head in found.heads] == ["other"]
    assert len(found.errors) == 2


def test_find_suggests_the_nearest_spelling(tmp_path):
    write(tmp_path)
    assert find("uniform", tmp_path).slug == "uniform"
    with pytest.raises(ContractError, match="no paper named 'unifrom'; did you mean uniform"):
        find("unifrom", tmp_path)
    with pytest.raises(ContractError, match="no paper named 'zebra'; jaxzoo list shows all"):
        find("zebra", tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ContractError, match=r"experiments: .*nowhere is not a folder"):
        read_all(tmp_path / "nowhere")


def test_shipped_folders_are_those_of_the_checkout():
    root = Path(discover.__file__).parents[2]
    assert discover.experiments_folder() == root / "experiments"
    assert discover.results_folder() == root / "results"


def test_load_gives_the_module_with_its_functions(tmp_path):
    module = load(write(tmp_path))
    assert module.CLAIMS[0].measure({"full": 3}) == 3
    assert module.Config(steps=2).decay(0.0) == 1.0


def test_load_refuses_what_can_not_be_called(tmp_path):
    path = write(tmp_path, text=GOOD.replace('measure=gap("full")', "measure=ARMS[0]"))
    with pytest.raises(ContractError, match=r"uniform.py: CLAIMS\[C1\].measure: expected a function, got 'none'"):
        load(path)


def test_load_lets_an_error_of_the_file_through(tmp_path):
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        load(write(tmp_path, text=GOOD.replace("import math", "import math\nimport no_such_module")))
