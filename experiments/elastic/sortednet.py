"""SortedNet, a Place for Every Network and Every Network in its Place (Valipour et al., 2023; arXiv 2309.00255).

Claimed: one training gives all prefixes of a network in width and depth, 160 of them, which keep 96 % of its
performance; it beats other ways to train many networks in one, and the best of a budget needs no search.

Two parts: sums of two digits by a residual MLP of 20 widths and 8 depths, in many ways of training, each with 4000
gradients of sub-networks on batches of 64; and a character model of 12 sub-networks in heads and depth, which no claim
rests on.

What came out, in 3.5 minutes on two cores: most of it not, mainly because this training is short. The whole network
reaches 74 % where it reaches 95 % alone: 0.78 of it. The fewer sub-networks share an update, the better: 65 % on
average over the grid with one, 64 with two, 58 with four, 47 with eight; at equal gradients those are 4000, 2000, 1000
and 500 updates, and with eight it still rises. Four vary three times as much over the last checkpoints, for that
reason. The sandwich rule has 50 % at half as many products again, but the three networks differ too much to be sure
that SortedNet is ahead over the whole grid (C2a); on its cheapest quarter it is. Lines of networks, of twice the
parameters, have 60. Prefixes beat the best of 20 random subsets by 19 points or more. In the network trained on random
subsets they are 3.2 points behind, where at most 3 were allowed: the gain of a search among 20.

Rates were tuned on validation data of key 7, one network each, by the mean over the grid, for every arm until one above
and one below the best had been tried: SortedNet 61.1 % at 1e-2, 61.4 at 2e-2, 62.1 at 3e-2, 60.3 at 4e-2; one
sub-network an update 67.5 at 6e-3, 67.7 at 1e-2, 67.95 at 2e-2, 67.98 at 3e-2, 65.8 at 4e-2; lines 59.7 at 6e-3, 61.7
at 1e-2, 62.1 at 2e-2, 61.7 at 3e-2; the sandwich 47.9 at 2e-3, 52.4 at 3e-3, 55.1 at 6e-3, 41.8 at 1e-2; the network
alone, by its own accuracy, 95.1 at 3e-3, 95.2 at 6e-3, 92.7 at 1e-2. Two, eight and the control took the rate of four,
and the sub-networks alone that of the whole one. The rate for the text was not tuned.

Simplified against the paper: an MLP of 57 080 products and a small transformer in the place of MobileNetV2, BERT and a
7B decoder; the n sub-networks of an update see the same batch. The preset `paper` trains MobileNetV2 on CIFAR-10 with
crops and reflections (`images resnet`: ResNet-32), batch norm with statistics of each sub-network recomputed on 10
batches, at 10 widths and 10 depths; BERT-base from published weights on a task of GLUE (`task`), at quarters of heads
and hidden channels and 12 depths, without dropout and warm-up; and a decoder of LLaMA-2-7B's sizes and weights with 8
exits, on the first 90 % of a file of tokens. It reads cifar-10-batches-bin, SST-2 and the like, bert-base-uncased
(vocab.txt, model.safetensors), Llama-2-7b-hf and train.bin from the data folder. The decoder takes about 162 GB of
memory, 81 of them for its state; BERT 20, MobileNetV2 8. A run spreads seeds over devices and not one state:
`elastic.spread_state` does, with `train.fit`.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo import data
from jaxzoo.elastic import nested_problems as problems
from jaxzoo.elastic.baselines import sandwich_logits
from jaxzoo.elastic.nested import prefix
from jaxzoo.elastic.nested_measures import (
    best_shapes,
    correlation,
    cut_out_difference,
    left_out_norms,
    prefix_against_subsets,
    score_grid,
    settled,
    subset_accuracy,
)
from jaxzoo.elastic.nested_training import Rule, nested_task
from jaxzoo.elastic.sortednet import pareto_front
from jaxzoo.experiment import Claim, Oracle, Paper, setting

PAPER = Paper(
    title="SortedNet, a Place for Every Network and Every Network in its Place",
    authors="Valipour, Rezagholizadeh, Rajabzadeh, Tahaei, Chen, Ghodsi",
    year=2023,
    arxiv="2309.00255",
)

IMAGES, TEXTS = ("pairs", "mobilenet", "resnet"), ("prose", "glue", "decoder")
TASKS = ("cola", "sst-2", "mrpc", "sts-b", "qqp", "mnli", "mnli-mm", "qnli", "rte", "wnli")


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: int = setting(3, "networks of each kind", low=1)
    images: str = setting("pairs", "pairs of digits, or CIFAR-10 in the data folder by this network", choices=IMAGES)
    width: int = setting(40, "channels of the whole network for pairs", low=1)
    step: int = setting(2, "channels between two widths of its grid", low=1)
    depth: int = setting(8, "its blocks", low=1)
    gradients: int = setting(4000, "sub-network gradients of every arm", low=1)
    n: int = setting(4, "sub-networks of an update", low=2)
    others: tuple[int, ...] = setting((2, 8), "other n, besides 1", low=1)
    probes: int = setting(8, "sub-networks trained alone, on a quarter of the gradients", low=1)
    batch: int = setting(64, "examples of an update", low=1)
    rate: float = setting(3e-2, "Adam's peak learning rate, cosine to 0; all rates by validation on key 7", low=0.0)
    single_rate: float = setting(3e-2, "that of one sub-network an update", low=0.0)
    line_rate: float = setting(2e-2, "that of lines of networks", low=0.0)
    alone_rate: float = setting(6e-3, "that of networks trained alone", low=0.0)
    sandwich_rate: float = setting(6e-3, "that of the sandwich", low=0.0)
    checkpoints: int = setting(10, "looks at the validation accuracy in a training, evenly spaced", low=5)
    held_out: tuple[int, int] = setting((1000, 2000), "validation and test pairs", low=1)
    subsets: int = setting(20, "random subsets to search among", low=1)
    texts: tuple[str, ...] = setting(("prose",), "prose that comes along, or files in the data folder", choices=TEXTS)
    features: int = setting(48, "width of the transformer for prose", low=1)
    heads: int = setting(4, "its heads, a power of two", low=1)
    layers: int = setting(4, "its blocks", low=1)
    length: int = setting(32, "its characters of a sequence", low=1)
    text_batch: int = setting(8, "sequences of an update; a sixteenth of it for the decoder", low=1)
    text_rate: float = setting(3e-3, "Adam's peak learning rate on texts", low=0.0)
    text_gradients: int = setting(1600, "sub-network gradients of every arm on a text", low=1)
    task: str = setting("sst-2", "of GLUE, for BERT", choices=TASKS)
    tokens: int = setting(128, "of a sequence, for BERT; 16 times as many for the decoder", low=4)
    begin: bool = setting(True, "weights come from bert-base-uncased and Llama-2-7b-hf in the data folder")
    shrink: int = setting(1, "factor by which the networks of the paper are smaller, to try them out", low=1)


PRESETS = {
    "smoke": Config(1, width=8, step=4, depth=2, gradients=80, others=(), probes=1, batch=8, checkpoints=5,
                    held_out=(100, 100), subsets=3, texts=()),
    "default": Config(),
    "paper": Config(images="mobilenet", gradients=312_000, batch=128, rate=1e-3, single_rate=1e-3, line_rate=1e-3,
                    alone_rate=1e-3, sandwich_rate=1e-3, held_out=(5000, 10_000), texts=("glue", "decoder"),
                    text_batch=32, text_rate=3e-5, text_gradients=100_000),
}  # fmt: skip

BUDGETS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Shares of the whole network's products."""


