"""Transcoders Find Interpretable LLM Feature Circuits (Dunefsky, Chlenski, Nanda, 2024; arXiv 2406.11944).

Claimed: a wide, sparse ReLU layer that is trained to compute what an MLP computes takes the MLP's place at least as
well as a sparse autoencoder of its output does; what excites a feature can be read from the weights; and attributions
between features split exactly into weights and activations, which gives circuits.

Two hosts: a character model of English technical prose, whose second MLP is replaced; and a network whose circuit is
known, "a b :" -> c > b.

What came out, in 2.5 minutes on two cores: at equal numbers of active features transcoders cost no more than
autoencoders, and 40 of 512 features recover 0.96 of the MLP; attributions are exact to 1e-6. The rest did not:

- From about 25 features on the MLP's own neurons (of 256) do as well or better, whatever the dictionary (C1c, C1d).
- De-embeddings predict the top characters above chance (0.22 against 0.09), far from half: in this host the first
  attention writes ten times the embedding's length, so the direct effect of a token is a small part of what a feature
  reads. Scaling the rows of the embedding to length 1 changes nothing; in a pilot on another key, with the mean input
  at each character in the embedding's place, the same encoder scored 0.69. A host with random weights is no negative
  control: there the de-embedding does as well (0.25), since it is a property of linear maps, not of training (C2c).
- Greater-than: the constant answer (no feature kept) already has 0.74 of the host's score, because large c are more
  frequent, so no set of features can retain as little as 30 %; and the 16 of largest mean direct effect keep less than
  16 at random, for they favour large numbers whatever b is. Their de-embeddings are monotone in part: |Spearman| 0.47.

Simplified against the paper: a host of 3 layers and 64 features, dictionaries of 8 d features (32 d in the paper), 0.2
million tokens for 60 million, Adam at 2e-2 for 4e-4 (the best of 3e-3, 1e-2 and 2e-2 for both kinds, on another key
but on the same held-out text that losses are measured on), no ghost gradients. The greater-than host has no way around
its MLP: with one, the MLP hardly matters. The preset `paper` reads a host's weights (host.npz, arrays named as this
host's parameters) and tokens (tokens.npy) from the data folder, not GPT-2's own, whose norms and positions differ; its
dictionaries, all side by side, take about 28 GB of memory.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxzoo import data
from jaxzoo.experiment import Claim, Oracle, Paper, setting
from jaxzoo.interpretability import circuit_paths, circuits, greater_than, sparse_dictionaries, transcoders
from jaxzoo.interpretability.circuit_figure import draw_circuit
from jaxzoo.interpretability.hosts import Host, SequentialBlock
from jaxzoo.interpretability.mlp_substitutes import SUBSTITUTES, at_matched_l0, entropy, interpolate, substitute_losses
from jaxzoo.train import Task, supervised
from jaxzoo.transforms import as_model, capture

PAPER = Paper(
    title="Transcoders Find Interpretable LLM Feature Circuits",
    authors="Dunefsky, Chlenski, Nanda",
    year=2024,
    arxiv="2406.11944",
    code="jacobdunefsky/transcoder_circuits (no licence file)",
)


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: int = setting(3, "hosts, each with dictionaries of its own", low=1)
    host: str = setting("prose", "trained on prose that comes along, or host.npz and tokens.npy in the data folder",
                        choices=("prose", "file"))  # fmt: skip
    vocabulary: int = setting(96, "characters that the host tells apart", low=2)
    features: int = setting(64, "d, width of the host", low=8)
    layers: int = setting(3, "blocks of the host", low=1)
    layer: int = setting(1, "which block's MLP is replaced, from 0", low=0)
    heads: int = setting(4, "heads of the host", low=1)
    length: int = setting(64, "tokens of a sequence", low=8)
    host_steps: int = setting(900, "updates of the host", low=1)
    host_batch: int = setting(8, "sequences of an update of the host", low=1)
    host_rate: float = setting(5e-3, "AdamW's peak learning rate for hosts", low=0.0)
    width: int = setting(512, "F, features of a dictionary", low=16)
    steps: int = setting(800, "updates of a dictionary", low=1)
    batch: int = setting(4, "sequences whose activations make an update of a dictionary", low=1)
    rate: float = setting(2e-2, "Adam's learning rate for dictionaries after the warm-up; 4e-4 in the code", low=0.0)
    sparsity: tuple[float, ...] = setting((1e-4, 3e-4, 1e-3, 3e-3), "lambda in the code's convention", low=0.0)
    windows: int = setting(64, "held-out sequences on which losses are measured", low=1)
    reading: int = setting(256, "held-out sequences on which features are read", low=1)
    numbers: int = setting(32, "numbers of the greater-than task", low=8)
    number_features: int = setting(48, "width of the greater-than host", low=8)
    number_steps: int = setting(800, "updates of the greater-than host", low=1)
    number_width: int = setting(256, "features of its transcoder", low=16)
    number_sparsity: float = setting(1e-2, "lambda of its transcoder", low=0.0)


PRESETS = {
    "smoke": Config(1, features=32, layers=1, layer=0, heads=2, length=32, host_steps=20, host_batch=4, width=64,
                    steps=20, batch=2, windows=8, reading=8, number_features=16, number_steps=20, number_width=64),
    "default": Config(),
    "paper": Config(host="file", vocabulary=50257, features=768, layers=12, layer=8, heads=12, length=128, width=24576,
                    steps=14_650, batch=32, rate=4e-4, sparsity=(1.4e-5, 4e-5, 8e-5, 1.4e-4)),
}  # fmt: skip

MIDDLE = 2
"""Of the grid of lambdas: the one for circuits and for reading features."""
KEPT = (3, 6, 12, 25, 50)
"""How many neurons, or features of the random dictionary, are kept."""
SEEN = 20
"""Times that a character has to occur for its mean activation to count."""
DEPTH, WIDTH = 3, 8
"""Of the path search."""


def run(config, runner):
    if config.layer >= config.layers:
        raise ValueError(f"layer: expected one of the {config.layers} layers, counted from 0, got {config.layer}")
    return text(config, runner) | numbers(config, runner)


def adamw(rate, steps):
    """For hosts."""
    schedule = optax.cosine_decay_schedule(rate, steps, 0.1)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=0.01))


def adam(rate, steps):
    """For dictionaries: constant after a warm-up."""
    return optax.adam(optax.schedules.warmup_constant_schedule(0.0, rate, max(1, steps // 20)))


def text_host(config):
    return Host(config.vocabulary, config.features, config.layers, config.heads)


def text(config, runner):
    """The host that reads text: losses with one MLP replaced, features read from weights, circuits."""
    module = text_host(config)
    tokens, codes = load_tokens(config, runner)
    train, held_out = (jnp.asarray(part) for part in data.split_by_position(tokens, (0.9, 0.1)))
    tokens, targets = data.all_windows(held_out, config.length)
    untrained = runner.map("host/untrained", lambda key: as_model(module).init(key, jnp.zeros(2, jnp.int32)))
    host = train_host(config, runner, module, train, untrained)

    def train_dictionaries(arm, params, rows):
        pairs = partial(harvest, module, train, config.batch, config.length, rows)
        optimizer = adam(config.rate, config.steps)
        task = sparse_dictionaries.train_dictionary(pairs, config.width, sparsity_of(config, rows), optimizer)
        return runner.train(f"dictionaries/{arm}", task, config.steps, params).state.params

    trained = train_dictionaries("trained", host, dictionary_rows(config))
    random = train_dictionaries("random", untrained, (("transcoder", 0, MIDDLE),))
    by_layer = jax.tree.map(lambda x: x[:, [layer_row(config, i) for i in range(config.layers)]], trained)
    held_out = tokens[: config.windows], targets[: config.windows]

    def losses(key, params, trained):
        key_sample, key_random = jax.random.split(key)
        row = (("transcoder", config.layer, MIDDLE),)
        sample = [each[0] for each in harvest(module, train, 32, config.length, row, key_sample, params)]
        both = jax.tree.map(lambda x: x[: 2 * len(config.sparsity)], trained)
        return substitute_losses(module, params, config.layer, both, held_out, sample, key_random, KEPT)

    results = runner.map("losses", losses, host, trained)

    def reading(key, params, dictionary):
        return transcoders.reading_precision(module, params, dictionary, tokens[: config.reading], key, seen=SEEN)

    for arm, params, stack in (("trained", host, by_layer), ("random", untrained, random)):
        found = runner.map(f"reading/{arm}", reading, params, jax.tree.map(lambda x: x[:, 0], stack))
        results |= {f"{name} {arm}": value for name, value in found.items()}

    def exact(key, params, dictionaries):
        return circuits.factorisation_error(module, params, dictionaries, tokens[1])

    results["factorisation error"] = runner.map("circuits/exact", exact, host, by_layer)
    return results | runner.each("circuits/paths", partial(paths, module, tokens[1], codes), host, by_layer)


def load_tokens(config, runner):
    """The text, and what each token is in the figure: its code point, or its number as -1 - token."""
    if config.host == "file":
        return data.npy(data.data_folder(runner.data_dir), "tokens.npy"), -1 - np.arange(config.vocabulary)
    tokens, vocabulary = data.characters(data.pydoc_topics(), config.vocabulary)
    codes = np.array([ord(c) if len(c) == 1 else ord("?") for c in vocabulary])
    return tokens, np.resize(codes, config.vocabulary)


def train_host(config, runner, module, train, untrained):
    """A language model for each seed, or the user's own for all."""
    if config.host == "file":
        arrays = data.npz(data.data_folder(runner.data_dir), "host.npz")
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), untrained)
        return jax.tree.map(lambda x: jnp.stack([x] * runner.seeds), transcoders.load_weights(arrays, like))

    sampler = partial(data.windows, tokens=train, batch=config.host_batch, length=config.length)
    task = supervised(as_model(module), entropy, sampler, adamw(config.host_rate, config.host_steps))
    return runner.train("host/trained", task, config.host_steps).state.params


