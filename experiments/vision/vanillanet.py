"""VanillaNet: the Power of Minimalism in Deep Learning (Chen et al., 2023; arXiv 2305.12972).

Claimed: a plain stack of pointwise convolutions and pools learns well if each layer is trained as two whose inner
activation fades away, and if activations are learned sums of shifted ReLUs; once trained it merges into half as many
layers, exactly, and is faster; networks with shortcuts, and deep ones, gain nothing from either trick.

One task: digits at random places among fragments of other digits, in noise. Its arms are the network without the
tricks, with each and with both; with both and shortcuts; and a residual network with and without them.

What came out, in 3 minutes on two cores that others used too: series activations make the network (54 % of the test
pictures for 26 %: without them nothing mixes places but the stem and the pools); merging is exact to 3e-6 and leaves
0.66 of the time. The rest is smaller than six seeds show (C2, C4b: a spread of 4 to 7 points), but for the residual
network, which did gain 3.5 points from both tricks, more than was allowed for, if by an interval too wide to be sure
(C4a).

Simplified against the paper: networks of 24 to 48 channels on 16x16 pictures for ImageNet, 400 updates of Adam for 300
epochs of LAMB, and the residual network is a small one, with 0.30 million products a picture for 0.27. The preset
`paper` is VanillaNet-5 on pictures in class folders, without RandAugment and mixup; it keeps them in memory, 193 GB for
ImageNet, and an update takes about 710 GB of memory as traced, spread over devices; what a compiler reuses is not
counted.
"""

import dataclasses
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxzoo import data
from jaxzoo.experiment import Claim, Oracle, Paper, setting
from jaxzoo.vision.faded_training import faded_task
from jaxzoo.vision.residual_net import apply_residual_net, init_residual_net
from jaxzoo.vision.vanillanet import apply_deployed, apply_vanillanet, deploy, init_vanillanet, merged

PAPER = Paper(
    title="VanillaNet: the Power of Minimalism in Deep Learning",
    authors="Chen, Wang, Guo, Tao",
    year=2023,
    arxiv="2305.12972",
    code="huawei-noah/VanillaNet (MIT)",
)


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: int = setting(6, "networks of each kind, and sets of pictures", low=1)
    images: str = setting(
        "clutter", "cluttered digits, or class folders in the data folder", choices=("clutter", "files")
    )
    train: int = setting(4000, "cluttered pictures to train on", low=10)
    test: int = setting(800, "cluttered pictures to test on", low=10)
    side: int = setting(224, "of pictures from files, pixels", low=8)
    classes: int = setting(10, "of the pictures", low=2)
    dims: tuple[int, ...] = setting((24, 48, 48, 48), "channels after the stem and each block", low=1)
    strides: tuple[int, ...] = setting((2, 2, 1), "of the blocks", low=1, high=2)
    stem: int = setting(2, "size and stride of the first convolution", low=1)
    n: int = setting(1, "radius of the series activation", low=1)
    residual: tuple[int, ...] = setting((12, 24), "channels of the residual network's stages; as many products", low=1)
    steps: int = setting(400, "updates", low=2)
    faded: float = setting(0.5, "share of the updates at which lam reaches 1", low=0.0, high=1.0)
    batch: int = setting(64, "pictures of an update", low=2)
    optimizer: str = setting("adam", "adam on cross-entropy, lamb on binary cross-entropy", choices=("adam", "lamb"))
    rate: float = setting(3e-3, "peak learning rate, cosine to 0", low=0.0)
    decay: float = setting(0.0, "weight decay", low=0.0)
    dropout: float = setting(0.0, "before the head", low=0.0, high=0.9)
    average: float = setting(0.0, "decay of the average of weights that is evaluated; 0 for none", low=0.0, high=1.0)
    timed: int = setting(256, "pictures in a batch that is timed", low=1)


PRESETS = {
    "smoke": Config(1, train=100, test=100, dims=(8,), strides=(), residual=(4,), steps=10, timed=16),
    "default": Config(),
    "paper": Config(
        3,
        "files",
        classes=1000,
        dims=(512, 1024, 2048, 4096),
        strides=(2, 2, 2),
        stem=4,
        n=3,
        residual=(64, 128, 256, 512),
        steps=375_000,
        faded=1 / 3,
        batch=1024,
        optimizer="lamb",
        rate=3.5e-3,
        decay=0.35,
        dropout=0.05,
        average=0.99996,
    ),
}

ARMS = {
    "none": {"n": 0},
    "deep": {"n": 0, "fade": True},
    "series": {},
    "both": {"fade": True},
    "shortcuts": {"fade": True, "shortcuts": True},
    "residual": {"residual": True, "n": 0},
    "residual both": {"residual": True, "fade": True},
}