def run(config, runner):
    folder = partial(data.data_folder, runner.data_dir)
    texts = [text_problem(config, name, folder) for name in config.texts]  # first: a missing file is told at once
    results = vision(config, runner, image_problem(config, config.images, folder))
    for problem in texts:
        results |= language(config, runner, problem)
    return results


def image_problem(config, name, folder):
    """A problem of images; `folder()` is the data folder, or None for blank data."""
    if name == "pairs":
        sizes = {"width": config.width, "step": config.step, "depth": config.depth}
        return problems.digit_pairs(**sizes, batch=config.batch, held_out=config.held_out)
    options = {"batch": config.batch, "first": max(16 // config.shrink, 1)}
    if folder is None:
        blank = data.Dataset(np.zeros((2, 32, 32, 3)), np.zeros(2, np.int32), "blank", "", "", "")
        return problems.cifar(name, (blank, blank), validation=1, **options)
    sets = data.cifar_binary(folder(), rows=config.held_out[1])
    return problems.cifar(name, sets, validation=config.held_out[0], **options)


def text_problem(config, name, folder):
    """A problem of texts, likewise."""
    share = lambda size: max(size // config.shrink, 1)  # noqa: E731
    if name == "prose":
        sizes = {"features": config.features, "heads": config.heads, "layers": config.layers}
        return problems.characters(data.pydoc_topics(), **sizes, length=config.length, batch=config.text_batch)
    if name == "decoder":
        sizes = {"vocabulary": 32_000, "features": 128 * share(32), "hidden": share(11_008), "heads": share(32)}
        sizes["blocks"] = 8 * share(4)
        length = 16 * config.tokens
        blank = np.zeros(20 * length, np.uint16)
        tokens = blank if folder is None else data.token_file(folder(), "train", vocabulary=sizes["vocabulary"])
        weights = data.safetensors_arrays(folder(), "Llama-2-7b-hf") if folder and config.begin else None
        return problems.decoder(tokens, **sizes, weights=weights, length=length, batch=-(-config.text_batch // 16))
    sizes = {"features": 64 * share(12), "heads": share(12), "hidden": 256 * share(12), "depth": share(12)}
    options = sizes | {"batch": config.text_batch, "length": config.tokens}
    if folder is None:
        blank = np.zeros((2, 3, config.tokens), np.int32), np.zeros(2, np.int32)
        return problems.bert(config.task, (blank, blank), vocabulary=30_522, **options)
    tokeniser = data.wordpiece(folder(), "bert-base-uncased/vocab.txt")
    weights = data.safetensors_arrays(folder(), "bert-base-uncased") if config.begin else None
    parts = (data.glue_tsv(folder(), config.task, part) for part in ("train", "dev"))
    sets = [(tokeniser.encode(part.first, part.second, config.tokens), part.labels) for part in parts]
    return problems.bert(config.task, sets, vocabulary=len(tokeniser.ids), weights=weights, **options)


def only(shapes, i):
    """Logits [1, g] of one shape."""
    return jnp.where(jnp.arange(shapes) == i, 0.0, -jnp.inf)[None]


def rules(config, shapes):
    """Of every arm: the logits [n, g] of its sampling, and what else is not the rule of SortedNet."""
    uniform = lambda n: jnp.zeros((n, shapes))  # noqa: E731
    arms = {"sorted": (uniform(config.n), {}), "single": (uniform(1), {"rate": config.single_rate})}
    arms |= {f"n{n}": (uniform(n), {}) for n in config.others}
    arms["sandwich"] = sandwich_logits(shapes, config.n), {"distil": 1.0, "rate": config.sandwich_rate}
    arms["line"] = uniform(config.n), {"line": True, "rate": config.line_rate}
    arms["unsorted"] = uniform(config.n), {"unsorted": True}
    arms["full"] = only(shapes, shapes - 1), {"rate": config.alone_rate}
    return arms


def probed(shapes, count):
    """Indices of the sub-networks that are trained alone, spread over the grid."""
    return np.linspace(0, shapes - 2, count).round().astype(int)


def train(config, runner, name, problem, logits, *, gradients, rate, line=False, unsorted=False, distil=0.0,
          watch=False):  # fmt: skip
    """Trains one arm: its params, its tally of products, and the validation accuracy on the way if it is watched."""
    n = logits.shape[0]
    rule = Rule(logits, jnp.asarray(unsorted), *map(jnp.float32, (distil, rate, gradients // n)))
    rule = jax.tree.map(lambda x: jnp.broadcast_to(x[None], (runner.seeds, *x.shape)), rule)
    task = problem_task(problem, line=line)
    if watch:
        score = problem.score(*problem.validation)
        task = task._replace(evaluate=lambda state: {"accuracy": scores(problem, score, None, state.params).mean()})
    every = max(config.gradients // n // config.checkpoints, 1)  # the same for all lengths: one program
    trained = runner.train(name, task, gradients // n, rule, evaluate_every=every)
    tally = trained.history["macs"].mean(1) * gradients * problem.batch / 1e9
    return trained.state.params, tally, trained.evaluations.get("accuracy")


def problem_task(problem, *, line=False):
    return nested_task(problem.model, problem.grid, problem.costs, problem.sampler, line=line, loss=problem.loss)


def scores(problem, score, key, params, *, line=False):
    """[w, l] scores of the grid."""
    options = {"line": line, "batches": problem.batches}
    return score_grid(problem.model, params, problem.widths, problem.grid, score, **options)


def vision(config, runner, problem):
    """Test accuracy over the grid of every arm; random subsets in the place of prefixes; networks trained alone."""
    model, grid, costs, test = problem.model, problem.grid, problem.costs, problem.score(*problem.test)
    settle = settled(model, problem.batches)
    sizes = {"costs": np.asarray(costs), "n": np.asarray(config.n)}
    params, results = {}, {name: np.broadcast_to(x, (runner.seeds, *x.shape)) for name, x in sizes.items()}
    for arm, (logits, options) in rules(config, len(grid)).items():
        options = {"rate": config.rate, "gradients": config.gradients} | options
        watch = arm in ("sorted", "single") or arm[0] == "n"
        params[arm], tally, watched = train(config, runner, f"net/{arm}", problem, logits, watch=watch, **options)
        results[f"gmacs {arm}"] = tally
        if watched is not None:
            results[f"checkpoints {arm}"] = watched
        measure = partial(scores, problem, test, line=arm == "line")
        results[f"grid {arm}"] = runner.map(f"grid/{arm}", measure, params[arm])

    def choose(key, params):
        on_validation = scores(problem, problem.score(*problem.validation), key, params)
        return best_shapes(on_validation.ravel(), grid, costs, [share * costs[-1] for share in BUDGETS])

    def gap(key, params, on_test):
        behind = (on_test[-1, -1] - on_test).reshape(-1, 1)
        return correlation(behind, left_out_norms(model, params, grid))[0]

    def cut(key, params):
        return cut_out_difference(model, params, problem.test[0], settle=settle)

    def one_shape(shape, key, params):
        active = jax.tree.map(lambda x: x[None], prefix(model.dims, *shape))
        return subset_accuracy(model, params, active, *problem.test, settle=settle)[0]

    def search(key, params, shapes):
        held_out = {"validation": problem.validation, "test": problem.test, "subsets": config.subsets}
        return prefix_against_subsets(key, model, params, shapes, settle=settle, **held_out)

    results["chosen"] = chosen = runner.map("select", choose, params["sorted"])
    results["gap with norm left out"] = runner.map("gap", gap, params["sorted"], results["grid sorted"])
    results["difference when cut out"] = runner.map("cut-out", cut, params["sorted"])
    for arm in ("sorted", "unsorted"):
        results |= {f"{k} {arm}": v for k, v in runner.map(f"search/{arm}", search, params[arm], chosen).items()}
    alone = []
    for i in probed(len(grid), config.probes):
        options = {"gradients": config.gradients // 4, "rate": config.alone_rate}
        own, *_ = train(config, runner, f"net/alone-{i}", problem, only(len(grid), i), **options)
        alone.append(runner.map(f"alone/{i}", partial(one_shape, grid[i]), own))
    return results | {"alone": np.stack(alone, 1)}


def language(config, runner, problem):
    """Over the grid of a text: held-out loss, or the score of a task; all in one, and the whole network alone."""
    test, shapes, results = problem.score(*problem.test), len(problem.grid), {}
    options = {"gradients": config.text_gradients, "rate": config.text_rate}
    for arm, logits in {"sorted": jnp.zeros((config.n, shapes)), "full": only(shapes, shapes - 1)}.items():
        params, *_ = train(config, runner, f"{problem.name}/{arm}", problem, logits, **options)
        measured = runner.map(f"{problem.name}-grid/{arm}", partial(scores, problem, test), params)
        results[f"{problem.name} {arm}"] = measured if problem.name == "glue" else -measured
    return results


def full_scale(config):
    """The trainings of a config on blank data: name -> `Task`; for CIFAR-10 both networks."""
    names = ("pairs",) if config.images == "pairs" else IMAGES[1:]
    blank = [image_problem(config, name, None) for name in names]
    blank += [text_problem(config, name, None) for name in config.texts]

    def task(problem):
        rule = Rule(jnp.zeros((config.n, len(problem.grid))), jnp.asarray(False), *jnp.zeros((3,)))
        task = problem_task(problem)
        return task._replace(init=lambda key: task.init(key, rule))

    return {problem.name: task(problem) for problem in blank}


def mean(arm):
    """[s] Mean accuracy over the grid of an arm; `arm` is the key of its grid."""
    return lambda r: np.mean(r[f"grid {arm}"], axis=(1, 2))


def smallest_quarter(r, arm):
    """[s] Mean accuracy over the cheapest quarter of the grid."""
    costs, scores = r["costs"][0], np.reshape(r[f"grid {arm}"], (len(r["costs"]), -1))
    return scores[:, np.argsort(costs, kind="stable")[: max(len(costs) // 4, 1)]].mean(1)


def unrest(r, arm):
    """[s] Variance of the mean validation accuracy over the last five checkpoints."""
    return np.maximum(np.var(r[f"checkpoints {arm}"][:, -5:], axis=1), 1e-9)


def ahead(r, arm):
    """[s, 5] Test accuracy of the prefix over that of the best random subset, at each budget."""
    return r[f"prefix {arm}"] - r[f"best subset {arm}"]


CLAIMS = (
    Claim(
        id="C1a",
        says="The whole network keeps 96 % of the accuracy that it has when it is trained alone.",
        source="abstract",
        paper_value="160 sub-models at once, 96 % of the model's performance kept",
        measure=lambda r: r["grid sorted"][:, -1, -1] / r["grid full"][:, -1, -1],
        at_least=0.96,
    ),
    Claim(
        id="C1b",
        says="The 80 sub-networks of more than half the width have on average 90 % of it.",
        source="abstract",
        paper_value="160 sub-models at once, 96 % of the model's performance kept",
        measure=lambda r: wide_half(r, "sorted") / r["grid full"][:, -1, -1],
        at_least=0.9,
    ),
    Claim(
        id="C2a",
        says="On average over the grid it is no worse than the sandwich rule with inplace distillation.",
        source="abstract, tables on CIFAR-10",
        paper_value="outperforms dynamic training methods",
        measure=lambda r: mean("sorted")(r) - mean("sandwich")(r),
        at_least=0.0,
    ),
    Claim(
        id="C2b",
        says="It is better than a line of networks.",
        source="abstract, tables on CIFAR-10",
        paper_value="outperforms dynamic training methods",
        measure=lambda r: mean("sorted")(r) - mean("line")(r),
        at_least=0.01,
        no_effect=0.0,
    ),
    Claim(
        id="C2c",
        says="On the cheapest quarter of the grid it is at most a point behind the sandwich rule.",
        source="abstract, tables on CIFAR-10",
        paper_value="outperforms dynamic training methods",
        measure=lambda r: smallest_quarter(r, "sorted") - smallest_quarter(r, "sandwich"),
        at_least=-0.01,
    ),
    Claim(
        id="C3a",
        says="Four sub-networks an update are no worse than one, on average over the grid, at equal gradients.",
        source="gradient accumulation",
        paper_value="more stable and better with accumulation",
        measure=lambda r: mean("sorted")(r) - mean("single")(r),
        at_least=-0.005,
    ),
    Claim(
        id="C3b",
        says="Over the last five checkpoints their mean accuracy varies less.",
        source="gradient accumulation",
        paper_value="more stable and better with accumulation",
        measure=lambda r: unrest(r, "sorted") / unrest(r, "single"),
        at_most=1.0,
        log=True,
    ),
    Claim(
        id="C4a",
        says="At each of five budgets the prefix beats the best of 20 random subsets of channels of its size.",
        source="search-free sub-networks",
        paper_value="no search needed",
        measure=lambda r: ahead(r, "sorted").min(1),
        at_least=0.03,
        no_effect=0.0,
        control=lambda r: ahead(r, "unsorted").min(1),
    ),
    Claim(
        id="C4b",
        says="Trained on random subsets there is no order: on average over the budgets they are within 3 points.",
        source="not in the paper; the control",
        paper_value="none",
        measure=lambda r: ahead(r, "unsorted").mean(1),
        between=(-0.03, 0.03),
    ),
    Claim(
        id="C5",
        says="It does so for CIFAR-10, GLUE and language models of billions of parameters.",
        source="the paper's tables",
        paper_value="160 sub-models at 96 %",
        full_scale_only="CIFAR-10 needs the files that the preset paper reads; BERT and a 7B decoder need accelerators",
    ),
)

ORACLES = (
    Oracle(
        says="half the trained network, cut out as a dense one, has the logits of the masked one within 1e-4",
        holds=lambda r: r["difference when cut out"] < 1e-4,
    ),
)


def wide_half(r, arm):
    """[s] Mean accuracy over the widths above half of the whole."""
    scores = r[f"grid {arm}"]
    return scores[:, scores.shape[1] // 2 :].mean((1, 2))


def plot(results, figure):
    grid, front, steps = figure.subplots(1, 3, width_ratios=(1, 1.2, 1))
    shown = 100 * results["grid sorted"].mean(0)  # [w, l]
    drawn = grid.imshow(shown, origin="lower", aspect="auto", cmap="viridis")
    figure.colorbar(drawn, ax=grid, label="test accuracy, %")
    grid.set_xticks(range(shown.shape[1]), range(1, shown.shape[1] + 1))
    every = max(len(shown) // 5, 1)
    grid.set_yticks(range(every - 1, len(shown), every), range(every, len(shown) + 1, every))
    grid.set(xlabel="blocks", ylabel=f"width, in 1/{len(shown)} of the whole", title="SortedNet, every prefix")
    costs = results["costs"][0]
    arms = {
        "sorted": "SortedNet",
        "sandwich": "sandwich",
        "line": "line of networks",
        "unsorted": "random subsets",
        "full": "whole alone, cut",
    }
    for i, (arm, label) in enumerate(arms.items()):
        scores = 100 * results[f"grid {arm}"].mean(0).ravel()
        at = pareto_front(costs, scores)
        front.plot(costs[at], scores[at], ".-" if i == 0 else "-", color=f"C{i}", label=label)
    own = probed(len(costs), results["alone"].shape[1])
    front.plot(costs[own], 100 * results["alone"].mean(0), "k^", markersize=5, label="alone, 1/4 of the updates")
    front.set(xscale="log", xlabel="products of one example", title="Test accuracy, best of each cost, %")
    front.set(ylim=(0, 150), yticks=range(0, 101, 20))  # room for the legend
    front.legend(fontsize="small", frameon=False, loc="upper left")
    for name in (name for name in results if name.startswith("checkpoints ")):
        curve = 100 * results[name]
        x = np.linspace(0, 100, curve.shape[1] + 1)[1:]
        arm = name.removeprefix("checkpoints ")
        label = {"sorted": str(results["n"][0]), "single": "1"}.get(arm, arm.removeprefix("n"))
        steps.plot(x, curve.mean(0), ".-", label=label)
        steps.fill_between(x, curve.min(0), curve.max(0), alpha=0.2)
    steps.set(xlabel="share of the gradients, %", ylabel="mean validation accuracy, %", title="While training")
    steps.legend(title="sub-networks\nof an update", fontsize="small", frameon=False)
