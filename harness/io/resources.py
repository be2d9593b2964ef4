"""Where the shipped files are (inside the wheel, or next to the package in a checkout), and where
caches go."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

_package = Path(__file__).parent.parent
_shipped = _package if (_package / "datasets").is_dir() else _package.parent


def datasets_dir() -> Path:
    """The folder of task cards, suites.toml and the mini suite's arrays."""
    return _shipped / "datasets"


def published_csv() -> Path:
    """The file of published numbers, each with its source."""
    return _shipped / "results" / "published.csv"


def osu_csv() -> Path:
    """What OSU-MLB/ViT_PEFT_Vision chose for its methods, task by task, and got with it."""
    return _shipped / "results" / "osu_tuned.csv"


def recipes_toml() -> Path:
    """How published numbers were made, with the place where each fact was read."""
    return _shipped / "results" / "recipes.toml"


def submissions_dir() -> Path | None:
    """The submissions of the board that ships with the harness."""
    folder = _shipped / "results" / "submissions"
    return folder if folder.is_dir() else None


def papers_toml() -> Path:
    """The papers of the built-in methods."""
    return _shipped / "results" / "papers.toml"


def cache_dir() -> Path:
    """Decoded images, fingerprints and features: `$VPT_HARNESS_CACHE`, else `~/.cache/vpt-harness`.
    Safe to delete.

    For a user without a home folder, as in many containers, it is in the temporary folder.
    """
    if path := os.environ.get("VPT_HARNESS_CACHE"):
        return Path(path)
    with suppress(RuntimeError):
        return Path.home() / ".cache" / "vpt-harness"
    return Path(tempfile.gettempdir()) / f"vpt-harness-{os.getuid()}"
