"""zkDL: a proof that committed weights come from committed weights by steps of SGD on committed data.

The proof shows, and reveals no more, that every number of the steps is what `fixed_point.train_step_int` makes of the
committed data and weights. Products of matrices are sumchecks; ReLU and rounding are statements about committed bits
(`zkrelu`). As every tensor is committed beforehand, nothing forces an order on the layers: tensors of equal role are
stacked over steps and layers, and each identity is proved once for the stack, at a random point over the slots too
(FAC4DNN). With e(u, .) the weights of a random point, sigma a slot and sigma + 1 that of the next layer:

    forward    sum_sigma e_sigma Z_sigma(u_b, u_o)       = sum_sigma,k e_sigma A_sigma(u_b, k) W_sigma(k, u_o)
    backward   sum_sigma e_sigma G_A,sigma(u_b, u_i)     = sum_sigma,k e_sigma G_Z,sigma+1(u_b, k) W_sigma+1(u_i, k)
    gradient   sum_sigma e_sigma G_W,sigma(u_i, u_o)     = sum_sigma,k e_sigma A_sigma(k, u_i) G_Z,sigma(k, u_o)
    update     rounded G_W = W now - W after, at a point
    relu       A_sigma+1 + gamma G_Z,sigma               = (1 - s_sigma)(rounded Z_sigma + gamma rounded G_A,sigma)
    last layer Y = rounded Z - G_Z, at a point
    bits       0 = sum_x e_x bit_x (bit_x - 1)

The same function walks them for prover and verifier (`parties`); with `stacked` false it does so layer by layer, each
with openings of its own: the sequential proof, to compare with.

The statement holds in integers if data and first weights have Q bits, which their commitments are assumed to be made
for; weights after t steps then need no proof of range (`training_trace.check_setting`). Soundness is that of a field of
2^61 and of a toy group (`group`): about 30 bits, not secure.

NOTE(paper): the update's rounding needs bits of its own, `aux_w`, for its remainder's range.

Source: Sun, Bai, Li, Zhang, "zkDL: Efficient Zero-Knowledge Proofs of Deep Learning Training" (arXiv 2307.16273).
"""

from typing import NamedTuple

import numpy as np

from jaxzoo.robustness.group import ELEMENT_BYTES, SCALAR_BYTES, is_element
from jaxzoo.robustness.m61 import P, m61_dot, m61_mul, m61_sub
from jaxzoo.robustness.multilinear import contract, inner, outer
from jaxzoo.robustness.parties import Message, Prover, Verifier
from jaxzoo.robustness.sumcheck import Rejected
from jaxzoo.robustness.tensor_sum import tensor_sum
from jaxzoo.robustness.training_trace import NAMES, Rows, Setting, check_setting, commit_tables, statement, witness
from jaxzoo.robustness.zkrelu import recovery, zkrelu_aux

__all__ = [
    "Proof",
    "Rejected",
    "Setting",
    "commit_tables",
    "proof_bytes",
    "prove_step",
    "statement",
    "verify_step",
    "witness",
    "zkrelu_aux",
]

FIRST, SECOND = (np.array(v, np.uint64) for v in ((1, 0), (0, 1)))


class Proof(NamedTuple):
    """What the prover hands over: commitments to all but the statement, and the messages of the protocol."""

    commitments: Rows
    messages: tuple[Message, ...]


def prove_step(setting: Setting, tables, commitments: Rows, blinds: Rows, rng, *, stacked: bool = True) -> Proof:
    """Proves T steps of training.

    Args:
      setting: the public sizes.
      tables: the witness, as `witness` makes it.
      commitments, blinds: as `commit_tables` makes them, for the same `stacked`.
      rng: `random.Random`, or `random.SystemRandom` where the proof has to hide something.
      stacked: prove all layers and steps at once, or one after the other.

    Returns:
      The proof. Of a witness that is wrong too: it will be rejected.
    """
    check_setting(setting)
    prover = Prover(setting, stacked, tables, commitments, blinds, rng)
    identities(prover, setting, stacked)
    public = set(setting.public())
    return Proof({k: v for k, v in commitments.items() if k not in public}, tuple(prover.messages))


def verify_step(setting: Setting, public: Rows, proof: Proof, *, stacked: bool = True) -> None:
    """Checks a proof of T steps of training.

    Args:
      setting: the public sizes.
      public: the statement: commitments to data and to weights before and after, (table, slot) -> a row each.
      proof: of `prove_step`.
      stacked: as the prover's.

    Raises:
      Rejected: the proof does not hold; says at which check.
      ValueError: the setting is not sound.
    """
    check_setting(setting)
    commitments, places = {}, set(setting.public())
    for name in NAMES:
        rows = int(np.prod(setting.shape(name)[1:])) // setting.columns(name, stacked)
        for slot in setting.slots(name):
            source = public if (name, slot) in places else proof.commitments
            found = source.get((name, slot), ())
            if len(found) != rows or not all(map(is_element, found)):
                raise Rejected(f"commitments: {name} {slot}: expected {rows} elements")
            commitments[name, slot] = list(found)
    identities(Verifier(setting, stacked, commitments, proof.messages), setting, stacked)


