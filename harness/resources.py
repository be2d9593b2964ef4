"""Where the shipped files are (inside the wheel, or beside the package in a checkout), and where caches go."""

import os
from pathlib import Path

_package = Path(__file__).parent
_shipped = _package if (_package / "datasets").is_dir() else _package.parent


def datasets_dir() -> Path:
    """The folder of task cards, suites.toml and the mini suite's arrays."""
    return _shipped / "datasets"


def published_csv() -> Path:
    """The file of published numbers, each with its source."""
    return _shipped / "results" / "published.csv"


def recipes_toml() -> Path:
    """How published numbers were made, with the place where each fact was read."""
    return _shipped / "results" / "recipes.toml"


def cache_dir() -> Path:
    """Decoded images, fingerprints and features: `$VPT_HARNESS_CACHE`, else `~/.cache/vpt-harness`. Safe to delete."""
    return Path(os.environ.get("VPT_HARNESS_CACHE") or Path.home() / ".cache" / "vpt-harness")
