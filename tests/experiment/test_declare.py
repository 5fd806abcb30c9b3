"""What a claim may declare, before any run."""

import math
import subprocess
import sys

import pytest

from jaxzoo.experiment.declare import Claim, ContractError, Oracle, check_claims

GOOD = {"id": "C1", "says": "more", "source": "Table 1", "paper_value": "2", "measure": len, "at_least": 1.0}
FULL = {"id": "C2", "says": "big", "source": "Table 2", "paper_value": "3", "full_scale_only": "needs a cluster"}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"no_effect": 0},
        {"at_least": None, "at_most": -1, "no_effect": 0.0, "control": len},
        {"at_least": None, "at_most": 0.35, "no_effect": 1.0, "log": True},
        {"at_least": None, "between": (2.5, 6.0)},
    ],
)
def test_good_claims(changes):
    check_claims((Claim(**GOOD | changes), Claim(**FULL)), (Oracle(says="forms agree", holds=all),))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": " "}, "id: expected text"),
        ({"says": ""}, "C1: says: expected text, got ''"),
        ({"source": ""}, "C1: source: expected text"),
        ({"paper_value": 2.0}, "C1: paper_value: expected text, got 2.0"),
        ({"measure": None}, "C1: measure: expected a function of the results, got None"),
        ({"control": "x"}, "C1: control: expected a function of the results, got 'x'"),
        ({"at_least": None}, "C1: expected one of at_least, at_most, between or full_scale_only, got none"),
        ({"at_most": 2.0}, "C1: expected one of .*, got at_least and at_most"),
        ({"at_least": math.nan}, "C1: at_least: expected a finite number, got nan"),
        ({"at_least": True}, "C1: at_least: expected a finite number, got True"),
        ({"no_effect": math.inf}, "C1: no_effect: expected a finite number, got inf"),
        ({"no_effect": 1.0}, "C1: at_least: expected more than no_effect = 1.0, got 1.0"),
        ({"at_least": None, "at_most": 1.0, "no_effect": 1.0}, "C1: at_most: expected less than no_effect = 1.0"),
        ({"log": True, "no_effect": 0.0}, "C1: no_effect: expected more than 0 because log=True, got 0.0"),
        ({"at_least": -1.0, "log": True}, "C1: at_least: expected more than 0 because log=True"),
        ({"at_least": None, "between": 3.0}, r"C1: between: expected \(low, high\), got 3.0"),
        ({"at_least": None, "between": (3.0, 3.0)}, r"C1: between: expected \(low, high\) with low < high"),
        ({"at_least": None, "between": (1.0, math.inf)}, "C1: between: expected a finite number, got inf"),
        ({"at_least": None, "between": (0.0, 1.0), "log": True}, "C1: between: expected more than 0"),
        ({"at_least": None, "between": (1.0, 2.0), "no_effect": 0.0}, "C1: no_effect goes with at_least or at_most"),
        ({"full_scale_only": "big"}, "C1: full_scale_only leaves out measure, at_least"),
        ({"full_scale_only": True}, "C1: full_scale_only: expected the reason, got True"),
    ],
)
def test_a_bad_claim_is_named(changes, message):
    with pytest.raises(ContractError, match=message):
        check_claims((Claim(**GOOD | changes),))


def test_full_scale_only_takes_no_logarithm():
    with pytest.raises(ContractError, match="C2: full_scale_only leaves out log"):
        check_claims((Claim(**FULL, log=True),))


def test_ids_are_unique():
    with pytest.raises(ContractError, match="C2: two claims have this id"):
        check_claims((Claim(**FULL), Claim(**GOOD), Claim(**FULL)))


@pytest.mark.parametrize(
    ("claims", "oracles", "message"),
    [
        ((), (), "CLAIMS: expected at least one Claim"),
        (("C1",), (), r"CLAIMS: expected only Claim\(...\), got 'C1'"),
        ((Claim(**FULL),), (len,), "ORACLES: expected only Oracle"),
        ((Claim(**FULL),), (Oracle(says="", holds=all),), r"ORACLES: expected Oracle\(says=a sentence"),
        ((Claim(**FULL),), (Oracle(says="a", holds=None),), r"ORACLES: expected Oracle\(says=a sentence"),
    ],
)
def test_what_is_no_claim_and_no_oracle(claims, oracles, message):
    with pytest.raises(ContractError, match=message):
        check_claims(claims, oracles)


@pytest.mark.parametrize("module", ["claims", "record", "code_hash", "report", "compare", "tables"])
def test_nothing_that_shows_results_imports_jax(module):
    code = f"import sys, jaxzoo.experiment.{module}; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ".:kernels"}).returncode == 0
