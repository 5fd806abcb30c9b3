"""Gated Linear Attention Transformers with Hardware-Efficient Training (Yang et al., 2023; arXiv 2312.06635).

Claimed: a forget gate that depends on the data makes linear attention a good language model, better than no gate and
than a constant one; its chunked form is exact and stable where the parallel form overflows; its cost is linear in the
length.

Three parts: recall of what was written since the last reset, a task that needs forgetting on command; a character model
of English technical prose; and the numerics and the time of the forms.

What came out: all that this size can check, in about 7 minutes on two cores; with it, that a scalar gate does almost as
well here as one per channel, and better than softmax attention on recall.

Simplified against the paper: one or two small layers, and 0.46 MB of text in the place of 15 billion tokens. The preset
`paper` has the 340M model's sizes and reads plain text from the data folder.
"""

import dataclasses
import math
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxzoo_kernels.gated_linear_attention.reference import gated_linear_attention as float64_recurrence

from jaxzoo import data
from jaxzoo.attention.gated_linear_attention import (
    GatedLinearAttention,
    gla_chunked,
    gla_parallel,
    reset_recall,
    retnet_log_decays,
)
from jaxzoo.experiment import Claim, Oracle, Paper, setting
from jaxzoo.layers import Attention, LanguageModel
from jaxzoo.ops import attention
from jaxzoo.train import supervised
from jaxzoo.transforms import as_model, capture

PAPER = Paper(
    title="Gated Linear Attention Transformers with Hardware-Efficient Training",
    authors="Yang, Wang, Shen, Panda, Kim",
    year=2023,
    arxiv="2312.06635",
    code="fla-org/flash-linear-attention (MIT)",
)


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: int = setting(3, "models of each kind", low=1)
    recall_steps: int = setting(800, "updates on the recall task", low=1)
    control_steps: int = setting(400, "updates, in the same schedule, where there is nothing to forget", low=1)
    recall_length: int = setting(64, "tokens of a recall sequence", low=8)
    recall_batch: int = setting(32, "sequences of an update", low=1)
    recall_features: int = setting(48, "width of the one-layer recall model; two heads", low=2)
    recall_rate: float = setting(4e-3, "AdamW's peak learning rate on recall", low=0.0)
    text: str = setting("prose", "prose that comes along, or train.txt in the data folder", choices=("prose", "file"))
    steps: int = setting(400, "updates of a language model", low=1)
    length: int = setting(128, "characters of a sequence", low=8)
    batch: int = setting(16, "sequences of an update", low=1)
    layers: int = setting(2, "blocks of a language model", low=1)
    features: int = setting(64, "width of a language model", low=8)
    heads: int = setting(4, "heads of a language model", low=1)
    rate: float = setting(5e-3, "AdamW's peak learning rate on text", low=0.0)
    chunk: int = setting(16, "steps of a chunk in training; a power of two", low=1)
    extra: bool = setting(True, "also the arms that no claim needs: scalar gate, tau = 16 on recall, softmax")
    timed: tuple[int, ...] = setting((1024, 4096), "lengths to time, in ascending order", low=16)


PRESETS = {
    "smoke": Config(1, 20, 20, 16, 4, 16, steps=5, length=16, batch=4, layers=1, features=16, heads=2, chunk=4,
                    extra=False, timed=(64,)),
    "default": Config(),
    "paper": Config(text="file", chunk=64, steps=30_000, length=2048, batch=256, layers=24, features=1024, rate=3e-4,
                    timed=(2048, 16384)),
}  # fmt: skip

FORMS = ("none", "retnet", "full")
KEYS, VALUES = 8, 8
RESET = KEYS * VALUES + KEYS
"""The token of a reset."""
GATE = "block_0/mixer/gate"


def run(config, runner):
    return recall(config, runner) | language(config, runner) | numerics(runner) | timing(config, runner)


def adamw(rate, steps):
    """The paper's: cosine to a tenth, weight decay 0.01, gradients clipped to norm 1."""
    schedule = optax.cosine_decay_schedule(rate, steps, 0.1)
    # Flattened, all parameters are one vector to it: the same numbers, by a smaller program.
    return optax.chain(optax.clip_by_global_norm(1.0), optax.flatten(optax.adamw(schedule, weight_decay=0.01)))


