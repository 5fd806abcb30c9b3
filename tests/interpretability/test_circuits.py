"""Circuits: every attribution against automatic differentiation, and all together against the network itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.interpretability import circuit_paths, circuits
from jaxzoo.interpretability.hosts import Host
from jaxzoo.interpretability.sparse_dictionaries import init_dictionary
from jaxzoo.transforms import as_model, capture

T, D, L, H, F, V = 5, 8, 2, 2, 6, 11


@pytest.fixture(scope="module")
def parts():
    """A host with random weights and gains, a transcoder of random weights for each layer, one text."""
    module = Host(V, D, L, H)
    key_host, key_gain, key_x, key_dictionary, key_text = jax.random.split(jax.random.key(0), 5)
    tokens = jax.random.randint(key_text, (T,), 0, V)
    params = as_model(module).init(key_host, tokens)
    noise = jax.random.normal(key_gain, (D,))
    params = jax.tree.map(lambda p: p + 0.3 * noise if p.shape == (D,) else p, params)
    x = jax.random.normal(key_x, (2, 16, D))
    dictionaries = jax.vmap(init_dictionary, (0, 0, 0, None))(jax.random.split(key_dictionary, L), x, x[::-1], F)
    weights = circuits.circuit_weights(params, dictionaries)
    trace = jax.jit(lambda *args: circuits.trace_circuit(module, *args))(params, dictionaries, tokens)
    return module, params, dictionaries, tokens, weights, trace


def test_the_pattern_is_the_layers_own(parts):
    module, params, _, tokens, weights, trace = parts
    x = trace.residual * trace.scale_mixer[..., None] * weights.gain_mixer[:, None]
    mixed = jnp.einsum("lhts,lsd,ldhk,lhke->lte", trace.pattern, x, weights.value, weights.output)
    _, seen = capture(module, "block_0/mixer", "block_1/mixer")(params, tokens)
    np.testing.assert_allclose(mixed, jnp.stack([seen["block_0/mixer"], seen["block_1/mixer"]]), atol=1e-5)


def test_the_residual_stream_and_its_lengths_are_the_hosts(parts):
    module, params, _, tokens, weights, trace = parts
    _, seen = capture(module, "block_1/norm_mixer")(params, tokens)
    x = trace.residual[1] * trace.scale_mixer[1][:, None] * weights.gain_mixer[1][None]
    np.testing.assert_allclose(x, seen["block_1/norm_mixer"], atol=1e-5)


def test_feature_attribution_is_the_gradient_times_the_activation(parts):
    _, _, dictionaries, _, weights, trace = parts
    place, later = 3, 4
    earlier = jax.tree.map(lambda p: p[0], dictionaries)
    after = jax.tree.map(lambda p: p[1], dictionaries)

    def pre_activation(z):
        """Of a feature of layer 1, with all else and the norm's length as they are."""
        mlp = z @ earlier.W_dec + earlier.b_out + trace.error[0, place]
        without = trace.residual[1, place] - (trace.z[0, place] @ earlier.W_dec + earlier.b_out + trace.error[0, place])
        x = (without + mlp) * trace.scale_mlp[1, place] * weights.gain_mlp[1]
        return (x - after.b_in) @ after.W_enc[:, later] + after.b_enc[later]

    z = trace.z[0, place]
    direction = circuits.feature_direction(weights, trace, 1, later, place)
    found = circuits.feature_attribution(z, earlier.W_dec, direction)
    np.testing.assert_allclose(found, jax.grad(pre_activation)(z) * z, atol=1e-5)


def test_head_attributions_sum_to_what_the_sublayer_writes(parts):
    module, params, _, tokens, weights, trace = parts
    direction = jax.random.normal(jax.random.key(7), (D,))
    _, seen = capture(module, "block_1/norm_mixer", "block_1/mixer")(params, tokens)
    for place in (0, T - 1):
        found = circuits.head_attribution(
            trace.pattern[1, :, place], seen["block_1/norm_mixer"], weights.value[1], weights.output[1], direction
        )
        assert found.shape == (H, T)
        np.testing.assert_allclose(found.sum(), seen["block_1/mixer"][place] @ direction, atol=1e-5)


@pytest.mark.parametrize("before", ["mlp", "mixer"])
def test_all_parts_sum_to_the_residual_stream(parts, before):
    module, params, _, tokens, weights, trace = parts
    direction, place = jax.random.normal(jax.random.key(8), (D,)), 4
    names = ("embed", "block_0/mixer", "block_0/mlp", "block_1/mixer")
    _, seen = capture(module, *names)(params, tokens)
    stream = sum(seen[name][place] for name in (names if before == "mlp" else names[:3]))
    found = circuits.attributions(weights, trace, direction, place, layer=1, before=before)
    np.testing.assert_allclose(circuits.total(found), stream @ direction, atol=1e-5)
    assert found.heads.shape == (1 + (before == "mlp"), H, T)


def test_the_factorisation_is_exact_in_the_network(parts):
    module, params, dictionaries, tokens, _, _ = parts
    assert jax.jit(lambda *args: circuits.factorisation_error(module, *args))(params, dictionaries, tokens) < 1e-4


def test_all_paths_sum_to_the_activation_and_few_are_the_largest(parts):
    _, _, _, _, weights, trace = parts
    place, feature = np.unravel_index(np.asarray(trace.z[1]).argmax(), (T, F))
    every = circuit_paths.path_search(weights, trace, 1, int(feature), int(place), depth=6, width=None)
    assert all(path.reads is None for path in every)
    np.testing.assert_allclose(sum(path.value for path in every), trace.z[1, place, feature], rtol=1e-4)
    one_step = circuit_paths.path_search(weights, trace, 1, int(feature), int(place), depth=1, width=None)
    few = circuit_paths.path_search(weights, trace, 1, int(feature), int(place), depth=1, width=3)
    assert [path.nodes for path in few] == [path.nodes for path in one_step[:3]]
    assert [path.value for path in few] == sorted((path.value for path in few), reverse=True)
    assert all(node.layer < 1 for path in every for node in path.nodes if node.kind == "feature")


def test_paths_as_integers():
    node = circuit_paths.Node("head", 1, 2, 3)
    found = circuit_paths.paths_as_array([circuit_paths.Path(1.0, (node,), None)], 2, 2)
    kind = circuit_paths.KINDS.index("head")
    np.testing.assert_array_equal(found, [[[kind, 1, 2, 3], [-2] * 4], [[-2] * 4] * 2])


def test_bad_input_is_refused(parts):
    _, _, _, _, weights, trace = parts
    with pytest.raises(ValueError, match="before: expected 'mlp' or 'mixer'"):
        circuits.attributions(weights, trace, jnp.zeros(D), 0, layer=1, before="norm")
