"""The frames of a run."""

from typing import Any

import pandas as pd

from harness.reporting import wide


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
