"""Curves for TensorBoard (`harness run --tensorboard DIR`, extra `[tensorboard]`): scores on val by
epoch, one run per trial; final scores.

`DIR/TASK/METHOD-CELL/trial-0003` has the scalar `val` and the trial's hyper-parameters,
`DIR/TASK/METHOD-CELL/seed-0` the scalar `test`, both in percent, by epoch; and both have `loss`,
`lr` and what the method logs. CELL is the first 8 digits of the cell's key, as two runs may differ
only in backbone or protocol.
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
from harness.store.records import by_name

# their classes are created at run time
Event: Any = event_pb2.Event  # type: ignore[attr-defined]
Summary: Any = summary_pb2.Summary  # type: ignore[attr-defined]


class Curves:
    """Listens to a run's events. Records are written at once, and no file stays open. A full disk
    loses the curve, not the run."""

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
        """Epochs whose scores are written, by job."""

    def __call__(self, record: Mapping[str, Any]) -> None:
        event = record["event"]
        if event == "job" and record["kind"] == "tune":
            self.read[record["job"]] = set()
            for number, params in zip(record["trials"], record["params"], strict=True):
                named = f"{record['method']} on {record['task']}, trial {number}"
                self._write(
                    record, _trial(number), {"summary": hparams_pb(dict(params), trial_id=named)}
                )
        elif event == "reading" and "trial" in record:
            self.read[record["job"]].add(record["epoch"])
            self._write(
                record, _trial(record["trial"]), _point("val", record["epoch"], record["value"])
            )
        elif event == "trial":
            read = self.read.pop(record["job"], ())
            rest = {epoch: value for epoch, value in record["curve"].items() if epoch not in read}
            self._write(
                record,
                _trial(record["trial"]),
                *(_point("val", epoch, value) for epoch, value in rest.items()),
                *_logged(record.get("curves") or {}),
            )
        elif event == "result":
            self._write(
                record,
                f"seed-{record['seed']}",
                _point("test", max(record["curve"], default=0), record["value"]),
                *_logged(record.get("curves") or {}),
            )
        elif event == "dropped":
            self.read.pop(record["job"], None)

    def _write(self, record: Mapping[str, Any], run: str, *records: Mapping[str, Any]) -> None:
        folder = (
            self.folder
            / _name(record["task"])
            / f"{_name(record['method'])}-{record['cell'][:8]}"
            / run
        )
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / f"{self.name}.{record['run']}").open("ab") as file:
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
        for name, points in by_name(curves).items()
        for epoch, value in points
        if value is not None
    ]


def _name(text: str) -> str:
    """As a folder's name, whatever it contains."""
    return re.sub(r"[^\w.=,()-]", "_", text)[:100].lstrip(".") or "_"
