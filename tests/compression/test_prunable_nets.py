"""Networks to prune: FastGRNN against a loop, sizes of the paper's networks, positions, and shapes that fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxzoo.compression.fastgrnn import fastgrnn, init_fastgrnn
from jaxzoo.compression.paper_nets import mobilenet_v1, residual_net, resnet50, wide_resnet
from jaxzoo.compression.prunable_nets import Block, Conv, conv_net, normed_mlp, recurrent_net


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_fastgrnn_is_the_loop():
    rng = np.random.default_rng(0)
    params = init_fastgrnn(jax.random.key(0), 3, 4)
    params |= {"b_z": jnp.asarray(rng.normal(size=4), jnp.float32), "zeta": jnp.float32(0.3), "nu": jnp.float32(-1.0)}
    x = rng.normal(size=(6, 3))
    p = {name: np.asarray(value, np.float64) for name, value in params.items()}
    h, states = np.zeros(4), []
    for step in x:
        c = p["w"].T @ step + p["u"].T @ h
        z, candidate = sigmoid(c + p["b_z"]), np.tanh(c + p["b_h"])
        h = (sigmoid(p["zeta"]) * (1 - z) + sigmoid(p["nu"])) * candidate + z * h
        states.append(h)
    np.testing.assert_allclose(jax.jit(fastgrnn)(params, jnp.float32(x)), states, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"x: expected \[t, 3\], got \(2, 6, 3\)"):
        fastgrnn(params, jnp.zeros((2, 6, 3)))


def sizes(net):
    params, _ = jax.eval_shape(net.init, jax.random.key(0))
    whole = sum(leaf.size for leaf in jax.tree.leaves(params))
    return whole, sum(w.size for w in params["weights"])


def multiplications(net):
    params, _ = jax.eval_shape(net.init, jax.random.key(0))
    return sum(w.size * p for w, p in zip(params["weights"], net.positions, strict=True))


def test_resnet50_has_the_published_size():
    whole, _ = sizes(resnet50())
    assert whole == 25_557_032
    assert multiplications(resnet50()) == pytest.approx(4.09e9, rel=0.01)


def test_mobilenet_has_the_published_size():
    whole, _ = sizes(mobilenet_v1())
    assert whole == 4_231_976
    assert multiplications(mobilenet_v1()) == pytest.approx(569e6, rel=0.01)


def test_networks_for_cifar_have_their_published_sizes():
    assert sizes(wide_resnet(28, 10))[0] == pytest.approx(36.5e6, rel=0.002)
    assert sizes(wide_resnet(28, 8))[0] == pytest.approx(23.4e6, rel=0.003)
    net = residual_net((16, 32, 64), each=5, side=32, channels=3, classes=10)
    # 464,154 without the two pointwise convolutions and their norms
    assert sizes(net)[0] == 464_154 + 16 * 32 + 32 * 64 + 2 * (32 + 64)
    with pytest.raises(ValueError, match="depth: expected 6 n \\+ 4, got 30"):
        wide_resnet(30)


NETS = {
    "mlp": (normed_mlp((64, 32, 16, 10)), (8, 8)),
    "residual": (residual_net((4, 8), side=8, channels=1, classes=10), (8, 8, 1)),
    "preactivation": (wide_resnet(10, 1, side=8, channels=1), (8, 8, 1)),
    "separable": (
        conv_net(
            side=8,
            channels=1,
            classes=10,
            stem=Conv(3, 4, 2),
            blocks=(Block((Conv(3, None), Conv(1, 6)), residual=False),),
            pool=True,
        ),
        (8, 8, 1),
    ),
    "recurrent": (recurrent_net(length=8, features=8, hidden=5, classes=10), (8, 8)),
}


@pytest.mark.parametrize("name", NETS)
def test_statistics_pass_through_training_and_evaluation(name):
    net, shape = NETS[name]
    x = jax.random.normal(jax.random.key(0), (7, *shape))
    params, stats = net.init(jax.random.key(1))
    train = jax.jit(lambda s: net.apply(params, s, x, train=True, momentum=1.0))
    logits, fresh = train(stats)
    assert logits.shape == (7, 10)
    assert len(net.positions) == len(params["weights"])
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a.shape, b.shape), fresh, stats)
    assert name == "recurrent" or float(jnp.abs(fresh[0].mean - stats[0].mean).max()) > 0
    evaluated, kept = jax.jit(lambda s: net.apply(params, s, x))(fresh)
    jax.tree.map(np.testing.assert_array_equal, kept, fresh)
    assert np.isfinite(evaluated).all()


def lax_conv(x, w, stride=1):
    return jax.lax.conv_general_dilated(x, w, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def reference(preactivation, params, stats, x):
    """Two residual blocks, the second with stride 2 and a projection, written out by hand."""
    w, norms = params["weights"], params["rest"]["norms"]

    def n(i, x):
        s = stats[i]
        y = (x - s.mean[None, None, None]) / jnp.sqrt(s.var[None, None, None] + 1e-5)
        return y * norms[i]["scale"][None, None, None] + norms[i]["bias"][None, None, None]

    relu, x = jax.nn.relu, lax_conv(x, w[0])
    if preactivation:
        x = x + lax_conv(relu(n(1, lax_conv(relu(n(0, x)), w[1]))), w[2])
        first = relu(n(2, x))
        x = lax_conv(relu(n(3, lax_conv(first, w[3], 2))), w[4]) + lax_conv(first, w[5], 2)
        x = relu(n(4, x))
    else:
        x = relu(n(0, x))
        x = relu(x + n(2, lax_conv(relu(n(1, lax_conv(x, w[1]))), w[2])))
        y = n(4, lax_conv(relu(n(3, lax_conv(x, w[3], 2))), w[4]))
        x = relu(y + n(5, lax_conv(x, w[5], 2)))
    return x.mean((1, 2)) @ w[6] + params["rest"]["bias"][None]


@pytest.mark.parametrize("preactivation", [False, True])
def test_residual_nets_are_what_they_look_like_written_out(preactivation):
    net = residual_net((4, 6), side=8, channels=2, classes=3, preactivation=preactivation)
    rng = np.random.default_rng(0)
    move = lambda x: x if x.dtype == jnp.int32 else x + jnp.asarray(0.1 + 0.2 * rng.random(x.shape), x.dtype)  # noqa: E731
    params, stats = jax.tree.map(move, net.init(jax.random.key(0)))
    x = jnp.asarray(rng.normal(size=(3, 8, 8, 2)), jnp.float32)
    want = jax.jit(reference, static_argnums=0)(preactivation, params, stats, x)
    np.testing.assert_allclose(jax.jit(net.apply)(params, stats, x)[0], want, rtol=2e-4)


def test_shapes_and_positions_of_a_small_residual_net():
    net = residual_net((8, 32, 64), side=8, channels=1, classes=10)
    params, stats = jax.eval_shape(net.init, jax.random.key(0))
    shapes = [w.shape for w in params["weights"]]
    assert shapes[:3] == [(3, 3, 1, 8), (3, 3, 8, 8), (3, 3, 8, 8)]
    assert shapes[3:6] == [(3, 3, 8, 32), (3, 3, 32, 32), (1, 1, 8, 32)]
    assert shapes[-1] == (64, 10)
    assert net.positions == (64, 64, 64, 16, 16, 16, 4, 4, 4, 1)
    assert len(stats) == 9


def test_too_few_widths_are_refused():
    with pytest.raises(ValueError, match="widths: expected those of the input and the output at least, got"):
        normed_mlp((3,))
