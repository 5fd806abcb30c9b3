"""SortedNet, a Place for Every Network and Every Network in its Place (Valipour et al., 2023; arXiv 2309.00255).

Claimed: one training gives all prefixes of a network in width and depth, 160 of them, which keep 96 % of its
performance; it beats other ways to train many networks in one, and the best of a budget needs no search.

Two parts: sums of two digits by a residual MLP of 20 widths and 8 depths, in many ways of training, each with 2800
gradients of sub-networks on batches of 64; and a character model nested in heads and depth, which no claim rests on.

What came out, in 2 to 3 minutes on two cores: most of it not, mainly because this training is short. The whole
network reaches 72 % where it reaches 95 % alone: three quarters of it. The fewer sub-networks share an update, the
better: 65 % on average over the grid with one, 61 with two, 54 with four, 42 with eight; at equal gradients those are
2800, 1400, 700 and 350 updates, and none is at its end. On key 7, four times the gradients brought the validation
accuracy of the whole network from 84 to 88 % with one and from 77 to 86 % with four, both at a rate of 1e-2, against
95 % alone. Four vary more over the last checkpoints because they still rise more. Against the sandwich rule the lead is
wide, at two thirds of its products; lines of networks, of twice the parameters, do as well. Prefixes beat the best of
20 random subsets by 8 to 37 points. In the network trained on random subsets they are 4 points behind, more than the 3
that were allowed: that is the gain of the search, since an average random subset there is as good as the prefix.

Rates from 3e-3 to 2e-2 were tried on validation data of key 7, one network each, by the mean over the grid: 2e-2 was
the best for SortedNet (58.9 %, the highest rate tried; 56.4 at 1e-2, 53.1 at 6e-3, 47.0 at 3e-3), 1e-2 for one
sub-network an update and for lines, 3e-3 for the sandwich (down to 1.5e-3), 6e-3 for the network alone (by its own
accuracy). At 1e-2 SortedNet's whole network was a point better. Two, eight and the control took the rate of four.

Simplified against the paper: an MLP of 57 080 products and a small transformer in the place of MobileNetV2, BERT and a
7B decoder; 2800 gradients of sub-networks an arm; the n sub-networks of an update see the same batch; the text part
trains one an update. The preset `paper` trains a ResNet-32 with layer norm in the place of batch norm and without
augmentation on CIFAR-10, 80 sub-networks, and a transformer of BERT-base's width on plain text, and takes about 8.6 GB
of memory.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo import data
from jaxzoo.elastic.baselines import on_a_line, sandwich_logits
from jaxzoo.elastic.nested import nested, prefix, prefix_slice, random_subset
from jaxzoo.elastic.nested_resnet import nested_resnet
from jaxzoo.elastic.nested_training import (
    BATCH,
    Rule,
    accuracy,
    grid_scores,
    negative_loss,
    nested_task,
    subset_accuracy,
)
from jaxzoo.elastic.nested_transformer import nested_transformer
from jaxzoo.elastic.sortednet import depth_width_grid, digit_pair_sum, pareto_front, residual_mlp, select
from jaxzoo.experiment import Claim, Oracle, Paper, setting

PAPER = Paper(
    title="SortedNet, a Place for Every Network and Every Network in its Place",
    authors="Valipour, Rezagholizadeh, Rajabzadeh, Tahaei, Chen, Ghodsi",
    year=2023,
    arxiv="2309.00255",
)


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: int = setting(3, "networks of each kind", low=1)
    images: str = setting("pairs", "pairs of digits, or CIFAR-10 in the data folder", choices=("pairs", "cifar"))
    width: int = setting(40, "channels of the whole network; in the first stage, of the one for CIFAR", low=1)
    step: int = setting(2, "channels between two widths of the grid", low=1)
    depth: int = setting(8, "blocks of the whole network; of a stage, for CIFAR", low=1)
    gradients: int = setting(2800, "sub-network gradients of every arm", low=1)
    n: int = setting(4, "sub-networks of an update", low=2)
    others: tuple[int, ...] = setting((2, 8), "other n, besides 1", low=1)
    probes: int = setting(8, "sub-networks trained alone, on a quarter of the gradients", low=1)
    batch: int = setting(64, "examples of an update", low=1)
    rate: float = setting(2e-2, "Adam's peak learning rate, cosine to 0; all rates by validation on key 7", low=0.0)
    single_rate: float = setting(1e-2, "that of one sub-network an update", low=0.0)
    line_rate: float = setting(1e-2, "that of lines of networks", low=0.0)
    alone_rate: float = setting(6e-3, "that of networks trained alone", low=0.0)
    sandwich_rate: float = setting(3e-3, "that of the sandwich", low=0.0)
    checkpoints: int = setting(10, "looks at the validation accuracy in a training, evenly spaced", low=5)
    held_out: tuple[int, int] = setting((1000, 2000), "validation and test pairs", low=1)
    subsets: int = setting(20, "random subsets to search among", low=1)
    text: str = setting("prose", "prose that comes along, or train.txt in the data folder", choices=("prose", "file"))
    features: int = setting(48, "width of the transformer", low=1)
    heads: int = setting(4, "heads of the transformer, a power of two", low=1)
    layers: int = setting(4, "blocks of the transformer", low=1)
    length: int = setting(32, "characters of a sequence", low=1)
    text_batch: int = setting(8, "sequences of an update", low=1)
    text_rate: float = setting(3e-3, "Adam's peak learning rate on text", low=0.0)
    text_gradients: int = setting(600, "updates of the transformer, one sub-network each; 0 for no text part", low=0)


PRESETS = {
    "smoke": Config(1, width=8, step=4, depth=2, gradients=80, others=(), probes=1, batch=8, checkpoints=5,
                    held_out=(100, 100), subsets=3, text_gradients=0),
    "default": Config(),
    "paper": Config(images="cifar", width=16, step=1, depth=5, gradients=312_000, batch=128, rate=1e-3,
                    single_rate=1e-3, line_rate=1e-3, alone_rate=1e-3, sandwich_rate=1e-3, text="file", features=768,
                    heads=16, layers=12, length=512, text_batch=8, text_rate=1e-3, text_gradients=100_000),
}  # fmt: skip

BUDGETS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Shares of the whole network's products."""
SCORED = 400
"""Sequences of the text that is held out."""


