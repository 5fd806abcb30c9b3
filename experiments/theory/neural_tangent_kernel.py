"""Neural Tangent Kernel: Convergence and Generalization in Neural Networks (Jacot et al., 2018; arXiv 1806.07572).

Claimed: as a network grows wide its tangent kernel becomes deterministic and stays constant in training, so that the
trained network is kernel regression: with a known mean, a known spread over initialisations, and one rate of learning
for each principal direction of the kernel.

Three parts, as the paper's three figures: the kernel on the circle before and after training; an ensemble trained on
four points of the circle; images whose targets lie along one principal direction each.

What came out: all of it, in 1.5 to 2 minutes on two cores. The claims on the limit and on the rates are met with little
to spare at these widths: v_2 decays 6 % slower than its eigenvalue says, v_1 and v_8 5 and 6 % faster.

Simplified against the paper: smaller widths, and digits for MNIST. The ensembles have 300 networks: with 100, whether
narrow ones fit the band worse came out inconclusive. The preset `paper` has the paper's widths and reads MNIST; its
widest networks have 200 million parameters and take about 7 GB of memory a seed.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo import data
from jaxzoo.experiment import Claim, Oracle, Paper, setting
from jaxzoo.experiment.statistics import pseudo_values
from jaxzoo.theory import kernel_regime as regime
from jaxzoo.theory.neural_tangent_kernel import analytic_kernels, kernel_pca_rates, predict_ensemble
from jaxzoo.transforms import ntk

PAPER = Paper(
    title="Neural Tangent Kernel: Convergence and Generalization in Neural Networks",
    authors="Jacot, Gabriel, Hongler",
    year=2018,
    arxiv="1806.07572",
)


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: int = setting(10, "repetitions of the experiment", low=1)
    networks: int = setting(10, "fresh networks of a seed, for the spread of the kernel", low=2)
    depth: int = setting(4, "L, layers of a network; L - 1 are hidden", low=2)
    beta: float = setting(0.1, "share of the biases", low=0.0)
    rate: float = setting(1.0, "learning rate on the cost |f(X) - y|^2 / (2 N)", low=0.0)
    widths: tuple[int, ...] = setting((64, 256, 1024), "of networks on the circle, narrow to wide", low=1)
    angles: int = setting(33, "points of the circle at which the kernel is measured", low=2)
    points: int = setting(32, "N of the training between the two measurements", low=1)
    steps: int = setting(200, "its updates", low=2)
    ensemble: int = setting(30, "networks of a seed in an ensemble, which is that of all seeds together", low=2)
    ensemble_widths: tuple[int, ...] = setting((32, 256), "of the ensembles, narrow to wide", low=1)
    ensemble_angles: int = setting(65, "points of the circle at which they are compared with theory", low=2)
    ensemble_steps: int = setting(1000, "their updates", low=1)
    images: str = setting("digits", "8x8 digits, or MNIST from the data folder", choices=("digits", "mnist"))
    examples: int = setting(128, "N, images of the principal directions", low=8)
    direction_widths: tuple[int, ...] = setting((256,), "of networks on images; claims are of the last", low=1)
    direction_rate: float = setting(0.5, "learning rate there, small since the claim is of gradient flow", low=0.0)
    direction_steps: int = setting(500, "updates there", low=2)


SMALL = {"angles": 8, "points": 8, "ensemble_angles": 8, "ensemble_steps": 20, "examples": 16, "direction_steps": 20}
PRESETS = {
    "smoke": Config(
        2, 2, 3, widths=(32,), steps=20, ensemble=2, ensemble_widths=(32,), direction_widths=(32,), **SMALL
    ),
    "default": Config(),
    "paper": Config(
        widths=(500, 10_000),
        ensemble_widths=(50, 1000),
        direction_widths=(100, 1000, 10_000),
        images="mnist",
        examples=512,
        direction_steps=2000,
    ),
}

X0 = np.array([1.0, 0.0], np.float32)
ANCHORS = np.array([-2.2, -0.9, 0.6, 2.0], np.float32)
LABELS = np.array([0.4, -0.6, 0.5, -0.3], np.float32)
DIRECTIONS = (1, 2, 8)
QUANTILE = 1.2815515655446004
"""The 90 % quantile of N(0, 1)."""


def run(config, runner):
    return circle(config, runner) | ensembles(config, runner) | directions(config, runner)


def network(config, width):
    return regime.scalar_ntk_mlp(width, config.depth, config.beta)


def on_circle(angles):
    return jnp.stack([jnp.cos(angles), jnp.sin(angles)], 1)


def stack(found):
    """Dicts of one width each, values [s, ...] -> one dict of values [s, width, ...]."""
    return {name: np.stack([np.asarray(f[name]) for f in found], 1) for name in found[0]}


def circle(config, runner):
    """Theta(x0, x) on the circle: of fresh networks, of one before and after training, and in the limit."""
    x = on_circle(jnp.linspace(-jnp.pi, jnp.pi, config.angles))

    def kernel(model, params, impl="vjp"):
        return ntk(model.apply, impl=impl)(params, x, X0[None])[:, 0]

    def arm(name, model, steps):
        task = regime.product_regression(model, config.points, lambda p: kernel(model, p), rate=config.rate)
        trained = runner.train(f"circle/{name}", task, steps)
        after = runner.map(f"circle/{name}-after", lambda key, p: kernel(model, p), trained.state.params)
        loss = np.stack([trained.history["loss"][:, 0], trained.evaluations["loss"][:, -1]], 1)
        return {"before": trained.state.before, "after": after, "loss": loss}

    def at(width):
        model = network(config, width)

        def fresh(key):
            return jax.lax.map(lambda key: kernel(model, model.init(key, X0)), jax.random.split(key, config.networks))

        standard = arm(f"standard-{width}", regime.in_standard_parameterisation(model, config.beta), 1)
        return {
            "widths": np.full(runner.seeds, width),
            "fresh": runner.map(f"fresh/{width}", fresh),  # [s, network, angle]
            **arm(f"ntk-{width}", model, config.steps),
            **{f"standard {name}": values for name, values in standard.items()},
        }

    def limit(key):
        narrow = network(config, config.widths[0])
        params = narrow.init(key, X0)
        return {
            "limit": analytic_kernels(X0[None], x, depth=config.depth, b_var=config.beta**2)[1][0],
            "forms": jnp.stack([kernel(narrow, params, impl) for impl in ("vjp", "jacobian")]),
        }

    return stack([at(width) for width in config.widths]) | runner.map("limit", limit)


def ensembles(config, runner):
    """Outputs on the circle of networks trained on four of its points, and what kernel regression says of them."""
    x, x_new = on_circle(ANCHORS), on_circle(jnp.linspace(-jnp.pi, jnp.pi, config.ensemble_angles))

    def theory(key):
        nngp, theta = analytic_kernels(jnp.concatenate([x, x_new]), depth=config.depth, b_var=config.beta**2)
        mean, cov = predict_ensemble(nngp, theta, LABELS, config.ensemble_steps, rate=config.rate)
        band = 2 * QUANTILE * jnp.sqrt(jnp.maximum(jnp.diagonal(cov), 0))
        return {"mean": mean, "band": band, "step": config.rate * kernel_pca_rates(theta[:4, :4])[0][:1]}

    def at(width):
        model = network(config, width)
        task = regime.ensemble_regression(model, config.ensemble, x, LABELS, rate=config.rate)

        def outputs(key, params):
            return jax.vmap(jax.vmap(model.apply, (None, 0)), (0, None))(params, x_new)

        params = runner.train(f"ensemble/{width}", task, config.ensemble_steps).state
        return {
            "ensemble_widths": np.full(runner.seeds, width),
            "trained": runner.map(f"ensemble/outputs-{width}", outputs, params),  # [s, network, angle]
            "untrained": runner.map(f"ensemble/untrained-{width}", lambda key: outputs(key, task.init(key))),
        }

    return stack([at(width) for width in config.ensemble_widths]) | runner.map("theory", theory)


def directions(config, runner):
    """How the error falls along principal directions of the kernel of images."""
    images = data.digits() if config.images == "digits" else data.mnist_idx(runner.data_dir)[0]
    images = jnp.asarray(data.standardise(images.x.reshape(len(images.x), -1)))

    def at(width):
        task = regime.direction_regression(
            network(config, width), images, config.examples, DIRECTIONS, rate=config.direction_rate
        )
        trained = runner.train(f"directions/{width}", task, config.direction_steps)
        components = np.stack([trained.history[f"v{k}"] for k in DIRECTIONS], 1)
        return {"components": components, "rates": trained.state.before["rates"]}

    time = config.direction_rate * np.arange(config.direction_steps)
    return stack([at(width) for width in config.direction_widths]) | {"time": np.tile(time, (runner.seeds, 1))}


def spread(kernel):
    """[s] standard deviation over networks, in units of their mean, averaged over angles; of [s, network, angle]."""
    return (np.std(kernel, 1, ddof=1) / np.mean(kernel, 1)).mean(1)


def distance(kernel, limit):
    """[s] largest distance of the mean over networks from the limit, in units of Theta(x0, x0)."""
    return np.abs(np.mean(kernel, 1) - limit).max(1) / np.max(limit, 1)


def steadier(before, after):
    """[s] how many times less the kernel moved, relative to its norm, at the largest width than at the smallest."""
    moved = np.linalg.norm(after - before, axis=2) / np.linalg.norm(before, axis=2)
    return moved[:, 0] / moved[:, -1]


def fall(loss):
    """[s] how many times the loss fell, at the smallest or largest width, whichever is less."""
    return (loss[..., 0] / loss[..., 1])[:, [0, -1]].min(1)


def mean_error(outputs, mean):
    """RMS over angles of the mean over all networks [s, network, angle] less the theory's [s, angle]."""
    return np.sqrt(np.mean((np.mean(outputs, (0, 1)) - mean[0]) ** 2))


