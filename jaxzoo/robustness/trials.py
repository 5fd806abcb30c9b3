"""Proofs of training as one call each: made, checked, and timed."""

import random
import time

import jax

from jaxzoo.robustness import forgeries, zkdl


def randomness(key) -> random.Random:
    """Python's generator, seeded by a JAX key: repeatable, so that what it blinds is not secret."""
    return random.Random(jax.random.key_data(key).tobytes())


def prove(setting: zkdl.Setting, tables, rng, *, stacked: bool = True, public=None):
    """Commits and proves.

    Args:
      setting, tables, rng: as in `zkdl.prove_step`.
      stacked: as there.
      public: commitments that take the place of the prover's own.

    Returns:
      `(statement, proof)`.
    """
    commitments, blinds = zkdl.commit_tables(setting, tables, rng, stacked)
    commitments |= public or {}
    proof = zkdl.prove_step(setting, tables, commitments, blinds, rng, stacked=stacked)
    return zkdl.statement(setting, commitments), proof


def why(setting: zkdl.Setting, public, proof, *, stacked: bool = True) -> str | None:
    """The check that rejects a proof; None if it is accepted."""
    try:
        zkdl.verify_step(setting, public, proof, stacked=stacked)
    except zkdl.Rejected as error:
        return str(error)
    return None


def accepted(inputs, rng, cheat: str | None = None) -> bool:
    """Whether a stacked proof is accepted.

    Args:
      inputs: the arguments of `zkdl.witness`: setting, weights, xs and ys.
      rng: `random.Random`.
      cheat: None for an honest prover; one of `forgeries.KINDS`; "rate" for one that trains at twice the learning rate;
        "data" for one that trains on other data than was committed.
    """
    setting, weights, xs, ys = inputs
    public = None
    if cheat in forgeries.KINDS:
        tables = forgeries.forge(cheat, *inputs, rng)
    elif cheat == "rate":
        tables = forgeries.wrong_rate(setting, setting.shift - 1, weights, xs, ys)
    elif cheat == "data":
        commitments, _ = zkdl.commit_tables(setting, zkdl.witness(*inputs), rng)
        public = {("inputs", 0): commitments["inputs", 0]}
        tables = zkdl.witness(setting, weights, [x[::-1] for x in xs], ys)
    elif cheat is None:
        tables = zkdl.witness(*inputs)
    else:
        raise ValueError(f"cheat: expected None, rate, data or one of {', '.join(forgeries.KINDS)}, got {cheat!r}")
    return why(setting, *prove(setting, tables, rng, public=public)) is None


def timed(cases, keys, *, stacked: bool = True, repeats: int = 1) -> list[dict[str, float]]:
    """Sizes and times of honest proofs, timed in turns, so that a machine's slow moments fall on all of them.

    Args:
      cases: for each proof the arguments of `zkdl.witness`.
      keys: [n] for the proofs' randomness.
      stacked: as in `zkdl.prove_step`.
      repeats: turns; the fastest prover counts, and the fastest of so many times three verifiers.

    Returns:
      For each case "sumcheck bytes", "proof bytes", "prover seconds", commitments included, and "verifier seconds".
    """
    out = [{"prover seconds": float("inf"), "verifier seconds": float("inf")} for _ in cases]
    for _ in range(repeats):
        for found, inputs, key in zip(out, cases, keys, strict=True):
            begin = time.perf_counter()
            public, proof = prove(inputs[0], zkdl.witness(*inputs), randomness(key), stacked=stacked)
            found["prover seconds"] = min(found["prover seconds"], time.perf_counter() - begin)
            for _ in range(3):
                begin = time.perf_counter()
                zkdl.verify_step(inputs[0], public, proof, stacked=stacked)
                found["verifier seconds"] = min(found["verifier seconds"], time.perf_counter() - begin)
            sent = zkdl.proof_bytes(proof)
            found |= {"sumcheck bytes": sent["sumcheck"], "proof bytes": sum(sent.values())}
    return out
