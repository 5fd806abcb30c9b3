"""zkDL: Efficient Zero-Knowledge Proofs of Deep Learning Training (Sun, Bai, Li, Zhang, 2023; arXiv 2307.16273).

Claimed: a step of training can be proved correct in zero knowledge, ReLU and rounding included; with the tensors of all
layers and steps stacked the proof hardly grows with depth; the prover's work is about linear in the parameters; and
training in fixed point costs no accuracy.

What came out: all that this size can check, in about 2 minutes on two cores. Stacking spares the sumchecks' factor of
depth, not the prover's time (0.8 s at 8 layers, 1.5 s layer by layer); most of a stacked proof is commitments. The
exponents, 0.50 and 0.15, are low as fixed costs and the batch's share count here: they bear out bounds, not rates.
Integers lose half a point. zkReLU commits to 1.8 % of the bits that decomposing every product would take.

Simplified against the paper: a field of 2^61 and a toy group of 67 bits for its elliptic curve: the algebra is real,
the security is not (below 30 bits). Small square networks, no GPU, 8 bits after the point for its 16; ranges of data
and first weights are assumed; sumchecks are hidden by commitments to their rounds, not by a masking polynomial. The
preset `paper` has 8 layers of 1024, near its 10 million parameters, with 24 bits, 16 after the point, on grey CIFAR-10
of 1024 pixels, in the toy group; it takes about 15 GB of memory.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxzoo_kernels.m61 import mle_fold

from jaxzoo import data
from jaxzoo.experiment import Claim, Oracle, Paper, setting
from jaxzoo.robustness import forgeries, zkdl
from jaxzoo.robustness.fixed_point import quantise
from jaxzoo.robustness.fixed_point_training import he_normal, predict, predict_int, train_float, train_int
from jaxzoo.robustness.trials import accepted, randomness, timed

PAPER = Paper(
    title="zkDL: Efficient Zero-Knowledge Proofs of Deep Learning Training",
    authors="Sun, Bai, Li, Zhang",
    year=2023,
    arxiv="2307.16273",
    code="jvhs0706/zkdl-train (no licence file; parts only)",
)


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: int = setting(5, "trainings, and sets of proofs", low=1)
    images: str = setting("digits", "8x8 digits, or CIFAR-10 in grey from the data folder", choices=("digits", "cifar"))
    whole: int = setting(16, "Q, bits of a number", low=2)
    fraction: int = setting(8, "R, of them after the point", low=1)
    batch: int = setting(64, "examples of a step; a power of two", low=2)
    hidden: tuple[int, ...] = setting((64, 64), "widths of the trained network's hidden layers", low=1)
    steps: int = setting(300, "steps of training", low=1)
    networks: int = setting(3, "trained networks of a seed, whose accuracies are averaged", low=1)
    halvings: int = setting(4, "learning rate 2^-halvings", low=0)
    target: float = setting(4.0, "the target of the right class", low=0.0)
    width: int = setting(64, "width of the networks in the sweep of depth; a power of two", low=16)
    depths: tuple[int, ...] = setting((2, 4, 8), "layers of proved networks, in ascending order", low=2)
    widths: tuple[int, ...] = setting((16, 32, 64, 128), "widths of proved networks of two layers, ascending", low=16)
    stacked_steps: int = setting(4, "steps that are proved at once, against one", low=2)
    trial: int = setting(16, "width and batch of the networks in the trials of soundness", low=16)
    honest: int = setting(20, "honest proofs of a seed", low=1)
    forged: int = setting(5, "forged proofs of each of eight kinds, of a seed", low=1)
    repeats: int = setting(3, "times that a stacked proof is timed; the fastest counts", low=1)


PRESETS = {
    "smoke": Config(1, whole=14, fraction=6, batch=16, hidden=(16,), steps=20, networks=1, width=16, depths=(2, 4),
                    widths=(16, 32, 64), stacked_steps=2, honest=2, forged=1, repeats=1),
    "default": Config(),
    "paper": Config(images="cifar", whole=24, fraction=16, hidden=(1024,) * 7, steps=5000, width=1024,
                    widths=(128, 256, 512, 1024), repeats=1),
}  # fmt: skip

CLASSES, OUTPUTS = 10, 16


def run(config, runner):
    train, _, test = images(config, runner.data_dir)
    results = runner.each("training", lambda key: trained(key, train, test, config))
    depths = [(layers, 1, config.width) for layers in config.depths]
    widths = [(2, 1, width) for width in config.widths]
    steps = [(2, steps, config.width) for steps in (1, config.stacked_steps)]
    for name, sizes in {"stacked": depths, "sequential": depths, "width": widths, "steps": steps}.items():
        results |= runner.each(f"proofs/{name}", lambda key, n=name, s=sizes: sweep(key, train, config, n, s))
    return results | runner.each("trials", lambda key: trials(key, train, config))


def images(config, folder):
    """Training, validation and test images as (x [n, pixels], y [n])."""
    if config.images == "digits":
        parts = data.split(data.digits(), 0, (1000, 200, 597))
        return [(p.x.reshape(len(p.x), -1), p.y) for p in parts]
    train, test = data.cifar_binary(data.data_folder(folder))
    return [(p.x.mean(-1).reshape(len(p.x), -1), p.y) for p in (*data.split(train, 0, (45_000, 5_000)), test)]


def shift_of(config, batch):
    """k: the division by the batch and by 1 / learning rate, with that by 2^R."""
    return config.fraction + batch.bit_length() - 1 + config.halvings


def trained(key, train, test, config):
    """Accuracy after training in int64 and in float32, from the same weights on the same batches."""
    with jax.enable_x64(True):
        arrays = [jnp.asarray(v) for v in (*train, *test)]
        run_one = jax.jit(lambda key, *arrays: training(key, *arrays, config))
        found = [run_one(k, *arrays) for k in jax.random.split(key, config.networks)]
    return {name: np.mean([np.asarray(f[name]) for f in found]) for name in found[0]}


def training(key, x, y, test_x, test_y, config):
    key_init, key_batches = jax.random.split(key)
    weights = he_normal(key_init, (x.shape[1], *config.hidden, OUTPUTS))
    chosen = jax.random.randint(key_batches, (config.steps, config.batch), 0, len(x))
    targets = config.target * jax.nn.one_hot(y, OUTPUTS, dtype=jnp.float32)
    bits, shift = config.fraction, shift_of(config, config.batch)
    integers = train_int(weights, x, targets, chosen, bits=bits, shift=shift)
    floats = train_float(weights, x, targets, chosen, rate=2.0**-config.halvings)
    scores = {"integer": predict_int(integers, test_x, bits=bits), "float": predict(floats, test_x)}
    return {f"accuracy {name}": (s.argmax(1) == test_y).mean() for name, s in scores.items()}


def case(key, train, config, layers, steps, width, batch):
    """The setting of a proof, and its weights and batches: He-normal weights, images cut to the width."""
    sizes = zkdl.Setting(layers, steps, batch, width, config.whole, config.fraction, shift_of(config, batch))
    key_init, key_batches = jax.random.split(key)
    weights = [quantise(np.asarray(w), config.fraction) for w in he_normal(key_init, (width,) * (layers + 1))]
    chosen = np.asarray(jax.random.randint(key_batches, (steps, batch), 0, len(train[0])))
    targets = config.target * np.eye(CLASSES)
    xs = [quantise(train[0][index, :width], config.fraction) for index in chosen]
    return sizes, weights, xs, [quantise(targets[train[1][index]], config.fraction) for index in chosen]


def sweep(key, train, config, name, sizes):
    """Sizes and times of proofs of some (layers, steps, width), as arrays named "name: what"."""
    keys_case, keys_proof = (jax.random.split(k, len(sizes)) for k in jax.random.split(key))
    cases = [case(k, train, config, *size, config.batch) for k, size in zip(keys_case, sizes, strict=True)]
    sequential = name == "sequential"
    rows = timed(cases, keys_proof, stacked=not sequential, repeats=1 if sequential else config.repeats)
    rows = [counts(config, *size) | row for size, row in zip(sizes, rows, strict=True)]
    return {f"{name}: {what}": np.array([row[what] for row in rows], float) for what in rows[0]}


def counts(config, layers, steps, width):
    """How many parameters there are; how many bits zkReLU commits to, and would if every product were decomposed."""
    bits, update = config.whole + config.fraction, config.whole + shift_of(config, config.batch)
    return {
        "layers": layers,
        "parameters": layers * width**2,
        "bits of zkrelu": steps * layers * (2 * config.batch * width * bits + width**2 * update),
        "bits of every product": steps * layers * 3 * config.batch * width**2 * bits,
    }


def trials(key, train, config):
    """Shares of proofs that are accepted: honest ones, forged ones of each kind, of another rate and of other data."""
    counts = {None: config.honest} | dict.fromkeys(forgeries.KINDS, config.forged) | {"rate": 1, "data": 1}
    keys, out = iter(jax.random.split(key, sum(counts.values()))), {}
    for cheat, count in counts.items():
        shares = []
        for key_case, key_proof, key_size in (jax.random.split(k, 3) for k in itertools.islice(keys, count)):
            layers, steps = (int(v) for v in jax.random.randint(key_size, (2,), np.array([2, 1]), np.array([4, 3])))
            inputs = case(key_case, train, config, layers, steps, config.trial, config.trial)
            shares.append(accepted(inputs, randomness(key_proof), cheat))
        out[f"accepted: {cheat or 'honest'}"] = np.mean(shares)
    return out


def full_scale(config):
    """The training, and the first fold of the last sumcheck over the largest table, bits of G_W, with its weights."""
    pixels = 1024 if config.images == "cifar" else 64
    sizes = zkdl.Setting(max(config.depths), 1, config.batch, config.width, config.whole, config.fraction,
                         shift_of(config, config.batch))  # fmt: skip
    table = jax.ShapeDtypeStruct((2, int(np.prod(sizes.shape("aux_w")))), jnp.uint32)
    x, y = (jax.ShapeDtypeStruct((50_000, *shape), dtype) for shape, dtype in (((pixels,), "float32"), ((), "int32")))
    key = jax.eval_shape(lambda: jax.random.key(0))
    return {
        "training": (lambda key, *arrays: training(key, *arrays, config), key, x, y, x, y),
        "proof": (lambda t, w, u: (mle_fold(t, u), mle_fold(w, u)), table, table, jax.ShapeDtypeStruct((2,), "uint32")),
    }


def ratio(results, name):
    """[s]: at the greatest depth over that at the least."""
    return results[name][:, -1] / results[name][:, 0]


def slope(results, name):
    """[s]: the exponent of growth with the parameters, the least width left out."""
    x, y = np.log(results["width: parameters"]), np.log(results[name])
    return np.array([np.polyfit(a[1:], b[1:], 1)[0] for a, b in zip(x, y, strict=True)])


def forged(results):
    """[s]: the share of forged proofs that are accepted."""
    return np.mean([results[f"accepted: {kind}"] for kind in forgeries.KINDS], axis=0)


CLAIMS = (
    Claim(
        id="C1a",
        says="Every honest proof is accepted; none is of a prover with another learning rate or other data.",
        source="Sec. 4, completeness",
        paper_value="always",
        measure=lambda r: r["accepted: honest"],
        at_least=1.0,
        control=lambda r: np.maximum(r["accepted: rate"], r["accepted: data"]),
    ),
    Claim(
        id="C1b",
        says="Every forged proof is rejected: one wrong entry of W', G_W, Z, G_A, A or G_Z, a remainder out of range, "
        "or a digit that is no bit.",
        source="Sec. 4, soundness",
        paper_value="but for a negligible chance",
        measure=lambda r: 1 - forged(r),
        at_least=1.0,
        control=lambda r: 1 - r["accepted: honest"],
    ),
    Claim(
        id="C2a",
        says="With layers stacked the sumchecks of 8 layers are at most 1.5 times as long as those of 2.",
        source="Sec. 5, FAC4DNN",
        paper_value="the factor L becomes log L",
        measure=lambda r: ratio(r, "stacked: sumcheck bytes"),
        at_most=1.5,
        log=True,
        control=lambda r: ratio(r, "sequential: sumcheck bytes"),
    ),
    Claim(
        id="C2b",
        says="Layer by layer they are at least 3 times as long.",
        source="Sec. 5, FAC4DNN",
        paper_value="a factor L",
        measure=lambda r: ratio(r, "sequential: sumcheck bytes"),
        at_least=3.0,
        log=True,
    ),
    Claim(
        id="C3a",
        says="The prover's time is about linear in the parameters: an exponent of at most 1.15 over widths 32 to 128.",
        source="cost analysis",
        paper_value="linear",
        measure=lambda r: slope(r, "width: prover seconds"),
        at_most=1.15,
    ),
    Claim(
        id="C3b",
        says="The verifier's grows about as the square root: an exponent of at most 0.7.",
        source="cost analysis",
        paper_value="square root (Hyrax)",
        measure=lambda r: slope(r, "width: verifier seconds"),
        at_most=0.7,
    ),
    Claim(
        id="C4",
        says="Training in integers with 8 bits after the point is within 1.5 points of float32.",
        source="experiments, fixed point with 16 bits",
        paper_value="about the same accuracy",
        measure=lambda r: r["accuracy integer"] - r["accuracy float"],
        at_least=-0.015,
    ),
    Claim(
        id="C5",
        says="A step of a network of 8 layers and 10 million parameters, batch 64, is proved in less than a second.",
        source="abstract",
        paper_value="less than 1 s on one GPU",
        full_scale_only="needs a GPU, and an elliptic curve of 255 bits in the place of the toy group",
    ),
)

ORACLES = (
    Oracle(
        says="a prover that trains at twice the learning rate, or on other data than committed, is rejected",
        holds=lambda r: (r["accepted: rate"] == 0) & (r["accepted: data"] == 0),
    ),
)


def plot(results, figure):
    size, seconds, growth = figure.subplots(1, 3)
    for name, style in (("stacked", "C0o-"), ("sequential", "C3s--")):
        layers = results[f"{name}: layers"][0]
        size.plot(layers, results[f"{name}: sumcheck bytes"].mean(0) / 1e3, style, label=f"{name}: sumchecks")
        size.plot(layers, results[f"{name}: proof bytes"].mean(0) / 1e3, style[:2] + ":", label=f"{name}: all")
        times = results[f"{name}: prover seconds"]
        seconds.plot(layers, times.mean(0), style, label=name)
        seconds.fill_between(layers, times.min(0), times.max(0), color=style[:2], alpha=0.15)
    size.set(xlabel="layers", ylabel="kB", title="Size of a proof", ylim=0)
    seconds.set(xlabel="layers", ylabel="s", title="Prover's time", ylim=0)
    parameters = results["width: parameters"][0]
    for part, style in (("prover", "C0o-"), ("verifier", "C2^-")):
        times = results[f"width: {part} seconds"]
        exponent = slope(results, f"width: {part} seconds").mean()
        growth.plot(parameters, times.mean(0), style, label=f"{part}: exponent {exponent:.2f}")
        growth.fill_between(parameters, times.min(0), times.max(0), color=style[:2], alpha=0.15)
    growth.set(xlabel="parameters, two layers", ylabel="s", title="Time by width", xscale="log", yscale="log")
    for axes, ticks in ((size, layers), (seconds, layers), (growth, parameters)):
        axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
    growth.tick_params(axis="x", which="minor", labelbottom=False)
    for axes in (size, seconds, growth):
        axes.legend(fontsize="small")
