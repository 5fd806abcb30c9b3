"""Is Complexity Required for Neural Network Pruning? A Case Study on Global Magnitude Pruning (Gupta et al., 2022;
arXiv 2209.14624).

Claimed: pruning by one threshold on magnitude over all layers, one-shot or gradual, is as good as methods with scores
by gradients, rules for each layer or connections that move; where it empties a layer, a minimum of weights for each
layer cures that; done gradually it saves more multiplications; and it works on recurrent networks too.

Nine methods prune the same trained networks and train on for as many steps (RigL from scratch for as many in all): a
dense network on digits whose layers are small first and huge late, one of equal widths where nothing should be gained,
a residual convolutional network, and FastGRNN on rows of pixels.

What came out, in about 2.4 minutes on two cores: the collapse and its cure, as claimed: at 98.5 % one layer of 65,536
weights keeps none or one, and a minimum of 40 takes the accuracy from 12 to 92 %. Up to there global pruning is ahead
of uniform pruning, by 2.2 points at 95 % and 3.9 at 97 %, though the intervals begin below the margin of 1.5; it is no
worse than SNIP, Taylor, GraSP and RigL at 95 %, and at 97 % five networks are too few to tell it from RigL. It is not
the best: the same magnitudes with the densities of ERK are 1.6 points ahead at 97 %, where global pruning is about to
collapse, and 1 point ahead of it with the minimum at 98.5 %. Scores by gradients do badly from 97 % on, and GraSP
everywhere, probably because they are taken at trained networks, whose gradients are nearly 0; SNIP and GraSP are meant
for untrained ones. Gradual pruning saves 0.11 points more multiplications than one-shot pruning, less than the margin
of 0.5; and both save far fewer, 88 %, than uniform pruning, 95 %. FastGRNN at 80 % is 2.1 points below the dense one.

All of this hangs on the first weights. With He's variance, six times the one used, magnitudes followed the numbers of
inputs: in one network of another key global pruning led uniform by 0 to 1 points of validation accuracy at 95 and 97 %,
and the minimum gave 29 % at 98.5 %. Nothing else was tuned, for no method: rate, decay and steps were set beforehand.

Simplified against the paper: small networks on digits, one split of them for all seeds. Batches are drawn with
replacement. The gradual schedule is the usual cubic one and ends after 0.6 of the steps. Shortcuts of ResNet-32 that
change shape are pointwise convolutions. The preset `paper` has WRN-28-8 and ResNet-32 on CIFAR-10 and FastGRNN on HAR-2
from the data folder, with `--config.net resnet-50` or `mobilenet-v1` on ImageNet in class folders, all kept in memory.
Its sparsities train side by side, which takes about 5.9 GB of memory. The recipe for WRN is the usual one; the official
one for ResNet-50 has rate 0.1024, momentum 0.875, decay 7e-6, smoothing 0.1, batches of 256 and 120 epochs.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxzoo import data
from jaxzoo.compression.global_magnitude_pruning import gradual_counts
from jaxzoo.compression.paper_nets import mobilenet_v1, residual_net, resnet50, wide_resnet
from jaxzoo.compression.prunable_nets import normed_mlp, recurrent_net
from jaxzoo.compression.pruning_problems import blank_sets, digit_sets, make_problem, paper_sets
from jaxzoo.compression.pruning_study import find_masks, layer_counts, training
from jaxzoo.compression.sparse_training import gradually, rigging, side_by_side
from jaxzoo.experiment import Claim, Oracle, Paper, setting

PAPER = Paper(
    title="Is Complexity Required for Neural Network Pruning? A Case Study on Global Magnitude Pruning",
    authors="Gupta et al.",
    year=2022,
    arxiv="2209.14624",
    code="manasgupta-1/GlobalMP (MIT)",
)

WIDE = ("global", "mt", "uniform", "erk", "random", "snip", "taylor", "grasp", "rigl")
LABELS = {"mt": "global + minimum", "erk": "ERK", "rigl": "RigL", "snip": "SNIP", "grasp": "GraSP", "taylor": "Taylor"}
COMPLEX = ("snip", "taylor", "grasp", "rigl")
NETS = ("digits", "wrn-28-8", "resnet-50", "mobilenet-v1")


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: int = setting(5, "networks of each kind", low=1)
    net: str = setting("digits", "networks on digits, or one of the paper's with its data", choices=NETS)
    sparsities: tuple[float, ...] = setting((0.9, 0.95, 0.97, 0.985), "of the dense network", low=0.0, high=0.999)
    conv_sparsity: float = setting(0.95, "of the convolutional network", low=0.0, high=0.999)
    recurrent_sparsities: tuple[float, ...] = setting((0.5, 0.8, 0.9), "of FastGRNN", low=0.0, high=0.999)
    dense: int = setting(300, "updates before pruning", low=1)
    tune: int = setting(200, "updates after it", low=1)
    conv_dense: int = setting(150, "the same of the convolutional network", low=1)
    conv_tune: int = setting(100, "the same of the convolutional network", low=1)
    recurrent_dense: int = setting(300, "the same of FastGRNN", low=1)
    recurrent_tune: int = setting(200, "the same of FastGRNN", low=1)
    batch: int = setting(100, "examples of an update", low=2)
    rate: float = setting(0.1, "SGD's peak learning rate, cosine to 0, before and after pruning", low=0.0)
    recurrent_rate: float = setting(0.01, "Adam's for FastGRNN, likewise", low=0.0)
    momentum: float = setting(0.9, "of SGD", low=0.0, high=1.0)
    decay: float = setting(5e-4, "weight decay, of prunable weights", low=0.0)
    smoothing: float = setting(0.0, "of labels", low=0.0, high=1.0)
    scored: int = setting(10, "batches that scores by gradients are averaged over", low=1)
    widths: tuple[int, ...] = setting((32, 256, 256), "of the dense network's hidden layers", low=1)
    equal: tuple[int, ...] = setting((256, 256, 256), "the same of the control", low=1)
    conv_widths: tuple[int, ...] = setting((8, 32, 64), "of the convolutional network on digits", low=1)
    hidden: int = setting(64, "width of FastGRNN", low=1)
    every: int = setting(20, "updates between two moves of RigL", low=1)
    gradual_every: int = setting(6, "updates between two gradual prunings; divides those they go on for", low=1)


PRESETS = {
    "smoke": Config(
        1, sparsities=(0.9,), widths=(32,), equal=(32,), conv_widths=(16,), recurrent_sparsities=(0.8,), scored=2,
        dense=30, tune=30, conv_dense=5, conv_tune=5, recurrent_dense=10, recurrent_tune=10, gradual_every=3,
    ),
    "default": Config(),
    "paper": Config(
        3, "wrn-28-8", (0.8, 0.9, 0.95, 0.98), dense=70_400, tune=42_240, conv_dense=70_400, conv_tune=42_240,
        recurrent_dense=5200, recurrent_tune=5200, batch=128, every=100, gradual_every=352,
    ),
}  # fmt: skip


def run(config, runner):
    wide, equal, conv, recurrent = problems(config, load(config, runner))
    rnn = config.recurrent_sparsities
    return (
        pruned(config, runner, "wide", wide, WIDE, config.sparsities, long=True)
        | pruned(config, runner, "equal", equal, ("global", "uniform"), (0.9,))
        | pruned(config, runner, "conv", conv, ("global", "mt", "uniform", "gradual"), (config.conv_sparsity,))
        | pruned(config, runner, "rnn", recurrent, ("global", "uniform"), rnn, long=True)
    )


def pruned(config, runner, name, problem, methods, sparsities, *, long=False):
    """Trains, prunes in every way and trains on: "<name> <method>" [s, k], accuracies, and more as `training` says.

    With `long` the dense network is trained on too.
    """
    dense = runner.train(f"{name}/dense", training(problem, problem.dense), problem.dense)
    start = dense.state.params, dense.state.stats
    masks, found = runner.map(f"{name}-masks", partial(find_masks, problem, methods, sparsities, config.scored), *start)
    found |= {"sparsities": np.tile(np.array(sparsities), (runner.seeds, 1))}
    found["dense"] = dense.evaluations["accuracy"][:, -1]
    if long:
        task = training(problem, problem.tune)
        ended = runner.train(f"{name}-tune/dense", task, problem.tune, None, start).evaluations
        found["long"] = ended["accuracy"][:, -1]
    ways = {"rigl": rig, "gradual": gradual}
    for method in methods:
        ended = ways.get(method, one_shot)(config, runner, name, problem, sparsities, method, masks.get(method), start)
        found |= {method if key == "accuracy" else f"{method} {key}": value for key, value in ended.items()}
    found |= {f"{m} layers": np.asarray(jax.vmap(layer_counts)(masks[m])) for m in ("global", "mt") if m in masks}
    return {f"{name} {key}": value for key, value in found.items()}


def one_shot(config, runner, name, problem, sparsities, method, masks, start):
    """What `training` evaluates at the end, name -> [s, k]: masks of a method at all sparsities in one program."""
    task, stage = training(problem, problem.tune), f"{name}-tune/{method}"
    if len(sparsities) == 1:
        masks = jax.tree.map(lambda m: m[:, 0], masks)
        return columns([runner.train(stage, task, problem.tune, masks, start)])
    labels = [f"{s:g}" for s in sparsities]
    copies = jax.tree.map(lambda x: jnp.broadcast_to(x[:, None], (len(x), len(labels), *x.shape[1:])), start)
    ended = runner.train(stage, side_by_side(task, labels), problem.tune, masks, copies).evaluations
    keys = sorted({key.split()[0] for key in ended} - {"step"})
    return {key: np.stack([ended[f"{key} {label}"][:, -1] for label in labels], 1) for key in keys}


def rig(config, runner, name, problem, sparsities, method, masks, start):
    """The same of RigL, from scratch, for as many updates as the others have in all."""
    total = problem.dense + problem.tune
    task = training(problem, total, **rigging(config.every, 3 * total // 4))
    first = [jax.tree.map(lambda m, i=i: m[:, i], masks) for i in range(len(sparsities))]
    return columns(runner.train(f"{name}/rigl-{s:g}", task, total, m) for s, m in zip(sparsities, first, strict=True))


def gradual(config, runner, name, problem, sparsities, method, masks, start):
    """The same of gradual pruning, over the first 0.6 of the updates."""
    every = config.gradual_every
    until = problem.tune * 3 // 5 // every * every
    weights, ended = jax.tree.map(lambda x: x[0], start[0]["weights"]), []
    for s in sparsities:
        counts = gradual_counts(weights, s, until, every)
        task = training(problem, problem.tune, **gradually(counts, every))
        ended.append(runner.train(f"{name}-tune/gradual-{s:g}", task, problem.tune, None, start))
    return columns(ended)


def columns(trained):
    """Trainings at several sparsities: name -> last evaluations [s, k]."""
    each = [one.evaluations for one in trained]
    return {key: np.stack([one[key][:, -1] for one in each], 1) for key in each[0] if key != "step"}


def load(config, runner):
    """Data of the four problems."""
    rows, images = digit_sets()
    if config.net == "digits":
        return rows, rows, images, rows
    images, sequences = paper_sets(data.data_folder(runner.data_dir), cifar=config.net == "wrn-28-8")
    return images, rows, images, sequences


def problems(config, sets):
    """The four problems, on `sets` as from `load`: a net to prune in all ways, the control, another, and FastGRNN."""
    shape, (length, features) = sets[2][0][0].shape[1:], sets[3][0][0].shape[1:]
    small = partial(residual_net, side=shape[0], channels=shape[-1], classes=10)
    wide, conv = {
        "digits": lambda: (normed_mlp((64, *config.widths, 10)), small(config.conv_widths)),
        "wrn-28-8": lambda: (wide_resnet(28, 8), small((16, 32, 64), each=5)),
        "resnet-50": lambda: (resnet50(),) * 2,
        "mobilenet-v1": lambda: (mobilenet_v1(),) * 2,
    }[config.net]()
    equal = normed_mlp((64, *config.equal, 10))
    classes = 10 if config.net == "digits" else 2
    cell = recurrent_net(length=length, features=features, hidden=config.hidden, classes=classes)

    def sgd(steps):
        tx = optax.sgd(optax.cosine_decay_schedule(config.rate, steps), momentum=config.momentum)
        return optax.chain(optax.add_decayed_weights(config.decay, mask={"weights": True, "rest": False}), tx)

    def adam(steps):
        return optax.adam(optax.cosine_decay_schedule(config.recurrent_rate, steps))

    make = partial(make_problem, batch=config.batch)
    varied = {"smoothing": config.smoothing, "vary": config.net != "digits"}
    return (
        make(wide, sets[0], sgd, config.dense, config.tune, **varied),
        make(equal, sets[1], sgd, min(300, config.dense), min(200, config.tune)),
        make(conv, sets[2], sgd, config.conv_dense, config.conv_tune, **varied),
        make(cell, sets[3], adam, config.recurrent_dense, config.recurrent_tune),
    )


def full_scale(config):
    """The heaviest trainings of a config on blank data: name -> `Task`."""
    image = {"digits": (8, 8, 1), "wrn-28-8": (32, 32, 3)}.get(config.net, (224, 224, 3))
    sequence = (8, 8) if config.net == "digits" else (128, 9)
    shapes = (image, (8, 8), image, sequence)
    wide, _, conv, recurrent = problems(config, [blank_sets(shape) for shape in shapes])
    labels = [f"{s:g}" for s in config.sparsities]

    def tuned(problem):
        task = side_by_side(training(problem, problem.tune), labels)

        def init(key):
            copies = jax.tree.map(lambda x: jnp.zeros((len(labels), *x.shape), x.dtype), problem.net.init(key))
            return task.init(key, jax.tree.map(lambda x: x != 0, copies[0]["weights"]), copies)

        return task._replace(init=init)

    rigged = training(wide, wide.tune, **rigging(config.every, wide.tune))
    return {"wide": tuned(wide), "conv": tuned(conv), "rnn": tuned(recurrent), "rigl": rigged}


def at(r, name, sparsity):
    """[s] values of an arm at the sparsity of the run that is nearest."""
    group = name.split()[0]
    return r[name][:, np.abs(r[f"{group} sparsities"][0] - sparsity).argmin()]


def gain(r, sparsity, other="uniform", group="wide"):
    return at(r, f"{group} global", sparsity) - at(r, f"{group} {other}", sparsity)


def over_complex(r, sparsity):
    """Global pruning minus, seed by seed, the best of the others."""
    return np.min([gain(r, sparsity, other) for other in COMPLEX], axis=0)


VANILLA = "abstract; tables on CIFAR-10 and ImageNet"
MT = "section on the minimum threshold"


CLAIMS = (
    Claim(
        id="C1a",
        says="At 0.95 one threshold over all layers beats one in each layer.",
        source=VANILLA,
        paper_value="global pruning is ahead of uniform pruning",
        measure=lambda r: gain(r, 0.95),
        at_least=0.015,
        no_effect=0.0,
        control=lambda r: gain(r, 0.9, group="equal"),
    ),
    Claim(
        id="C1b",
        says="So it does at 0.97.",
        source=VANILLA,
        paper_value="global pruning is ahead of uniform pruning",
        measure=lambda r: gain(r, 0.97),
        at_least=0.015,
        no_effect=0.0,
        control=lambda r: gain(r, 0.9, group="equal"),
    ),
    Claim(
        id="C1c",
        says="At 0.95 it is no worse than the best, seed by seed, of SNIP, Taylor, GraSP and RigL.",
        source=VANILLA,
        paper_value="as good as or better than complex methods",
        measure=lambda r: over_complex(r, 0.95),
        at_least=-0.005,
    ),
    Claim(
        id="C1d",
        says="Nor is it at 0.97.",
        source=VANILLA,
        paper_value="as good as or better than complex methods",
        measure=lambda r: over_complex(r, 0.97),
        at_least=-0.005,
    ),
    Claim(
        id="C1e",
        says="Where all layers are equally wide there is nothing to gain: at 0.9 the two differ by 1 point at most.",
        source="not in the paper; the negative control",
        paper_value="none",
        measure=lambda r: gain(r, 0.9, group="equal"),
        between=(-0.01, 0.01),
    ),
    Claim(
        id="C2a",
        says="At 0.985 vanilla pruning leaves less than 5 weights of some layer.",
        source=MT,
        paper_value="layer collapse at high sparsity",
        measure=lambda r: at(r, "wide global fewest", 0.985),
        at_most=4.0,
    ),
    Claim(
        id="C2b",
        says="The accuracy is then below 50 %.",
        source=MT,
        paper_value="layer collapse at high sparsity",
        measure=lambda r: at(r, "wide global", 0.985),
        at_most=0.5,
    ),
    Claim(
        id="C2c",
        says="A minimum of 40 weights a layer brings back 20 points or more.",
        source=MT,
        paper_value="the minimum threshold prevents layer collapse",
        measure=lambda r: at(r, "wide mt", 0.985) - at(r, "wide global", 0.985),
        at_least=0.2,
        no_effect=0.0,
    ),
    Claim(
        id="C3a",
        says="Gradual pruning of a convolutional network to 0.95 saves more multiplications than one-shot pruning.",
        source="section on FLOPs",
        paper_value="gradual pruning has a higher sparsity in FLOPs",
        measure=lambda r: (r["conv gradual flops"] - r["conv global flops"])[:, 0],
        at_least=0.005,
        no_effect=0.0,
    ),
    Claim(
        id="C3b",
        says="It loses no more than half a point of accuracy against it.",
        source="section on FLOPs",
        paper_value="at equal accuracy",
        measure=lambda r: (r["conv gradual"] - r["conv global"])[:, 0],
        at_least=-0.005,
    ),
    Claim(
        id="C4a",
        says="FastGRNN at 0.8 is within 2 points of the dense one, trained for as long.",
        source="FastGRNN on HAR-2",
        paper_value="works on another task and architecture",
        measure=lambda r: at(r, "rnn global", 0.8) - r["rnn long"],
        at_least=-0.02,
    ),
    Claim(
        id="C4b",
        says="It is no worse than with one threshold in each layer.",
        source="FastGRNN on HAR-2",
        paper_value="works on another task and architecture",
        measure=lambda r: gain(r, 0.8, group="rnn"),
        at_least=0.0,
    ),
    Claim(
        id="C5",
        says="On CIFAR-10 and ImageNet it beats the best published methods at 80 to 98 %.",
        source=VANILLA,
        paper_value="above all methods that it is compared with",
        full_scale_only="CIFAR-10, ImageNet and GPUs; the preset paper has the sizes",
    ),
)

ORACLES = (
    Oracle(
        says="pruned weights are exactly 0 after training, whatever momentum and decay do",
        holds=lambda r: all((r[key] == 0).all() for key in r if key.endswith("revived")),
    ),
    Oracle(
        says="global pruning removes floor(s N) weights, with a minimum for each layer too",
        holds=lambda r: r["wide global kept"] == r["wide mt kept"],
    ),
)


STYLES = {"global": ("C3", "-", 2.5), "mt": ("k", ":", 2.5)} | {
    method: (color, "--", 1.2)
    for method, color in zip(WIDE[2:], ("C0", "C1", "C2", "C4", "C5", "C8", "C6"), strict=True)
}


def plot(results, figure):
    lines, bars = figure.subplots(1, 2, width_ratios=(1.5, 1))
    sparsity = 100 * results["wide sparsities"][0]
    place = np.arange(len(sparsity))
    for method in WIDE:
        accuracy = 100 * results[f"wide {method}"]
        color, dash, width = STYLES[method]
        lines.errorbar(
            place, accuracy.mean(0), accuracy.std(0), color=color, linestyle=dash, linewidth=width, marker="o",
            markersize=4, capsize=2, label=LABELS.get(method, method),
        )  # fmt: skip
    lines.axhline(100 * results["wide long"].mean(), color="0.5", linewidth=1, label="dense")
    lines.set(xlabel="weights pruned, %", ylabel="test accuracy, %", title="Nine ways to prune a network")
    lines.set_xticks(place, [f"{s:g}" for s in sparsity])
    lines.legend(fontsize=8, ncols=2)
    for i, method in enumerate(("global", "mt")):
        kept = results[f"wide {method} layers"][:, -1].mean(0)
        x = np.arange(len(kept)) + 0.4 * i
        bars.bar(x, np.maximum(kept, 0.5), 0.4, color=STYLES[method][0], label=LABELS.get(method, method))
        for x_layer, k in zip(x, kept, strict=True):
            note = f"{k:.0f}" if k >= 5 else f"{k:.0f}: collapse"
            bars.annotate(
                note, (x_layer, max(k, 0.5)), rotation=90 if k < 5 else 0, ha="center", va="bottom", fontsize=7
            )
    bars.set_xticks(np.arange(len(kept)) + 0.2, [f"layer {i + 1}" for i in range(len(kept))])
    bars.set(yscale="log", ylabel="weights kept", title=f"Weights left at {sparsity[-1]:g} %")
    bars.set_ylim(0.4, 6 * bars.get_ylim()[1])
    bars.legend(fontsize=8, loc="upper right")
