"""A tuned model's predictions for images, for `harness predict`."""

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
    """One dict per image: file, its `top` classes by descending probability, and all logits."""
    records = []
    for file, image_logits, shares in zip(files, logits, probabilities, strict=True):
        best = shares.argsort(descending=True, stable=True)[:top].tolist()
        classes = [
            {
                "class": index,
                "name": class_names[index] if class_names else "",
                "probability": shares[index].item(),
            }
            for index in best
        ]
        records.append({"image": str(file), "top": classes, "logits": image_logits.tolist()})
    return records


def table(records: list[dict[str, Any]]) -> Table:
    """One line per image: its classes, the most probable first, with probabilities in percent."""
    lines = Table(box=None, pad_edge=False, header_style="bold")
    lines.add_column("image", overflow="fold")
    for rank in range(1, 1 + max(len(row["top"]) for row in records)):
        lines.add_column(f"{rank}")
    for row in records:
        lines.add_row(
            escape(row["image"]),
            *(f"{_name(entry)} {100 * entry['probability']:.1f} %" for entry in row["top"]),
        )
    return lines


def shares(records: list[dict[str, Any]], top: int) -> Table:
    """One line per image of segmentation: its classes, those with the most pixels first."""
    lines = Table(box=None, pad_edge=False, header_style="bold")
    lines.add_column("image", overflow="fold")
    lines.add_column("pixels")
    for row in records:
        lines.add_row(
            escape(row["image"]),
            ", ".join(
                f"{_name(entry)} {100 * entry['share']:.1f} %" for entry in row["classes"][:top]
            ),
        )
    return lines


def _name(entry: dict[str, Any]) -> str:
    return escape(entry["name"]) or f"class {entry['class']}"
