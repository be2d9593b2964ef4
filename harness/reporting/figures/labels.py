"""Places labels at points where they cover neither another label nor a point."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.reporting.figures.text import measured

Box = tuple[float, float, float, float]
"""Left, bottom, right, top in points."""

_MARK = 3.0
"""Half a marker, in points."""


def place(
    figure: Figure,
    axes: Axes,
    points: Mapping[str, tuple[float, float]],
    size: float,
    steps: Sequence[tuple[float, float]] = (),
) -> None:
    """Writes each label near its point; further away, with a thin line, where it is crowded. The
    figure's layout is final afterwards.

    Greedy, in the order given: of a ring of places around the point, the one that covers least, the
    nearest first. `steps` are the corners of a line in steps, right then up, that labels keep clear
    of.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    scale = 72 / figure.dpi
    inside = axes.get_window_extent()
    bounds = (inside.x0 * scale, inside.y0 * scale, inside.x1 * scale, inside.y1 * scale)
    spots = {
        label: tuple(axes.transData.transform(point) * scale) for label, point in points.items()
    }
    taken = [(x - _MARK, y - _MARK, x + _MARK, y + _MARK) for x, y in spots.values()]
    corners = [axes.transData.transform(corner) * scale for corner in steps]
    for (x0, y0), (x1, y1) in pairwise(corners):
        taken += [(x0, y0 - 1, x1, y0 + 1), (x1 - 1, y0, x1 + 1, y1)]
    for label, (x, y) in spots.items():
        width, height = measured(label, size)
        box, distance = min(
            _around(x, y, width, height),
            key=lambda candidate: (_covered(candidate[0], taken, bounds), candidate[1]),
        )
        taken.append(box)
        middle = ((box[0] + box[2]) / 2 - x, (box[1] + box[3]) / 2 - y)
        line = (
            {"arrowstyle": "-", "linewidth": 0.4, "color": "#808080", "shrinkA": 0, "shrinkB": 3.2}
            if distance > 2
            else None
        )
        axes.annotate(
            label,
            points[label],
            middle,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=size,
            linespacing=1.0,
            arrowprops=line,
        )


def _around(x: float, y: float, width: float, height: float) -> list[tuple[Box, float]]:
    """Boxes around a point, each with the gap between."""
    boxes = []
    for gap in (1.5, 4.0, 9.0, 15.0, 22.0, 30.0, 40.0, 52.0):
        for turn in range(16):
            cosine, sine = math.cos(turn * math.pi / 8), math.sin(turn * math.pi / 8)
            middle_x = x + cosine * (_MARK + gap + width / 2)
            middle_y = y + sine * (_MARK + gap + height / 2)
            boxes.append(
                (
                    (
                        middle_x - width / 2,
                        middle_y - height / 2,
                        middle_x + width / 2,
                        middle_y + height / 2,
                    ),
                    gap,
                )
            )
    return boxes


def _covered(box: Box, taken: list[Box], bounds: Box) -> float:
    """How much of other things a box covers, in square points; what sticks out of the axes counts
    more."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    outside = area - _common(box, bounds)
    return round(sum(_common(box, other) for other in taken) + 10 * outside, 3)


def _common(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0