def dictionary_rows(config):
    """(kind, layer, which lambda): both kinds at one layer with every lambda, transcoders of the others with one."""
    grid = range(len(config.sparsity))
    both = [(kind, config.layer, i) for kind in ("transcoder", "autoencoder") for i in grid]
    return (*both, *[("transcoder", layer, MIDDLE) for layer in range(config.layers) if layer != config.layer])


def layer_row(config, layer):
    """Which of `dictionary_rows` is the transcoder of a layer at the middle lambda."""
    return dictionary_rows(config).index(("transcoder", layer, MIDDLE))


def sparsity_of(config, rows):
    return [config.sparsity[i] for _, _, i in rows]


def harvest(module, tokens, batch, length, rows, key, params):
    """Fresh activations for each dictionary: inputs and targets [n, b t, d]."""
    x, _ = data.windows(key, tokens, batch, length)
    names = {layer: transcoders.mlp_names(layer) for _, layer, _ in rows}
    _, seen = jax.vmap(capture(module, *sum(names.values(), ())), (None, 0))(params, x)
    flat = {name: value.reshape(-1, value.shape[-1]) for name, value in seen.items()}
    inputs = [flat[names[layer][kind == "autoencoder"]] for kind, layer, _ in rows]
    return jnp.stack(inputs), jnp.stack([flat[names[layer][1]] for _, layer, _ in rows])