def band_error(outputs, band):
    """Sum over angles of the absolute error of the 10-90 % band's width, in units of the sum of the theory's."""
    low, high = np.percentile(outputs, (10, 90), (0, 1))
    return np.abs(high - low - band[0]).sum() / band[0].sum()


def decay_rates(r):
    """[s, direction] of the largest width."""
    components = r["components"][:, -1]
    return np.array([[regime.decay_rate(c, t) for c in seed] for seed, t in zip(components, r["time"], strict=True)])


def rate_error(r, expected):
    """[s] largest relative error of the three rates."""
    return np.abs(decay_rates(r) / expected - 1).max(1)


CLAIMS = (
    Claim(
        id="C1a",
        says="The kernel becomes deterministic: its spread over networks falls about as 1 / sqrt(width).",
        source="Fig. 1, Theorem 1",
        paper_value="narrower band of 10 networks at width 10000 than at 500; in theory 4 times for 64 to 1024",
        measure=lambda r: spread(r["fresh"][:, 0]) / spread(r["fresh"][:, -1]),
        between=(2.5, 6.0),
        log=True,
    ),
    Claim(
        id="C1b",
        says="Its mean is the analytic limit, within 5 % of Theta(x0, x0), at the largest width.",
        source="Fig. 1, Theorem 1",
        paper_value="concentrates around the limit",
        measure=lambda r: distance(r["fresh"][:, -1], r["limit"]),
        at_most=0.05,
        control=lambda r: distance(r["standard before"][:, -1:], r["limit"]),
    ),
    Claim(
        id="C2a",
        says="The kernel stays as it is in training: it moves at least 3 times less at width 1024 than at 64.",
        source="Fig. 1, Theorem 2",
        paper_value="visible inflation at width 500, next to none at 10000",
        measure=lambda r: steadier(r["before"], r["after"]),
        at_least=3.0,
        no_effect=1.0,
        log=True,
        control=lambda r: steadier(r["standard before"], r["standard after"]),
    ),
    Claim(
        id="C2b",
        says="Meanwhile the networks do learn: the loss falls at least 3 times at either width.",
        source="Fig. 1",
        paper_value="200 steps of rate 1.0",
        measure=lambda r: fall(r["loss"]),
        at_least=3.0,
        no_effect=1.0,
        log=True,
        control=lambda r: fall(r["standard loss"]),
    ),
    Claim(
        id="C3a",
        says="The mean of trained networks is that of kernel regression: RMS distance over the circle at most 0.1.",
        source="Fig. 2",
        paper_value="the 50th percentile of networks of width 1000 lies on the theory's",
        measure=lambda r: pseudo_values(mean_error, r["trained"][:, -1], r["mean"]),
        at_most=0.1,
        control=lambda r: pseudo_values(mean_error, r["untrained"][:, -1], r["mean"]),
    ),
    Claim(
        id="C3b",
        says="So is their spread: the 10-90 % bands agree within 25 %.",
        source="Fig. 2",
        paper_value="the 10th and 90th percentiles lie on the theory's",
        measure=lambda r: pseudo_values(band_error, r["trained"][:, -1], r["band"]),
        at_most=0.25,
        control=lambda r: pseudo_values(band_error, r["untrained"][:, -1], r["band"]),
    ),
    Claim(
        id="C3c",
        says="Narrow networks' band agrees less.",
        source="Fig. 2",
        paper_value="width 50 is further from the theory than width 1000",
        measure=lambda r: pseudo_values(
            lambda outputs, band: band_error(outputs[:, 0], band) - band_error(outputs[:, -1], band),
            r["trained"],
            r["band"],
        ),
        at_least=0.0,
    ),
    Claim(
        id="C4a",
        says="The error along v_1, v_2 and v_8 decays at the rate lambda_k / N each, within 15 %.",
        source="Fig. 3, Sec. 5",
        paper_value="exponential, at a rate given by the eigenvalue",
        measure=lambda r: rate_error(r, r["rates"][:, -1]),
        at_most=0.15,
        control=lambda r: rate_error(r, r["rates"][:, -1].mean(1, keepdims=True)),
    ),
    Claim(
        id="C4b",
        says="The directions are learnt in the order of their eigenvalues, in every seed.",
        source="Fig. 3",
        paper_value="the first component is learnt first",
        measure=lambda r: (np.diff(decay_rates(r), axis=1) < 0).all(1),
        at_least=1.0,
    ),
)

