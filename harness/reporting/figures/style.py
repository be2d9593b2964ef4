"""How every figure looks: sizes of a paper's columns, 8-point type, and marks that differ by more
than their colour."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.style

SINGLE, DOUBLE = 3.25, 6.75
"""Widths of a column and of two, in inches."""
TALLEST = 9.0
"""A page's height, in inches."""
LINE = 0.145
"""Height of a line of text, in inches."""
POINT = 1 / 72
ROUND = [1, 2, 2.5, 5, 10]
"""Steps between the numbers of an axis, times a power of ten."""

BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6E6E6E"
"""From M. Okabe and K. Ito, Color universal design (2008): distinguishable for the colour-blind;
marks differ too, for print without colour."""

_RC = {
    "figure.dpi": 300,
    "savefig.dpi": "figure",
    "font.family": ["sans-serif"],
    # the first comes with matplotlib; the others are for viewers of an SVG
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 8,
    **dict.fromkeys(
        (
            "axes.titlesize",
            "axes.labelsize",
            "xtick.labelsize",
            "ytick.labelsize",
            "legend.fontsize",
            "figure.labelsize",
        ),
        8,
    ),
    "text.parse_math": False,  # names come from outside, and `$` is a character
    "axes.formatter.use_mathtext": False,
    "axes.formatter.useoffset": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.linewidth": 0.4,
    "grid.color": "#D9D9D9",
    "lines.linewidth": 1.0,
    "lines.markersize": 4.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # TrueType: searchable text, which publishers accept
    "svg.fonttype": "none",
    "svg.hashsalt": "vpt-harness",  # the same data, the same bytes
}


@contextmanager
def style() -> Iterator[None]:
    """Uses our matplotlib settings, whatever the user's own file says, and restores the old ones
    afterwards."""
    with matplotlib.style.context(["default", _RC]):
        yield
