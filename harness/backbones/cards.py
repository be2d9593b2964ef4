"""The backbones that ship with the project: what was trained, and what with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.io.toml import read_toml

if TYPE_CHECKING:
    from harness.backbones.frozen import Pooling

WEIGHTS = Path(__file__).parent / "weights"
"""NAME.toml beside NAME.safetensors."""


@dataclass(frozen=True)
class Card:
    """What NAME.toml says."""

    name: str
    title: str
    model: str
    """timm's name of the model that it is a small form of."""
    architecture: Mapping[str, Any]
    """What `timm.create_model` is given beside that name, of any family."""
    side: int
    """Of its square images, in pixels."""
    pooling: "Pooling"
    mean: list[float]
    std: list[float]
    sha256: str
    """Of the file."""
    data: str
    recipe: str
    accuracy: str
    licence: str
    attempts: str
    objective: str = "supervised"


def shipped() -> dict[str, Card]:
    """The cards of the shipped backbones by name."""
    return {
        path.stem: Card(**read_toml("backbone", path)) for path in sorted(WEIGHTS.glob("*.toml"))
    }