def paths(module, tokens, codes, key, params, dictionaries):
    """The circuit of the most active feature of the last layer, in the second half of a text."""
    last, half = dictionaries.W_enc.shape[0] - 1, tokens.shape[0] // 2
    weights = circuits.circuit_weights(params, dictionaries)
    trace = jax.jit(partial(circuits.trace_circuit, module))(params, dictionaries, tokens)
    z = np.asarray(trace.z[last])[half:]
    place, feature = (int(i) for i in np.unravel_index(z.argmax(), z.shape))
    found = transcoders.path_search(weights, trace, last, feature, place + half, depth=DEPTH, width=WIDTH)
    return {
        "path nodes": circuit_paths.paths_as_array(found, WIDTH, DEPTH),
        "path values": np.array([path.value for path in found]),
        "path target": np.array([last, feature, place + half]),
        "path target activation": z.max(),
        "path text": codes[np.asarray(tokens)],
    }


def numbers(config, runner):
    """The greater-than host: what is left of its score with few features of its MLP."""
    module = Host(config.numbers + 1, config.number_features, 1, 4, SequentialBlock, config.numbers)
    draw = jax.vmap(partial(greater_than.greater_than, numbers=config.numbers))

    def sampler(key):
        return draw(jax.random.split(key, 64))

    def loss(logits, c):
        return entropy(logits[-1], c)

    task = supervised(as_model(module), loss, sampler, adamw(config.host_rate, config.number_steps))
    host = runner.train("greater-than/host", task, config.number_steps).state.params
    names = transcoders.mlp_names(0)

    def pairs(key, params):
        _, seen = jax.vmap(capture(module, *names), (None, 0))(params, draw(jax.random.split(key, 128))[0])
        return tuple(seen[name].reshape(1, -1, config.number_features) for name in names)

    optimizer = adam(config.rate, config.steps)
    task = sparse_dictionaries.train_dictionary(pairs, config.number_width, [config.number_sparsity], optimizer)
    trained = runner.train("greater-than/transcoder", task, config.steps, host).state.params
    questions = greater_than.all_questions(config.numbers)

    def circuit(key, params, dictionary):
        return greater_than.greater_than_circuit(module, params, dictionary, questions, key)

    found = runner.map("greater-than/circuit", circuit, host, jax.tree.map(lambda x: x[:, 0], trained))
    return {f"numbers {name}": value for name, value in found.items()}


