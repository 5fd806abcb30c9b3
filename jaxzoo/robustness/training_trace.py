"""The trace of some steps of training as tables: what a proof of training speaks about, and how it is committed.

The tensors of equal role of all steps and layers are one table (FAC4DNN), whose first axis is the slot (step, layer):

    inputs   [slots, b, n]               A_{l-1}: a batch at layer 1
    grads    [slots, b, n]               G_Z^l
    weights  [more slots, n, n]          W_l, with the weights after the last step
    targets  [steps, b, n]               Y
    aux      [slots, 2, b, n, bits]      bits of Z_l, and of G_A^l
    aux_w    [slots, n, n, bits]         bits of G_W^l

Z, G_A and G_W are no tables of their own: they are linear functions of their bits (`zkrelu`). Every layer is padded to
n inputs and n outputs with zeros; slots that belong to no layer hold zeros.
"""

from typing import NamedTuple

import numpy as np

from jaxzoo.robustness.fixed_point import train_step_int
from jaxzoo.robustness.group import generators
from jaxzoo.robustness.m61 import P
from jaxzoo.robustness.pedersen import pedersen
from jaxzoo.robustness.zkrelu import padded, zkrelu_aux

NAMES = ("inputs", "grads", "weights", "targets", "aux", "aux_w")