def identities(party, setting: Setting, stacked: bool) -> None:
    """The whole protocol: the identities of every group of slots, then the openings of all tables."""
    slots = setting.shape("inputs")[0]
    groups = [np.arange(slots)] if stacked else [np.array([slot]) for slot in setting.slots("inputs")]
    for slots in groups:
        group = Group(setting, slots)
        matmuls(party, setting, group)
        update(party, setting, group)
        relu(party, setting, group)
        last_layer(party, setting, group)
        for name in ("aux", "aux_w"):
            bits(party, setting, group, name)
    party.settle()


class Group:
    """The slots that are proved at once, and where their neighbours are.

    Attributes:
      slots: [g], of one power of two.
      hidden: [g] uint64, 1 where a slot is a layer with a next one.
      last: [g] uint64, 1 where it is the last layer of a step.
      real: [g] uint64, 1 where a slot is no padding.
    """

    def __init__(self, setting: Setting, slots):
        """Sorts the slots by what they are."""
        step, layer = slots // setting.pitch, slots % setting.pitch
        real = step < setting.steps
        self.slots, self.setting = slots, setting
        self.real = (real & (layer < setting.layers)).astype(np.uint64)
        self.hidden = (real & (layer < setting.layers - 1)).astype(np.uint64)
        self.last = (real & (layer == setting.layers - 1)).astype(np.uint64)

    def of(self, table, ahead=0):
        """[g, ...]: the table at these slots, or at those `ahead`; zeros past its end."""
        return np.take(np.concatenate([table, np.zeros_like(table[:1])]), self._places(len(table), ahead), 0)

    def next(self, table):
        """[g, ...]: the table at the next layers; zeros where there is none."""
        return self.of(table, 1) * self.hidden.reshape(-1, *[1] * (table.ndim - 1))

    def lift(self, vector, name, ahead=0):
        """A vector over the group as one over all slots of a table, so that <table, lift> = <of(table), vector>."""
        lifted = np.zeros(self.setting.shape(name)[0] + 1, np.uint64)
        lifted[self._places(len(lifted) - 1, ahead)] = vector
        return lifted[:-1]

    def _places(self, count, ahead):
        return np.minimum(self.slots + ahead, count)


def dot(a, b) -> int:
    """The inner product of two vectors of weights."""
    return int(m61_dot(a, b))


def over(value, weight: int):
    """value / weight."""
    return value * pow(weight, -1, P)


def matmuls(party, setting, group):
    """The three products of matrices: Z = A W, G_A = G_Z W' of the next layer, G_W = A' G_Z."""
    g, b, n, hidden = len(group.slots), setting.batch, setting.width, group.hidden
    value = recovery(setting.whole, setting.fraction)["value"]

    e, u_b, u_o = party.points(g, b, n)
    z = party.value("aux", group.lift(e, "aux"), FIRST, u_b, u_o, value)

    def forward(tables):
        a, w = group.of(tables["inputs"]), group.of(tables["weights"])
        return np.repeat(e, n), contract(a, [None, u_b, None]), contract(w, [None, None, u_o])  # [g, k] each

    claim, _, (r, r_k) = party.sumcheck(z, 3, (g, n), forward)
    a = party.value("inputs", group.lift(r, "inputs"), u_b, r_k)
    w = party.value("weights", group.lift(r, "weights"), r_k, u_o)
    party.product("forward", a, w, over(claim, dot(e, r)))

    if hidden.any():
        e, u_b, u_i = party.points(g, b, n)
        g_a = party.value("aux", group.lift(e, "aux"), SECOND, u_b, u_i, value)

        def backward(tables):
            g_z, w = group.next(tables["grads"]), group.next(tables["weights"])
            return np.repeat(e, n), contract(g_z, [None, u_b, None]), contract(w, [None, u_i, None])  # [g, k] each

        claim, _, (r, r_k) = party.sumcheck(g_a, 3, (g, n), backward)
        g_z = party.value("grads", group.lift(m61_mul(r, hidden), "grads", 1), u_b, r_k)
        w = party.value("weights", group.lift(m61_mul(r, hidden), "weights", 1), u_i, r_k)
        party.product("backward", g_z, w, over(claim, dot(e, r)))

    e, u_i, u_o = party.points(g, n, n)
    value = recovery(setting.whole, setting.shift)["value"]
    g_w = party.value("aux_w", group.lift(e, "aux_w"), u_i, u_o, value)

    def gradient(tables):
        a, g_z = group.of(tables["inputs"]), group.of(tables["grads"])
        return np.repeat(e, b), contract(a, [None, None, u_i]), contract(g_z, [None, None, u_o])  # [g, b] each

    claim, _, (r, r_b) = party.sumcheck(g_w, 3, (g, b), gradient)
    a = party.value("inputs", group.lift(r, "inputs"), r_b, u_i)
    g_z = party.value("grads", group.lift(r, "grads"), r_b, u_o)
    party.product("gradient", a, g_z, over(claim, dot(e, r)))