def full_scale(config):
    """The dictionaries, all side by side."""
    module, rows = text_host(config), dictionary_rows(config)
    host = jax.eval_shape(lambda: as_model(module).init(jax.random.key(0), jnp.zeros(2, jnp.int32)))
    pairs = partial(harvest, module, jnp.zeros(config.length + 2, jnp.int32), config.batch, config.length, rows)
    optimizer = adam(config.rate, config.steps)
    task = sparse_dictionaries.train_dictionary(pairs, config.width, sparsity_of(config, rows), optimizer)

    def init(key):
        return task.init(key, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), host))

    return {"dictionaries": Task(init, task.update)}


def curve(results, kind, s):
    """L0 and loss of one kind of substitute, of one seed."""
    l0 = results[f"l0 {kind}"][s] if f"l0 {kind}" in results else np.array(KEPT)
    return np.asarray(l0, np.float64), np.asarray(results[f"loss {kind}"][s], np.float64)


def matched(results, one, other):
    """[s, 2, 3]: losses of two kinds at three equal L0."""
    seeds = range(len(results["loss host"]))
    return np.array([at_matched_l0(curve(results, one, s), curve(results, other, s)) for s in seeds])


def recovered_at_40(results):
    """[s]: what the transcoder recovers at L0 = 40, or at the largest L0 of the grid if that is smaller."""
    loss = [interpolate(*curve(results, "transcoder", s), 40) for s in range(len(results["loss host"]))]
    return transcoders.recovered_loss(np.array(loss), results["loss host"], results["loss zero"])


def lost_ratio(results, kind):
    """[s]: how many times more of the MLP's worth its neurons lose at equal L0; the smallest of three points."""
    neurons, own = np.moveaxis(
        matched(results, "neurons", kind) - np.asarray(results["loss host"])[:, None, None], 1, 0
    )
    return (neurons / np.maximum(own, 1e-6)).min(-1)


