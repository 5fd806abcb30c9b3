"""Wrong witnesses: traces with one error that all the rest is consistent with, so that one check has to find it.

What a cheating prover of `zkdl` would try, for tests and experiments of soundness.
"""

import numpy as np

from jaxzoo.robustness.fixed_point import rescale
from jaxzoo.robustness.training_trace import Setting, Step, run_steps, tabulate
from jaxzoo.robustness.zkrelu import to_bits

KINDS = ("weights", "gradient", "sign", "range", "bit", "backward", "activation", "loss")
"""What can be wrong, each found by another check: W' after the step; G_W, with the W' that follows; the sign of Z, with
the A that follows; a rounding whose remainder is out of range; a digit that is no bit, of the same sum; G_A; A for its
Z and sign; the last layer's G_Z for its Y."""


def forge(kind: str, setting: Setting, weights, xs, ys, rng) -> dict[str, np.ndarray]:
    """The tables of T steps with one error in one entry.

    Args:
      kind: one of KINDS.
      setting, weights, xs, ys: as in `run_steps`; at least two layers.
      rng: `random.Random`; chooses step, layer, entry and size of the error.

    Returns:
      Tables as `witness` makes them.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    at, b, n = rng.randrange(setting.steps), setting.batch, setting.width
    ends = {"loss": (setting.layers - 1, setting.layers), "backward": (0, setting.layers - 1)}
    ends |= dict.fromkeys(("sign", "activation"), ends["backward"])
    layer = rng.randrange(*ends.get(kind, (0, setting.layers)))
    entry = rng.randrange(n if kind in ("weights", "gradient") else b), rng.randrange(n)
    size = rng.choice((-1, 1)) * rng.randrange(1, 1 << setting.fraction)
    tensor = {"weights": "W", "gradient": "G_W", "sign": "Z", "backward": "G_A", "activation": "A", "loss": "G_Z"}
    name = {"range": "rounded"}.get(kind, tensor.get(kind))
    honest, _ = run_steps(setting._replace(steps=at + 1), weights, xs[: at + 1], ys[: at + 1])
    rounded = rescale(honest[at].products[layer], setting.fraction)
    if kind == "sign":  # of a positive entry, which stays within its bits and has an A that changes
        entry = tuple(int(i) for i in rng.choice(np.argwhere(rounded > 0)))
        size = -1 << setting.whole + setting.fraction - 1
    size = 1 if kind == "range" else size

    steps, now = honest[:at], honest[at].weights
    for t in range(at, setting.steps):
        x, y = _wide(xs[t], setting), _wide(ys[t], setting)
        step, now = step_with_error(setting, now, x, y, name if t == at else None, layer, entry, size)
        steps.append(step)
    tables = tabulate(setting, steps, now)
    if kind not in ("range", "bit"):
        return tables
    digits = tables["aux"][at * setting.pitch + layer, 0][entry]
    if kind == "range":
        # V' + 1 and its remainder - 2^R, which no R bits make: the lowest digit takes what is over.
        digits[: setting.whole] = to_bits(rounded[entry] + 1, setting.whole)
        digits[setting.whole] -= 1 << setting.fraction
    else:
        place = rng.randrange(setting.whole - 2)
        digits[place : place + 2] += np.array([2, -1])
    return tables


def step_with_error(setting: Setting, weights, x, y, tensor, layer, entry, size):
    """One step like `train_step_int`, with `size` added to one entry of one tensor before anything follows from it.

    Args:
      setting: the sizes.
      weights, x, y: as in `train_step_int`.
      tensor: "Z", "rounded", "A", "G_Z" (of the last layer), "G_A", "G_W", "W", or None.
      layer: which, from 0.
      entry: index of the entry.
      size: the error.

    Returns:
      The `Step` and the weights after it.
    """

    def put(name, l, value):
        error = np.zeros_like(value)
        if (name, l) == (tensor, layer):
            error[entry] = size
        return value + error

    inputs, products, rounded = [x], [], []
    for l, w in enumerate(weights):
        products.append(put("Z", l, inputs[-1] @ w))
        rounded.append(put("rounded", l, rescale(products[-1], setting.fraction)))
        inputs.append(put("A", l, rounded[-1].clip(0)))
    grads, raw = [put("G_Z", len(weights) - 1, rounded[-1] - y)], []
    for l in reversed(range(len(weights) - 1)):
        raw.insert(0, put("G_A", l, grads[0] @ weights[l + 1].T))
        grads.insert(0, rescale(raw[0], setting.fraction) * (rounded[l] >= 0))
    steps = [put("G_W", l, a.T @ g) for l, (a, g) in enumerate(zip(inputs[:-1], grads, strict=True))]
    after = [put("W", l, w - rescale(s, setting.shift)) for l, (w, s) in enumerate(zip(weights, steps, strict=True))]
    return Step(weights, y, inputs[:-1], products, raw, grads, steps), after


def wrong_rate(setting: Setting, shift: int, weights, xs, ys) -> dict[str, np.ndarray]:
    """The tables of a prover that trains with another learning rate, 2^(k - shift) times the right one.

    Its weights come from rescale_shift(G_W). To pass all checks but one it states the G_W whose right rounding that is.
    """
    steps, now = [], weights
    for x, y in zip(xs, ys, strict=True):
        (step,), _ = run_steps(setting._replace(steps=1), now, [x], [y])
        moved = [rescale(g, shift) for g in step.weight_grads]
        steps.append(step._replace(weight_grads=[m << setting.shift for m in moved]))
        now = [w - m for w, m in zip(step.weights, moved, strict=True)]
    return tabulate(setting, steps, now)


def _wide(batch, setting):
    return np.pad(batch, [(0, 0), (0, setting.width - batch.shape[1])])