def run(config, runner):
    load = cluttered if config.images == "clutter" else from_files
    train, test = load(config, runner)
    results = {}
    for arm, options in ARMS.items():
        task = arm_task(config, train, test, **{k: v for k, v in options.items() if k != "fade"})
        fade = np.full(runner.seeds, config.faded * config.steps if options.get("fade") else 0.0, np.float32)
        trained = runner.train(f"net/{arm.replace(' ', '-')}", task, config.steps, fade)
        results |= {arm: trained.evaluations["accuracy"][:, -1], f"lam {arm}": trained.evaluations["lam"][:, -1]}
        if arm == "both":
            net = trained.state.average, trained.state.batch
            results |= runner.map("merge", partial(compare_forms, config, test), *net)
            results |= runner.each("timing", partial(time_forms, config, test), *net)
    return results


def cluttered(config, runner):
    """Training and test pictures [n, 16, 16, 1] in [0, 1], of different digits, and their labels."""
    train, test = data.split(data.digits(), 0, (1000, 797))
    drawn = []
    for part, count, key in ((train, config.train, 0), (test, config.test, 1)):
        x, y, _ = data.cluttered_digits(jax.random.key(key), part.x, part.y, count)
        drawn.append((x[..., None], y))
    return drawn


def from_files(config, runner):
    """Training and test pictures as bytes, from class folders."""
    folder = data.data_folder(runner.data_dir)
    return [(part.x, part.y) for part in (data.image_folder(folder, p, side=config.side) for p in ("train", "val"))]


def arm_task(config, train, test, *, n=None, shortcuts=False, residual=False):
    """The training of one arm; `train` and `test` are (pictures, labels), the former may be a sampler."""
    channels = test[0].shape[-1]
    n = config.n if n is None else n
    if residual:
        init = partial(
            init_residual_net, channels=channels, classes=config.classes, dims=config.residual, tricks=n > 0, n=n
        )
        apply = lambda *args, train, key=None: apply_residual_net(*args, train=train)  # noqa: E731
    else:
        init = partial(init_vanillanet, **net_options(config, channels) | {"n": n})
        apply = partial(apply_vanillanet, strides=config.strides, shortcuts=shortcuts, dropout=config.dropout)
    sampler = train if callable(train) else data.sampler(*train, config.batch)
    schedule = optax.cosine_decay_schedule(config.rate, config.steps)
    lamb = config.optimizer == "lamb"
    optimizer = (
        optax.lamb(schedule, weight_decay=config.decay) if lamb else optax.adamw(schedule, weight_decay=config.decay)
    )

    def evaluate(params, batch, lam):
        logits = jax.lax.map(lambda x: apply(params, batch, scaled(x), lam, train=False)[0], test[0], batch_size=400)
        return {"accuracy": (logits.argmax(-1) == test[1]).mean(), "lam": lam}

    def sample(key):
        x, y = sampler(key)
        return scaled(x), y

    loss = binary_cross_entropy if lamb else cross_entropy
    return faded_task(init, apply, sample, optimizer, loss, decay=config.average, evaluate=evaluate)


def scaled(x):
    """Bytes to numbers from 0 to 1."""
    return x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x


def cross_entropy(logits, labels):
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def binary_cross_entropy(logits, labels):
    return optax.losses.sigmoid_binary_cross_entropy(logits, jax.nn.one_hot(labels, logits.shape[-1])).mean()


def net_options(config, channels):
    return {
        "channels": channels,
        "classes": config.classes,
        "dims": config.dims,
        "strides": config.strides,
        "n": config.n,
        "stem": config.stem,
    }


def compare_forms(config, test, key, params, batch):
    """How far the merged form is from the trained one; and from one whose activations have faded by half alone."""
    x = scaled(test[0])
    trained, half = (apply_vanillanet(params, batch, x, lam, strides=config.strides)[0] for lam in (1.0, 0.5))
    flat = deploy(params, batch)
    logits = apply_deployed(flat, x, strides=config.strides)
    count = lambda tree: np.float32(sum(leaf.size for leaf in jax.tree.leaves(tree)))  # noqa: E731
    return {
        "same prediction": (logits.argmax(-1) == trained.argmax(-1)).mean(),
        "difference": jnp.abs(logits - trained).max(),
        "difference at half": jnp.abs(apply_deployed(merged(params, batch), x, strides=config.strides) - half).max(),
        "parameters trained": count(params),
        "parameters deployed": count(flat),
    }


