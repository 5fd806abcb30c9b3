"""A claim's picture: its interval against its bound, as a small inline SVG."""

import math
from collections.abc import Mapping
from typing import Any

WIDTH, HEIGHT, EDGE = 272.0, 34.0, 20.0


def forest(claim: Mapping[str, Any]) -> str:
    """Draws a claim of a record; nothing where there is no interval to draw.

    The bar is the interval, the dot the mean, small marks are seeds; the shaded side is what the claim asks for, the
    dashed line is where there is no effect. The axis is logarithmic where the claim is.
    """
    if claim["interval"] is None or not all(math.isfinite(float(x)) for x in claim["interval"]):
        return ""
    ((kind, bound),) = claim["bound"].items()
    bounds = bound if kind == "between" else [bound]
    reference = [] if claim["no_effect"] is None else [claim["no_effect"]]
    at = _axis([*claim["interval"], *claim["values"], *bounds, *reference], claim["log"])
    left = at(bounds[0]) if kind != "at_most" else 0.0
    right = at(bounds[-1]) if kind != "at_least" else WIDTH
    low, high = map(at, claim["interval"])
    middle, top = HEIGHT / 2, HEIGHT - 5
    shapes = [_rect(left, 0, right - left, HEIGHT, "var(--zone)")]
    shapes += [_line(at(b), 0, HEIGHT, 'stroke="var(--green)" stroke-width="1.5"') for b in bounds]
    shapes += [_line(at(r), 0, HEIGHT, 'stroke="var(--soft)" stroke-dasharray="3 3"') for r in reference]
    shapes += [_line(at(v), top, HEIGHT, 'stroke="var(--soft)"') for v in claim["values"]]
    shapes.append(_rect(low, middle - 3, max(high - low, 1.0), 6, "var(--bar)", 'rx="3" opacity=".55"'))
    shapes.append(f'<circle cx="{at(claim["measured"]):.1f}" cy="{middle:.1f}" r="5" fill="var(--bar)"/>')
    return (
        f'<svg class="forest" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" aria-hidden="true" focusable="false">'
        f"{''.join(shapes)}</svg>"
    )


def _axis(values: list[Any], log: bool) -> Any:
    """The map from a value to its place, with all of `values` inside the edges."""

    def scaled(value):
        return math.log(float(value)) if log else float(value)

    low, high = min(map(scaled, values)), max(map(scaled, values))
    span = high - low or 1.0

    def at(value):
        return EDGE + (scaled(value) - low) / span * (WIDTH - 2 * EDGE)

    return at


def _rect(x: float, y: float, width: float, height: float, fill: str, more: str = "") -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}" {more}/>'


def _line(x: float, y1: float, y2: float, stroke: str) -> str:
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" {stroke}/>'
