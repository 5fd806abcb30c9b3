"""Metrics of continual learning: of curves over a stream, and of matrices over tasks."""

import jax.numpy as jnp


def at_samples(values, seen, counts):
    """A curve over batches, read where the stream has reached given numbers of examples.

    Args:
      values: [k] measured after each batch.
      seen: [k] examples seen so far, not decreasing.
      counts: [m] numbers of examples, at most seen[-1].

    Returns:
      [m], of the first batch that reaches the number.
    """
    return values[jnp.searchsorted(seen, counts, side="left", method="compare_all")]


def a_auc(accuracy, seen, period: int, total: int):
    """A_AUC, anytime accuracy: the mean accuracy on the classes exposed so far, taken every `period` examples.

    Args:
      accuracy: [k] after each batch, on the classes exposed until then.
      seen: [k] examples seen so far.
      period: examples between two measurements.
      total: examples of the stream, at least `period`.

    Returns:
      A scalar.

    Raises:
      ValueError: `period` out of range.
    """
    if not 1 <= period <= total:
        raise ValueError(f"period: expected 1 to {total} (the examples of the stream), got {period}")
    return at_samples(accuracy, seen, jnp.arange(period, total + 1, period)).mean()


def a_avg(accuracy, end_of_task):
    """A_Avg: the mean of the accuracies [k] after the last batch of each task that has one, as `end_of_task` [k] says.

    Returns:
      A scalar.
    """
    return accuracy.mean(where=end_of_task)


def a_last(accuracy):
    """A_Last: the accuracy after the whole stream."""
    return accuracy[-1]


def stream_metrics(accuracy, seen, end_of_task, period: int, total: int) -> dict:
    """All of a curve: {"A_AUC", "A_Avg", "A_Last", and "curve" [total // period], the points of A_AUC}.

    Args and errors: those of `a_auc` and `a_avg`.
    """
    return {
        "A_AUC": a_auc(accuracy, seen, period, total),
        "A_Avg": a_avg(accuracy, end_of_task),
        "A_Last": a_last(accuracy),
        "curve": at_samples(accuracy, seen, jnp.arange(period, total + 1, period)),
    }


def accuracy_matrix(predicted, y, task, tasks: int):
    """R [t, j]: accuracy on the test examples of task j after task t.

    Args:
      predicted: [t, n] predictions after each task.
      y: [n] labels.
      task: [n] the task of each example.
      tasks: number of tasks j.

    Returns:
      [t, j]; 0 where a task has no test example.
    """
    right = (predicted == y[None]).astype(jnp.float32)
    member = (task[:, None] == jnp.arange(tasks)[None]).astype(jnp.float32)  # [n, j]
    return right @ member / jnp.maximum(member.sum(0), 1)[None]


def average_accuracy(matrix):
    """ACC: the mean over tasks of the accuracy after the last one, of an accuracy matrix [t, t]."""
    return matrix[-1].mean()


def forgetting(matrix):
    """The mean over all tasks but the last of max_{i < T} R_ij - R_Tj, of an accuracy matrix [t, t], t >= 2."""
    _check(matrix)
    learnt = jnp.tril(jnp.ones(matrix.shape, bool))[:-1, :-1]
    best = jnp.where(learnt, matrix[:-1, :-1], -jnp.inf).max(0)
    return (best - matrix[-1, :-1]).mean()


def backward_transfer(matrix):
    """BWT: the mean over all tasks but the last of R_Tj - R_jj, of an accuracy matrix [t, t], t >= 2."""
    _check(matrix)
    return (matrix[-1, :-1] - jnp.diagonal(matrix)[:-1]).mean()


def _check(matrix) -> None:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise ValueError(f"matrix: expected [t, t] with at least 2 tasks, got {matrix.shape}")