ORACLES = (
    Oracle(
        says="the empirical kernel is the same, within 1e-4, by Jacobians and by products with them",
        holds=lambda r: np.ptp(r["forms"], 1).max(1) < 1e-4 * r["forms"].max((1, 2)),
    ),
    Oracle(
        says="no step overshoots along any direction, of the four points or of the images: rate lambda_1 / N < 1",
        holds=lambda r: (r["step"][:, 0] < 1) & (r["time"][:, 1] * r["rates"][..., 0].max(1) < 1),
    ),
)


def plot(results, figure):
    for axes, draw in zip(figure.subplots(1, 3), (plot_kernel, plot_ensemble, plot_decay), strict=True):
        draw(results, axes)
        axes.legend(fontsize="small", frameon=False)
        axes.spines[["top", "right"]].set_visible(False)


def plot_kernel(r, axes):
    angles = np.linspace(-np.pi, np.pi, r["limit"].shape[1])
    for i, width in enumerate(r["widths"][0]):
        low, high = np.percentile(r["fresh"][:, i], (10, 90), (0, 1))
        axes.fill_between(angles, low, high, color=f"C{i}", alpha=0.2, linewidth=0)
        axes.plot(angles, r["before"][:, i].mean(0), color=f"C{i}", label=f"width {width}")
        axes.plot(angles, r["after"][:, i].mean(0), color=f"C{i}", linestyle="--")
    axes.plot(angles, r["limit"][0], "k:", label="limit")
    axes.plot([], "k--", label="after training")
    axes.set(xlabel="angle of x", ylabel=r"$\Theta(x_0, x)$", title="Tangent kernel", ylim=0)


