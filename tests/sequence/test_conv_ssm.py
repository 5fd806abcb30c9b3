"""ConvS5: scan against steps, pixels against S5, cut clips against whole ones; what its parameters and program are."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo import data
from jaxzoo.experiment.discover import experiments_folder, load
from jaxzoo.experiment.runner import Runner
from jaxzoo.sequence import conv_ssm
from jaxzoo.sequence.conv_lstm import ConvLSTMLayer
from jaxzoo.sequence.hippo import hippo_normal
from jaxzoo.sequence.video_model import VideoModel
from jaxzoo.transforms import as_model

T, H, W, U, N = 64, 4, 5, 3, 6
P = N // 2


def parameters(spectrum="hippo", window=3, seed=0, features=U, size=N):
    return conv_ssm.convs5_init(
        jax.random.key(seed), features=features, state_size=size, window=window, spectrum=spectrum
    )


def inputs(seed=1, t=T, dtype=jnp.float32):
    key_u, key_x = jax.random.split(jax.random.key(seed))
    x0 = jax.random.normal(key_x, (2, H, W, P), dtype)
    return jax.random.normal(key_u, (t, H, W, U), dtype), jax.lax.complex(x0[0], x0[1])


def largest(x, y):
    return max(float(jnp.abs(a - b).max()) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("spectrum", conv_ssm.SPECTRA)
def test_the_scan_equals_the_steps(spectrum):
    params, (u, x0) = parameters(spectrum), inputs()
    scan, step = (conv_ssm.convs5_apply(params, u, x0, mode=mode) for mode in conv_ssm.MODES)
    assert scan[0].dtype == jnp.complex64
    assert largest(scan, step) <= 1e-4
    jitted = jax.jit(conv_ssm.convs5_apply)(params, u, x0)
    assert largest(scan, jitted) <= 1e-5


def test_the_scan_equals_the_steps_to_double_precision():
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: x.astype(jnp.float64), parameters())
        u, x0 = inputs(dtype=jnp.float64)
        scan, step = (conv_ssm.convs5_apply(params, u, x0, mode=mode) for mode in conv_ssm.MODES)
        assert scan[1].dtype == jnp.float64
        assert largest(scan, step) <= 1e-9


def test_a_clip_cut_in_two_is_one_clip():
    params, (u, x0) = parameters(), inputs()
    x, y = conv_ssm.convs5_apply(params, u, x0)
    middle, first = conv_ssm.convs5_apply(params, u[:23], x0)
    last, second = conv_ssm.convs5_apply(params, u[23:], middle)
    assert largest((x, y), (last, jnp.concatenate([first, second]))) <= 1e-4


def test_a_batch_is_its_clips():
    params, (u, x0) = parameters(), inputs(t=5)
    u, x0 = jnp.stack([u, 2 * u, -u]), jnp.stack([x0, 1j * x0, 0 * x0])
    found = jax.vmap(conv_ssm.convs5_apply, (None, 0, 0))(params, u, x0)
    for i in range(3):
        expected = conv_ssm.convs5_apply(params, u[i], x0[i])
        assert largest((found[0][i], found[1][i]), expected) <= 1e-5


def test_with_pointwise_kernels_every_pixel_is_an_s5_layer():
    params, (u, x0) = parameters(window=1), inputs(t=20)
    x, y = conv_ssm.convs5_apply(params, u, x0)
    b, c = (np.asarray(params[name], np.float64)[:, 0, 0] for name in "BC")
    b, c = b[0] + 1j * b[1], c[0] + 1j * c[1]
    lam = np.asarray(params["lam"][0], np.float64) + 1j * np.asarray(params["lam"][1], np.float64)
    dt = np.exp(np.asarray(params["log_step"], np.float64))
    a = np.exp(lam * dt)
    for i in range(H):
        for j in range(W):
            state = np.asarray(x0[i, j], complex)
            for t in range(20):
                state = a * state + (a - 1) / lam * (np.asarray(u[t, i, j], np.float64) @ b)
                np.testing.assert_allclose(y[t, i, j], 2 * (state @ c).real, atol=1e-5)
            np.testing.assert_allclose(x[i, j], state, atol=1e-5)


@pytest.mark.parametrize("window", [1, 3])
def test_an_impulse_does_not_spread_with_time(window):
    params = parameters(window=window)
    u = jnp.zeros((8, 9, 9, U)).at[0, 4, 3].set(1.0)
    reached = jnp.abs(conv_ssm.convs5_apply(params, u)[1]).sum(-1) > 0
    near = jnp.maximum(jnp.abs(jnp.arange(9) - 4)[:, None], jnp.abs(jnp.arange(9) - 3)[None]) <= window - 1
    np.testing.assert_array_equal(reached, jnp.broadcast_to(near[None], reached.shape))


def test_conjugate_halves_make_the_whole_state():
    # An input kernel of the full real system: its output has to be that of the halved one, factor two included.
    lam, v = hippo_normal(N, halve=False)
    params = parameters(window=1)
    half = hippo_normal(N)[1]
    b, c = (np.asarray(params[name][0] + 1j * params[name][1])[0, 0] for name in "BC")
    b0, c0 = 2 * (b @ half.T).real, 2 * (half.conj() @ c).real  # real, since V V^H = 1 over both halves
    dt = 0.05
    params["log_step"] = jnp.full(P, np.log(dt))
    a = np.exp(lam * dt)
    gain = v @ np.diag((a - 1) / lam) @ v.conj().T
    step = v @ np.diag(a) @ v.conj().T
    u, state = np.asarray(inputs(t=6)[0][:, 0, 0]), np.zeros(N)
    y = conv_ssm.convs5_apply(params, jnp.asarray(u)[:, None, None])[1][:, 0, 0]
    for t in range(6):
        state = (step @ state + gain @ (u[t] @ b0)).real
        np.testing.assert_allclose(y[t], state @ c0, atol=1e-5)


def test_initial_parameters():
    hippo, random, discrete = (parameters(spectrum, size=64, features=32) for spectrum in conv_ssm.SPECTRA)
    for other in (random, discrete):
        for name in "BC":
            np.testing.assert_array_equal(other[name], hippo[name])
    np.testing.assert_array_equal(hippo["lam"][0], np.full(32, -0.5, np.float32))
    for params in (hippo, random):
        assert jnp.log(1e-3) <= params["log_step"].min() < params["log_step"].max() <= jnp.log(0.1)
    np.testing.assert_allclose(random["lam"][0].max(), -1e-4, rtol=1e-2)
    a, _ = conv_ssm.discretized(discrete)
    assert 0.5 < np.abs(a).max() <= 0.951
    # He: a sum over all inputs of variance 2; V keeps it, and half of the states carry half of it.
    np.testing.assert_allclose((hippo["B"] ** 2).sum((0, 1, 2, 3)).mean(), 2, rtol=0.05)
    np.testing.assert_allclose((hippo["C"] ** 2).sum((0, 1, 2, 3)).mean(), 1, rtol=0.05)
    assert all(jnp.issubdtype(x.dtype, jnp.floating) for x in jax.tree.leaves((hippo, random, discrete)))


def test_eigenvalues_that_train_to_the_right_are_held_back():
    params = parameters()
    params["lam"] = params["lam"].at[0].set(0.5)
    assert (jnp.abs(conv_ssm.discretized(params)[0]) < 1).all()


def test_the_discrete_form_scales_its_input_to_unit_variance():
    params = parameters("discrete")
    a, b = conv_ssm.discretized(params)
    expected = np.sqrt(1 - np.abs(np.asarray(a)) ** 2) * np.asarray(params["B"][0] + 1j * params["B"][1])
    np.testing.assert_allclose(b, expected, atol=1e-5)


def test_gradients_against_finite_differences():
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: x.astype(jnp.float64), parameters())
        u, x0 = inputs(t=7, dtype=jnp.float64)
        objective = lambda params: jnp.sin(conv_ssm.convs5_apply(params, u, x0)[1]).sum()  # noqa: E731
        gradient = jax.jit(jax.grad(objective))(params)
        keys = jax.random.split(jax.random.key(3), len(params))
        way = {n: jax.random.normal(k, params[n].shape, jnp.float64) for k, n in zip(keys, params, strict=True)}
        value = jax.jit(lambda e: objective(jax.tree.map(lambda x, d: x + e * d, params, way)))
        slope = (value(1e-6) - value(-1e-6)) / 2e-6
        np.testing.assert_allclose(sum((gradient[n] * way[n]).sum() for n in params), slope, rtol=1e-6)


def gradient_loops(layer, t=7):
    model, x = as_model(VideoModel(layer, 1, (4,))), jnp.zeros((t, 4, 4, 1))
    params = jax.eval_shape(model.init, jax.random.key(0), x)
    return conv_ssm.loop_lengths(jax.grad(lambda params: model.apply(params, x)[0].sum()), params)


def test_the_training_graph_has_no_loop_over_time_but_that_of_conv_lstm_has():
    assert gradient_loops(partial(conv_ssm.ConvS5Layer, 4)) == []
    assert gradient_loops(partial(ConvLSTMLayer, 3)) == [7, 7]
    assert conv_ssm.loop_lengths(lambda x: jax.lax.while_loop(lambda x: x < 3, lambda x: x + 1, x), 0) == [None]


def test_generation_equals_running_the_model_again_on_all_frames_so_far():
    model = as_model(VideoModel(partial(conv_ssm.ConvS5Layer, 4, block="standard"), 1, (4,)))
    context = jax.random.uniform(jax.random.key(0), (5, 4, 4, 1), minval=-1)
    params = jax.jit(model.init)(jax.random.key(1), context)
    made = jax.jit(partial(conv_ssm.generate, model.apply, n_frames=3))(params, context)
    # The model is causal, so that frames not made yet may stand as zeros.
    apply, frames = jax.jit(model.apply), jnp.concatenate([context, jnp.zeros((3, 4, 4, 1))])
    for t in range(5, 8):
        frames = frames.at[t].set(conv_ssm.clip_pixels(apply(params, frames)[0][t - 1]))
    np.testing.assert_allclose(made, frames[5:], atol=1e-4)


def test_the_preset_paper_reads_clips_in_colour(tmp_path):
    experiment, key = load(experiments_folder() / "sequence" / "conv_ssm.py"), jax.random.key(0)
    made = np.random.default_rng(0).integers(0, 256, (3, 12, 8, 8, 3)).astype(np.uint8)
    np.savez(tmp_path / "train.npz", video=made[:1], actions=np.zeros((1, 12)))
    np.save(tmp_path / "test.npy", made[1:])
    sizes = {"length": 10, "context": 8, "horizon": 4, "clips": 2, "layers": 1, "widths": (4, 4), "halvings": 1}
    config = replace(
        experiment.PRESETS["paper"], files=("train.npz", "test.npy"), state=4, hidden=3, steps=2, warmup=1, **sizes
    )
    runner = Runner(1, key, data_dir=tmp_path)
    sample, test = experiment.videos(config, runner)
    np.testing.assert_allclose(test, made[1:] / 127.5 - 1, atol=1e-6)
    frames, following = sample(key)
    np.testing.assert_allclose(frames, made[:1, :9] / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(following[:, :-1], frames[:, 1:])
    task = experiment.bounce_task(config, "convs5", sample)
    _, scalars = jax.eval_shape(task.update, jax.eval_shape(task.init, key), key)
    assert scalars["loss"].shape == ()
    assert experiment.picture(test[0]).shape == (12, 8, 8, 3)
    np.save(tmp_path / "grey.npy", made[1:, ..., 0])
    with pytest.raises(data.DataError, match=r"frames of \('train.npz', 'grey.npy'\) differ"):
        experiment.videos(replace(config, files=("train.npz", "grey.npy")), runner)


def test_made_frames_are_limited_as_asked():
    apply = lambda params, frames, states=None: (params * frames, states)  # noqa: E731
    context = jnp.full((2, 4, 4, 1), 0.5)
    np.testing.assert_array_equal(conv_ssm.generate(apply, 3.0, context, 2), jnp.ones((2, 4, 4, 1)))
    one = conv_ssm.generate(apply, 3.0, context, 1, limit=jnp.tanh)
    np.testing.assert_allclose(one, jnp.full((1, 4, 4, 1), np.tanh(1.5)), rtol=1e-6)


def test_weight_decay_leaves_the_dynamics_alone():
    layer = as_model(conv_ssm.ConvS5Layer(4))
    params = jax.eval_shape(layer.init, jax.random.key(0), jnp.zeros((2, 4, 4, 4)))
    mask = conv_ssm.decayed(params)
    assert mask["ssm"] == {"B": True, "C": True, "lam": False, "log_step": False}
    assert all(jax.tree.leaves(mask["block"]))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda p, u, x: conv_ssm.convs5_apply(p, u[..., :2], x), r"u: expected \[t, h, w, 3\] with t at least 1"),
        (lambda p, u, x: conv_ssm.convs5_apply(p, u[:0], x), "u: expected"),
        (lambda p, u, x: conv_ssm.convs5_apply(p, u, x[:2]), r"x0: expected \(4, 5, 3\), got \(2, 5, 3\)"),
        (lambda p, u, x: conv_ssm.convs5_apply(p, u, x, mode="loop"), "mode: expected one of scan, step"),
        (lambda p, u, x: parameters("zero"), "spectrum: expected one of hippo, random, discrete"),
        (lambda p, u, x: parameters(size=5), "n: expected a multiple of 2"),
        (lambda p, u, x: conv_ssm.generate(None, p, u, 0), "expected n_frames >= 1"),
        (lambda p, u, x: as_model(conv_ssm.ConvS5Layer(4, block="mlp")).init(jax.random.key(0), u), "block: expected"),
    ],
)
def test_wrong_use_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call(parameters(), *inputs(t=2))
