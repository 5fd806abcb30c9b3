"""The model around the layers: exact rearrangements, causality, states that carry on."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.sequence import video_model
from jaxzoo.sequence.conv_lstm import ConvLSTMLayer
from jaxzoo.sequence.conv_ssm import ConvS5Layer
from jaxzoo.transforms import as_model


def test_space_to_depth_gathers_squares_of_four_and_is_undone():
    x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    y = video_model.space_to_depth(x)
    assert y.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(y[1, 1, 2], x[1, 2:4, 4:6].reshape(-1))
    np.testing.assert_array_equal(video_model.depth_to_space(y), x)


def test_a_frame_norm_looks_at_one_frame():
    x = jax.random.normal(jax.random.key(0), (5, 4, 4, 6)) * jnp.arange(1.0, 6)[:, None, None, None]
    norm = as_model(video_model.FrameNorm(3))
    params = norm.init(jax.random.key(0), x)
    y = norm.apply(params, x)
    np.testing.assert_allclose(y.reshape(5, 16, 3, 2).mean((1, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(norm.apply(params, x[2:3]), y[2:3], atol=1e-6)
    assert jax.tree.map(jnp.shape, params) == {"scale": (6,), "bias": (6,)}


def test_kernels_begin_with_the_usual_numbers():
    for shape in ((3, 3, 4, 8), (5, 2)):
        found = video_model.lecun_normal(jax.random.key(3), shape)
        np.testing.assert_array_equal(found, nn.initializers.lecun_normal()(jax.random.key(3), shape))


LAYERS = {
    "resnet": partial(ConvS5Layer, 4),
    "standard": partial(ConvS5Layer, 4, spectrum="discrete", block="standard"),
    "convlstm": partial(ConvLSTMLayer, 3),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_the_model_is_causal_and_goes_on_from_its_states(layer):
    model = as_model(video_model.VideoModel(layer, 1, (4,)))
    x = jax.random.normal(jax.random.key(0), (6, 8, 8, 1))
    params = jax.jit(model.init)(jax.random.key(1), x)
    apply = jax.jit(model.apply)
    y, after = apply(params, x)
    assert y.shape == x.shape
    np.testing.assert_array_equal(apply(params, x.at[4].add(1.0))[0][:4], y[:4])
    first, states = apply(params, x[:3])
    second, last = apply(params, x[3:], states)
    np.testing.assert_allclose(jnp.concatenate([first, second]), y, atol=1e-4)
    for a, b in zip(jax.tree.leaves(last), jax.tree.leaves(after), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_the_last_frame_alone_is_the_last_of_all():
    model = as_model(video_model.VideoModel(partial(ConvS5Layer, 4, block="standard"), 1, (4,)))
    x = jax.random.normal(jax.random.key(0), (5, 4, 4, 1))
    params = jax.jit(model.init)(jax.random.key(1), x)
    every, last = (jax.jit(of(model).apply)(params, x) for of in (video_model.next_frames, video_model.last_frame))
    np.testing.assert_allclose(last, every[-1], atol=1e-5)
    np.testing.assert_array_equal(every, jax.jit(model.apply)(params, x)[0])


def test_the_loss_is_half_squared_and_half_absolute():
    made, frames = jnp.array([1.0, -2.0]), jnp.array([0.0, 2.0])
    np.testing.assert_allclose(video_model.frame_loss(made, frames), 0.5 * 17 / 2 + 0.5 * 5 / 2)


def test_a_residual_encoder_of_several_stages():
    model = as_model(video_model.VideoModel(partial(ConvS5Layer, 4), 1, (4, 6, 8), 2, True))
    x = jax.ShapeDtypeStruct((3, 16, 16, 2), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), x)
    y, (state,) = jax.eval_shape(model.apply, params, x)
    assert y.shape == x.shape
    assert state.shape == (4, 4, 2)
    assert params["layer_0"]["ssm"]["B"].shape == (2, 3, 3, 8, 2)


def test_residual_blocks_are_computed_again_where_that_is_asked():
    x = jnp.zeros((3, 4, 4, 1))

    def is_checkpoint(equation):
        return equation.primitive.name in ("remat2", "checkpoint")

    def checkpoints(remat):
        model = as_model(video_model.VideoModel(partial(ConvS5Layer, 4, block="standard"), 1, (4,), 1, True, remat))
        params = jax.eval_shape(model.init, jax.random.key(1), x)
        program = jax.make_jaxpr(lambda params: model.apply(params, x)[0])(params)
        # A convolution may be such a call too; blocks are those that have others inside.
        return sum(any(map(is_checkpoint, e.params["jaxpr"].eqns)) for e in program.eqns if is_checkpoint(e))

    assert (checkpoints(False), checkpoints(True)) == (0, 2)


def test_bad_input_is_refused():
    model = as_model(video_model.VideoModel(partial(ConvS5Layer, 4)))
    with pytest.raises(ValueError, match="frames: expected one clip"):
        model.init(jax.random.key(0), jnp.zeros((2, 3, 8, 8, 1)))
    with pytest.raises(ValueError, match="x: expected an even height and width"):
        video_model.space_to_depth(jnp.zeros((3, 4, 1)))
    with pytest.raises(ValueError, match="x: expected channels divisible by 4"):
        video_model.depth_to_space(jnp.zeros((2, 4, 6)))
    with pytest.raises(ValueError, match="halvings: expected 0 to 1"):
        as_model(video_model.VideoModel(partial(ConvS5Layer, 4), halvings=2)).init(
            jax.random.key(0), jnp.zeros((2, 8, 8, 1))
        )
