"""Circuits of GPT-2 and GPT-NeoX with folded norms: attributions are exact there too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.interpretability import circuit_paths, circuits
from jaxzoo.interpretability.gpt2 import GPT2
from jaxzoo.interpretability.gpt_neox import GPTNeoX
from jaxzoo.interpretability.pretrained import fold_norms
from jaxzoo.interpretability.sparse_dictionaries import init_dictionary
from jaxzoo.transforms import as_model, capture

T, D, L, H, F, V = 5, 16, 2, 2, 6, 11


@pytest.fixture(scope="module", params=[GPT2, GPTNeoX])
def parts(request):
    """A host with random weights, biases and gains, folded; a transcoder of random weights for each layer; one text."""
    module = request.param(V, D, L, H, 8)
    key_host, key_noise, key_x, key_dictionary, key_text = jax.random.split(jax.random.key(0), 5)
    tokens = jax.random.randint(key_text, (T,), 0, V)
    params = as_model(module).init(key_host, tokens)
    leaves, shape = jax.tree.flatten(params)
    keys = jax.random.split(key_noise, len(leaves))
    noisy = [leaf + 0.3 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    module, params = fold_norms(module, jax.tree.unflatten(shape, noisy))
    x = jax.random.normal(key_x, (2, 16, D))
    dictionaries = jax.vmap(init_dictionary, (0, 0, 0, None))(jax.random.split(key_dictionary, L), x, x[::-1], F)
    weights = circuits.circuit_weights(params, dictionaries)
    trace = jax.jit(lambda *args: circuits.trace_circuit(module, *args))(params, dictionaries, tokens)
    return module, params, dictionaries, tokens, weights, trace


def test_attention_is_heads_and_offset(parts):
    module, params, _, tokens, weights, trace = parts
    x = trace.residual * trace.scale_mixer[..., None]
    mixed = jnp.einsum("lhts,lsd,ldhk,lhke->lte", trace.pattern, x, weights.value, weights.output)
    # Biases of queries and keys move the pattern, those of values and output are the offset.
    _, seen = jax.jit(capture(module, "block_0/mixer", "block_1/mixer"))(params, tokens)
    expected = jnp.stack([seen["block_0/mixer"], seen["block_1/mixer"]])
    np.testing.assert_allclose(mixed + weights.offset[:, None], expected, atol=1e-4)
    assert jnp.abs(weights.offset).max() > 0.1


def test_the_factorisation_is_exact(parts):
    module, params, dictionaries, tokens, _, _ = parts
    run = jax.jit(lambda *args: circuits.factorisation_error(module, *args, most=4))
    assert run(params, dictionaries, tokens) < 1e-4


def test_all_paths_sum_to_the_activation(parts):
    module, _, _, _, weights, trace = parts
    place, feature = np.unravel_index(np.asarray(trace.z[1]).argmax(), (T, F))
    every = circuit_paths.path_search(
        weights, trace, 1, int(feature), int(place), depth=6, width=None, parallel=module.parallel
    )
    np.testing.assert_allclose(sum(path.value for path in every), trace.z[1, place, feature], rtol=1e-4)
    found = {node for path in every for node in path.nodes if node.kind == "offset"}
    assert {node.layer for node in found} == ({0} if module.parallel else {0, 1})
