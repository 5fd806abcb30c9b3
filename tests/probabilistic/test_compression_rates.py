"""Rates of test images: of circuits by likelihood and in files, of what they are compared with."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.probabilistic import bits_back, hclt
from jaxzoo.probabilistic import compression_rates as rates
from jaxzoo.probabilistic.chow_liu import tree_from_parents

TREE = tree_from_parents([1, -1, 1, 2, 2, 4])
PARAMS = hclt.normalise(jax.tree.map(lambda p: p**4, hclt.hclt_init(jax.random.key(0), 6, 3, 2)))
X = np.asarray(jax.random.randint(jax.random.key(1), (20, 6), 0, 3)).astype(np.uint8)


def test_a_circuits_rate_is_its_mean_likelihood_and_its_files_are_exact():
    found = rates.coded_rates(TREE, PARAMS, X, lanes=2, singles=3)
    few = {"first": jnp.asarray(X[:3]), "all": jnp.asarray(X)}
    by_part = rates.circuit_rates(TREE, PARAMS, few, at_once=4)
    rate = float(by_part["all"])
    logliks = [hclt.hclt_loglik(TREE, PARAMS, jnp.asarray(x, jnp.int32)) for x in X[:3]]
    np.testing.assert_allclose(found["single model"], -np.mean(logliks) / (6 * np.log(2)), rtol=1e-5)
    np.testing.assert_allclose(found["single model"], by_part["first"], rtol=1e-5)
    np.testing.assert_allclose(found["coded model"], rate, rtol=1e-5)
    assert found["exact"] == 1
    assert 0 < (found["coded"] - rate) * 120 < 2 * 64
    assert 24 < (found["single"] - found["single model"]) * 6 < 41


def test_baselines_of_noise_know_that_it_is_noise():
    noise = np.random.default_rng(0).integers(0, 4, (3, 900, 9)).astype(np.uint8)
    found = rates.baseline_rates(*noise, levels=4, shape=(3, 3))
    assert set(found) == {"zlib", "bz2", "lzma", "png", "chow-liu", "independent"}
    np.testing.assert_allclose(found["independent"], 2, atol=0.01)
    np.testing.assert_allclose(found["chow-liu"], 2, atol=0.03)
    assert all(bits > 2 for name, bits in found.items() if name not in ("independent", "chow-liu"))


def test_bits_back_pays_initial_bits():
    networks = bits_back.vae(6, 3, 2, 8)
    params = networks[0].init(jax.random.key(2), jnp.zeros(6))
    found = rates.bits_back_rates(jax.random.key(3), networks, params, X, X, singles=4, bins=(4,))
    assert found["vae file"] > found["vae net"] + found["vae initial"]


def test_both_ways_are_timed_on_the_same_numbers():
    found = rates.conditional_times(TREE, PARAMS, X[:4], repeats=1)
    assert found["difference"] < 1e-5
    assert min(found["seconds partial"], found["seconds naive"]) > 0
    assert found["pixels"] == 6
    assert found["edges partial"] <= found["edges path"] < found["edges naive"]
