"""Numbers as a reader sees them, in every format: how many digits, and what stands for a missing
one."""

from collections.abc import Collection, Mapping

NOTHING = "\u2013"
MINUS = "\u2212"


def rounded(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int) -> str:
    if value is None:
        return NOTHING
    return f"{MINUS if value < 0 else '+'}{abs(value):.{digits}f}"


def counted(value: float | None) -> str:
    """Three digits are enough: 960, 9.6k, 46.1k, 1.25M, 2.5G."""
    if value is None:
        return NOTHING
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size * 0.9995:
            return (
                f"{value / size:.3g}{unit}" if value < size * 999.5 else f"{value / size:.0f}{unit}"
            )
    return f"{value:.0f}"


def giga(value: float | None) -> str:
    """So many billions, to three digits: 0.15, 62.7, 1096."""
    if value is None:
        return NOTHING
    return f"{value / 1e9:.3g}" if abs(value) < 999.5e9 else f"{value / 1e9:.0f}"


def duration(seconds: float | None) -> str:
    """2.5 ms, 2.5 s, 1.6 min, 1.5 h."""
    if seconds is None:
        return NOTHING
    if 0 < seconds < 0.0995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 90:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def memory(size: float | None) -> str:
    """Bytes as 38 kB, 1.18 MB, 640 MB, 3.20 GB."""
    if size is None:
        return NOTHING
    if size >= 1e9:
        return f"{size / 1e9:.2f} GB"
    if size >= 999.5e3:
        return f"{size / 1e6:.3g} MB" if size < 99.95e6 else f"{size / 1e6:.0f} MB"
    return f"{size / 1e3:.3g} kB"


def probability(p: float | None) -> str:
    """`0.031`, `< 0.001`."""
    if p is None:
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:#.2g}"


def equals(p: float | None) -> str:
    """`= 0.031`, `< 0.001`: after `p`."""
    text = probability(p)
    return text if text.startswith("<") else f"= {text}"


def span(ends: tuple[float, float] | None) -> str:
    """From the smallest to the largest: `10`, `5-10`."""
    if ends is None:
        return NOTHING
    low, high = ends
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"


def places_of(
    values: Mapping[str, float | None], digits: int, lowest: bool = False
) -> dict[str, int]:
    """First and second, {variant: 1 or 2}, by the digits that are shown: what looks equal shares
    a place."""
    shown = {
        variant: round(value, digits) for variant, value in values.items() if value is not None
    }
    if len(values) < 2:
        return {}
    best = sorted(set(shown.values()), reverse=not lowest)[:2]
    return {variant: best.index(value) + 1 for variant, value in shown.items() if value in best}


def interval_text(
    low: float | None, high: float | None, digits: int, with_sign: bool = False
) -> str:
    """`[61.2, 63.1]`, or with signs."""
    form = signed if with_sign else rounded
    return NOTHING if low is None else f"[{form(low, digits)}, {form(high, digits)}]"


def several(values: Collection[int]) -> str:
    """The smallest to the largest of these, as `span`."""
    return span((min(values), max(values)) if values else None)
