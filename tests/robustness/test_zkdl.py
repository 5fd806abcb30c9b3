"""The proof of training: complete, and sound check by check; its tables, its transcript, its sizes."""

import random
from functools import cache

import jax
import numpy as np
import pytest

from jaxzoo.robustness import forgeries, parties, trials, zkdl
from jaxzoo.robustness import training_trace as tt
from jaxzoo.robustness.fixed_point import train_step_int
from jaxzoo.robustness.group import times
from jaxzoo.robustness.m61 import P
from jaxzoo.robustness.pedersen import Q
from jaxzoo.robustness.trials import why
from jaxzoo.robustness.zkdl import Setting

TINY = Setting(layers=2, steps=1, batch=4, width=4, whole=14, fraction=6, shift=9)
ODD = Setting(layers=3, steps=3, batch=4, width=4, whole=14, fraction=6, shift=9)


def inputs(setting, seed=0):
    rng, n = np.random.default_rng(seed), setting.width
    weights = [np.rint(rng.normal(size=(n, n)) * 60).astype(np.int64) for _ in range(setting.layers)]
    xs, ys = (rng.integers(0, 64, (setting.steps, setting.batch, n)) for _ in "xy")
    return weights, [*xs], [*ys]


def prove(setting, tables, stacked=True, public=None, seed=1):
    return trials.prove(setting, tables, random.Random(seed), stacked=stacked, public=public)


@cache
def honest():
    return prove(TINY, zkdl.witness(TINY, *inputs(TINY)))


CHECKS = {
    "weights": "opening: aux_w",
    "gradient": "product: gradient",
    "sign": "product: forward",
    "range": "product: bits aux",
    "bit": "product: bits aux",
    "backward": "product: backward",
    "activation": "product: relu",
    "loss": "opening: targets",
}


@pytest.mark.parametrize(
    ("setting", "stacked"),
    [(TINY, True), (TINY, False), (ODD, True), (TINY._replace(layers=1), True), (TINY._replace(steps=2), False)],
)
def test_honest_proofs_are_accepted(setting, stacked):
    tables = zkdl.witness(setting, *inputs(setting))
    assert why(setting, *prove(setting, tables, stacked), stacked=stacked) is None


@pytest.mark.parametrize("kind", forgeries.KINDS)
def test_each_error_is_found_by_its_own_check_and_by_no_other(kind, monkeypatch):
    tables = forgeries.forge(kind, TINY, *inputs(TINY), random.Random(3))
    public, proof = prove(TINY, tables)
    assert why(TINY, public, proof) == CHECKS[kind]
    what, where = CHECKS[kind].split(": ")
    leave_out(monkeypatch, what, where)
    assert why(TINY, public, proof) is None


def leave_out(monkeypatch, what, where):
    """Makes the verifier read one check's messages and believe them."""
    if what == "product":
        check = parties.Verifier.product

        def believe(self, label, x, y, z):
            if label != where:
                return check(self, label, x, y, z)
            self.receive("product", elements=3)
            self.challenge()
            self.receive("product", scalars=5)

        monkeypatch.setattr(parties.Verifier, "product", believe)
    else:
        order = iter(["aux", "inputs", "weights", "grads", "aux_w", "targets"])  # as the claims first come
        holds = parties.opening_holds
        monkeypatch.setattr(parties, "opening_holds", lambda *a: holds(*a) | (next(order) == where))


@pytest.mark.parametrize(("setting", "stacked"), [(ODD, True), (TINY._replace(layers=3), False)])
def test_errors_are_found_in_any_step_and_layer_and_layer_by_layer(setting, stacked):
    for seed, kind in enumerate(forgeries.KINDS[:4]):
        tables = forgeries.forge(kind, setting, *inputs(setting), random.Random(seed))
        assert why(setting, *prove(setting, tables, stacked), stacked=stacked) == CHECKS[kind]


def test_another_learning_rate_is_rejected():
    tables = forgeries.wrong_rate(TINY, TINY.shift - 1, *inputs(TINY))
    assert why(TINY, *prove(TINY, tables)) == "product: gradient"
    right = forgeries.wrong_rate(TINY, TINY.shift, *inputs(TINY))
    np.testing.assert_array_equal(right["weights"], zkdl.witness(TINY, *inputs(TINY))["weights"])


@pytest.mark.parametrize(("name", "check"), [("inputs", "opening: inputs"), ("targets", "opening: targets")])
def test_training_on_other_data_than_committed_is_rejected(name, check):
    weights, xs, ys = inputs(TINY)
    public, _ = honest()
    xs, ys = ([xs[0] + 1], ys) if name == "inputs" else (xs, [ys[0] + 1])
    committed = {(name, 0): public[name, 0]}
    assert why(TINY, *prove(TINY, zkdl.witness(TINY, weights, xs, ys), public=committed)) == check


def test_a_proof_is_of_its_statement_alone():
    public, proof = honest()
    assert why(TINY, public, proof) is None
    other, _ = prove(TINY, zkdl.witness(TINY, *inputs(TINY)), seed=2)  # the same numbers, with other blinds
    for place in public:
        assert why(TINY, public | {place: other[place]}, proof) is not None
    assert why(TINY._replace(shift=10), public, proof) is not None
    assert why(TINY, public, proof, stacked=False) is not None