def plot_ensemble(r, axes):
    mean, band = r["mean"][0], r["band"][0]
    angles = np.linspace(-np.pi, np.pi, len(mean))
    axes.fill_between(angles, mean - band / 2, mean + band / 2, color="0.85", label="theory, 10-90 %")
    axes.plot(angles, mean, "k:", label="theory, mean")
    for i, width in enumerate(r["ensemble_widths"][0]):
        edges = np.percentile(r["trained"][:, i], (10, 90), (0, 1))
        axes.plot(angles, edges.T, color=f"C{i}", linewidth=1, label=[f"width {width}, 10-90 %", None])
    axes.plot(ANCHORS, LABELS, "ko", markersize=4)
    axes.set(xlabel="angle of x", ylabel="f(x)", title="Networks trained on four points", ylim=(-1, None))


def plot_decay(r, axes):
    time = r["time"][0]
    for i, k in enumerate(DIRECTIONS):
        first, *others = r["components"][:, -1, i]
        axes.plot(time, first, color=f"C{i}", linewidth=1, label=f"$v_{k}$")
        axes.plot(time, np.transpose(others), color=f"C{i}", linewidth=1, alpha=0.4)
        axes.plot(time, np.exp(-r["rates"][:, -1, i].mean() * time), "k:")
    axes.plot([], "k:", label=r"theory, mean $\lambda_k$")
    axes.set(xscale="log", xlabel="time", ylabel="share of the error left", title="Principal directions")
