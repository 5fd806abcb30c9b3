"""Transcoders Find Interpretable LLM Feature Circuits (Dunefsky, Chlenski, Nanda, 2024; arXiv 2406.11944).

Claimed: a wide, sparse ReLU layer that is trained to compute what an MLP computes takes the MLP's place at least as
well as a sparse autoencoder of its output does; what excites a feature can be read from the weights; and attributions
between features split exactly into weights and activations, which gives circuits.

Two hosts: a character model of English technical prose, whose second MLP is replaced; and a network whose circuit is
known, "a b :" -> c > b.

What came out, in 3.3 minutes on two cores: at equal numbers of active features transcoders cost 0.001 nats more than
autoencoders at the worst of three points, which three hosts can't tell from the 0.01 that were allowed (C1a; with a
host and dictionaries of half the training it was reproduced); 34 of 512 features recover 0.96 of the MLP; attributions
are exact to 1e-6. The rest did not come out:

- From about 25 features on the MLP's own neurons (of 256) do as well or better, whatever the dictionary (C1c, C1d).
- De-embeddings predict the top characters above chance (0.21 against 0.09), far from half: in this host the first
  attention writes ten times the embedding's length, so the direct effect of a token is a small part of what a feature
  reads. Scaling the rows of the embedding to length 1 changes nothing; in a pilot on another key, with the mean input
  at each character in the embedding's place, the same encoder scored 0.69. A host with random weights is no negative
  control: there the de-embedding does as well (0.26), since it is a property of linear maps, not of training (C2c).
- Greater-than: the constant answer (no feature kept) already has 0.74 of the host's score, because large c are more
  frequent, so no set of features can retain as little as 30 %; and the 16 of largest mean direct effect keep less than
  16 at random, for they favour large numbers whatever b is. Their de-embeddings are monotone in part: |Spearman| 0.46.

Simplified against the paper: a host of 3 layers and 64 features, dictionaries of 8 d features (32 d in the paper), 0.5
million tokens for 60 million, Adam at 2e-2 for 4e-4 (the best of 3e-3, 1e-2 and 2e-2 for both kinds, on another key
but on the same held-out text that losses are measured on), no ghost gradients. The greater-than host has no way around
its MLP: with one, the MLP hardly matters.

The preset `paper` is GPT-2 small as Hugging Face keeps it, its norms folded as the authors' are: F = 24,576, 60 million
tokens, transcoders of all 12 layers, ghost gradients, and greater-than in the paper's prompts ("The war lasted from
17YY to 17", MLP 10). The data folder holds gpt2/config.json, model.safetensors (or shards and their index), vocab.json,
and OpenWebText as ids of GPT-2's tokenizer, gpt2/train.bin and val.bin (uint16). Its 19 dictionaries side by side take
about 36 GB of memory for each seed, 28 without ghost gradients. For Pythia the settings are `--config.host pythia-410m
--config.vocabulary 50304 --config.features 1024 --config.layers 24 --config.heads 16 --config.width 32768
--config.together 16` (45 GB) or `pythia-1.4b`, 2048 features, width 65536, together 4 (76 GB); its greater-than is the
small host's. The host with random weights stays, though it is no negative control. Other than in the authors' code an
update sees all tokens of 32 texts, not a shuffle of many; texts don't begin with the token for a beginning; dead
features learn from target less output where the code has input less output. Human judgements (C5) are left out.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxzoo import data
from jaxzoo.experiment import Claim, Oracle, Paper, setting
from jaxzoo.interpretability import circuit_paths, circuits, greater_than, sparse_dictionaries, transcoders, year_span
from jaxzoo.interpretability.circuit_figure import draw_circuit, draw_losses
from jaxzoo.interpretability.geometric_median import geometric_median
from jaxzoo.interpretability.gpt2 import GPT2
from jaxzoo.interpretability.gpt_neox import GPTNeoX
from jaxzoo.interpretability.harvest import dictionary_rows, harvest, harvest_sample
from jaxzoo.interpretability.hosts import Host, SequentialBlock
from jaxzoo.interpretability.mlp_substitutes import entropy, lost_ratio, matched, recovered_at, substitute_losses
from jaxzoo.interpretability.pretrained import load_text_host
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
    host: str = setting("prose", "trained on prose that comes along, or a network in the data folder",
                        choices=("prose", "gpt2", "pythia-410m", "pythia-1.4b"))  # fmt: skip
    vocabulary: int = setting(96, "characters that the host tells apart", low=2)
    features: int = setting(64, "d, width of the host", low=8)
    layers: int = setting(3, "blocks of the host", low=1)
    layer: int = setting(1, "which block's MLP is replaced, from 0", low=0)
    heads: int = setting(4, "heads of the host", low=1)
    length: int = setting(64, "tokens of a sequence", low=8)
    host_steps: int = setting(1200, "updates of the host", low=1)
    host_batch: int = setting(16, "sequences of an update of the host", low=1)
    host_rate: float = setting(5e-3, "AdamW's peak learning rate for hosts", low=0.0)
    width: int = setting(512, "F, features of a dictionary", low=16)
    steps: int = setting(900, "updates of a dictionary", low=1)
    batch: int = setting(8, "sequences whose activations make an update of a dictionary", low=1)
    rate: float = setting(2e-2, "Adam's learning rate for dictionaries after the warm-up; 4e-4 in the code", low=0.0)
    warm_up: int = setting(45, "updates in which that rate is reached; 5000 in the code", low=1)
    dead_after: int = setting(0, "idle updates before ghost gradients reach a feature; 0 for none, 5000 in the code",
                              low=0)  # fmt: skip
    biases: str = setting("mean", "of inputs and outputs, where a dictionary's biases begin",
                          choices=("mean", "geometric median"))  # fmt: skip
    together: int = setting(32, "dictionaries trained side by side, at most", low=1)
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
                    steps=20, batch=2, warm_up=1, windows=8, reading=8, number_features=16, number_steps=20,
                    number_width=64),
    "default": Config(),
    "paper": Config(host="gpt2", vocabulary=50257, features=768, layers=12, layer=8, heads=12, length=128, width=24576,
                    steps=14_650, batch=32, rate=4e-4, warm_up=5000, dead_after=5000,
                    sparsity=(1.4e-5, 4e-5, 8e-5, 1.4e-4)),
}  # fmt: skip

MIDDLE = 2
"""Of the grid of lambdas: the one for circuits and for reading features."""
KEPT = (3, 6, 12, 25, 50)
"""How many neurons, or features of the random dictionary, are kept."""
SEEN = 20
"""Times that a character has to occur for its mean activation to count."""
DEPTH, WIDTH = 3, 8
"""Of the path search."""
SPARE = 4
"""Times the tokens that dictionaries see are taken from a long text, since they are drawn with repetition."""
YEAR_LAYER = 10
"""Whose features carry greater-than in GPT-2, counted from 0."""


def run(config, runner):
    if config.layer >= config.layers:
        raise ValueError(f"layer: expected one of the {config.layers} layers, counted from 0, got {config.layer}")
    if config.host != "gpt2":
        return text(config, runner, *host_and_text(config, runner))[0] | numbers(config, runner)
    questions = year_span.load_year_questions(data.data_folder(runner.data_dir), config.host)
    module, host, *texts = host_and_text(config, runner)
    results, by_layer = text(config, runner, module, host, *texts)
    layer = min(YEAR_LAYER, config.layers - 1)

    def circuit(key, params, dictionary):
        return year_span.year_circuit(module, params, dictionary, layer, questions, key)

    found = runner.map("greater-than/circuit", circuit, host, jax.tree.map(lambda x: x[:, layer], by_layer))
    return results | {f"numbers {name}": value for name, value in found.items()}


def adamw(rate, steps):
    """For hosts."""
    schedule = optax.cosine_decay_schedule(rate, steps, 0.1)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=0.01))


def dictionary_task(config, pairs, width, sparsity):
    """Adam, its rate constant after a warm-up."""
    optimizer = optax.adam(optax.schedules.warmup_constant_schedule(0.0, config.rate, config.warm_up))
    middle = geometric_median if config.biases == "geometric median" else sparse_dictionaries.mean
    options = {"dead_after": config.dead_after or None, "middle": middle}
    return sparse_dictionaries.train_dictionary(pairs, width, sparsity, optimizer, **options)


def text_host(config):
    sizes = config.vocabulary, config.features, config.layers, config.heads
    if config.host == "prose":
        return Host(*sizes)
    return GPT2(*sizes, tied=False) if config.host == "gpt2" else GPTNeoX(*sizes)


def host_and_text(config, runner):
    """The host that reads text, its parameters [s, ...], tokens to learn from and held out, and what a token is in the
    figure: its code point, or its number as -1 - token."""
    module = text_host(config)
    if config.host != "prose":
        most = SPARE * config.steps * config.batch * config.length
        folder = data.data_folder(runner.data_dir)
        module, params, *texts = load_text_host(folder, config.host, module, most)
        host = jax.tree.map(lambda x: jnp.stack([x] * runner.seeds), params)
        return module, host, *texts, -1 - np.arange(config.vocabulary)
    tokens, vocabulary = data.characters(data.pydoc_topics(), config.vocabulary)
    train, held_out = (jnp.asarray(part) for part in data.split_by_position(tokens, (0.9, 0.1)))
    codes = np.array([ord(c) if len(c) == 1 else ord("?") for c in vocabulary])
    sampler = partial(data.windows, tokens=train, batch=config.host_batch, length=config.length)
    task = supervised(as_model(module), entropy, sampler, adamw(config.host_rate, config.host_steps))
    host = runner.train("host/trained", task, config.host_steps).state.params
    return module, host, train, held_out, np.resize(codes, config.vocabulary)


def text(config, runner, module, host, train, held_out, codes):
    """Losses with one MLP replaced, features read from weights, circuits; and the transcoders of all layers."""
    tokens, targets = data.all_windows(held_out, config.length)
    untrained = runner.map("host/untrained", lambda key: as_model(module).init(key, jnp.zeros(2, jnp.int32)))

    def train_dictionaries(arm, params, rows):
        parts = [rows[i : i + config.together] for i in range(0, len(rows), config.together)]
        found = [
            runner.train(f"dictionaries/{arm}-{i}" if i else f"dictionaries/{arm}", task, config.steps, params)
            for i, task in enumerate(text_task(config, module, train, part) for part in parts)
        ]
        return jax.tree.map(lambda *x: jnp.concatenate(x, 1), *[each.state.params for each in found])

    trained = train_dictionaries("trained", host, rows_of(config))
    random = train_dictionaries("random", untrained, (("transcoder", 0, MIDDLE),))
    first = [rows_of(config).index(("transcoder", layer, MIDDLE)) for layer in range(config.layers)]
    by_layer = jax.tree.map(lambda x: x[:, first], trained)
    both = jax.tree.map(lambda x: x[:, : 2 * len(config.sparsity)], trained)
    held_out = tokens[: config.windows], targets[: config.windows]
    results = runner.map("losses", partial(losses, config, module, train, held_out), host, both)
    read = partial(reading, module, tokens[: config.reading])
    for arm, params, stack in (("trained", host, by_layer), ("random", untrained, random)):
        found = runner.map(f"reading/{arm}", read, params, jax.tree.map(lambda x: x[:, 0], stack))
        results |= {f"{name} {arm}": value for name, value in found.items()}

    def exact(key, params, dictionaries):
        return circuits.factorisation_error(module, params, dictionaries, tokens[1])

    results["factorisation error"] = runner.map("circuits/exact", exact, host, by_layer)

    def paths(key, params, dictionaries):
        options = {"depth": DEPTH, "width": WIDTH}
        found = circuit_paths.most_active_circuit(module, params, dictionaries, tokens[1], **options)
        return {f"path {name}": value for name, value in found.items()} | {"path text": codes[np.asarray(tokens[1])]}

    return results | runner.each("circuits/paths", paths, host, by_layer), by_layer


def text_task(config, module, train, rows):
    pairs = partial(harvest, module, train, config.batch, config.length, rows)
    return dictionary_task(config, pairs, config.width, [config.sparsity[i] for _, _, i in rows])


def losses(config, module, train, held_out, key, params, both):
    key_sample, key_random = jax.random.split(key)
    size = module, train, 32, config.length, config.layer, 4 * config.width
    sample = harvest_sample(*size, key_sample, params)
    return substitute_losses(module, params, config.layer, both, held_out, sample, key_random, KEPT)


def reading(module, tokens, key, params, dictionary):
    return transcoders.reading_precision(module, params, dictionary, tokens, key, seen=SEEN)


def rows_of(config):
    return dictionary_rows(config.layers, config.layer, len(config.sparsity), MIDDLE)


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

    task = dictionary_task(config, pairs, config.number_width, [config.number_sparsity])
    trained = runner.train("greater-than/transcoder", task, config.steps, host).state.params
    questions = greater_than.all_questions(config.numbers)

    def circuit(key, params, dictionary):
        return greater_than.greater_than_circuit(module, params, dictionary, questions, key)

    found = runner.map("greater-than/circuit", circuit, host, jax.tree.map(lambda x: x[:, 0], trained))
    return {f"numbers {name}": value for name, value in found.items()}


def full_scale(config):
    """The dictionaries side by side, and what is measured with them."""
    module, rows = text_host(config), rows_of(config)
    text, window = jnp.zeros(config.length + 2, jnp.int32), jnp.zeros((1, config.length), jnp.int32)
    host = jax.eval_shape(lambda: as_model(module).init(jax.random.key(0), window[0]))
    task = text_task(config, module, text, rows[: config.together])

    def init(key):
        return task.init(key, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), host))

    key = jax.eval_shape(lambda: jax.random.key(0))
    stack = jax.eval_shape(init, key).params
    both = jax.tree.map(lambda x: jax.ShapeDtypeStruct((2 * len(config.sparsity), *x.shape[1:]), x.dtype), stack)
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), stack)
    held_out = (jnp.repeat(window, config.windows, 0),) * 2
    return {
        "dictionaries": Task(init, task.update),
        "losses": (partial(losses, config, module, text, held_out), key, host, both),
        "reading": (partial(reading, module, jnp.repeat(window, config.reading, 0)), key, host, one),
    }


CLAIMS = (
    Claim(
        id="C1a",
        says="At matched L0 the loss with a transcoder in the MLP's place exceeds that with an autoencoder of its "
        "output by at most 0.01 nats, at the worst of three points.",
        source="Fig. 3, Table 1",
        paper_value="on par or better in all three models",
        measure=lambda r: -np.diff(matched(r, "transcoder", "autoencoder", KEPT), axis=1).min((1, 2)),
        at_most=0.01,
    ),
    Claim(
        id="C1b",
        says="It recovers at least 0.9 of what the MLP is worth over zeros, with at most 40 features active.",
        source="Fig. 3",
        paper_value="a loss near the host's own",
        measure=lambda r: recovered_at(r, 40, KEPT),
        at_least=0.9,
        no_effect=0.0,
    ),
    Claim(
        id="C1c",
        says="As many of the MLP's own neurons lose at least twice as much as the transcoder.",
        source="Sec. 1: neurons are not sparse",
        paper_value="no figure",
        measure=lambda r: lost_ratio(r, "transcoder", KEPT),
        at_least=2.0,
        no_effect=1.0,
        log=True,
    ),
    Claim(
        id="C1d",
        says="As many neurons lose at least twice as much as the autoencoder.",
        source="Sec. 1: neurons are not sparse",
        paper_value="no figure",
        measure=lambda r: lost_ratio(r, "autoencoder", KEPT),
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
    draw_losses(left, results, KEPT)
    nodes, values, target, text = (results[f"path {part}"][0] for part in ("nodes", "values", "target", "text"))
    height = results["path target activation"][0]
    draw_circuit(
        right, nodes, values, target, [repr(chr(c))[1:-1].replace(" ", "_") if c >= 0 else -1 - c for c in text]
    )
    right.set_title(f"Paths of most of a feature's activation ({height:.1f})")
