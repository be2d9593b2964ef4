"""What a cell costs, in forward-image units: as it is predicted, and as a run counts it."""

from segmentation import WINDOWS, fill, planned, seg

from harness.planning.cost import cell_cost, windows
from harness.store import Store
from harness.tasks.cards import load_cards

__all__ = ["seg"]


def test_the_predicted_units_are_those_that_a_run_counts(seg):
    seg.protocol.write_text(
        seg.protocol.read_text().replace('pruner = "median"', 'pruner = "none"')
    )
    run, store = planned(seg, "linear", seeds=(0, 1)), Store(seg.store)
    fill(run, store)
    (cell,) = run.cells
    cost = cell_cost(cell.card, cell.protocol, cell.trials, 2, cell.constant_features)
    counted = sum(trial.units for trial in store.trials()) + sum(
        result.units for result in store.results()
    )
    assert cost.units == counted == 4 * 2 * 8 * 4 + WINDOWS * (2 * 2 * 3 + 2 * 4)
    assert windows(cell.card)[0] == WINDOWS
    assert windows(load_cards()["ade20k"]) == (2, 2 * (1 + 1 + 2 + 2 * 2 + 2 * 3 + 3 * 4))