def forms(gated, decays):
    """The mixers that claims need. No gate is RetNet's with a decay of 0, so that both share one program."""
    constant = partial(gated, variant="retnet")
    return {
        "none": partial(constant, decays=jnp.zeros_like(decays)),
        "retnet": partial(constant, decays=decays),
        "full": partial(gated, variant="full"),
    }


def recall(config, runner):
    """Accuracy at queries, and the gate at resets, for each mixer; then where there is nothing to forget."""
    gated = partial(GatedLinearAttention, 2, config.recall_features, tau=4.0, chunk=config.chunk)
    arms = forms(gated, retnet_log_decays(2, 3.0, 6.0))
    if config.extra:
        arms |= {"scalar": partial(gated, variant="scalar"), "full tau 16": partial(gated, tau=16.0)}
        arms["softmax"] = partial(Attention, 2, causal=True, rotary=True)
    gates = {arm: (GATE,) if arm.startswith("full") else () for arm in arms}
    results = {}
    for arm, mixer in arms.items():
        found = fit_recall(config, runner, f"recall/{arm.replace(' ', '-')}", mixer, gates[arm])
        results |= {f"{name} {arm}": values for name, values in found.items()}
    for arm in FORMS:
        found = fit_recall(config, runner, f"nothing-to-forget/{arm}", arms[arm], gates[arm], reset=0.0, once=True)
        results[f"control {arm}"] = found["accuracy"]
    return results


def fit_recall(config, runner, name, mixer, gate, reset=0.08, once=False):
    """Trains one mixer on recall and scores it on 512 sequences that all arms share."""
    # As arrays, the two options are data of one program that all tasks share.
    options = {"reset": jnp.float32(reset), "once": jnp.asarray(once)}
    draw = jax.vmap(partial(reset_recall, length=config.recall_length, keys=KEYS, values=VALUES, **options))
    module = LanguageModel(RESET + 1, config.recall_features, 1, mixer, outputs=VALUES + 1)

    def sampler(key):
        return draw(jax.random.split(key, config.recall_batch))

    def loss(logits, target):
        value, asked = target
        entropy = optax.losses.softmax_cross_entropy_with_integer_labels(logits, value)
        return jnp.where(asked, entropy, 0).sum() / jnp.maximum(asked.sum(), 1)

    task = supervised(as_model(module), loss, sampler, adamw(config.recall_rate, config.recall_steps))
    # The control is learned in less: after half of the updates all its arms answer nearly every query.
    steps = config.control_steps if once else config.recall_steps
    params = runner.train(name, task, steps).state.params
    test = held_out_recall(config.recall_length, **options)
    return runner.map(f"score/{name.replace('/', '-')}", lambda key, params: score(module, params, *test, gate), params)


@partial(jax.jit, static_argnums=0)
def held_out_recall(length, reset, once):
    draw = partial(reset_recall, length=length, keys=KEYS, values=VALUES, reset=reset, once=once)
    return jax.vmap(draw)(jax.random.split(jax.random.key(1), 512))


