"""Pictures: what each substitute for an MLP costs; and a circuit, the places, heads and features behind one feature."""

import collections

import numpy as np

from jaxzoo.interpretability.circuit_paths import KINDS
from jaxzoo.interpretability.mlp_substitutes import SUBSTITUTES, curve


def draw_losses(axes, results, kept):
    """Draws the loss above the host's over the number of active features, one line for each kind and seed.

    Args:
      axes: of matplotlib.
      results, kept: as of `mlp_substitutes.curve`.
    """
    for n, (kind, style) in enumerate(zip(SUBSTITUTES, ("o-", "s-", "^--", "v:"), strict=True)):
        for s, host in enumerate(results["loss host"]):
            x, y = curve(results, kind, s, kept)
            label = kind if s == 0 else None
            axes.plot(x, y - host, style, color=f"C{n}", label=label, alpha=0.7, markersize=4)
    worth = np.mean(results["loss zero"] - results["loss host"])
    axes.axhline(worth, color="0.5", linewidth=0.8, label="zeros")
    axes.set(xscale="log", yscale="log", xlabel="active features (L0)", ylabel="loss above the host's, nats")
    axes.set_xticks((3, 10, 30, 100), ("3", "10", "30", "100"))
    axes.minorticks_off()
    axes.set_title("With a substitute for the MLP")
    axes.legend(fontsize="small")


def draw_circuit(axes, nodes, values, target, labels):
    """Draws the paths of one feature: places of the text across, layers upwards, the feature at the top right.

    Args:
      axes: of matplotlib.
      nodes: [width, depth, 4] from `circuit_paths.paths_as_array`.
      values: [width] of the paths; their sum stands where they end, a line's width is its path's value.
      target: (layer, feature, place) of what is explained.
      labels: [t] what stands at each place of the text.
    """
    layer, feature, place = (int(i) for i in target)
    top = (place, 2.0 + 2 * layer)
    named, ended, widths = {top: f"feature {feature}"}, collections.Counter(), collections.Counter()
    for path, value in zip(nodes, values, strict=True):
        here = top
        for kind, at, index, where in path[path[:, 0] >= 0]:
            name = KINDS[kind]
            there = (
                int(where),
                {"embedding": 0.0, "head": 1.0 + 2 * at, "offset": 1.0 + 2 * at}.get(name, 2.0 + 2 * at),
            )
            if name in ("bias", "error", "offset"):
                there = (where + 0.5, there[1] - 0.5)
            named.setdefault(there, f"{name} {index}" if name in ("feature", "head") else name)
            widths[here, there] += float(value)
            here = there
        ended[here] += float(value)
    most = max([*widths.values(), 1e-6])
    for (here, there), value in widths.items():
        width = 0.5 + 5 * max(value, 0) / most
        axes.plot(*zip(here, there, strict=True), color="C0", linewidth=width, alpha=0.4, zorder=1)
    for spot, label in named.items():
        text = f"{label}: {ended[spot]:.1f}" if spot in ended else label
        axes.plot(*spot, "o", color="C1", markersize=5, zorder=2)
        axes.annotate(text, spot, (5, 4), textcoords="offset points", fontsize=7)
    first = max(int(min(x for x, _ in named)) - 1, 0)
    shown = list(range(first, place + 1))
    axes.set_xticks(shown, [labels[t] for t in shown], fontsize=8 if len(shown) < 25 else 6)
    rungs = ["embedding", *[f"{part} {i + 1}" for i in range(layer + 1) for part in ("heads", "MLP")]]
    axes.set_yticks(range(len(rungs)), rungs)
    axes.set(xlim=(first - 0.5, place + 0.25 * (place - first) + 1), ylim=(-0.5, top[1] + 0.6), xlabel="text")
