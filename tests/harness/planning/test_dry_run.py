"""A plan as it is shown before it is run."""

import pytest
import torch
from rich.console import Console
from segmentation import seg

from harness.engine.progress import ProgressView
from harness.planning import dry_run
from harness.planning.cost import Pace
from harness.planning.dry_run import preview
from harness.training.forward import precision

__all__ = ["seg"]


def test_a_preview_shows_cost_and_says_what_an_image_is(seg, capsys: pytest.CaptureFixture[str]):
    console = Console(width=160)
    with ProgressView(console) as view:
        request = seg.request("linear,vpt-deep", tasks="toy,halves")
        console.print(preview(request, view.stage))
    said = capsys.readouterr().out
    assert "4 cells: 2 methods x 2 tasks" in said
    assert "an image is a crop or a sliding window" in said
    assert "Protocol quick: eight iterations." in said


@pytest.mark.parametrize(
    ("slower", "width", "asked", "said"),
    [
        (0.6, 1, None, True),
        (0.9, 1, None, False),
        (0.6, 10_000, None, False),
        (0.6, 1, "bf16", False),
    ],
)
def test_bf16_is_named_where_a_cpu_is_faster_in_it(
    tiny, monkeypatch: pytest.MonkeyPatch, slower: float, width: int, asked: str | None, said: bool
):
    def probe(*_: object) -> Pace:
        with precision(torch.device("cpu")):
            return Pace(slower if torch.is_autocast_enabled("cpu") else 1.0, 1.0)

    monkeypatch.setattr(dry_run, "probe", probe)
    monkeypatch.setattr(dry_run, "WIDE", width)
    shown = preview(tiny.request("linear,vpt-deep", precision=asked), lambda _: None)
    notes = [note for note in shown.notes if "bf16" in note]
    assert bool(notes) == said
    assert all("0.60" in note for note in notes)
    assert len(notes) < 2, "once a backbone"


def test_what_flags_replace_stands_beside_the_protocols_title(tiny):
    shown = preview(tiny.request("linear", trials=1, seeds=(3, 5)), lambda _: None)
    (said,) = [note for note in shown.notes if note.startswith("Protocol ")]
    assert said.endswith(". Here with 1 trial and seeds 3, 5.")
    (plain,) = [
        note
        for note in preview(tiny.request("linear"), lambda _: None).notes
        if note.startswith("Protocol ")
    ]
    assert "Here" not in plain
