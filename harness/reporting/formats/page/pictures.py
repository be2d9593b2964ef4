"""Test images of segmentation tasks, with what each variant saw."""

import re
from collections.abc import Mapping
from typing import Any

from harness.reporting.section import Section

_PICTURE = re.compile(r"[A-Za-z0-9+/]{1,400000}={0,2}")


def strips(part: Section, extras: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Some test images of each segmentation task: [image, truth, then what each variant saw or
    None], in base64.

    `extras`: what else was measured, by result. In somebody else's store, it may be anything.
    """
    pictures = []
    for index, task in enumerate(part.tasks):
        seen: dict[int, dict[str, dict[str, str]]] = {}
        for variant in part.scores:
            row = part.results.get((variant, task))
            of_runs = (extras.get(id, {}).get("strip") for id in row.ids) if row else ()
            for picture in next((strip for strip in of_runs if isinstance(strip, list)), ()):
                if _is_picture(picture):
                    seen.setdefault(picture["row"], {}).setdefault(variant, picture)
        if seen:
            rows = []
            for _, by_variant in sorted(seen.items()):
                first = next(iter(by_variant.values()))
                rows.append(
                    [
                        first["image"],
                        first["truth"],
                        *(by_variant.get(variant, {}).get("seen") for variant in part.scores),
                    ]
                )
            pictures.append({"task": index, "rows": rows})
    return pictures


def _is_picture(value: Any) -> bool:
    texts = (
        [value.get(name) for name in ("image", "truth", "seen")]
        if isinstance(value, dict)
        else [None]
    )
    return (
        all(isinstance(text, str) and _PICTURE.fullmatch(text) for text in texts)
        and type(value.get("row")) is int
    )
