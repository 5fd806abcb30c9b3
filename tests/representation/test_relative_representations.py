"""Relative representations: invariances, small cases by hand, planted answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.layers import MLP
from jaxzoo.representation import relative_representations as rr
from jaxzoo.transforms import as_model


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def rotation(seed, d):
    return jnp.linalg.qr(normal(seed, d, d))[0]


@pytest.mark.parametrize("c", [0.1, 7.0])
def test_invariant_to_rotation_and_scale_but_not_to_translation(c):
    e, a, q = normal(0, 20, 8), normal(1, 5, 8), rotation(2, 8)
    np.testing.assert_allclose(rr.relative(c * e @ q, c * a @ q), rr.relative(e, a), atol=1e-5)
    assert jnp.abs(rr.relative(e + 1, a + 1) - rr.relative(e, a)).max() > 1e-2


def test_by_hand():
    r = rr.relative(jnp.array([1.0, 0.0]), jnp.array([[1.0, 0.0], [0.0, 2.0], [-3.0, 3.0]]))
    np.testing.assert_allclose(r, [1.0, 0.0, -(0.5**0.5)], atol=1e-6)


def test_an_anchor_to_itself_is_one():
    a = normal(0, 6, 4)
    np.testing.assert_allclose(jnp.diagonal(rr.relative(a, a)), 1.0, rtol=1e-6)


def test_orthonormal_anchors_give_the_coordinates():
    e = normal(0, 9, 5)
    e = e / jnp.linalg.norm(e, axis=1, keepdims=True)
    np.testing.assert_allclose(rr.relative(e, jnp.eye(5)), e, atol=1e-6)


def test_a_zero_vector_has_finite_cosines_and_gradients():
    gradient = jax.grad(lambda e: rr.relative(e, jnp.eye(3)).sum())(jnp.zeros(3))
    np.testing.assert_array_equal(rr.relative(jnp.zeros(3), jnp.eye(3)), 0.0)
    assert jnp.isfinite(gradient).all()


def test_anchors_of_another_dimension_are_refused():
    with pytest.raises(ValueError, match=r"anchors: expected \[k, 4\]"):
        rr.relative(jnp.ones((2, 4)), jnp.ones((3, 5)))


ENCODER, HEAD = as_model(MLP((8, 4), jnp.tanh)), as_model(MLP((6, 3), jnp.tanh))


def test_the_model_is_head_of_normalised_cosines_and_learns_through_the_anchors():
    x, anchors = normal(0, 10, 5), normal(1, 7, 5)
    model = rr.relative_model(ENCODER, HEAD, anchors)
    params = model.init(jax.random.key(2), x[0])
    e, a = (jax.vmap(ENCODER.apply, (None, 0))(params["encoder"], v) for v in (x, anchors))
    r = np.asarray(e) @ np.asarray(a).T / np.outer(np.linalg.norm(e, axis=1), np.linalg.norm(a, axis=1))
    r = (r - r.mean(1, keepdims=True)) / np.sqrt(r.var(1, keepdims=True) + 1e-5)
    expected = jax.vmap(HEAD.apply, (None, 0))(params["head"], jnp.asarray(r))
    out = jax.vmap(model.apply, (None, 0))(params, x)
    np.testing.assert_allclose(out, expected, atol=2e-6)

    def with_anchors(anchors):
        return rr.relative_model(ENCODER, HEAD, anchors).apply(params, x[0]).sum()

    assert jnp.abs(jax.grad(with_anchors)(anchors)).min() > 0


def test_the_anchors_are_embedded_once_for_a_batch():
    x, anchors = normal(0, 10, 5), normal(1, 7, 5)
    model = rr.relative_model(ENCODER, HEAD, anchors)
    params = model.init(jax.random.key(2), x[0])
    jaxpr = str(jax.make_jaxpr(jax.vmap(model.apply, (None, 0)))(params, x))
    assert "[7,8]" in jaxpr
    assert "10,7,8" not in jaxpr
    assert "7,10,8" not in jaxpr


@pytest.mark.parametrize("build", [rr.absolute_model, lambda e, h: rr.relative_model(e, h, normal(1, 7, 5))])
def test_stitching_a_model_with_itself_is_the_model_bit_for_bit(build):
    model, x = build(ENCODER, HEAD), normal(0, 5)
    params, other = (model.init(jax.random.key(seed), x) for seed in (3, 4))
    np.testing.assert_array_equal(model.apply(rr.stitch(params, params), x), model.apply(params, x))
    mixed = model.apply(rr.stitch(params, other), x)
    assert not np.allclose(mixed, model.apply(params, x), atol=1e-3)


def test_stitching_is_perfect_between_encoders_that_differ_by_a_rotation():
    linear = as_model(MLP((4,)))
    model, x = rr.relative_model(linear, HEAD, normal(1, 7, 5)), normal(0, 5)
    params = model.init(jax.random.key(3), x)
    turned = jax.tree.map(lambda w: 2.0 * w @ rotation(5, 4), params["encoder"])
    np.testing.assert_allclose(
        model.apply({"encoder": turned, "head": params["head"]}, x), model.apply(params, x), atol=1e-5
    )


@pytest.mark.parametrize("how", rr.WAYS)
@pytest.mark.parametrize("k", [1, 7, 40])
def test_anchors_are_distinct_samples(how, k):
    x, labels = normal(0, 40, 3), jnp.arange(40) % 4
    chosen = np.asarray(rr.select_anchors(jax.random.key(1), x, k, how, labels=labels, classes=4))
    assert chosen.shape == (k,)
    assert ((chosen >= 0) & (chosen < 40)).all()
    if how != "kmeans":
        assert len(set(chosen.tolist())) == k


def test_stratified_anchors_are_even_over_unequal_classes():
    labels = jnp.array([0] * 30 + [1] * 5 + [2] * 5)
    chosen = rr.select_anchors(jax.random.key(1), normal(0, 40, 3), 9, "stratified", labels=labels, classes=3)
    np.testing.assert_array_equal(np.bincount(labels[chosen]), [3, 3, 3])


def test_farthest_and_kmeans_find_planted_clusters():
    centres = 10 * jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    owner = jnp.arange(40) % 4
    x = centres[owner] + 0.1 * normal(0, 40, 2)
    assert set(owner[rr.select_anchors(jax.random.key(2), x, 4, "farthest")].tolist()) == {0, 1, 2, 3}
    start = jnp.arange(4)
    chosen = rr._nearest_to_centroids(x, start)
    means = jnp.stack([x[owner == c].mean(0) for c in range(4)])
    brute = [int(jnp.argmin(jnp.square(x - means[c][None]).sum(1))) for c in range(4)]
    np.testing.assert_array_equal(chosen, brute)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"k": 0}, "k: expected 1 to 40"),
        ({"k": 41}, "k: expected 1 to 40"),
        ({"k": 3, "how": "best"}, "how: expected one of uniform"),
        ({"k": 3, "how": "stratified"}, "labels, classes: needed"),
    ],
)
def test_wrong_anchor_choices_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        rr.select_anchors(jax.random.key(1), normal(0, 40, 3), **options)


def test_quantised_similarities_are_multiples_of_the_width():
    np.testing.assert_allclose(
        rr.quantize_similarities(jnp.array([0.04, -0.26, 0.98]), 0.1), [0.0, -0.3, 1.0], atol=1e-6
    )
