"""Networks that can be cut: every sub-network against the dense network of its parameters."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.elastic import nested_mobilenet, nested_resnet
from jaxzoo.elastic.masked_norm import masked_layer_norm
from jaxzoo.elastic.nested import Active, exits_by_depth, nested, prefix, prefix_slice, random_subset
from jaxzoo.elastic.nested_conv import Stage, staged_net
from jaxzoo.elastic.nested_measures import left_out_norms
from jaxzoo.elastic.nested_transformer import nested_transformer
from jaxzoo.elastic.residual_mlp import macs, residual_mlp
from jaxzoo.ops import layer_norm

IMAGE = {"channels": 2, "side": 4, "outputs": 3}
MODELS = {
    "mlp": (residual_mlp(inputs=12, width=6, depth=3, outputs=5), jnp.linspace(-1, 1, 12)),
    "transformer": (nested_transformer(vocabulary=7, length=5, features=8, heads=4, depth=3), jnp.array([1, 5, 0, 2])),
    "resnet": (
        staged_net(nested_resnet.BLOCK, [Stage(3, 1), Stage(6, 1, 2)], width=4, stem=3, **IMAGE),
        jnp.linspace(-1, 1, 32).reshape(4, 4, 2),
    ),
    "mobilenet": (
        staged_net(nested_mobilenet.BLOCK, [Stage(4, 0), Stage(3, 2, 2, 6)], width=4, stem=5, last=8, **IMAGE),
        jnp.linspace(-1, 1, 32).reshape(4, 4, 2),
    ),
}


@cache
def case(name):
    """A network with other norms and biases than the initial ones, and an example."""
    model, x = MODELS[name]
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda p: p + 0.3 * rng.normal(size=p.shape).astype(np.float32), jax.jit(model.init)(jax.random.key(0))
    )
    if "statistics" in params:
        params["statistics"] = jax.tree.map(lambda p: jnp.abs(p) + 0.1, params["statistics"])
    return model, params, x


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def normed(p, x):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * p["scale"] + p["bias"]


def float64_mlp(params, x):
    params, x = jax.tree.map(lambda a: np.asarray(a, np.float64), (params, x))
    x = x @ params["in"]
    for i in range(len(params["blocks"]["up"])):
        block = jax.tree.map(lambda p, i=i: p[i], params["blocks"])
        x = x + gelu(normed(block["norm"], x) @ block["up"]) @ block["down"]
    return normed(params["norm"], x) @ params["out"]["kernel"] + params["out"]["bias"]


def test_a_quarter_of_the_grid_equals_dense_networks_in_float64():
    model = residual_mlp()
    params = jax.tree.map(np.asarray, jax.jit(model.init)(jax.random.key(1)))
    x = np.random.default_rng(0).normal(size=128).astype(np.float32)
    apply = jax.jit(nested(model.apply, model.dims))
    shapes = [(w, l) for w in range(2, 41, 2) for l in range(1, 9)]
    for i in np.random.default_rng(1).permutation(160)[:40]:
        expected = float64_mlp(prefix_slice(params, *shapes[i], model=model), x)
        np.testing.assert_allclose(apply(params, x, *shapes[i]), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_sub_network_equals_the_dense_network_of_its_parameters(name):
    model, params, x = case(name)
    width, depth = model.dims.width // 2, model.dims.depth - 1
    expected = jax.jit(model.apply)(prefix_slice(params, width, depth, model=model), x)
    got = jax.jit(nested(model.apply, model.dims))(params, x, width, depth)
    np.testing.assert_allclose(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_the_whole_sub_network_is_the_plain_network_bit_for_bit(name):
    model, params, x = case(name)
    whole = jax.jit(nested(model.apply, model.dims))(params, x, model.dims.width, model.dims.depth)
    rounding = 1e-6 if "statistics" in params else 0  # batch norm is fused with the masks
    np.testing.assert_allclose(whole, jax.jit(model.apply)(params, x), rtol=rounding, atol=rounding)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_the_dense_network_inside_and_zero_outside(name):
    model, params, x = case(name)
    width, depth = model.dims.width // 2, 1
    square = lambda y: (y**2).sum()  # noqa: E731
    got = jax.jit(jax.grad(lambda p: square(nested(model.apply, model.dims)(p, x, width, depth))))(params)
    small = prefix_slice(params, width, depth, model=model)
    expected = jax.jit(jax.grad(lambda p: square(model.apply(p, x))))(small)
    inside = prefix_slice(got, width, depth, model=model)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4), inside, expected)
    for whole, part in zip(jax.tree.leaves(got), jax.tree.leaves(inside), strict=True):
        outside = np.array(whole)
        outside[tuple(map(slice, part.shape))] = 0
        assert not outside.any()


@pytest.mark.parametrize("name", MODELS)
def test_exits_are_the_sub_networks_of_every_depth(name):
    model, params, x = case(name)
    active = prefix(model.dims, 2, 1)
    got = jax.jit(model.exits)(params, x, active)
    expected = jax.jit(exits_by_depth(model.apply, model.dims))(params, x, active)
    np.testing.assert_allclose(got, expected, atol=1e-5, rtol=1e-5)


def test_many_sub_networks_at_once_are_those_one_by_one():
    model, params, x = case("mlp")
    apply = jax.jit(nested(model.apply, model.dims))
    shapes = jnp.array([[2, 1], [3, 3], [6, 2]])
    together = jax.jit(jax.vmap(lambda s: apply(params, x, *s)))(shapes)
    for shape, y in zip(shapes, together, strict=True):
        np.testing.assert_allclose(y, apply(params, x, *shape), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_prefixes_of_prefixes_are_prefixes(name):
    model, params, _ = case(name)
    between = prefix_slice(params, 3, 2, model=model)
    twice, once = (prefix_slice(p, 2, 1, model=model) for p in (between, params))
    jax.tree.map(np.testing.assert_array_equal, twice, once)
    with pytest.raises(ValueError, match="expected 1 to"):
        prefix_slice(between, 4, 1, model=model)


def test_products_are_counted():
    assert macs(40, 8) == 128 * 40 + 8 * 4 * 40**2 + 40 * 19 == 57_080
    assert residual_mlp().macs(2, 1) == 128 * 2 + 4 * 4 + 2 * 19
    params = jax.eval_shape(MODELS["mlp"][0].init, jax.random.key(0))
    sizes = sum(p.size for p in (params["in"], params["blocks"]["up"], params["blocks"]["down"])) + 6 * 5
    assert MODELS["mlp"][0].macs(6, 3) == sizes
    params = jax.eval_shape(MODELS["transformer"][0].init, jax.random.key(0))
    weights = sum(params["blocks"][name].size for name in ("qkv", "o", "up", "down")) + params["out"].size
    assert MODELS["transformer"][0].macs(4, 3) == 5 * weights + 3 * 2 * 5**2 * 8
    assert MODELS["resnet"][0].macs(4, 2) == 9 * (16 * (6 + 4 * 9) + 4 * (18 + 3 * 36)) + 6 * 3
    assert MODELS["resnet"][0].macs(2, 1) == 9 * (16 * (4 + 4 * 4) + 4 * (6 + 9)) + 3 * 3


def test_a_random_subset_has_its_size_and_no_order():
    dims = MODELS["mlp"][0].dims
    masks, blocks = jax.vmap(lambda k: random_subset(k, dims, 2, 1))(jax.random.split(jax.random.key(0), 300))
    assert np.all(masks["channels"].sum(1) == 2)
    assert np.all(masks["hidden"].sum(1) == 4)
    assert np.all(blocks.sum(1) == 1)
    np.testing.assert_allclose(masks["channels"].mean(0), 1 / 3, atol=0.1)
    np.testing.assert_allclose(blocks.mean(0), 1 / 3, atol=0.1)


def test_a_prefix_checks_its_size_and_takes_traced_ones():
    dims = MODELS["mlp"][0].dims
    with pytest.raises(ValueError, match="width: expected 1 to 6, got 7"):
        prefix(dims, 7, 1)
    with pytest.raises(ValueError, match="depth: expected 1 to 3, got 0"):
        prefix(dims, 1, 0)
    traced = jax.jit(lambda w, l: prefix(dims, w, l))(2, 1)
    jax.tree.map(np.testing.assert_array_equal, traced, prefix(dims, 2, 1))
    assert traced.masks["hidden"].sum() == 4


def test_heads_must_divide_the_features():
    with pytest.raises(ValueError, match="heads: expected a divisor of 10 features, got 4"):
        nested_transformer(features=10, heads=4)


def test_a_full_mask_is_layer_norm():
    x = jax.random.normal(jax.random.key(0), (3, 8))
    scale, bias = jnp.linspace(0.5, 2, 8), jnp.linspace(-1, 1, 8)
    got = masked_layer_norm(x, jnp.ones(8, bool), scale, bias)
    np.testing.assert_allclose(got, layer_norm(x, scale, bias), atol=1e-6)


def test_the_norm_knows_nothing_of_channels_that_are_not_in_use():
    x = jax.random.normal(jax.random.key(0), (3, 8))
    mask = jnp.array([1, 0, 1, 1, 0, 0, 1, 0], bool)
    scale, bias = jnp.linspace(0.5, 2, 8), jnp.linspace(-1, 1, 8)
    y = masked_layer_norm(x, mask, scale, bias)
    np.testing.assert_allclose(y[:, mask], layer_norm(x[:, mask], scale[mask], bias[mask]), atol=1e-6)
    assert not y[:, ~mask].any()
    np.testing.assert_array_equal(masked_layer_norm(x + 1e6 * ~mask[None], mask, scale, bias), y)
    assert not masked_layer_norm(x, jnp.zeros(8, bool), scale, bias).any()
    gradient = jax.grad(lambda x: (masked_layer_norm(x, mask, scale, bias) ** 2).sum())(x)
    assert not gradient[:, ~mask].any()


def test_the_norm_refuses_a_mask_of_another_length():
    with pytest.raises(ValueError, match=r"mask: expected \[8\], the last axis of x, got \(7,\)"):
        masked_layer_norm(jnp.zeros(8), jnp.ones(7, bool))


def test_an_active_set_of_everything_is_a_prefix():
    dims = MODELS["mlp"][0].dims
    whole = Active({"channels": jnp.ones(6, bool), "hidden": jnp.ones(12, bool)}, jnp.ones(3, bool))
    jax.tree.map(np.testing.assert_array_equal, prefix(dims, 6, 3), whole)


@pytest.mark.parametrize("name", ["mlp", "resnet"])
def test_what_is_left_out_is_all_that_is_not_in_the_slice(name):
    model, params, _ = case(name)
    shapes = [(2, 1), (model.dims.width, model.dims.depth)]
    weights = lambda p: jax.tree.leaves({k: v for k, v in p.items() if k != "statistics"})  # noqa: E731
    square = lambda p: sum(float(np.square(leaf).sum()) for leaf in weights(p))  # noqa: E731
    expected = [np.sqrt(square(params) - square(prefix_slice(params, *shape, model=model))) for shape in shapes]
    got = jax.jit(lambda p: left_out_norms(model, p, jnp.array(shapes)))(params)
    np.testing.assert_allclose(got, expected, atol=2e-2, rtol=1e-4)
    assert got[1] == 0
