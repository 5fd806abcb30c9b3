"""Records to show, compare and check, made as a run makes them."""

import numpy as np
import pytest

from jaxzoo.experiment.claims import OracleChecked, judge_all
from jaxzoo.experiment.declare import Claim, Paper
from jaxzoo.experiment.record import make_record

ENVIRONMENT = {
    "versions": {"python": "3.11.9", "jaxzoo": "0.1.0", "jax": "0.10.2", "jaxlib": "0.10.2", "numpy": "2.4.6"},
    "prng": {"impl": "threefry2x32", "threefry_partitionable": True},
    "git": {"commit": "0123456789abcdef", "dirty": False},
    "device": {"platform": "cpu", "kind": "cpu", "count": 1, "cpu_cores": 2},
    "command": "jaxzoo run paper",
}
CLAIMS = (
    Claim(
        id="C1",
        says="full beats none",
        source="Table 4, row <340M>",
        paper_value="14.8 against 23.2",
        measure=lambda r: r["full"] - r["none"],
        at_least=0.2,
        no_effect=0.0,
    ),
    Claim(
        id="C2",
        says="its error is a third [or less]",
        source="Sec. 5",
        paper_value="0.3 x",
        measure=lambda r: r["ratio"],
        at_most=0.35,
        no_effect=1.0,
        log=True,
    ),
    Claim(
        id="C3",
        says="the exponent is 1/2",
        source="Eq. 7",
        paper_value="0.5",
        measure=lambda r: r["slope"],
        between=(0.4, 0.6),
    ),
    Claim(id="C4", says="big ones too", source="Table 5", paper_value="28.4", full_scale_only="340M parameters"),
)


@pytest.fixture
def paper_record():
    """`paper_record(slug, field, rng_seed=0, n=5, effect=0.4, **changes) -> record`."""

    def make(slug="gla", field="attention", rng_seed=0, n=5, effect=0.4, results=None, **changes):
        rng = np.random.default_rng(rng_seed)
        none = rng.normal(0.5, 0.02, n)
        made = {
            "full": none + effect + rng.normal(0.0, 0.02, n),
            "none": none,
            "ratio": np.exp(rng.normal(-1.5, 0.1, n)),
            "slope": rng.normal(0.5, 0.02, n),
            "curve": rng.normal(size=(n, 8)),
            "weights": rng.normal(size=(n, 400)),
        } | (results or {})
        oracles = [OracleChecked(says="both forms agree", holds=True)]
        about = {
            "slug": slug,
            "field": field,
            "paper": Paper(title=f"On {slug} & more", authors="Yang et al.", year=2023, arxiv="2312.06635"),
            "preset": "default",
            "config": {"seeds": n, "width": 64, "rates": (0.1, 0.2)},
            "key": 0,
            "code": {"hash": "ab", "files": {"jaxzoo/ops/norms.py": {"sha256": "0", "code": "1"}}},
            "environment": ENVIRONMENT,
            "results": made,
            "judged": judge_all(CLAIMS, made, oracles=oracles),
            "oracles": oracles,
            "failures": [],
            "stages": [
                {"name": "recall/full", "kind": "train", "total": 9, "compile_seconds": 1.5, "run_seconds": 8.0}
            ],
            "wall_seconds": 200.0,
            "memory": {"host_peak_bytes": 700_000_000, "device_peak_bytes": None},
        }
        return make_record(**about | changes)

    return make
