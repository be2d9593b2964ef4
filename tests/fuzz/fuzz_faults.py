"""Readers with a fault each, so that the fuzzer itself can be held to finding them."""

import os
import signal
import time
from pathlib import Path

from fuzz_targets import Read, Target

from harness.errors import BadInput


def _write(folder: Path) -> None:
    (folder / "file").write_bytes(bytes(range(100)))


def _faulty(kind: str, folder: Path) -> Read:
    """Reads the good original well, and does `kind` with any other."""
    file = folder / "file"
    if file.is_file() and file.read_bytes() == bytes(range(100)):
        return "fingerprint", "records"
    if kind == "exception":
        raise ZeroDivisionError("of a reader")
    if kind == "lines":
        raise BadInput("one\nand another")
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "hang":
        time.sleep(600)
    if kind == "memory":
        bytearray(700_000_000)
    return "fingerprint", "other records"


KINDS = ("exception", "lines", "silent", "memory", "crash", "hang")
FAULTS = {
    kind: Target(kind, _write, lambda folder, kind=kind: _faulty(kind, folder)) for kind in KINDS
}
