"""TensorBoard's curves, read back by TensorBoard's own reader."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.engine.events import Events, Traces
from harness.errors import BadInput

pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)
from tensorboard.plugins.hparams import plugin_data_pb2

from harness.engine.tensorboard import Curves

messages: Any = plugin_data_pb2

OF = {"cell": "0123456789abcdef", "method": "vpt(prompts=5)", "task": "toy"}


def scalars(folder: Path, tag: str) -> dict[int, Any]:
    read = EventAccumulator(str(folder))
    read.Reload()
    return {event.step: pytest.approx(event.value) for event in read.Scalars(tag)}


def test_val_comes_by_epoch_as_it_is_read_and_test_at_the_end(tmp_path: Path):
    events = Events(Curves(tmp_path))
    at = tmp_path / "toy" / "vpt(prompts=5)-01234567"
    params = {"base_lr": 0.5, "prompts": 10, "cdc": True, "kind": "a"}
    events.emit("job", **OF, job="j", kind="tune", trials=[3], params=[params])
    events.emit("reading", **OF, job="j", trial=3, epoch=1, value=40.0)
    assert scalars(at / "trial-0003", "val") == {1: 40.0}
    events.emit(
        "trial", **OF, job="j", trial=3, state="complete", curve={1: 40.0, 2: 50.5}, value=50.5
    )
    events.emit("job", **OF, job="k", kind="final", seeds=[0], params=params)
    events.emit("reading", **OF, job="k", epoch=1, value=1.0)
    events.emit("result", **OF, job="k", seed=0, value=60.25, curve={2: 60.25})
    events.emit("ended")
    assert scalars(at / "trial-0003", "val") == {1: 40.0, 2: 50.5}
    assert scalars(at / "seed-0", "test") == {2: 60.25}
    assert sorted(folder.name for folder in at.iterdir()) == ["seed-0", "trial-0003"]
    assert len(list((at / "trial-0003").iterdir())) == 1
    read = EventAccumulator(str(at / "trial-0003"))
    read.Reload()
    content = read.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    begun = messages.HParamsPluginData.FromString(content).session_start_info
    assert begun.group_name == "vpt(prompts=5) on toy, trial 3"
    stored = begun.hparams
    assert stored["base_lr"].number_value == 0.5
    assert stored["cdc"].bool_value is True
    assert stored["kind"].string_value == "a"


def test_trials_that_are_trained_together_have_their_curves_at_the_end(tmp_path: Path):
    events = Events(Curves(tmp_path))
    events.emit(
        "job", **OF, job="j", kind="tune", trials=[0, 1], params=[{"base_lr": 0.1}, {"base_lr": 1}]
    )
    for number in range(2):
        events.emit(
            "trial",
            **OF,
            job="j",
            trial=number,
            state="complete",
            curve={1: 10.0 + number, 2: 20.0},
            value=20.0,
        )
    assert scalars(tmp_path / "toy" / "vpt(prompts=5)-01234567" / "trial-0001", "val") == {
        1: 11.0,
        2: 20.0,
    }


def test_a_name_never_leads_out_of_the_folder(tmp_path: Path):
    events = Events(Curves(tmp_path / "in"))
    events.emit(
        "result",
        **{**OF, "method": "./mine.py:Mine", "task": "../../out"},
        job="k",
        seed=0,
        value=1.0,
        curve={},
    )
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert file.relative_to(tmp_path).parts[:3] == ("in", "_.._out", "_mine.py_Mine-01234567")


def test_a_folder_that_cannot_be_written_is_one_line_and_one_that_goes_costs_the_curve_only(
    tmp_path: Path,
):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "in"):
        with pytest.raises(BadInput, match=r"^--tensorboard .* can't be written"):
            Traces(tensorboard=folder).events()
    events = Events(Curves(tmp_path / "in"))
    (tmp_path / "in").rmdir()
    (tmp_path / "in").touch()
    events.emit("result", **OF, job="k", seed=0, value=1.0, curve={2: 1.0})


def test_without_the_package_one_line_names_the_extra_and_nothing_is_imported_unasked(
    tmp_path: Path,
):
    script = f"""
import sys
from pathlib import Path
from harness.errors import BadInput
from harness.engine.events import Traces
Traces(log_json=Path({str(tmp_path / "log")!r})).events()
assert "tensorboard" not in sys.modules
sys.modules["tensorboard"] = None
try:
    Traces(tensorboard=Path("curves")).events()
except BadInput as error:
    print(error)
"""
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout
    assert "pip install 'vpt-harness[tensorboard]'" in found
    assert len(found.splitlines()) == 1
    assert not (tmp_path / "curves").exists()
