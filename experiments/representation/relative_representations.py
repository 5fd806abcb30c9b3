"""Relative representations enable zero-shot latent space communication (Moschella et al., 2022; arXiv 2209.15430).

Claimed: an encoder trained from one seed can feed a decoder trained from another, with no training in between, if every
point is described by its cosines to a fixed set of anchor samples; the description costs little accuracy, aligns word
vectors of different origin, and its similarity to a good model's predicts how good a model is.

Three parts: autoencoders and classifiers of handwritten digits, stitched across seeds and architectures; two kinds of
word vectors of English technical prose; graph convolutional networks of varied quality on a random graph.

What came out: all of it, at the default size, in 1 to 1.5 minutes on two cores. An orthogonal map fitted on the same
anchors (Procrustes) stitches better still: what relative representations spare is the fit, and the equal widths.

Simplified against the paper: small dense networks for its CNNs and transformers, digits for MNIST and CIFAR, PPMI and
skip-gram vectors for fastText and word2vec, a stochastic block graph for Cora. The preset `paper` reads MNIST.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxzoo import data
from jaxzoo.experiment import Claim, Paper, setting
from jaxzoo.layers import MLP
from jaxzoo.model import Model
from jaxzoo.representation import relative_representations as rr
from jaxzoo.representation.latent_spaces import jaccard_at, mrr, procrustes, ridge
from jaxzoo.representation.varied_gcns import correlations, varied_gcns
from jaxzoo.representation.word_vectors import ppmi_svd, skipgram_negative_sampling
from jaxzoo.train import supervised
from jaxzoo.transforms import as_model

PAPER = Paper(
    title="Relative representations enable zero-shot latent space communication",
    authors="Moschella, Maiorano, Fumero, Norelli, Locatello, Rodolà",
    year=2022,
    arxiv="2209.15430",
    code="lucmos/relreps (MIT)",
)


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: int = setting(5, "networks of each kind; every ordered pair of them is stitched", low=2)
    images: str = setting("digits", "8x8 digits, or MNIST from the data folder", choices=("digits", "mnist"))
    steps: int = setting(1000, "updates of an autoencoder, and of a classifier", low=1)
    batch: int = setting(128, "samples of an update", low=1)
    rate: float = setting(1e-3, "Adam's learning rate", low=0.0)
    anchors: int = setting(150, "k, the number of anchors; 300 to 500 in the paper", low=1, high=400)
    sweep: tuple[int, ...] = setting((2, 5, 10, 30, 400), "other k, for the curve", low=1, high=400)
    others: tuple[str, ...] = setting(("relu", "deep"), "other encoders to stitch from", choices=("relu", "deep"))
    vocabulary: int = setting(1200, "most frequent words that get a vector", low=20)
    dim: int = setting(64, "size of a word vector", low=1)
    epochs: int = setting(6, "passes of the skip-gram over all pairs of neighbours", low=1)
    graphs: int = setting(30, "graph networks of varied quality, beside the reference", low=3)
    graph_steps: int = setting(200, "updates of a graph network, at most", low=2)


PRESETS = {
    "smoke": Config(
        2, steps=30, anchors=20, sweep=(), others=(), vocabulary=60, dim=8, epochs=1, graphs=4, graph_steps=20
    ),
    "default": Config(),
    "paper": Config(seeds=10, images="mnist", steps=20_000, anchors=300, epochs=20, graphs=300, graph_steps=500),
}

ENCODERS = {"tanh": ((128, 32), jnp.tanh), "relu": ((128, 48), jax.nn.relu), "deep": ((128, 64, 32), jnp.tanh)}
WINDOW, NEGATIVES, PAIRS = 3, 5, 1024
cross_entropy = optax.losses.softmax_cross_entropy_with_integer_labels


def squared_error(y_hat, y):
    return jnp.square(y_hat - y).mean()


def correct(logits, label):
    return (jnp.argmax(logits) == label).astype(jnp.float32)


def encoder(name="tanh"):
    widths, activation = ENCODERS[name]
    return as_model(MLP(widths, activation))


def decoder(pixels):
    mlp = as_model(MLP((128, pixels), jnp.tanh))
    return Model(mlp.init, lambda params, x, *, key=None: jax.nn.sigmoid(mlp.apply(params, x)))


def compose(encoder, head, anchors):
    return rr.absolute_model(encoder, head) if anchors is None else rr.relative_model(encoder, head, anchors)


def run(config, runner):
    return images(config, runner) | words(config, runner) | graphs(config, runner)


def images(config, runner):
    """Autoencoders and classifiers, stitched. Tables are [s, s]: row the encoder's seed, column the head's."""
    train, test = load_images(config, runner)
    x, x_test = jnp.asarray(train.x), jnp.asarray(test.x)
    key_anchors, key_permute = jax.random.split(jax.random.key(0))
    chosen = x[rr.select_anchors(key_anchors, x, min(400, len(x)))]
    anchors = chosen[: config.anchors]
    one_class = x[np.flatnonzero(train.y == 0)[: config.anchors]]

    def fit_autoencoder(arm, anchors, name="tanh"):
        model = compose(encoder(name), decoder(x.shape[1]), anchors)
        task = supervised(model, squared_error, data.sampler(x, x, config.batch), optax.adam(config.rate))
        return model, runner.train(f"autoencoder/{arm}", task, config.steps).state.params

    def table(arm, model, heads, encoders=None, measure=squared_error, y=x_test):
        row = rr.stitch_to(model, heads, measure, x_test, y)
        return runner.map(f"stitch/{arm}", row, heads if encoders is None else encoders)

    absolute, absolute_nets = fit_autoencoder("absolute", None)
    relative, relative_nets = fit_autoencoder("relative", anchors)
    shuffled = compose(encoder(), decoder(x.shape[1]), jax.random.permutation(key_permute, anchors))
    untrained = runner.map("untrained", lambda key: relative.init(key, x[0]))
    results = {
        "absolute": table("absolute", absolute, absolute_nets),
        "relative": table("relative", relative, relative_nets),
        "permuted": table("permuted", shuffled, relative_nets),
        "untrained": table("untrained", relative, relative_nets, untrained),
        "one_class": table("one_class", *fit_autoencoder("one_class", one_class)),
    }
    for name, fit in (("procrustes", procrustes), ("ridge", ridge)):
        row = rr.transport_to(fit, encoder(), decoder(x.shape[1]), anchors, x_test, absolute_nets)
        results[name] = runner.map(f"transport/{name}", row, absolute_nets)
    sweep = {k: table(f"k{k}", *fit_autoencoder(f"k{k}", chosen[:k])) for k in config.sweep}
    sweep[config.anchors] = results["relative"]
    results["sweep_k"] = np.tile(list(sweep), (runner.seeds, 1))
    results["sweep"] = np.stack([others(t) for t in sweep.values()], axis=1)  # [s, len(sweep)]
    for name in config.others:
        model, nets = fit_autoencoder(name, anchors, name)
        encode = compose(encoder(name), decoder(x.shape[1]), anchors)
        results[f"{name}_to_tanh"] = runner.map(
            f"stitch/{name}-to-tanh", rr.stitch_to(encode, relative_nets, squared_error, x_test, x_test), nets
        )
    for arm, a, nets in (("absolute", None, absolute_nets), ("relative", anchors, relative_nets)):
        model = compose(encoder(), as_model(MLP((64, 10), jnp.tanh)), a)
        sampler = data.sampler(x, train.y, config.batch)
        task = rr.on_frozen_encoder(model, cross_entropy, sampler, optax.adam(config.rate))
        heads = runner.train(f"classifier/{arm}", task, config.steps, nets["encoder"]).state.params
        results[f"accuracy_{arm}"] = table(f"accuracy-{arm}", model, heads, None, correct, jnp.asarray(test.y))
    return results


def load_images(config, runner):
    """Training and test set, flattened."""
    if config.images == "mnist":
        train, test = data.mnist_idx(data.data_folder(runner.data_dir))
    else:
        train, test = data.split(data.digits(), 0, (1297, 500))
    return [part._replace(x=part.x.reshape(len(part.x), -1)) for part in (train, test)]


def words(config, runner):
    """Two kinds of vectors for the most frequent words of English technical prose, compared through anchors."""
    tokens, _ = data.words(data.pydoc_topics(), config.vocabulary + 1)
    tokens = jnp.asarray(tokens[tokens < config.vocabulary])  # the last id stands for all other words
    counted = ppmi_svd(tokens, config.vocabulary, WINDOW, config.dim)  # [v, d]
    task = skipgram_negative_sampling(
        tokens, config.vocabulary, optax.adam(3e-3), dim=config.dim, window=WINDOW, negatives=NEGATIVES, batch=PAIRS
    )
    steps = max(1, config.epochs * 2 * WINDOW * len(tokens) // PAIRS)
    predicted = runner.train("words/skipgram", task, steps).state.vectors[0]

    def compare(key, predicted):
        key_anchors, key_permute = jax.random.split(key)
        index = rr.select_anchors(key_anchors, counted, min(config.anchors, config.vocabulary // 2))
        x, y = (rr.relative(e, e[index]) for e in (counted, predicted))
        apart = rr.relative(predicted, predicted[jax.random.permutation(key_permute, index)])
        return {
            "mrr_absolute": mrr(counted, predicted),
            "mrr_relative": mrr(x, y),
            "mrr_permuted": mrr(x, apart),
            "jaccard_absolute": jaccard_at(counted, predicted),
            "jaccard_relative": jaccard_at(x, y),
        }

    return runner.map("words/compare", compare, predicted)


def graphs(config, runner):
    """Graph networks of varied quality: how well the similarity to a good one tells the accuracy."""
    trained = runner.train("graphs/gcn", varied_gcns(config.graphs, config.graph_steps), config.graph_steps).state
    return runner.map("graphs/compare", correlations, trained)


def own(table):
    """[s] of a table [s, s]: encoder and head of the same network."""
    return np.diagonal(table)


def others(table):
    """[s] of a table [s, s]: the mean over heads of other networks."""
    return (np.sum(table, axis=1) - own(table)) / (len(table) - 1)


CLAIMS = (
    Claim(
        id="C1a",
        says="Stitched autoencoders reconstruct far better through relative representations than absolute ones.",
        source="Sec. 5.1, reconstruction table",
        paper_value="stitching error falls by up to two orders of magnitude",
        measure=lambda r: others(r["relative"]) / others(r["absolute"]),
        at_most=0.35,
        no_effect=1.0,
        log=True,
        control=lambda r: others(r["permuted"]) / others(r["absolute"]),
    ),
    Claim(
        id="C1b",
        says="Relative stitching costs a small factor over the network's own decoder.",
        source="Sec. 5.1, reconstruction table",
        paper_value="a small factor",
        measure=lambda r: others(r["relative"]) / own(r["relative"]),
        at_most=8.0,
        log=True,
    ),
    Claim(
        id="C1c",
        says="A classifier head works on another network's relative representations without training.",
        source="Sec. 5.2",
        paper_value="close to the unstitched accuracy",
        measure=lambda r: others(r["accuracy_relative"]),
        at_least=0.8,
    ),
    Claim(
        id="C1d",
        says="It does not on another network's absolute representations.",
        source="Sec. 5.2",
        paper_value="close to chance",
        measure=lambda r: others(r["accuracy_absolute"]),
        at_most=0.3,
    ),
    Claim(
        id="C2a",
        says="Unstitched, a relative classifier is about as accurate as an absolute one.",
        source="comparison of absolute and relative models",
        paper_value="within about a point",
        measure=lambda r: own(r["accuracy_relative"]) - own(r["accuracy_absolute"]),
        at_least=-0.015,
    ),
    Claim(
        id="C2b",
        says="Unstitched, a relative autoencoder reconstructs about as well as an absolute one.",
        source="comparison of absolute and relative models",
        paper_value="about equal",
        measure=lambda r: own(r["relative"]) / own(r["absolute"]),
        at_most=1.6,
        log=True,
    ),
    Claim(
        id="C3a",
        says="Absolute word vectors of different origin are not comparable: a word does not find itself.",
        source="Table 1",
        paper_value="MRR 0.00",
        measure=lambda r: r["mrr_absolute"],
        at_most=0.02,
    ),
    Claim(
        id="C3b",
        says="Relative ones are: a word finds itself in the other space.",
        source="Table 1",
        paper_value="MRR 0.94 to 0.98",
        measure=lambda r: r["mrr_relative"],
        at_least=0.3,
        control=lambda r: r["mrr_permuted"],
    ),
    Claim(
        id="C3c",
        says="Its neighbourhood in the other space is partly the same.",
        source="Table 1",
        paper_value="Jaccard@10 0.35 to 0.39",
        measure=lambda r: r["jaccard_relative"],
        at_least=0.1,
    ),
    Claim(
        id="C4",
        says="The similarity of a network's relative representation to that of a good one predicts its accuracy.",
        source="Fig. 4",
        paper_value="correlation about 0.95 (Cora)",
        measure=lambda r: r["correlation"],
        at_least=0.6,
    ),
)


def plot(results, figure):
    tables, curve = figure.subfigures(1, 2, width_ratios=(1.5, 1))
    tables.suptitle("Stitching error, by seed of encoder and decoder")
    shared = {
        "norm": "log",
        "vmin": results["relative"].min(),
        "vmax": results["absolute"].max(),
        "cmap": "viridis_r",
    }
    panels = tables.subplots(1, 2)
    for axes, name in zip(panels, ("absolute", "relative"), strict=True):
        shown = axes.imshow(results[name], **shared)
        axes.set(title=name, xlabel="decoder", ylabel="encoder")
    tables.colorbar(shown, ax=list(panels), label="mean squared error", location="bottom", shrink=0.7)
    axes = curve.subplots()
    known = dict(zip(results["sweep_k"][0], results["sweep"].T, strict=True))
    k = sorted(known)
    axes.plot(k, [known[i].mean() for i in k], "o-", label="relative")
    axes.fill_between(k, [known[i].min() for i in k], [known[i].max() for i in k], alpha=0.3)
    for name, style in (("absolute", "C3-"), ("procrustes", "C2--"), ("permuted", "C1:")):
        axes.axhline(others(results[name]).mean(), color=style[:2], linestyle=style[2:], label=name)
    axes.axhline(own(results["relative"]).mean(), color="0.5", linestyle="--", label="relative, own decoder")
    axes.set(xscale="log", yscale="log", xlabel="number of anchors k", ylabel="stitched mean squared error")
    axes.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
