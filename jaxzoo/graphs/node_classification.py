"""Learning the classes of a graph's nodes: the full-batch task, and the network to compare with.

An example is `(x [n, f], complex)`: features, and `Simplices` of one order or more, the first of them the edges.
"""

import jax
import jax.numpy as jnp
import optax

from jaxzoo.graphs.gcn import gcn_layer, init_gcn_layer
from jaxzoo.model import Model
from jaxzoo.train import Task, TrainState, keep_best


def dropped(key, x, rate):
    """x with each element zeroed with chance `rate`, else divided by 1 - rate; unchanged where `key` is None."""
    if key is None:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


def node_task(model, optimizer, *, every=10, measure=lambda params: {}, graph=None):
    """Learns the classes of a graph's nodes, all at once, and keeps the parameters of the lowest validation loss.

    NOTE(paper): all steps are made, where the paper stops after 200 without progress; what is kept is the same unless
    progress comes back after such a time.

    Args:
      model: of the example `(x, complex)`, to logits [n, classes].
      optimizer: any optax transformation.
      every: updates between two looks at the validation loss.
      measure: `measure(params) -> scalars` to report of the parameters that were kept.
      graph: `(x, y, complex)` that all seeds share; by default the second input of the task.

    Returns:
      A task. Its inputs are `split`, the masks [n] "train", "validation" and "test" of one seed, and unless `graph` is
      given `(x, y, complex)`. It evaluates the kept parameters: test accuracy, validation accuracy and `measure`.
    """

    def init(key, split, own=None):
        x, _, complex = graph if own is None else own
        params = model.init(key, (x, complex))
        return {"split": split, "graph": own, "learner": TrainState(params, optimizer.init(params))}

    def logits_and_labels(state, params, key=None):
        x, y, complex = graph if state["graph"] is None else state["graph"]
        return model.apply(params, (x, complex), key=key), y

    def loss(params, state, part, key=None):
        entropy = optax.losses.softmax_cross_entropy_with_integer_labels(*logits_and_labels(state, params, key))
        return entropy.mean(where=state["split"][part])

    def update(state, key):
        params, memory = state["learner"]
        value, gradient = jax.value_and_grad(loss)(params, state, "train", key)
        change, memory = optimizer.update(gradient, memory, params)
        return state | {"learner": TrainState(optax.apply_updates(params, change), memory)}, {"loss": value}

    def evaluate(state):
        params = state["learner"].params
        logits, y = logits_and_labels(state, params)
        right, split = logits.argmax(1) == y, state["split"]
        accuracy = {
            "accuracy": right.mean(where=split["test"]),
            "validation": right.mean(where=split["validation"]),
        }
        return accuracy | measure(params)

    return keep_best(
        Task(init, update, evaluate), lambda state: -loss(state["learner"].params, state, "validation"), every=every
    )


def two_layer_gcn(*, classes, hidden=32, dropout=0.5):
    """Two graph convolutions with ReLU and dropout between them, as a `Model` of the example `(x, complex)`.

    On a complex without edges, all padding, it is the dense network of one hidden layer.

    Args:
      classes: number of logits.
      hidden: width of the hidden layer.
      dropout: rate on x and on the hidden layer.

    Source: Kipf, Welling (arXiv 1609.02907).
    """

    def init(key, example):
        key_in, key_out = jax.random.split(key)
        features = example[0].shape[1]
        return {"in": init_gcn_layer(key_in, features, hidden), "out": init_gcn_layer(key_out, hidden, classes)}

    def apply(params, example, *, key=None):
        x, (pairs, *_) = example
        a, b = pairs.members.T
        senders, receivers = jnp.concatenate([a, b]), jnp.concatenate([b, a])
        edges = {"senders": senders, "receivers": receivers, "edge_mask": senders < x.shape[0]}
        key_x, key_h = (None, None) if key is None else jax.random.split(key)
        h = jax.nn.relu(gcn_layer(params["in"], dropped(key_x, x, dropout), **edges))
        return gcn_layer(params["out"], dropped(key_h, h, dropout), **edges)

    return Model(init, apply)
