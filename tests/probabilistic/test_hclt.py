"""The hidden Chow-Liu tree against enumeration of all images and latents; EM against explicit counts."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.probabilistic import expectation_maximisation as em
from jaxzoo.probabilistic import hclt
from jaxzoo.probabilistic.chow_liu import stack_trees, tree_from_parents
from jaxzoo.train import fit

D, K, H = 4, 3, 2
TREE = tree_from_parents([1, -1, 1, 2])
WIDER = tree_from_parents([1, 2, 3, -1, 3, 3, 5, 5, 6])
STEP = jax.jit(em.em_step)
ALL = jnp.array(list(itertools.product(range(K), repeat=D)), jnp.int32)


def circuit(seed=0, d=D, k=K, h=H):
    """Parameters far from uniform."""
    params = hclt.hclt_init(jax.random.key(seed), d, k, h)
    return hclt.normalise(jax.tree.map(lambda p: p**6, params))


def joint(tree, params, x):
    """p(x, z) of all latents [h ** d] by plain products, with the latents: the definition."""
    d, h = params.transition.shape[:2]
    zs = np.array(list(itertools.product(range(h), repeat=d)))
    p = np.ones(len(zs))
    for i, above in enumerate(tree.parent):
        p *= (
            np.asarray(params.root)[zs[:, i]] if above < 0 else np.asarray(params.transition)[i, zs[:, above], zs[:, i]]
        )
        p *= np.asarray(params.emission)[i, x[i], zs[:, i]]
    return p, zs


def logliks(tree, params, x, observed=None):
    return jax.jit(jax.vmap(hclt.hclt_loglik, (None, None, 0, None)))(tree, params, x, observed)


def test_likelihood_sums_over_latents_and_all_images_have_probability_one():
    params = circuit()
    found = np.exp(logliks(TREE, params, ALL))
    expected = [joint(TREE, params, np.asarray(x))[0].sum() for x in ALL]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(), 1, atol=1e-5)


@pytest.mark.parametrize("observed", list(itertools.product([False, True], repeat=D))[::3])
def test_every_marginal_is_a_sum(observed):
    params, seen = circuit(1), np.array(observed)
    full = np.exp(logliks(TREE, params, ALL))
    found = np.exp(logliks(TREE, params, ALL, seen))
    expected = [full[(np.asarray(ALL)[:, seen] == np.asarray(x)[seen]).all(1)].sum() for x in ALL]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_conditionals_are_ratios_of_marginals():
    params, x = circuit(2), jnp.array([2, 0, 1, 1])
    seen = jnp.array([True, False, False, True])
    found, loglik = hclt.conditional(TREE, params, x, seen), jax.jit(hclt.hclt_loglik)
    for i in range(D):
        also = seen.at[i].set(True)
        for v in range(K):
            ratio = np.exp(loglik(TREE, params, x.at[i].set(v), also) - loglik(TREE, params, x, seen))
            np.testing.assert_allclose(found[i, v], float(x[i] == v) if seen[i] else ratio, atol=1e-5)


def test_a_deep_tree_does_not_underflow():
    tree = tree_from_parents([-1, *range(199)])
    params = hclt.hclt_init(jax.random.key(0), 200, 64, 3)
    value = hclt.hclt_loglik(tree, params, jnp.zeros(200, jnp.int32))
    np.testing.assert_allclose(value, -200 * np.log(64), rtol=0.05)


def test_flows_are_the_expected_counts_of_latents():
    params, x = circuit(3, d=9), jax.random.randint(jax.random.key(4), (3, 9), 0, K)
    _, found = jax.jit(em.flows)(WIDER, params, x)
    counts = jax.tree.map(lambda p: np.zeros(p.shape), params)
    for image in np.asarray(x):
        p, zs = joint(WIDER, params, image)
        p /= p.sum()
        for i, above in enumerate(WIDER.parent):
            np.add.at(counts.emission[i, image[i]], zs[:, i], p)
            if above < 0:
                np.add.at(counts.root, zs[:, i], p)
            else:
                np.add.at(counts.transition[i], (zs[:, above], zs[:, i]), p)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), found, counts)


def test_a_full_step_of_em_never_lowers_the_likelihood():
    x = jax.random.randint(jax.random.key(5), (40, 9), 0, 2)
    params, last = circuit(6, d=9), -np.inf
    for _ in range(15):
        value = logliks(WIDER, params, x).mean()
        assert value >= last - 1e-5
        params, last = STEP(WIDER, params, x), value
        for p, axis in zip(params, hclt.AXES, strict=True):
            np.testing.assert_allclose(p.sum(axis), 1, atol=1e-5)


def test_one_latent_is_the_independent_model():
    x = jax.random.randint(jax.random.key(7), (50, D), 0, K)
    params = STEP(TREE, circuit(8, h=1), x, 0.0, 0.5)
    frequencies = ((np.asarray(x)[..., None] == np.arange(K)).sum(0) + 0.5 / K) / 50.5
    np.testing.assert_allclose(params.emission[..., 0], frequencies, atol=1e-5)
    expected = np.log(frequencies[np.arange(D)[None], np.asarray(x)]).sum(1)
    np.testing.assert_allclose(logliks(TREE, params, x), expected, atol=1e-4)


def test_inertia_keeps_a_share_of_the_old():
    x, params = jax.random.randint(jax.random.key(9), (20, D), 0, K), circuit(9)
    new, mixed = STEP(TREE, params, x), STEP(TREE, params, x, 0.75)
    jax.tree.map(lambda m, n, o: np.testing.assert_allclose(m, 0.25 * n + 0.75 * o, atol=1e-6), mixed, new, params)


def test_samples_have_the_frequencies_of_the_model():
    params = circuit(10)
    draw = jax.jit(jax.vmap(hclt.sample, (None, None, 0)))
    x = np.asarray(draw(TREE, params, jax.random.split(jax.random.key(11), 20_000)))
    found = np.bincount(x @ K ** np.arange(D)[::-1], minlength=K**D) / len(x)
    np.testing.assert_allclose(found, np.exp(logliks(TREE, params, ALL)), atol=0.012)


def test_the_prior_of_latents():
    params = circuit(12)
    totals = np.zeros((D, H))
    for x in np.asarray(ALL):
        p, zs = joint(TREE, params, x)
        for i in range(D):
            np.add.at(totals[i], zs[:, i], p)
    np.testing.assert_allclose(hclt.latent_prior(TREE, params), totals, atol=1e-5)


def test_padded_trees_give_the_same_and_jit_equals_eager():
    params, x = circuit(13, d=9), jax.random.randint(jax.random.key(14), (9,), 0, K)
    chain = tree_from_parents([*range(1, 9), -1])
    stacked = stack_trees([WIDER, chain])
    for s, tree in enumerate((WIDER, chain)):
        padded = jax.tree.map(lambda t, s=s: t[s], stacked)
        np.testing.assert_allclose(
            jax.jit(hclt.hclt_loglik)(padded, params, x), hclt.hclt_loglik(tree, params, x), rtol=1e-6
        )
        flows = [jax.jit(em.flows)(t, params, x[None])[1] for t in (padded, tree)]
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *flows)


def learnable(n=60):
    """Images [n, d] uint8 of a circuit."""
    draw = jax.jit(jax.vmap(hclt.sample, (None, None, 0)))
    return draw(TREE, circuit(15), jax.random.split(jax.random.key(16), n)).astype(jnp.uint8)


def test_whole_epochs_of_the_task_are_full_steps_of_em():
    x = learnable()
    task = em.hclt_em(K, H, epochs=0, full_epochs=4, images=60, batch=20)
    state, update = task.init(jax.random.key(17), jax.tree.map(jnp.asarray, TREE), x, x), jax.jit(task.update)
    params = hclt.hclt_init(jax.random.key(17), D, K, H)
    for key in jax.random.split(jax.random.key(18), 12):
        state, _ = update(state, key)
    for _ in range(4):
        params = STEP(TREE, params, x.astype(jnp.int32), 0.0, 0.1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), state.state.params, params)


def test_the_task_learns_and_keeps_the_best():
    x, tree = learnable(), jax.tree.map(jnp.asarray, TREE)
    task = em.hclt_em(K, H, epochs=3, full_epochs=2, images=60, batch=20)
    mixed = fit(task, jax.random.key(17), 15, tree, x, x)
    assert mixed.history["loss"][-3:].mean() < mixed.history["loss"][:3].mean()
    assert float(mixed.state.score) >= float(logliks(TREE, mixed.state.state.params, x.astype(jnp.int32)).mean())


def test_wrong_arguments_are_refused():
    params = circuit()
    with pytest.raises(ValueError, match=r"x: expected \[4\], got \(5,\)"):
        hclt.hclt_loglik(TREE, params, jnp.zeros(5, jnp.int32))
    with pytest.raises(ValueError, match="x: expected integers"):
        hclt.hclt_loglik(TREE, params, jnp.zeros(4))
    with pytest.raises(ValueError, match=r"tree\.parent"):
        hclt.hclt_loglik(WIDER, params, jnp.zeros(4, jnp.int32))
    with pytest.raises(ValueError, match="1 or more"):
        hclt.hclt_init(jax.random.key(0), 4, 3, 0)
    with pytest.raises(ValueError, match="batch: expected a divisor of 10"):
        em.hclt_em(K, H, images=10, batch=3, epochs=1)
