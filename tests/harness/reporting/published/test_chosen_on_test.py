"""What reporting the best epoch on test is worth: computed from the shipped table."""

import csv
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.io.resources import osu_csv
from harness.reporting.published.chosen_on_test import chosen_on_test, gains, worth
from harness.reporting.published.numbers import matching_rows, named_here, published
from harness.tasks.cards import load_suites

VTAB = load_suites()["vtab"].tasks


def test_the_means_are_those_of_their_files():
    """The sheet's, to the two digits that it prints."""
    printed = {
        **{"linear": 0.29, "houlsby": 0.43, "fact-tt": 0.45, "fact-tk": 0.46, "ssf": 0.48},
        **{"vpt": 0.50, "adaptformer": 0.52, "repadapter": 0.55, "bitfit": 0.56, "lora": 0.69},
        **{"ln-tuning": 0.66, "convpass": 0.72, "difffit": 0.73, "pfeiffer": 0.86},
        **{"vpt-deep": 1.51, "full": 7.43},
    }
    found = {method: worth(method, VTAB) for method in gains()}
    assert found == {name: pytest.approx(value, abs=0.006) for name, value in printed.items()}
    with osu_csv().open(newline="") as file:
        lora = [line for line in csv.DictReader(file) if line["method"] == "lora"]
    assert worth("lora", VTAB) == pytest.approx(
        np.mean([float(line["best_on_test"]) - float(line["last_epoch"]) for line in lora])
    )
    assert worth("ivpt", VTAB) is None
    assert worth("lora", ("digits",)) is None


def section(scores: dict[str, float], method: str = "fact-tk") -> Any:
    """Our rows of one method, with these scores by task."""
    cell: dict[str, Any] = {
        "method": method,
        "backbone": "vit_base_patch16_224.orig_in21k",
        "metric": "top1",
    }
    board = [
        SimpleNamespace(cell=SimpleNamespace(**cell, task=task), task=task, mean=score)
        for task, score in scores.items()
    ]
    return SimpleNamespace(board=board, tasks=tuple(scores), first=board[0].cell)


def rows(of: Any, name: str) -> list[Any]:
    return [row for row in matching_rows(of, published()).rows if row.method == name]


def test_of_a_gap_to_a_paper_the_part_that_is_choosing_on_test():
    (printed,) = rows(section(dict.fromkeys(VTAB, 50.0)), "FacT(V-PETL)")
    gained = worth("fact-tk", VTAB)
    assert gained is not None
    below = section({task: printed.numbers[task] - 2 * gained for task in VTAB})
    first, share = chosen_on_test(below, [printed])
    assert "is worth 0.29 points (linear) to 7.43 (full), 0.55 at the median of 16" in first
    assert share == (
        f"FacT(V-PETL) is {2 * gained:.2f} points above fact-tk here on 19 tasks: {gained:.2f} of"
        " them (50 %) is what choosing the epoch on test is worth for this method."
    )
    above = section({task: printed.numbers[task] + 1.0 for task in VTAB})
    assert (
        "is 1.00 points below fact-tk here on 19 tasks, though"
        in chosen_on_test(above, [printed])[-1]
    )


def test_nothing_is_said_of_last_epochs_of_others_methods_and_of_other_tasks():
    ours = section(dict.fromkeys(VTAB, 50.0), "lora")
    assert chosen_on_test(ours, rows(ours, "LoRA(OSU)")) == []  # reported: last epoch
    assert len(chosen_on_test(ours, rows(ours, "LoRA(NOAH)"))) == 2
    other = section(dict.fromkeys(VTAB, 50.0), "ssf")
    assert len(chosen_on_test(other, rows(other, "LoRA(NOAH)"))) == 1
    assert chosen_on_test(section({"digits": 50.0}), []) == []


def test_osus_methods_have_our_names():
    named = {named_here(number.method) for number in published() if number.method.endswith("(OSU)")}
    assert named - {"adapter", "adaptformer"} == gains().keys() - {"adaptformer"}
