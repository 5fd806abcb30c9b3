"""VanillaNet: the Power of Minimalism in Deep Learning (Chen et al., 2023; arXiv 2305.12972).

Claimed: a plain stack of pointwise convolutions and pools learns well if each layer is trained as two whose inner
activation fades away, and if activations are learned sums of shifted ReLUs; once trained it merges into half as many
layers, exactly, and is faster; networks with shortcuts, and deep ones, gain nothing from either trick.

One task: digits at random places among fragments of other digits, in noise. Its arms are the network without the
tricks, with each and with both; with both and shortcuts; and a residual network with and without them.

What came out, in 2.7 minutes on two cores: series activations make the network (56 % of the test pictures for 26 %:
without them nothing mixes places but the stem and the pools); merging is exact to 3e-6 and leaves 0.63 of the time. Of
4800 predictions one differs between the forms, of a picture whose two best classes are that close (C3a). The rest is
smaller than six seeds show: deep training moved the accuracy by -1 point (C2), both tricks that of the residual network
by 2 (C4a), shortcuts by 4 (C4b), each with 3 to 5 points of uncertainty.

Simplified against the paper: networks of 24 to 48 channels on 16x16 pictures for ImageNet, 400 updates of Adam for 300
epochs of LAMB, and the residual network is a small one, with 0.30 million products a picture for 0.27.

The preset `paper` is VanillaNet-5, and with `--depth` 6 to 13 the others, trained as by the official code: random crops
and flips, RandAugment, erased places, mixup or CutMix, smoothed labels, LAMB with its rate warmed up, and the sizes and
rates of each depth (those of 11 to 13 were not published: they have VanillaNet-10's). It wants ImageNet in class
folders, `train/<class>/` and `val/<class>/`. On the first run pictures to train on go into one file, 252 GB as bytes at
256x256, from which every update reads its own; the test pictures are 7.5 GB in memory. An update goes through eight
parts of 128 pictures, each with its own batch statistics, like the eight devices of the paper, and computes blocks
again in the backward pass. For each seed it takes about 7.2 GB of memory; seeds are spread over devices. What is left
of departures: pictures are drawn with replacement, crops are of the kept size and not of the file's, RandAugment moves
pixels bilinearly and not bicubically, numbers are float32 throughout, and the residual network is no ResNet-50.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxzoo import data
from jaxzoo.experiment import Claim, Oracle, Paper, setting
from jaxzoo.vision.augment import augment, normalised
from jaxzoo.vision.faded_training import faded_task
from jaxzoo.vision.mixing import mixed, smoothed
from jaxzoo.vision.residual_net import apply_residual_net, init_residual_net
from jaxzoo.vision.two_forms import compare_forms, time_forms
from jaxzoo.vision.vanillanet import apply_vanillanet, init_vanillanet
from jaxzoo.vision.vanillanet_recipes import RECIPES, Recipe, lamb, warmed_cosine

PAPER = Paper(
    title="VanillaNet: the Power of Minimalism in Deep Learning",
    authors="Chen, Wang, Guo, Tao",
    year=2023,
    arxiv="2305.12972",
    code="huawei-noah/VanillaNet (MIT)",
)


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: int = setting(6, "networks of each kind, all on the same pictures", low=1)
    images: str = setting(
        "clutter", "cluttered digits, or class folders in the data folder", choices=("clutter", "files")
    )
    train: int = setting(4000, "cluttered pictures to train on", low=10)
    test: int = setting(800, "cluttered pictures to test on", low=10)
    stored: int = setting(256, "side at which pictures from files are kept, pixels", low=8)
    side: int = setting(224, "of what the network sees of them, pixels", low=8)
    classes: int = setting(10, "of the pictures", low=2)
    depth: int = setting(0, "5 to 13: the sizes and rates of VanillaNet-5 to -13; 0: the four below", low=0, high=13)
    dims: tuple[int, ...] = setting((24, 48, 48, 48), "channels after the stem and each block", low=1)
    strides: tuple[int, ...] = setting((2, 2, 1), "of the blocks", low=1, high=2)
    rate: float = setting(3e-3, "peak learning rate, cosine to 0", low=0.0)
    decay: float = setting(0.0, "weight decay", low=0.0)
    stem: int = setting(2, "size and stride of the first convolution", low=1)
    n: int = setting(1, "radius of the series activation", low=1)
    residual: tuple[int, ...] = setting((12, 24), "channels of the residual network's stages; as many products", low=1)
    steps: int = setting(400, "updates", low=2)
    faded: float = setting(0.5, "share of the updates at which lam reaches 1", low=0.0, high=1.0)
    epoch: int = setting(1, "updates after which lam moves on; lamb is warmed up for five times as many", low=1)
    batch: int = setting(64, "pictures of an update", low=2)
    parts: int = setting(1, "an update's pictures in turn in so many parts, each with its own batch statistics", low=1)
    remat: bool = setting(False, "compute blocks again in the backward pass, to save memory")
    optimizer: str = setting("adam", "adam on cross-entropy, lamb on binary cross-entropy", choices=("adam", "lamb"))
    dropout: float = setting(0.0, "before the head", low=0.0, high=0.9)
    average: float = setting(0.0, "decay of the average of weights that is evaluated; 0 for none", low=0.0, high=1.0)
    timed: int = setting(256, "pictures in a batch that is timed", low=1)


PRESETS = {
    "smoke": Config(1, train=100, test=100, dims=(8,), strides=(), residual=(4,), steps=10, timed=16),
    "default": Config(),
    "paper": Config(3, "files", classes=1000, depth=5, stem=4, n=3, residual=(64, 128, 256, 512), steps=375_300,
                    faded=1 / 3, epoch=1251, batch=1024, parts=8, remat=True, optimizer="lamb", dropout=0.05,
                    average=0.99996),
}  # fmt: skip

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
    sampler, test = load(config, runner)
    results = {}
    for arm, options in ARMS.items():
        task = arm_task(config, sampler, test, **{k: v for k, v in options.items() if k != "fade"})
        fade = np.full(runner.seeds, config.faded * config.steps if options.get("fade") else 0.0, np.float32)
        trained = runner.train(f"net/{arm.replace(' ', '-')}", task, config.steps, fade)
        results |= {arm: trained.evaluations["accuracy"][:, -1], f"lam {arm}": trained.evaluations["lam"][:, -1]}
        if arm == "both":
            results |= forms(config, runner, jnp.asarray(test[0]), trained.state.average)
    return results


def forms(config, runner, pictures, net):
    """The trained form against the merged one, on test pictures."""
    strides = recipe_of(config).strides
    x = seen(jnp.resize(pictures[: config.timed], (config.timed, *pictures.shape[1:])))
    compare = lambda key, net: compare_forms(*net, pictures, strides=strides, prepare=seen)  # noqa: E731
    timed = runner.each("timing", lambda key, net: time_forms(*net, x, strides=strides), net)
    return runner.map("merge", compare, net) | timed


def recipe_of(config):
    own = Recipe(config.dims, config.strides, config.rate, config.decay, mixup=0.1)
    return RECIPES[config.depth] if config.depth else own


def cluttered(config, runner):
    """A sampler of training pictures [b, 16, 16, 1] in [0, 1]; and test pictures, of other digits, and their labels."""
    train, test = data.split(data.digits(), 0, (1000, 797))
    drawn = []
    for part, count, key in ((train, config.train, 0), (test, config.test, 1)):
        x, y, _ = data.cluttered_digits(jax.random.key(key), part.x, part.y, count)
        drawn.append((x[..., None], y))
    return data.sampler(*drawn[0], config.batch // config.parts), drawn[1]


def from_files(config, runner):
    """A sampler of training pictures that stay on the disk; and test pictures as bytes, and their labels."""
    folder = data.data_folder(runner.data_dir)
    test = data.image_folder(folder, "val", side=config.side, bicubic=True)
    store = data.image_store(folder, "train", side=config.stored)
    return augmented(config, streamed(store, config.batch // config.parts)), (test.x, test.y)


def streamed(store, batch):
    """`draw(key) -> (pictures [b, side, side, 3] uint8, labels [b], width over height [b])`, with replacement."""
    shape = jax.ShapeDtypeStruct((batch, *store.x.shape[1:]), np.uint8)
    y, aspect = jnp.asarray(store.y), jnp.asarray(store.aspect)

    def draw(key):
        chosen = jax.random.randint(key, (batch,), 0, len(y))
        # Compiled code asks the host for them: they are all that a training can't hold.
        x = jax.pure_callback(lambda i: store.x[np.asarray(i)], shape, chosen, vmap_method="broadcast_all")
        return x, y[chosen], aspect[chosen]

    return draw


def augmented(config, draw):
    """A sampler of pictures as the network is trained on them, in pairs, and their targets [b, classes]."""

    def sample(key):
        key_draw, key_pictures, key_pairs = jax.random.split(key, 3)
        x, labels, aspect = draw(key_draw)
        change = lambda key, x, aspect: augment(key, x, config.side, aspect=aspect)  # noqa: E731
        x = jax.vmap(change)(jax.random.split(key_pictures, len(x)), x, aspect)
        return mixed(key_pairs, x, smoothed(labels, config.classes), alpha=recipe_of(config).mixup)

    return sample


def seen(x):
    """Pictures as the network sees them: bytes are normalised."""
    return normalised(x) if x.dtype == jnp.uint8 else x


def arm_task(config, sampler, test, *, n=None, shortcuts=False, residual=False):
    """The training of one arm on what `sampler` draws; `test` is (pictures, labels)."""
    recipe, channels, n = recipe_of(config), test[0].shape[-1], config.n if n is None else n
    sizes = {"channels": channels, "classes": config.classes, "n": n}
    if residual:
        init = partial(init_residual_net, **sizes, dims=config.residual, tricks=n > 0)
        apply = lambda *args, train, key=None: apply_residual_net(*args, train=train)  # noqa: E731
    else:
        init = partial(init_vanillanet, **sizes, dims=recipe.dims, strides=recipe.strides, stem=config.stem)
        options = {"shortcuts": shortcuts, "remat": config.remat, "dropout": config.dropout}
        apply = partial(apply_vanillanet, strides=recipe.strides, **options)
    if config.optimizer == "lamb":
        warmup = min(5 * config.epoch, config.steps // 2)
        layer_decay = 1.0 if residual else recipe.layer_decay
        optimizer = lamb(warmed_cosine(recipe.rate, config.steps, warmup), recipe.decay, layer_decay=layer_decay)
        loss = binary_cross_entropy
    else:
        optimizer = optax.adamw(optax.cosine_decay_schedule(recipe.rate, config.steps), weight_decay=recipe.decay)
        loss = cross_entropy

    def evaluate(params, batch, lam):
        logits = jax.lax.map(lambda x: apply(params, batch, seen(x), lam, train=False)[0], test[0], batch_size=400)
        return {"accuracy": (logits.argmax(-1) == test[1]).mean(), "lam": lam}

    return faded_task(
        init,
        apply,
        sampler,
        optimizer,
        loss,
        decay=config.average,
        parts=config.parts,
        every=config.epoch,
        evaluate=evaluate,
    )


def cross_entropy(logits, targets):
    if targets.ndim == 1:
        return optax.losses.softmax_cross_entropy_with_integer_labels(logits, targets).mean()
    return optax.losses.softmax_cross_entropy(logits, targets).mean()


def binary_cross_entropy(logits, targets):
    targets = jax.nn.one_hot(targets, logits.shape[-1]) if targets.ndim == 1 else targets
    return optax.losses.sigmoid_binary_cross_entropy(logits, targets).mean()


def full_scale(config):
    """The training of VanillaNet on blank pictures."""
    batch, side = config.batch // config.parts, config.stored
    blank = lambda key: (jnp.zeros((batch, side, side, 3), jnp.uint8), jnp.zeros(batch, int), jnp.ones(batch))  # noqa: E731
    test = jnp.zeros((1, config.side, config.side, 3), jnp.uint8), jnp.zeros(1, int)
    task = arm_task(config, augmented(config, blank), test)
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
    bars.set(xlim=(0, 100), xlabel="test accuracy, %", title="VanillaNet, and a residual network (grey)")
    bars.set_yticks(range(len(ARMS)), list(ARMS))
    bars.invert_yaxis()
    rows = [
        [
            f"{results[f'layers {form}'].mean():.0f}",
            f"{results[f'parameters {form}'].mean():,.0f}",
            f"{1e3 * results[f'seconds {form}'].mean():.2f}",
        ]
        for form in ("trained", "deployed")
    ]
    table.axis("off")
    columns = ["layers", "parameters", "ms a batch"]
    shown = table.table(rows, rowLabels=["trained", "merged"], colLabels=columns, loc="center", cellLoc="center")
    shown.scale(1, 2)
    table.set_title("The two forms of the network")
