"""What a tuned model says of images, for `harness predict`."""

from pathlib import Path
from typing import Any

from jaxtyping import Float
from rich.markup import escape
from rich.table import Table
from torch import Tensor


def rows(
    logits: Float[Tensor, "image class"],
    probabilities: Float[Tensor, "image class"],
    files: list[Path],
    class_names: tuple[str, ...],
    top: int,
) -> list[dict[str, Any]]:
    """One dict an image: file, its `top` classes by descending probability, and all logits."""
    found = []
    for file, own, shares in zip(files, logits, probabilities, strict=True):
        best = shares.argsort(descending=True, stable=True)[:top].tolist()
        classes = [
            {
                "class": index,
                "name": class_names[index] if class_names else "",
                "probability": shares[index].item(),
            }
            for index in best
        ]
        found.append({"image": str(file), "top": classes, "logits": own.tolist()})
    return found


def table(found: list[dict[str, Any]]) -> Table:
    """A line an image: its classes, the likeliest first, with their probabilities in percent."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("image", overflow="fold")
    for rank in range(1, 1 + max(len(row["top"]) for row in found)):
        shown.add_column(f"{rank}")
    for row in found:
        shown.add_row(
            escape(row["image"]),
            *(f"{_name(entry)} {100 * entry['probability']:.1f} %" for entry in row["top"]),
        )
    return shown


def shares(found: list[dict[str, Any]], top: int) -> Table:
    """A line an image of segmentation: its classes, those of most pixels first."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("image", overflow="fold")
    shown.add_column("pixels")
    for row in found:
        shown.add_row(
            escape(row["image"]),
            ", ".join(
                f"{_name(entry)} {100 * entry['share']:.1f} %" for entry in row["classes"][:top]
            ),
        )
    return shown


def _name(entry: dict[str, Any]) -> str:
    return escape(entry["name"]) or f"class {entry['class']}"