def run(config, runner):
    return vision(config, runner) | (language(config, runner) if config.text_gradients else {})


def network(config):
    """The network of the images, its widths, the grid of shapes and their costs."""
    if config.images == "pairs":
        model = residual_mlp(width=config.width, depth=config.depth)
    else:
        model = nested_resnet(width=config.width, depth=config.depth)
    widths = range(config.step, config.width + 1, config.step)
    grid = depth_width_grid(widths, range(1, config.depth + 1))
    return model, widths, grid, jnp.asarray([model.macs(int(w), int(l)) for w, l in grid], jnp.float32)


def images(config, runner):
    """A sampler of batches, and validation and test examples with labels."""
    if config.images == "pairs":
        train, *held_out = data.standardise(*data.split(data.digits(), 0, (1000, 200, 597)), axis=(0, 1, 2))
        drawn = [
            digit_pair_sum(jax.random.key(i), part.x, part.y, count)
            for i, (part, count) in enumerate(zip(held_out, config.held_out, strict=True))
        ]
        return lambda key: digit_pair_sum(key, train.x, train.y, config.batch), *drawn
    train, test = data.cifar_binary(data.data_folder(runner.data_dir))
    validation = train.x[-5000:], train.y[-5000:]
    sampler = data.sampler(train.x[:-5000], train.y[:-5000], config.batch)
    return sampler, jax.tree.map(jnp.asarray, validation), (jnp.asarray(test.x), jnp.asarray(test.y))


def rules(config, shapes):
    """Of every arm: the logits [n, g] of its sampling, and what else is not the rule of SortedNet."""
    uniform = lambda n: jnp.zeros((n, shapes))  # noqa: E731
    only = lambda i: jnp.where(jnp.arange(shapes) == i, 0.0, -jnp.inf)[None]  # noqa: E731
    arms = {"sorted": (uniform(config.n), {}), "single": (uniform(1), {"rate": config.single_rate})}
    arms |= {f"n{n}": (uniform(n), {}) for n in config.others}
    arms["sandwich"] = sandwich_logits(shapes, config.n), {"distil": 1.0, "rate": config.sandwich_rate}
    arms["line"] = uniform(config.n), {"line": True, "rate": config.line_rate}
    arms["unsorted"] = uniform(config.n), {"unsorted": True}
    arms["full"] = only(shapes - 1), {"rate": config.alone_rate}
    return arms, [only(i) for i in probed(shapes, config.probes)]


