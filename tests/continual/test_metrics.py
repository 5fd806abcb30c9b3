"""Metrics of continual learning, worked by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.continual import metrics

CURVE = jnp.array([1.0, 0.5, 0.8, 0.6, 0.6])
SEEN = jnp.array([4, 8, 9, 13, 13])


def test_curves_are_read_at_the_first_batch_that_reaches_the_number():
    np.testing.assert_allclose(
        metrics.at_samples(CURVE, SEEN, jnp.array([1, 4, 5, 9, 10, 13])), [1, 1, 0.5, 0.8, 0.6, 0.6]
    )


def test_stream_metrics():
    ends = jnp.array([False, True, False, True, False])
    found = metrics.stream_metrics(CURVE, SEEN, ends, 4, 13)
    np.testing.assert_allclose(found["curve"], [1.0, 0.5, 0.6])  # at 4, 8 and 12
    np.testing.assert_allclose(found["A_AUC"], 0.7, rtol=1e-6)
    np.testing.assert_allclose(found["A_Avg"], 0.55, rtol=1e-6)
    np.testing.assert_allclose(found["A_Last"], 0.6, rtol=1e-6)


def test_accuracy_matrix():
    predicted, y = jnp.array([[0, 0, 1, 1], [0, 2, 2, 2]]), jnp.array([0, 1, 2, 2])
    matrix = metrics.accuracy_matrix(predicted, y, jnp.array([0, 0, 1, 1]), 3)
    np.testing.assert_allclose(matrix, [[0.5, 0, 0], [0.5, 1, 0]])


def test_average_accuracy_forgetting_and_backward_transfer():
    first = jnp.array([[0.9, 0.0], [0.8, 0.7]])
    np.testing.assert_allclose(metrics.average_accuracy(first), 0.75)
    np.testing.assert_allclose(metrics.backward_transfer(first), -0.1, atol=1e-7)
    np.testing.assert_allclose(metrics.forgetting(jnp.array([[0.9, 0.0], [0.5, 0.8]])), 0.4, atol=1e-7)
    # What the first row shows of a task not yet learnt is not its best.
    later = jnp.array([[0.5, 0.9, 0.0], [0.7, 0.4, 0.0], [0.6, 0.3, 0.5]])
    np.testing.assert_allclose(metrics.forgetting(later), 0.1, atol=1e-7)
    np.testing.assert_allclose(metrics.backward_transfer(later), 0.0, atol=1e-7)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="period: expected 1 to 13"):
        metrics.a_auc(CURVE, SEEN, 14, 13)
    for measure in (metrics.forgetting, metrics.backward_transfer):
        with pytest.raises(ValueError, match=r"matrix: expected \[t, t\] with at least 2 tasks"):
            measure(jnp.ones((1, 1)))
