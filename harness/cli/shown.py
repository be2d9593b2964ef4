"""What `--quiet` leaves of a command's output."""

from rich.console import Console

quiet = False
"""Whether progress and advice are left out."""


def progress_console() -> Console:
    """Standard error for a progress bar; shows nothing under `--quiet`."""
    return Console(stderr=True, quiet=quiet)