def time_forms(config, test, key, params, batch):
    """Seconds of a forward pass of either form, compiled: the fastest of 30, one after the other in turn."""
    x = jnp.resize(scaled(test[0]), (config.timed, *test[0].shape[1:]))
    forms = {
        "trained": (lambda net, x: apply_vanillanet(*net, x, 1.0, strides=config.strides)[0], (params, batch)),
        "deployed": (partial(apply_deployed, strides=config.strides), deploy(params, batch)),
    }
    compiled = {name: (jax.jit(f).lower(net, x).compile(), net) for name, (f, net) in forms.items()}
    seconds = {name: [] for name in compiled}
    for _ in range(30):
        for name, (f, net) in compiled.items():
            begin = time.perf_counter()
            jax.block_until_ready(f(net, x))
            seconds[name].append(time.perf_counter() - begin)
    return {f"seconds {name}": min(times) for name, times in seconds.items()}


def full_scale(config):
    """The training of VanillaNet on blank pictures."""
    images = jax.ShapeDtypeStruct((config.batch, config.side, config.side, 3), jnp.uint8)
    blank = lambda key: (jnp.zeros(images.shape, images.dtype), jnp.zeros(config.batch, int))  # noqa: E731
    test = jnp.zeros((1, config.side, config.side, 3), jnp.uint8), jnp.zeros(1, int)
    task = arm_task(config, blank, test)
    return {"both": task._replace(init=lambda key: task.init(key, config.faded * config.steps))}


CLAIMS = (
    Claim(
        id="C1",
        says="Series activations alone raise the accuracy of the plain network.",
        source="ablation on ImageNet, VanillaNet-6",
        paper_value="60.5 to 76.4 % with deep training",
        measure=lambda r: r["series"] - r["none"],
        at_least=0.05,
        no_effect=0.0,
    ),
    Claim(
        id="C2",
        says="Deep training raises it further, on top of series activations.",
        source="ablation on ImageNet, VanillaNet-6",
        paper_value="75.2 to 76.4 %; 59.6 to 60.5 % without series activations",
        measure=lambda r: r["both"] - r["series"],
        at_least=0.005,
        no_effect=0.0,
    ),
    Claim(
        id="C3a",
        says="The merged network makes the same prediction on every test picture.",
        source="Sec. 3.1",
        paper_value="the same network",
        measure=lambda r: r["same prediction"],
        at_least=1.0,
    ),
    Claim(
        id="C3b",
        says="Its logits are those of the trained one, which they are not before the activations have faded.",
        source="Sec. 3.1",
        paper_value="the same network",
        measure=lambda r: r["difference"],
        at_most=1e-3,
        control=lambda r: r["difference at half"],
    ),
    Claim(
        id="C3c",
        says="It takes at most 0.8 of the time of the training form.",
        source="Table 3",
        paper_value="half the layers",
        measure=lambda r: r["seconds deployed"] / r["seconds trained"],
        at_most=0.8,
        no_effect=1.0,
        log=True,
    ),
    Claim(
        id="C4a",
        says="A residual network gains little from both tricks.",
        source="ablation on ImageNet, ResNet-50",
        paper_value="76.1 to 76.3 %",
        measure=lambda r: r["residual both"] - r["residual"],
        at_most=0.015,
    ),
    Claim(
        id="C4b",
        says="VanillaNet gains little from shortcuts.",
        source="ablation on shortcuts",
        paper_value="no gain",
        measure=lambda r: r["shortcuts"] - r["both"],
        at_most=0.005,
    ),
    Claim(
        id="C5",
        says="VanillaNet-6 classifies ImageNet as well as deep networks do, in 2 ms.",
        source="Table 4",
        paper_value="76.36 % at 2.0 ms on a GPU",
        full_scale_only="ImageNet and a GPU; the preset paper has the sizes",
    ),
)

ORACLES = (
    Oracle(
        says="every fading activation has become the identity when training ends",
        holds=lambda r: np.all([r[f"lam {arm}"] == 1 for arm in ARMS], axis=0),
    ),
)


def plot(results, figure):
    bars, table = figure.subplots(1, 2, width_ratios=(1.6, 1))
    for i, arm in enumerate(ARMS):
        accuracy = 100 * results[arm]
        color = "0.7" if arm.startswith("residual") else "C0"
        bars.barh(i, accuracy.mean(), color=color)
        bars.plot(accuracy, np.full(len(accuracy), i), "k.", markersize=4)
    low = 100 * min(results[arm].min() for arm in ARMS)
    bars.set(xlim=(max(0, low - 5), 100), xlabel="test accuracy, %", title="VanillaNet, and a residual network (grey)")
    bars.set_yticks(range(len(ARMS)), list(ARMS))
    bars.invert_yaxis()
    rows = [
        [f"{results[f'parameters {form}'].mean():,.0f}", f"{1e3 * results[f'seconds {form}'].mean():.2f}"]
        for form in ("trained", "deployed")
    ]
    table.axis("off")
    shown = table.table(
        rows, rowLabels=["as trained", "merged"], colLabels=["parameters", "ms a batch"], loc="center", cellLoc="center"
    )
    shown.scale(1, 2)
    table.set_title("The two forms of the network")
