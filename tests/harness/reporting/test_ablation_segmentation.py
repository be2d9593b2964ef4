"""An ablation over tasks of both kinds."""

import pytest
from in_process import fill
from rich.console import Console
from segmentation import planned, seg

from harness.reporting.ablation import ablation, table
from harness.store import Store

__all__ = ["seg"]


@pytest.mark.slow
def test_an_ablation_has_a_table_a_kind_and_no_mean_over_both(seg):
    grid = ablation("ivpt(prompts=2,da=false)")
    run, store = (
        planned(seg, grid.methods, tasks="toy,halves", trials=1, seeds=(0,)),
        Store(seg.store),
    )
    fill(run, store)
    console = Console(width=160)
    with console.capture() as said:
        console.print(table(store, run, grid))
    first, second = said.get().split("Top-1 accuracy in %")
    assert "mIoU in %" in second
    assert first.count("mean of 1") == second.count("mean of 1") == 1
    assert "mean of 2" not in said.get()
