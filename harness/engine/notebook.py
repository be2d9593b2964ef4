"""Shows a run's progress in a notebook: one output that is updated by Jupyter itself, without a
widget package."""

import logging
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from html import escape
from typing import Any

from rich.console import RenderableType

from harness.text import rendered

EVERY = 1.0
"""Seconds between updates."""


def ask_for_no_widgets() -> None:
    """In a notebook, keeps libraries from asking for the package ipywidgets when they are imported:
    we show no widgets."""
    if "ipykernel" not in sys.modules:
        return
    logging.getLogger("ray.widgets.util").setLevel(logging.WARNING)
    with warnings.catch_warnings(), suppress(ImportError):
        warnings.simplefilter("ignore")
        import tqdm.auto  # noqa: F401


class InNotebook:
    """Like rich's `Live`, in the output of the cell that starts it; empty at the end."""

    def __init__(self, render: Callable[[], RenderableType]):
        self.render = render
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._handle: Any = None

    def start(self) -> None:
        from IPython.display import display

        self._handle = display(_Shown(self.render()), display_id=True)
        self._thread.start()

    def stop(self) -> None:
        if self._handle is None or self._over.is_set():
            return
        self._over.set()
        self._thread.join()
        self._handle.update(_Shown(None))

    def _follow(self) -> None:
        while not self._over.wait(EVERY):
            self._handle.update(_Shown(self.render()))


class _Shown:
    """Text of fixed width, for a notebook."""

    def __init__(self, content: RenderableType | None):
        self.text = "" if content is None else rendered(content, 110).rstrip()

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.text)}</pre>" if self.text else ""