CLAIMS = (
    Claim(
        id="C1a",
        says="At matched L0 the loss with a transcoder in the MLP's place exceeds that with an autoencoder of its "
        "output by at most 0.01 nats, at the worst of three points.",
        source="Fig. 3, Table 1",
        paper_value="on par or better in all three models",
        measure=lambda r: -np.diff(matched(r, "transcoder", "autoencoder"), axis=1).min((1, 2)),
        at_most=0.01,
    ),
    Claim(
        id="C1b",
        says="It recovers at least 0.9 of what the MLP is worth over zeros, with at most 40 features active.",
        source="Fig. 3",
        paper_value="a loss near the host's own",
        measure=recovered_at_40,
        at_least=0.9,
        no_effect=0.0,
    ),
    Claim(
        id="C1c",
        says="As many of the MLP's own neurons lose at least twice as much as the transcoder.",
        source="Sec. 1: neurons are not sparse",
        paper_value="no figure",
        measure=lambda r: lost_ratio(r, "transcoder"),
        at_least=2.0,
        no_effect=1.0,
        log=True,
    ),
    Claim(
        id="C1d",
        says="As many neurons lose at least twice as much as the autoencoder.",
        source="Sec. 1: neurons are not sparse",
        paper_value="no figure",
        measure=lambda r: lost_ratio(r, "autoencoder"),
        at_least=2.0,
        no_effect=1.0,
        log=True,
    ),
    Claim(
        id="C2a",
        says="Of the five characters at which a layer-1 feature is most active, half are among the five highest of its "
        "de-embedding.",
        source="de-embeddings, Sec. 4",
        paper_value="de-embeddings agree with top activations",
        measure=lambda r: r["precision trained"],
        at_least=0.5,
        no_effect=0.15,
        control=lambda r: r["precision permuted trained"],
    ),
    Claim(
        id="C2b",
        says="With the rows of the embedding permuted at most 0.15 are.",
        source="negative control",
        paper_value="chance",
        measure=lambda r: r["precision permuted trained"],
        at_most=0.15,
    ),
    Claim(
        id="C2c",
        says="In a host with random weights at most 0.15 are.",
        source="negative control",
        paper_value="chance",
        measure=lambda r: r["precision random"],
        at_most=0.15,
    ),
    Claim(
        id="C2d",
        says="At least 100 features of layer 1 are alive.",
        source="condition of C2a",
        paper_value="most features",
        measure=lambda r: r["alive trained"],
        at_least=100,
    ),
    Claim(
        id="C3",
        says="Attributions of embedding, heads, features, biases and errors sum to the pre-activation, within 1e-3 of "
        "its root mean square everywhere.",
        source="Sec. 4, circuits",
        paper_value="exact",
        measure=lambda r: r["factorisation error"],
        at_most=1e-3,
        log=True,
    ),
    Claim(
        id="C4a",
        says="In the greater-than host 16 features of largest direct effect retain 80 % of P(c > b) - P(c <= b).",
        source="case study, greater-than",
        paper_value="few features of MLP 10 carry it",
        measure=lambda r: r["numbers score top"] / r["numbers score host"],
        at_least=0.8,
        control=lambda r: r["numbers score none"] / r["numbers score host"],
    ),
    Claim(
        id="C4b",
        says="16 random active features retain at most 30 %.",
        source="case study, greater-than",
        paper_value="less than those chosen",
        measure=lambda r: r["numbers score random"] / r["numbers score host"],
        at_most=0.3,
    ),
    Claim(
        id="C4c",
        says="The de-embedding of the 16 through the heads is monotone in b: mean |Spearman| at least 0.7.",
        source="case study, greater-than",
        paper_value="features fire for ranges of years",
        measure=lambda r: r["numbers spearman"],
        at_least=0.7,
        no_effect=0.2,
        control=lambda r: r["numbers spearman permuted"],
    ),
    Claim(
        id="C5",
        says="In GPT2-small, Pythia 410M and 1.4B transcoders are on par with autoencoders, for human judges too.",
        source="Fig. 3, Table 1",
        paper_value="on par or better",
        full_scale_only="60 million tokens of OpenWebText and these models; the preset paper has the sizes",
    ),
)

ORACLES = (
    Oracle(
        says="the host with its own MLP output put in the MLP's place has the host's loss",
        holds=lambda r: np.abs(r["loss host"] - r["loss host unchanged"]) < 1e-5,
    ),
)


def plot(results, figure):
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    for n, (kind, style) in enumerate(zip(SUBSTITUTES, ("o-", "s-", "^--", "v:"), strict=True)):
        for s, host in enumerate(results["loss host"]):
            x, y = curve(results, kind, s)
            label = kind if s == 0 else None
            left.plot(x, y - host, style, color=f"C{n}", label=label, alpha=0.7, markersize=4)
    worth = np.mean(results["loss zero"] - results["loss host"])
    left.axhline(worth, color="0.5", linewidth=0.8, label="zeros")
    left.set(xscale="log", yscale="log", xlabel="active features (L0)", ylabel="loss above the host's, nats")
    left.set_xticks((3, 10, 30, 100), ("3", "10", "30", "100"))
    left.minorticks_off()
    left.set_title("With a substitute for the MLP")
    left.legend(fontsize="small")
    nodes, values, target, text = (results[f"path {part}"][0] for part in ("nodes", "values", "target", "text"))
    height = results["path target activation"][0]
    draw_circuit(
        right, nodes, values, target, [repr(chr(c))[1:-1].replace(" ", "_") if c >= 0 else -1 - c for c in text]
    )
    right.set_title(f"Paths of most of a feature's activation ({height:.1f})")