def test_every_message_counts():
    public, proof = honest()
    places = random.Random(0).sample(range(len(proof.messages)), 24)
    for i in [*places, len(proof.messages) - 1]:
        message = proof.messages[i]
        if message.elements:
            changed = message._replace(elements=(times(message.elements[0], Q), *message.elements[1:]))
        else:
            changed = message._replace(scalars=((message.scalars[0] + 1) % P, *message.scalars[1:]))
        messages = (*proof.messages[:i], changed, *proof.messages[i + 1 :])
        assert why(TINY, public, proof._replace(messages=messages)) is not None


def test_proofs_that_are_no_proofs_are_rejected():
    public, proof = honest()
    first, commitments = proof.messages[0], proof.commitments
    place = next(iter(commitments))
    for wrong in (
        proof._replace(messages=proof.messages[:-1]),
        proof._replace(messages=(*proof.messages, first)),
        proof._replace(messages=(first._replace(elements=(0,)), *proof.messages[1:])),
        proof._replace(messages=(first._replace(elements=first.elements * 2), *proof.messages[1:])),
        proof._replace(commitments={k: v for k, v in commitments.items() if k != place}),
        proof._replace(commitments=commitments | {place: commitments[place][:-1]}),
        proof._replace(commitments=commitments | {place: ["1"] * len(commitments[place])}),
    ):
        assert "expected" in (why(TINY, public, wrong) or "") or "more than" in why(TINY, public, wrong)


def test_no_message_repeats_with_other_randomness():
    tables = zkdl.witness(TINY, *inputs(TINY))
    (_, a), (_, b) = (prove(TINY, tables, seed=seed) for seed in (1, 2))
    said = [{*m.elements, *m.scalars} for proof in (a, b) for m in proof.messages]
    assert not set().union(*said[: len(said) // 2]) & set().union(*said[len(said) // 2 :])


def test_padding_changes_no_number():
    weights, xs, ys = inputs(TINY._replace(width=2))
    wide = TINY._replace(width=8)
    narrow, _ = train_step_int(weights, xs[0], ys[0], bits=6, shift=9)
    tables = zkdl.witness(wide, weights, xs, ys)
    np.testing.assert_array_equal(tables["weights"][2:, :2, :2], narrow)
    assert not tables["weights"][:, 2:].any()
    assert why(wide, *prove(wide, tables)) is None


def test_stacked_sumchecks_hardly_grow_with_depth():
    sizes = {}
    for layers in (1, 4):
        for stacked in (True, False):
            setting = TINY._replace(layers=layers)
            _, proof = prove(setting, zkdl.witness(setting, *inputs(setting)), stacked)
            sizes[layers, stacked] = zkdl.proof_bytes(proof)["sumcheck"]
    assert sizes[4, False] > 4 * sizes[1, False]
    assert sizes[4, True] < 2 * sizes[1, True]
    assert set(zkdl.proof_bytes(proof)) == {"commitments", "value", "sumcheck", "product", "opening"}


def test_step_with_no_error_is_the_step():
    weights, xs, ys = inputs(TINY)
    step, after = forgeries.step_with_error(TINY, weights, xs[0], ys[0], None, 0, (0, 0), 0)
    (same,), same_after = tt.run_steps(TINY, weights, xs, ys)
    for a, b in zip((step, after), (same, same_after), strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 6}, "width: expected a power of two from 2 up, got 6"),
        ({"batch": 1}, "batch: expected a power of two"),
        ({"steps": 0}, "steps: expected at least 1, got 0"),
        ({"whole": 30}, r"whole: 30 bits let Z reach 2\^61, past 2\^60"),
        ({"shift": 46}, "let a recomposed number reach"),
    ],
)
def test_settings_that_are_not_sound_raise(change, message):
    with pytest.raises(ValueError, match=message):
        tt.check_setting(TINY._replace(**change))


def test_inputs_that_do_not_fit_raise():
    weights, xs, ys = inputs(TINY)
    with pytest.raises(ValueError, match="weights: expected 2 arrays, got 1"):
        zkdl.witness(TINY, weights[:1], xs, ys)
    with pytest.raises(ValueError, match=r"xs: expected at most \(4, 4\), got \(4, 5\)"):
        zkdl.witness(TINY, weights, [np.zeros((4, 5), np.int64)], ys)
    with pytest.raises(TypeError, match="ys: expected dtype int64, got float64"):
        zkdl.witness(TINY, weights, xs, [ys[0] / 2])
    with pytest.raises(ValueError, match="v: expected numbers of 14 bits"):
        zkdl.witness(TINY, [w * 10**5 for w in weights], xs, ys)
    with pytest.raises(ValueError, match="kind: expected one of weights, "):
        forgeries.forge("nothing", TINY, weights, xs, ys, random.Random(0))


@pytest.mark.parametrize("cheat", [None, "bit", "rate", "data"])
def test_accepted_alone_when_honest(cheat):
    assert trials.accepted((TINY, *inputs(TINY)), random.Random(0), cheat) == (cheat is None)


def test_timed_proofs_have_sizes_and_times():
    case = (TINY, *inputs(TINY))
    found, same = trials.timed([case, case], jax.random.split(jax.random.key(0)), repeats=2)
    assert found["sumcheck bytes"] == same["sumcheck bytes"]
    assert 0 < found["sumcheck bytes"] < found["proof bytes"]
    assert min(found["prover seconds"], found["verifier seconds"]) > 0
    with pytest.raises(ValueError, match="cheat: expected None, rate, data or one of weights"):
        trials.accepted((TINY, *inputs(TINY)), random.Random(0), "nothing")