def score(module, params, tokens, target, gate):
    """Accuracy at queries, in all and by distance to the last reset; the mean log gate at resets and elsewhere."""
    value, asked = target
    logits, seen = jax.vmap(capture(module, *gate), (None, 0))(params, tokens)
    right = asked & (logits.argmax(-1) == value)
    place = jnp.arange(tokens.shape[1])[None]
    at_reset = tokens == RESET
    since = place - jax.lax.cummax(jnp.where(at_reset, place, -1), axis=1)  # a sequence begins empty, as after a reset
    bins = asked[..., None] & (since[..., None] // 4 == jnp.arange(8)[None, None])  # [b, t, 8]
    out = {
        "accuracy": right.sum() / asked.sum(),
        "by distance": (right[..., None] & bins).sum((0, 1)) / jnp.maximum(bins.sum((0, 1)), 1),
    }
    if gate:
        log_a = seen[GATE].mean((2, 3))  # [b, t]
        out |= {"log a at reset": log_a.mean(where=at_reset), "log a elsewhere": log_a.mean(where=~at_reset)}
    return out


def language(config, runner):
    """Validation loss of a character model, in nats, for each mixer."""
    own = config.text == "file"
    text = data.text_file(data.data_folder(runner.data_dir), "train.txt") if own else data.pydoc_topics()
    tokens, vocabulary = data.characters(text, 64, lower=True)
    train, held_out = data.split_by_position(tokens, (0.9, 0.1))
    held_out = data.all_windows(held_out, config.length)
    gated = partial(GatedLinearAttention, config.heads, chunk=config.chunk)
    arms = forms(gated, retnet_log_decays(config.heads))
    if config.extra:
        arms["scalar"] = partial(gated, variant="scalar")
        arms["softmax"] = partial(Attention, config.heads, causal=True, rotary=True)
    results = {}
    for arm, mixer in arms.items():
        model = as_model(LanguageModel(len(vocabulary), config.features, config.layers, mixer))

        def evaluate(params, model=model):
            losses = jax.lax.map(lambda xy: cross_entropy(model.apply(params, xy[0]), xy[1]), held_out, batch_size=16)
            return {"loss": losses.mean()}

        sampler = partial(data.windows, tokens=train, batch=config.batch, length=config.length)
        task = supervised(model, cross_entropy, sampler, adamw(config.rate, config.steps), evaluate=evaluate)
        results[f"loss {arm}"] = runner.train(f"language/{arm}", task, config.steps).evaluations["loss"][:, -1]
    return results


def cross_entropy(logits, target):
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, target).mean()


def numerics(runner):
    """Largest error of the chunked form against a float64 recurrence over 512 steps; is the parallel form finite?"""
    parallel = jax.jit(gla_parallel)

    def compare(key):
        key_q, key_k, key_v, key_a = jax.random.split(key, 4)
        q, k, v = (jax.random.normal(key, (512, 2, 16)) for key in (key_q, key_k, key_v))
        gates = {
            "constant": jnp.full(q.shape, -0.7, jnp.float32),
            "uniform": jnp.log(jax.random.uniform(key_a, q.shape, minval=1e-4)),
        }
        out = {}
        for name, log_a in gates.items():
            exact, _ = float64_recurrence(q, k, v, log_a)
            out[f"error {name}"] = np.abs(np.asarray(gla_chunked(q, k, v, log_a)[0], np.float64) - exact).max()
            out[f"parallel finite {name}"] = np.isfinite(parallel(q, k, v, log_a)).all()
        return out

    return runner.each("numerics", compare)


def timing(config, runner):
    """How much longer the forward pass takes at the last length than at the first."""
    forms = {
        "gla": lambda q, k, v, log_a: gla_chunked(q, k, v, log_a)[0],
        "softmax": lambda q, k, v, log_a: attention(q, k, v, causal=True),
    }

    def grow(key):
        calls = {}
        for length in config.timed:
            q, k, v = jax.random.normal(jax.random.fold_in(key, length), (3, length, 4, 64))
            given = q, k, v, jnp.full(q.shape, -0.1)
            for name, form in forms.items():
                calls[name, length] = partial(jax.jit(form).lower(*given).compile(), *given)
        seconds = fastest(calls)
        first, last = config.timed[0], config.timed[-1]
        return {f"{name} growth seconds": seconds[name, last] / seconds[name, first] for name in forms}

    return runner.each("timing", grow)


def fastest(calls):
    """The fastest run of each of several calls, in rounds of all: a machine that slows down does so for all of them."""
    seconds = dict.fromkeys(calls, math.inf)
    for _ in range(15):
        for name, call in calls.items():
            begin = time.perf_counter()
            jax.block_until_ready(call())
            seconds[name] = min(seconds[name], time.perf_counter() - begin)
    return seconds


