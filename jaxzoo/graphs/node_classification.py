"""Learning the classes of a graph's nodes: the full-batch task, and the network to compare with.

An example is `(x [n, f], complex)`: features, and `Simplices` of one order or more, the first of them the edges.
"""

import jax
import jax.numpy as jnp
import optax

from jaxzoo.graphs.gcn import gcn_layer, init_gcn_layer
from jaxzoo.model import Model
from jaxzoo.train import Task, TrainState, keep_best, on_data


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
      A task. Its input is `split`, the masks [n] "train", "validation" and "test" of one seed; unless `graph` is given
      it is `(split, (x, y, complex))`. It evaluates the kept parameters: test accuracy, validation accuracy and
      `measure`.
    """

    def make(split, x, y, complex):
        def loss(params, part, key=None):
            logits = model.apply(params, (x, complex), key=key)
            entropy = optax.losses.softmax_cross_entropy_with_integer_labels(logits, y)
            return entropy.mean(where=split[part])

        def init(key):
            params = model.init(key, (x, complex))
            return TrainState(params, optimizer.init(params))

        def update(state, key):
            value, gradient = jax.value_and_grad(loss)(state.params, "train", key)
            change, memory = optimizer.update(gradient, state.optimizer, state.params)
            return TrainState(optax.apply_updates(state.params, change), memory), {"loss": value}

        def evaluate(state):
            right = model.apply(state.params, (x, complex)).argmax(1) == y
            accuracy = {
                "accuracy": right.mean(where=split["test"]),
                "validation": right.mean(where=split["validation"]),
            }
            return accuracy | measure(state.params)

        return keep_best(Task(init, update, evaluate), lambda state: -loss(state.params, "validation"), every=every)

    if graph is None:
        return on_data(lambda data: make(data[0], *data[1]))
    return on_data(lambda split: make(split, *graph))


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
