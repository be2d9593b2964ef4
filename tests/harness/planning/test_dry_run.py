"""A plan as it is shown before it is run."""

import pytest
from rich.console import Console
from segmentation import seg

from harness.engine.progress import ProgressView
from harness.planning.dry_run import preview

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
