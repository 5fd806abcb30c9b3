"""Learning without forgetting (Li, Hoiem, arXiv 1606.09282): predictions of the last task's end are distilled."""

import jax
import jax.numpy as jnp

from jaxzoo.continual.learner import Batch, Learner, now_exposed
from jaxzoo.continual.linear import batch_cross_entropy


def lwf_loss(logits, taught, known, temperature: float = 2.0):
    """Distillation of old logits, over the classes that were known.

        T^2 KL(softmax(taught / T) || softmax(logits / T))

    Args:
      logits: [c] of the student.
      taught: [c] of the teacher.
      known: [c] bool, the classes that the teacher knew.
      temperature: T > 0.

    Returns:
      A scalar; 0 where nothing was known.
    """
    some = known.any()
    # Where nothing is known all classes stand in: a sum over no class is infinite, and so is its gradient.
    counted = known | ~some
    log_p = taught / temperature - jax.nn.logsumexp(taught / temperature, where=counted)
    log_q = logits / temperature - jax.nn.logsumexp(logits / temperature, where=counted)
    return temperature**2 * jnp.where(known, jnp.exp(log_p) * (log_p - log_q), 0.0).sum()


def lwf_linear(d: int, *, classes: int, rate, weight=1.0, temperature: float = 2.0) -> Learner:
    """SGD on the cross-entropy plus `weight` times `lwf_loss`; the teacher is the classifier at the last task's end.

    Args:
      d: size of an example.
      classes: c.
      rate: learning rate; may be traced.
      weight: of the distillation; may be traced.
      temperature: T.

    Returns:
      A learner with state `(W [d, c], teacher [d, c], known [c])`. It is told where tasks begin.
    """

    def loss(W, teacher, known, batch: Batch):
        fit = batch_cross_entropy(W, batch.x, batch.y, batch.mask, now_exposed(batch))
        kept = jax.vmap(lwf_loss, (0, 0, None, None))(batch.x @ W, batch.x @ teacher, known, temperature)
        return fit + weight * jnp.where(batch.mask, kept, 0).sum() / jnp.maximum(batch.mask.sum(), 1)

    def update(state, batch: Batch, key):
        W, teacher, known = state
        teacher = jnp.where(batch.new_task, W, teacher)
        known = jnp.where(batch.new_task, batch.exposed, known)
        return W - rate * jax.grad(loss)(W, teacher, known, batch), teacher, known

    zero = jnp.zeros((d, classes))
    return Learner(lambda: (zero, zero, jnp.zeros(classes, bool)), update, lambda state, x: x @ state[0])