def probed(shapes, count):
    """Indices of the sub-networks that are trained alone, spread over the grid."""
    return np.linspace(0, shapes - 2, count).round().astype(int)


def train(
    config,
    runner,
    name,
    parts,
    logits,
    *,
    gradients=None,
    line=False,
    unsorted=False,
    distil=0.0,
    rate=None,
    watch=None,
):
    """Trains one arm: its params, its tally of products, and the validation accuracy on the way where it is watched."""
    model, widths, grid, costs, sampler = parts
    n, total = logits.shape[0], gradients or config.gradients
    numbers = map(jnp.float32, (distil, rate or config.rate, total // n))
    rule = Rule(logits, jnp.asarray(unsorted), *numbers)
    rule = jax.tree.map(lambda x: jnp.broadcast_to(x[None], (runner.seeds, *x.shape)), rule)
    task = nested_task(model, grid, costs, sampler, line=line)
    if watch is not None:
        score = accuracy(*watch)

        def evaluate(state):
            return {"accuracy": grid_scores(model.exits, state.params, model.dims, widths, score).mean()}

        task = task._replace(evaluate=evaluate)
    every = max(config.gradients // n // config.checkpoints, 1)  # the same for all lengths: one program
    trained = runner.train(name, task, total // n, rule, evaluate_every=every)
    tally = trained.history["macs"].mean(1) * total * config.batch / 1e9
    return trained.state.params, tally, trained.evaluations.get("accuracy")


def vision(config, runner):
    """Test accuracy over the grid of every arm; random subsets in the place of prefixes; networks trained alone."""
    model, widths, grid, costs = network(config)
    sampler, validation, test = images(config, runner)
    parts = model, widths, grid, costs, sampler
    arms, alone = rules(config, len(grid))
    sizes = {"costs": np.asarray(costs), "n": np.asarray(config.n)}
    params, results = {}, {name: np.broadcast_to(x, (runner.seeds, *x.shape)) for name, x in sizes.items()}
    for arm, (logits, options) in arms.items():
        watch = validation if arm in ("sorted", "single") or arm[0] == "n" else None
        params[arm], tally, watched = train(config, runner, f"net/{arm}", parts, logits, watch=watch, **options)
        results[f"gmacs {arm}"] = tally
        if watched is not None:
            results[f"checkpoints {arm}"] = watched
        exits = on_a_line(model.exits) if arm == "line" else model.exits
        measure = partial(measure_grid, exits, model.dims, widths)
        results[f"grid {arm}"] = runner.map(f"grid/{arm}", partial(measure, test), params[arm])
    chosen = runner.map("select", partial(choose, config, model, widths, grid, costs, validation), params["sorted"])
    results["chosen"] = chosen
    results["difference when cut out"] = runner.map("cut-out", partial(cut_out, model, test), params["sorted"])
    for arm in ("sorted", "unsorted"):
        compare = partial(search, config, model, validation, test)
        results |= {f"{k} {arm}": v for k, v in runner.map(f"search/{arm}", compare, params[arm], chosen).items()}
    scores = []
    for i, logits in zip(probed(len(grid), config.probes), alone, strict=True):
        options = {"gradients": config.gradients // 4, "rate": config.alone_rate}
        own, *_ = train(config, runner, f"net/alone-{i}", parts, logits, **options)
        score = partial(one_shape, model, grid[i], test)
        scores.append(runner.map(f"alone/{i}", score, own))
    return results | {"alone": np.stack(scores, 1)}


def cut_out(model, held_out, key, params):
    """How far the dense network of half the width and depth is from the masked one."""
    half = max(model.dims.width // 2, 1), max(model.dims.depth // 2, 1)
    small, x = prefix_slice(params, *half, model=model), held_out[0][:BATCH]
    dense = jax.vmap(model.apply, (None, 0))(small, x)
    return jnp.abs(dense - jax.vmap(nested(model.apply, model.dims), (None, 0, None, None))(params, x, *half)).max()


def measure_grid(exits, dims, widths, held_out, key, params):
    return grid_scores(exits, params, dims, widths, accuracy(*held_out))


def one_shape(model, shape, held_out, key, params):
    active = jax.tree.map(lambda x: x[None], prefix(model.dims, *shape))
    return subset_accuracy(model, params, active, *held_out)[0]


def choose(config, model, widths, grid, costs, validation, key, params):
    """The best shape [2] of each budget on validation data, of at most 3/4 of the width so that there are subsets."""
    scores = measure_grid(model.exits, model.dims, widths, validation, key, params).ravel()
    scores = jnp.where(grid[:, 0] <= 0.75 * config.width, scores, -1.0)
    return jnp.stack([grid[select(scores, costs, share * costs[-1])] for share in BUDGETS])


def search(config, model, validation, test, key, params, shapes):
    """For each shape the test accuracy of the prefix, and of the random subset that is best on validation data."""
    score = partial(subset_accuracy, model, params)

    def at(key, shape):
        draw = jax.vmap(lambda key: random_subset(key, model.dims, *shape))
        free = draw(jax.random.split(key, config.subsets))
        first = prefix(model.dims, *shape)
        # Channels without order; the blocks are those of the prefix, as in the network that it is compared with.
        subsets = free._replace(blocks=jnp.broadcast_to(first.blocks[None], free.blocks.shape))
        best = score(subsets, *validation).argmax()
        pair = jax.tree.map(lambda a, b: jnp.stack([a, b[best]]), first, subsets)
        return *score(pair, *test), score(free, *validation).mean()

    keys = jax.random.split(key, len(BUDGETS))
    prefixes, best, free = jax.lax.map(lambda pair: jnp.stack(at(*pair)), (keys, shapes)).T
    return {"prefix": prefixes, "best subset": best, "random blocks too": free}


def text_parts(config, vocabulary, tokens):
    """The transformer, its numbers of heads, the grid, costs, and a sampler."""
    sizes = {"length": config.length, "features": config.features, "heads": config.heads, "depth": config.layers}
    model = nested_transformer(vocabulary=vocabulary, **sizes)
    heads = [2**i for i in range(config.heads.bit_length())]
    grid = depth_width_grid(heads, range(1, config.layers + 1))
    costs = jnp.asarray([model.macs(int(w), int(l)) for w, l in grid], jnp.float32)
    sampler = partial(data.windows, tokens=tokens, batch=config.text_batch, length=config.length)
    return model, heads, grid, costs, sampler


def language(config, runner):
    """Held-out loss, nats a character, over heads and depths: all in one, and the whole transformer alone."""
    own = config.text == "file"
    text = data.text_file(data.data_folder(runner.data_dir), "train.txt") if own else data.pydoc_topics()
    tokens, vocabulary = data.characters(text, 64, lower=True)
    train_tokens, rest = data.split_by_position(tokens, (0.9, 0.1))
    held_out = jax.tree.map(lambda x: x[:SCORED], data.all_windows(rest, config.length))
    parts = text_parts(config, len(vocabulary), train_tokens)
    model, heads, grid = parts[:3]
    full = jnp.where(jnp.arange(len(grid)) == len(grid) - 1, 0.0, -jnp.inf)[None]

    def loss(key, params):
        return -grid_scores(model.exits, params, model.dims, heads, negative_loss(*held_out))

    results = {}
    options = {"gradients": config.text_gradients, "rate": config.text_rate}
    for arm, logits in {"sorted": jnp.zeros((1, len(grid))), "full": full}.items():
        params, *_ = train(config, runner, f"text/{arm}", parts, logits, **options)
        results[f"text {arm}"] = runner.map(f"loss/{arm}", loss, params)
    return results


def full_scale(config):
    """The trainings of a config on blank data: name -> `Task`."""
    model, _, grid, costs = network(config)
    shape = (128,) if config.images == "pairs" else (32, 32, 3)
    rule = Rule(jnp.zeros((config.n, len(grid))), jnp.asarray(False), *jnp.zeros((3,)))

    def blank(task, rule):
        return task._replace(init=lambda key: task.init(key, rule))

    def sampler(key):
        return jnp.zeros((config.batch, *shape)), jnp.zeros(config.batch, jnp.int32)

    *parts, windows = text_parts(config, 64, jnp.zeros(config.length + 2, jnp.uint8))
    text = nested_task(parts[0], parts[2], parts[3], windows)
    return {
        "net": blank(nested_task(model, grid, costs, sampler), rule),
        "text": blank(text, rule._replace(logits=jnp.zeros((1, len(parts[2]))))),
    }


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
