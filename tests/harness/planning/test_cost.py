"""What a cell costs, in forward-image units: as it is predicted, and as a run counts it."""

from dataclasses import replace

import pytest
import torch
from in_process import fill
from planned import CARD as TOY
from planned import TPE
from segmentation import WINDOWS, planned, seg

from harness.planning import timing
from harness.planning.cost import Pace, cell_cost
from harness.store import Store
from harness.tasks.cards import TaskCard, load_cards
from harness.training.kind import Cost
from harness.training.segmentation import windows

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


CARD = TaskCard(**TOY)  # 8 train, 4 val, 6 test; 6 epochs, scored at 2, 4 and 6


def test_an_image_that_is_trained_on_is_two_units_and_one_that_is_scored_is_one():
    assert Cost(1, 1, train=10, scored=7).units == 2 * 10 + 7
    assert Pace(train=0.5, scored=0.25).hours(Cost(1, 1, 7200, 14400)) == 2.0


@pytest.mark.parametrize(
    ("train_on", "trials", "seeds", "constant", "train", "scored"),
    [
        ("train+val", 5, 3, False, 5 * 6 * 8 + 3 * 6 * 12, 5 * 3 * 4 + 3 * 6),
        ("train", 5, 3, False, 5 * 6 * 8 + 3 * 6 * 8, 5 * 3 * 4 + 3 * 6),
        ("train+val", 0, 2, False, 2 * 6 * 12, 2 * 6),
        # cached features: each image of a split is passed forward once, and never again
        ("train+val", 5, 3, True, 0, (8 + 4) + 12 + 6),
        ("train", 5, 3, True, 0, (8 + 4) + 8 + 6),
        ("train+val", 0, 3, True, 0, 12 + 6),
    ],
)
def test_what_a_cell_of_classification_costs(
    train_on: str, trials: int, seeds: int, constant: bool, train: int, scored: int
):
    card = CARD.model_copy(update={"train_on": train_on})
    cost = cell_cost(card, TPE, trials, seeds, constant)
    assert cost == Cost(trials, seeds, train, scored)
    assert replace(cost, train=0).units == scored


@pytest.mark.parametrize(
    ("calls", "least", "made"),
    [
        # one call met a busy machine: its time isn't the method's
        ([0.5, 9.0, 0.02, 0.03, 0.025], 0.02, 5),
        # a method that takes long isn't called more often than to warm up and measure
        ([2.0, 1.5, 1.0], 1.5, 2),
    ],
)
def test_a_slow_call_on_a_busy_machine_isnt_what_a_method_takes(monkeypatch, calls, least, made):
    left = list(calls)
    monkeypatch.setattr(timing, "_timed", lambda work, device: left.pop(0))
    assert timing.fastest(lambda: None, torch.device("cpu")) == least
    assert len(calls) - len(left) == made
