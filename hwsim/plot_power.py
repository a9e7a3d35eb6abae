"""Draw current over time as an SVG, with the parts stacked. No library is needed for a few hundred rectangles.

Each column is the average over its span, so that a burst of a millisecond in a day is not drawn as if it lasted for
minutes. This is no general plotter.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hwsim.currents import Currents, current

_COLUMNS = 480
_WIDTH, _HEIGHT = 960, 360
_LEFT, _TOP, _RIGHT, _BOTTOM = 64, 24, 190, 40
# People who don't see red and green can tell these apart (Okabe and Ito).
_COLOURS = {
    "processor": "#0072b2",
    "gnss": "#e69f00",
    "modem": "#009e73",
    "wifi": "#56b4e9",
    "haptic": "#cc79a7",
    "led": "#f0e442",
}

History = Sequence[tuple[int, str, str]]  # us, part, state: in order


def averages(history: History, currents: Currents, begin_us: int, end_us: int, columns: int) -> dict[str, list[float]]:
    """Return each part's average current, in microamperes, in each of equally long columns."""
    span = (end_us - begin_us) / columns
    found: dict[str, list[float]] = {}
    for part in dict.fromkeys(part for _, part, _ in history):
        sums = [0.0] * columns
        changes = [(at, state) for at, other, state in history if other == part] + [(end_us, "")]
        for (start, state), (end, _) in itertools.pairwise(changes):
            ua = current(currents, part, state)
            low, high = max(start, begin_us), min(end, end_us)
            while ua and low < high:
                column = min(int((low - begin_us) / span), columns - 1)
                edge = min(high, max(low + 1, round(begin_us + (column + 1) * span)))
                sums[column] += ua * (edge - low) / span
                low = edge
        found[part] = sums
    return found


def svg(history: History, currents: Currents, begin_us: int, end_us: int) -> str:
    """Return the plot as the text of an SVG file."""
    parts = averages(history, currents, begin_us, end_us, _COLUMNS)
    order = sorted(parts, key=lambda part: -sum(parts[part]))
    peak_ma = max(sum(values[n] for values in parts.values()) for n in range(_COLUMNS)) / 1000
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500) if peak_ma / step <= 8)
    top_ma = step * (int(peak_ma / step) + 1)
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    hours = (end_us - begin_us) / 3.6e9

    def y(ma: float) -> float:
        return round(_TOP + height * (1 - ma / top_ma), 2)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    base = [0.0] * _COLUMNS
    for place, part in enumerate(order):
        top = [under + value / 1000 for under, value in zip(base, parts[part], strict=True)]
        edge = [(n, level) for n in range(_COLUMNS) for level in (base[n], top[n])]
        upper = " ".join(f"{_x(n + side, width)},{y(level)}" for n, level in edge[1::2] for side in (0, 1))
        lower = " ".join(f"{_x(n + side, width)},{y(level)}" for n, level in reversed(edge[::2]) for side in (1, 0))
        colour = _COLOURS.get(part, "#999999")
        out.append(f'<polygon points="{upper} {lower}" fill="{colour}"><title>{part}</title></polygon>')
        key_y = _TOP + 20 * place
        out.append(f'<rect x="{_WIDTH - _RIGHT + 16}" y="{key_y}" width="12" height="12" fill="{colour}"/>')
        mean = sum(parts[part]) / _COLUMNS / 1000
        out.append(f'<text x="{_WIDTH - _RIGHT + 34}" y="{key_y + 10}">{part} {mean:.2f} mA</text>')
        base = top
    for ma in range(0, top_ma + 1, step):
        out.append(f'<path d="M{_LEFT} {y(ma)}h{width}" stroke="black" stroke-opacity="0.2"/>')
        out.append(f'<text x="{_LEFT - 8}" y="{y(ma) + 4}" text-anchor="end">{ma}</text>')
    tick = next(tick for tick in (0.25, 0.5, 1, 2, 3, 6, 12, 24, 48, 96) if hours / tick <= 12)
    for n in range(int(hours / tick) + 1):
        at = _x(n * tick / hours * _COLUMNS, width)
        out.append(f'<text x="{at}" y="{_TOP + height + 18}" text-anchor="middle">{n * tick:g}</text>')
    out.append(f'<text x="{_LEFT + width / 2}" y="{_HEIGHT - 6}" text-anchor="middle">hours</text>')
    out.append(f'<text x="{_LEFT - 8}" y="14" text-anchor="end">mA</text></svg>')
    return "\n".join(out) + "\n"


def _x(column: float, width: int) -> float:
    return round(_LEFT + width * column / _COLUMNS, 2)