def update(party, setting, group):
    """rescale_k(G_W) = W now - W after."""
    e, u_i, u_o = party.points(len(group.slots), setting.width, setting.width)
    e = m61_mul(e, group.real)
    now = party.value("weights", group.lift(e, "weights"), u_i, u_o)
    after = party.value("weights", group.lift(e, "weights", setting.pitch), u_i, u_o)
    rounded = recovery(setting.whole, setting.shift)["rounded"]
    party.claim("aux_w", [group.lift(e, "aux_w"), u_i, u_o, rounded], now - after)


def relu(party, setting, group):
    """A of the next layer = (1 - s) rescale(Z), and G_Z = (1 - s) rescale(G_A), combined with gamma."""
    if not group.hidden.any():
        return
    g, b, n = len(group.slots), setting.batch, setting.width
    linear = recovery(setting.whole, setting.fraction)
    e, u_b, u_o = party.points(g, b, n)
    gamma = party.challenge()
    both, e = np.array([1, gamma], np.uint64), m61_mul(e, group.hidden)
    a = party.value("inputs", group.lift(e, "inputs", 1), u_b, u_o)
    g_z = party.value("grads", group.lift(e, "grads"), u_b, u_o)

    def hadamard(tables):
        aux = group.of(tables["aux"])
        sign = contract(aux, [None, FIRST, None, None, linear["sign"]])
        rounded = contract(aux, [None, both, None, None, linear["rounded"]])
        return outer([e, u_b, u_o]), m61_sub(np.uint64(1), sign), rounded  # [g, b, n] each

    claim, _, (r, r_b, r_o) = party.sumcheck(a + g_z * gamma, 3, (g, b, n), hadamard)
    sign = party.value("aux", group.lift(r, "aux"), FIRST, r_b, r_o, linear["sign"])
    rounded = party.value("aux", group.lift(r, "aux"), both, r_b, r_o, linear["rounded"])
    weight = inner([e, u_b, u_o], [r, r_b, r_o])
    party.product("relu", party.constant(1) - sign, rounded, over(claim, weight))


def last_layer(party, setting, group):
    """Y = rescale(Z) - G_Z at the last layers."""
    if not group.last.any():
        return
    e, u_b, u_o = party.points(len(group.slots), setting.batch, setting.width)
    e = m61_mul(e, group.last)
    rounded = recovery(setting.whole, setting.fraction)["rounded"]
    g_z = party.value("grads", group.lift(e, "grads"), u_b, u_o)
    z = party.value("aux", group.lift(e, "aux"), FIRST, u_b, u_o, rounded)
    steps = np.zeros(setting.shape("targets")[0], np.uint64)
    steps[group.slots[group.last > 0] // setting.pitch] = e[group.last > 0]
    party.claim("targets", [steps, u_b, u_o], z - g_z)


def bit_identity(tables):
    """e b (b - 1)."""
    e, b = tables
    return m61_mul(e, m61_mul(b, m61_sub(b, np.uint64(1))))


def bits(party, setting, group, name):
    """Every entry of a table of bits is one."""
    sizes = (len(group.slots), *setting.shape(name)[1:])
    e = party.points(*sizes)
    zero = party.constant(0)
    claim, _, (r, *rest) = party.sumcheck(
        zero, 3, sizes, lambda tables: (tensor_sum([1], [e]), group.of(tables[name])), bit_identity
    )
    bit = party.value(name, group.lift(r, name), *rest)
    party.product(f"bits {name}", bit, bit, bit + over(claim, inner(e, [r, *rest])))


def proof_bytes(proof: Proof) -> dict[str, int]:
    """Bytes of a proof by kind of message, "sumcheck", "opening", "value", "product", and of its "commitments"."""
    total = {"commitments": ELEMENT_BYTES * sum(map(len, proof.commitments.values()))}
    for kind, elements, scalars in proof.messages:
        total[kind] = total.get(kind, 0) + ELEMENT_BYTES * len(elements) + SCALAR_BYTES * len(scalars)
    return total
