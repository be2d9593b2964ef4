"""Curves for TensorBoard (`harness run --tensorboard DIR`, extra `[tensorboard]`): scores on val by
epoch, a run a trial; final scores.

`DIR/TASK/METHOD-CELL/trial-0003` has the scalar `val` and the trial's hyper-parameters,
`DIR/TASK/METHOD-CELL/seed-0` the scalar `test`, both in percent, by epoch; and both have `loss`,
`lr` and what the method logs. CELL is the first 8
digits of the cell's key, as two runs may differ in backbone or protocol alone.
"""

import os
import re
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from harness.errors import BadInput

# their classes are made at run time
Event: Any = event_pb2.Event  # type: ignore[attr-defined]
Summary: Any = summary_pb2.Summary  # type: ignore[attr-defined]


class Curves:
    """Listens to a run's events. Records go in at once, and no file stays open. A full disk costs
    the curve, not the run."""

    def __init__(self, folder: Path):
        """Raises `BadInput` for a folder that can't be written."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(0, "Permission denied")
        except OSError as error:
            raise BadInput(
                f"--tensorboard {folder} can't be written ({error.strerror}): name another folder."
            ) from error
        self.folder = folder
        self.name = (
            f"events.out.tfevents.{int(time.time()):010}.{socket.gethostname()}.{os.getpid()}"
        )
        self.read: dict[str, set[int]] = {}
        """Epochs whose readings are written, by job."""

    def __call__(self, said: Mapping[str, Any]) -> None:
        event = said["event"]
        if event == "job" and said["kind"] == "tune":
            self.read[said["job"]] = set()
            for number, params in zip(said["trials"], said["params"], strict=True):
                named = f"{said['method']} on {said['task']}, trial {number}"
                self._write(
                    said, _trial(number), {"summary": hparams_pb(dict(params), trial_id=named)}
                )
        elif event == "reading" and "trial" in said:
            self.read[said["job"]].add(said["epoch"])
            self._write(said, _trial(said["trial"]), _point("val", said["epoch"], said["value"]))
        elif event == "trial":
            read = self.read.pop(said["job"], ())
            rest = {epoch: value for epoch, value in said["curve"].items() if epoch not in read}
            self._write(
                said,
                _trial(said["trial"]),
                *(_point("val", epoch, value) for epoch, value in rest.items()),
                *_logged(said.get("curves") or {}),
            )
        elif event == "result":
            self._write(
                said,
                f"seed-{said['seed']}",
                _point("test", max(said["curve"], default=0), said["value"]),
                *_logged(said.get("curves") or {}),
            )
        elif event == "dropped":
            self.read.pop(said["job"], None)

    def _write(self, said: Mapping[str, Any], run: str, *records: Mapping[str, Any]) -> None:
        at = self.folder / _name(said["task"]) / f"{_name(said['method'])}-{said['cell'][:8]}" / run
        with suppress(OSError):
            at.mkdir(parents=True, exist_ok=True)
            with (at / f"{self.name}.{said['run']}").open("ab") as file:
                writer = RecordWriter(file)
                for fields in (
                    records if file.tell() else ({"file_version": "brain.Event:2"}, *records)
                ):
                    writer.write(Event(wall_time=time.time(), **fields).SerializeToString())


def _trial(number: int) -> str:
    return f"trial-{number:04}"


def _point(tag: str, epoch: float, value: float) -> dict[str, Any]:
    return {
        "step": int(epoch),
        "summary": Summary(value=[Summary.Value(tag=tag, simple_value=value)]),
    }


def _logged(curves: Mapping[str, list[float | None]]) -> list[dict[str, Any]]:
    """A run's loss, learning rate and what its method logs."""
    return [
        _point(name, epoch, value)
        for name, values in curves.items()
        if name != "epoch"
        for epoch, value in zip(curves["epoch"], values, strict=True)
        if value is not None and epoch is not None
    ]


def _name(text: str) -> str:
    """As a folder's, whatever is in it."""
    return re.sub(r"[^\w.=,()-]", "_", text)[:100].lstrip(".") or "_"
