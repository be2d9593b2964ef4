"""Protocols: how every method of a comparison is tuned, trained and selected. One TOML file each,
next to this one."""

from harness.planning.protocols.entries import grid
from harness.planning.protocols.files import load, names
from harness.planning.protocols.settings import (
    PRECISIONS,
    Precision,
    Protocol,
    Segmentation,
    Settings,
    stored,
)

__all__ = [
    "PRECISIONS",
    "Precision",
    "Protocol",
    "Segmentation",
    "Settings",
    "grid",
    "load",
    "names",
    "stored",
]
