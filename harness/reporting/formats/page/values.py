"""Values in the page's JSON: rounded, and repeated ones stored once."""

import json
import math
from typing import Any

from harness.text import plain


def number(value: float | None, digits: int = 6) -> float | None:
    """Rounded far more finely than what is shown, so that all formats show the same; None for what
    isn't a finite number."""
    return None if value is None or not math.isfinite(value) else round(float(value), digits)


def shortened(value: Any, digits: int = 4) -> Any:
    """To this many significant digits; None for infinity and NaN. What isn't a float stays as it
    is."""
    if not isinstance(value, float):
        return plain(value) if isinstance(value, str) else value
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


class Once:
    """A list in which equal values share a position."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        # of a list of numbers, which a page has by the thousand, the faster of two spellings
        flat = isinstance(value, list)
        key = repr(value) if flat else json.dumps(value, sort_keys=True, default=str)
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)
        return self._places[key]
