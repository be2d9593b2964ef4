"""Where this repository is, and the data that may lie beside it."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SHARED = REPOSITORY.parent / "shared"
"""Data that stay out of the repository; tests that need them are skipped where they are absent."""
