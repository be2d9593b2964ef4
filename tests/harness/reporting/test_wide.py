"""The frames of a run."""

from typing import Any

import pandas as pd

from harness.reporting import wide
from harness.store import Trial


def test_costs_of_a_run_are_columns(filler: Any) -> None:
    key = filler.cell("vpt", "digits")
    counted = {"flops": 3e9, "flops_scored": 1e9, "flops_overhead": -5.0, "checkpoint_bytes": 4000}
    filler.results(key, [60.0], extras={**counted, "seconds_image": "soon"})
    filler.results(key, [61.0], first_seed=1)
    first, second = wide.results(filler.store).to_dict("records")
    assert {name: first[name] for name in counted} == counted
    # a stored value that is no number is none
    assert pd.isna(first["seconds_image"])
    assert all(pd.isna(second[name]) for name in counted)
    assert list(first)[-6:] == [
        *("flops", "flops_scored", "seconds_image", "checkpoint_bytes", "flops_overhead"),
        "created",
    ]


def test_curves_are_a_row_a_value(filler: Any) -> None:
    key = filler.cell("vpt", "digits")
    logged = {"epoch": [1, 3], "loss": [2.0, None], "sharpness": [0.5, 0.25]}
    filler.store.add_trials(
        [
            Trial(key, number, {}, "complete", 50.0, curve, None, 1.0, 1.0, {}, curves=of_steps)
            for number, curve, of_steps in ((0, {3: 50.0, 1: 40.0}, logged), (1, {1: 30.0}, {}))
        ]
    )
    filler.results(key, [60.0])
    frame = wide.curves(filler.store, [key])
    columns = ["trial", "seed", "curve", "epoch", "value"]
    found = frame[columns].astype(object).where(frame[columns].notna(), None)
    assert [*map(tuple, found.itertuples(index=False))] == [
        (0, None, "val", 1, 40.0),
        (0, None, "val", 3, 50.0),
        (0, None, "loss", 1, 2.0),
        (0, None, "loss", 3, None),
        (0, None, "sharpness", 1, 0.5),
        (0, None, "sharpness", 3, 0.25),
        (1, None, "val", 1, 30.0),
        (None, 0, "test", 10, 60.0),
    ]
    assert set(frame["variant"]) == {"vpt"}
    assert wide.curves(filler.store, []).empty
