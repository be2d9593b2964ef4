"""A segmentation result made again."""

from in_process import outcomes
from segmentation import filled, planned, seg, stored

from harness.engine.jobs import FinalJob
from harness.engine.reproduce import reproduce
from harness.engine.trainer import Trainer
from harness.store import Store

__all__ = ["filled", "seg", "stored"]


def test_a_row_made_again_is_equal_and_a_smaller_micro_batch_is_another_run(stored: Store, seg):
    for result in stored.results():
        comparison = reproduce(result, stored.cells()[result.cell], None, None, None)
        assert comparison.equal
        assert comparison.score == result.score
    run = planned(seg, "linear", seeds=(3,))
    _, (part,) = outcomes(
        Trainer(run, threads=1), FinalJob(run.cells[0].key, (3,), {"base_lr": 0.3}, micro_batch=1)
    )
    assert part.reason is None
    assert part.provenance is not None
    assert part.provenance["micro_batch"] == 1