class Setting(NamedTuple):
    """The public sizes of a proof.

    Attributes:
      layers, steps: L and T.
      batch, width: b and n, powers of two.
      whole, fraction: Q, bits of a number, and R of them after the point.
      shift: k = R + log2(batch) + log2(1 / learning rate).
    """

    layers: int
    steps: int
    batch: int
    width: int
    whole: int
    fraction: int
    shift: int

    @property
    def pitch(self) -> int:
        """Slots of a step."""
        return padded(self.layers)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a table."""
        b, n, slots = self.batch, self.width, padded(self.steps) * self.pitch
        return {
            "inputs": (slots, b, n),
            "grads": (slots, b, n),
            "weights": (padded(self.steps + 1) * self.pitch, n, n),
            "targets": (padded(self.steps), b, n),
            "aux": (slots, 2, b, n, padded(self.whole + self.fraction)),
            "aux_w": (slots, n, n, padded(self.whole + self.shift)),
        }[name]

    def slots(self, name: str) -> list[int]:
        """The slots of a table that are not padding, in order."""
        if name == "targets":
            return list(range(self.steps))
        steps = self.steps + (name == "weights")
        return [t * self.pitch + l for t in range(steps) for l in range(self.layers)]

    def public(self) -> list[tuple[str, int]]:
        """The (table, slot)s whose commitments are the statement: data, and weights before and after."""
        data = [("inputs", t * self.pitch) for t in range(self.steps)] + [("targets", t) for t in range(self.steps)]
        ends = (0, self.steps)
        return data + [("weights", t * self.pitch + l) for t in ends for l in range(self.layers)]

    def columns(self, name: str, stacked: bool = True) -> int:
        """Columns of a table's committed matrix: about the square root of what is opened at once, in one slot."""
        slots, *entries = self.shape(name)
        within, total = int(np.prod(entries)), int(np.prod(entries)) * (slots if stacked else 1)
        return min(within, 1 << total.bit_length() // 2)


def check_setting(setting: Setting) -> None:
    """Refuses sizes that the proof can't carry, above all those whose sums might wrap around.

    With data and first weights of Q bits, which is a condition of the statement, weights after t steps are below
    2^(Q-1) (t + 1), inputs below 2^(Q-1), gradients up to 2^Q. If every sum of products and every recomposed number
    stays below 2^60, what is equal modulo p is equal.

    Raises:
      ValueError: the first thing that is wrong.
    """
    for name in ("batch", "width"):
        size = getattr(setting, name)
        if size < 2 or size & size - 1:
            raise ValueError(f"{name}: expected a power of two from 2 up, got {size}")
    for name in ("layers", "steps", "fraction", "shift"):
        if getattr(setting, name) < 1:
            raise ValueError(f"{name}: expected at least 1, got {getattr(setting, name)}")
    if setting.whole < 2:
        raise ValueError(f"whole: expected at least 2 bits, got {setting.whole}")
    half = 1 << setting.whole - 1
    largest = {
        "Z": setting.width * half * half * (setting.steps + 1),
        "G_A": setting.width * 2 * half * half * (setting.steps + 1),
        "G_W": setting.batch * half * 2 * half,
        "a recomposed number": 1 << setting.whole + max(setting.fraction, setting.shift),
    }
    for name, bound in largest.items():
        if bound >= 1 << 60:
            raise ValueError(f"whole: {setting.whole} bits let {name} reach 2^{bound.bit_length() - 1}, past 2^60")


class Step(NamedTuple):
    """The tensors of one step, lists over the layers: see `fixed_point.train_step_int`."""

    weights: list
    y: np.ndarray
    inputs: list
    products: list
    raw: list
    grads: list
    weight_grads: list


def run_steps(setting: Setting, weights, xs, ys) -> tuple[list[Step], list]:
    """Trains for T steps.

    Args:
      setting: the sizes.
      weights: W_1 .. W_L, [n_{l-1}, n_l] int64, no wider than n.
      xs, ys: T batches [b, n_0] and [b, n_L] int64.

    Returns:
      The steps, all tensors padded to n, and the weights after them.
    """
    check_setting(setting)
    for name, items, count in (("weights", weights, setting.layers), ("xs", xs, setting.steps)):
        if len(items) != count:
            raise ValueError(f"{name}: expected {count} arrays, got {len(items)}")
    n, steps = setting.width, []
    weights = [_widened("weights", w, (n, n)) for w in weights]
    for x, y in zip(xs, ys, strict=True):
        x, y = _widened("xs", x, (setting.batch, n)), _widened("ys", y, (setting.batch, n))
        after, tensors = train_step_int(weights, x, y, bits=setting.fraction, shift=setting.shift)
        steps.append(Step(weights, y, *tensors))
        weights = after
    return steps, weights


def tabulate(setting: Setting, steps: list[Step], after: list) -> dict[str, np.ndarray]:
    """The tables of a trace: name -> int64 array of `setting.shape(name)`.

    Raises:
      ValueError: a number does not fit its bits.
    """
    tables = {name: np.zeros(setting.shape(name), np.int64) for name in NAMES}
    for t, step in enumerate(steps):
        tables["targets"][t] = step.y
        for l in range(setting.layers):
            slot = t * setting.pitch + l
            tables["inputs"][slot], tables["grads"][slot] = step.inputs[l], step.grads[l]
            tables["weights"][slot] = step.weights[l]
            tables["aux"][slot, 0] = zkrelu_aux(step.products[l], setting.whole, setting.fraction)
            if l < setting.layers - 1:
                tables["aux"][slot, 1] = zkrelu_aux(step.raw[l], setting.whole, setting.fraction)
            tables["aux_w"][slot] = zkrelu_aux(step.weight_grads[l], setting.whole, setting.shift)
    for l, w in enumerate(after):
        tables["weights"][len(steps) * setting.pitch + l] = w
    return tables


def witness(setting: Setting, weights, xs, ys) -> dict[str, np.ndarray]:
    """The tables of T correct steps; arguments as in `run_steps`."""
    return tabulate(setting, *run_steps(setting, weights, xs, ys))


Rows = dict[tuple[str, int], list]
"""(table, slot) -> something for each row of its committed matrix."""


def commit_tables(setting: Setting, tables, rng, stacked: bool = True) -> tuple[Rows, Rows]:
    """Commits every slot of every table, row by row.

    Args:
      setting: the sizes.
      tables: as `tabulate` makes them.
      rng: `random.Random`, or `random.SystemRandom` for secrets.
      stacked: whether a proof will open all slots at once; it decides the number of columns.

    Returns:
      `(commitments, blinds)`.
    """
    commitments, blinds = {}, {}
    for name in NAMES:
        columns = setting.columns(name, stacked)
        for slot in setting.slots(name):
            matrix = tables[name][slot].reshape(-1, columns)
            blinds[name, slot] = [rng.randrange(P) for _ in matrix]
            commitments[name, slot] = pedersen(matrix, generators(columns), blinds[name, slot])
    return commitments, blinds


def statement(setting: Setting, commitments: Rows) -> Rows:
    """The public part of the commitments: of data, and of weights before and after."""
    return {place: commitments[place] for place in setting.public()}


def _widened(name, array, shape):
    array = np.asarray(array)
    if array.ndim != 2 or any(have > most for have, most in zip(array.shape, shape, strict=True)):
        raise ValueError(f"{name}: expected at most {shape}, got {array.shape}")
    if array.dtype != np.int64:
        raise TypeError(f"{name}: expected dtype int64, got {array.dtype}")
    return np.pad(array, [(0, most - have) for have, most in zip(array.shape, shape, strict=True)])