CLAIMS = (
    Claim(
        id="C1a",
        says="On recall a data-dependent gate on every channel beats RetNet's constant decay.",
        source="ablation table, 340M",
        paper_value="perplexity 14.8 against 16.6",
        measure=lambda r: r["accuracy full"] - r["accuracy retnet"],
        at_least=0.02,
        no_effect=0.0,
        control=lambda r: r["control full"] - r["control retnet"],
    ),
    Claim(
        id="C1b",
        says="On recall it beats linear attention without a gate.",
        source="ablation table, 340M",
        paper_value="perplexity 14.8 against 23.2",
        measure=lambda r: r["accuracy full"] - r["accuracy none"],
        at_least=0.20,
        no_effect=0.0,
        control=lambda r: r["control full"] - r["control none"],
    ),
    Claim(
        id="C1c",
        says="As a language model it has a lower loss than RetNet's constant decay.",
        source="ablation table, 340M",
        paper_value="perplexity 14.8 against 16.6",
        measure=lambda r: r["loss retnet"] - r["loss full"],
        at_least=0.0,
    ),
    Claim(
        id="C1d",
        says="RetNet's constant decay has a lower loss than no gate.",
        source="ablation table, 340M",
        paper_value="perplexity 16.6 against 23.2",
        measure=lambda r: r["loss none"] - r["loss retnet"],
        at_least=0.0,
    ),
    Claim(
        id="C2",
        says="The chunked form is exact where the parallel form overflows: at a = 0.5, and at a uniform in (1e-4, 1).",
        source="Sec. 4",
        paper_value="stable in half precision",
        measure=lambda r: np.maximum(r["error constant"], r["error uniform"]),
        at_most=1e-4,
    ),
    Claim(
        id="C3a",
        says="The time of the chunked form is linear in the length: less than 6 times for four times the length.",
        source="Figs. 5 and 6",
        paper_value="throughput does not fall with the length",
        measure=lambda r: r["gla growth seconds"],
        at_most=6.0,
        log=True,
    ),
    Claim(
        id="C3b",
        says="That of softmax attention is not: more than 9 times.",
        source="Figs. 5 and 6",
        paper_value="throughput falls with the length",
        measure=lambda r: r["softmax growth seconds"],
        at_least=9.0,
        log=True,
    ),
    Claim(
        id="C4",
        says="The trained gate closes at resets: its logarithm is at least three times as large there as elsewhere.",
        source="mechanism, Sec. 4.1",
        paper_value="the gate is what forgets",
        measure=lambda r: r["log a at reset full"] / r["log a elsewhere full"],
        at_least=3.0,
        no_effect=1.0,
        log=True,
    ),
    Claim(
        id="C5",
        says="At 340M and 1.3B parameters it rivals a Transformer++, and is faster to train.",
        source="Table 2",
        paper_value="perplexity 28.65 against 28.39 (WikiText), 43.35 against 42.69 (LAMBADA), 340M",
        full_scale_only="15 billion tokens and a GPU; the preset paper has the sizes",
    ),
)

ORACLES = (
    Oracle(
        says="the parallel form overflows where C2 says that it does",
        holds=lambda r: ~(r["parallel finite constant"] | r["parallel finite uniform"]),
    ),
)


def plot(results, figure):
    axes, inset = figure.subplots(1, 2, width_ratios=(2.2, 1))
    distance = 4 * np.arange(8) + 2
    for key in (key for key in results if key.startswith("by distance")):
        name, curve = key.removeprefix("by distance "), 100 * results[key]
        axes.plot(distance, curve.mean(0), marker="o", linestyle="--" if name == "softmax" else "-", label=name)
        axes.fill_between(distance, curve.min(0), curve.max(0), alpha=0.15)
    axes.set(
        xlabel="tokens since the last reset", ylabel="accuracy at queries, %", title="Recall by distance to the reset"
    )
    axes.legend()
    for x, name in enumerate(("at reset", "elsewhere")):
        a = np.exp(results[f"log a {name} full"])
        inset.bar(x, a.mean(), 0.6, color="C2")
        inset.plot(np.full(len(a), x), a, "k.")
    inset.set(
        xticks=(0, 1), xticklabels=("at RESET", "elsewhere"), ylabel="geometric mean of a", title="The trained gate"
    )
