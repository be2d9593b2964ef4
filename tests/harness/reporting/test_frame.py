"""From rows of the store to squares of a leaderboard."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.reporting.frame import CELL, TIDY, failures, leaderboard, records, rows, tidy
from harness.reporting.stats import sections
from harness.store import Store

SCORES = [81.25, 79.5, 84.125]


def _board(filler: Any) -> list[dict[str, Any]]:
    return records(leaderboard(rows(filler.store), failures(filler.store)))


def test_what_a_protocol_says_of_single_cells_parts_no_scores(filler: Any) -> None:
    """A board's section is a whole protocol, whose cells differ by method; rows without its word
    stand by their own."""
    whole = {
        "epochs": 10,
        "batch_size": 128,
        "override": [{"method": ["linear"], "batch_size": 1024}],
    }
    for variant, batch in (("vpt", 128), ("linear", 1024)):
        filler.results(
            filler.cell(
                variant, "digits", protocol={"epochs": 10, "batch_size": batch}, settings=whole
            ),
            SCORES,
        )
    filler.results(filler.cell("vpt", "digits", protocol={"epochs": 10, "batch_size": 64}), SCORES)
    filler.results(filler.cell("bias", "digits", settings={**whole, "override": []}), SCORES)
    filler.results(filler.cell("ssf", "digits", settings="odd"), SCORES)  # type: ignore[arg-type]
    found = [
        (part.protocol, sorted(part.scores))
        for part in sections(leaderboard(rows(filler.store), failures(filler.store)), None, None)
    ]
    assert [variants for _, variants in found] == [["linear", "vpt"], ["vpt"], ["bias"], ["ssf"]]
    assert len({name for name, _ in found}) == 4


def test_a_row_a_final_run(filler: Any) -> None:
    key = filler.cell("ivpt(da=false)", "digits", version="3", group="natural")
    filler.results(key, SCORES, trainable=10)
    filler.trials(key, 4)
    filler.trials(key, 2, "pruned")
    filler.trials(key, 1, "failed")
    found = rows(filler.store)
    assert set(CELL) < set(found.columns)
    assert found["score"].tolist() == SCORES
    first = records(found)[0]
    assert {
        name: first[name]
        for name in (
            "method",
            "version",
            "variant",
            "task",
            "suite",
            "group",
            "seed",
            "trials",
            "failed_trials",
        )
    } == {
        "method": "ivpt",
        "version": "3",
        "variant": "ivpt(da=false)",
        "task": "digits",
        "suite": "mini",
        "group": "natural",
        "seed": 0,
        "trials": 6,
        "failed_trials": 1,
    }


def test_mean_and_std_are_numpys(filler: Any) -> None:
    filler.results(filler.cell("vpt", "digits"), SCORES, trainable=960)
    (square,) = _board(filler)
    assert square["mean"] == pytest.approx(np.mean(SCORES), abs=1e-12)
    assert square["std"] == pytest.approx(np.std(SCORES, ddof=1), abs=1e-12)
    assert (
        square["n"],
        square["params"],
        square["seconds"],
        square["gaps"],
        square["superseded"],
    ) == (3, 960.0, 3.0, {}, 0)
    assert square["ids"] == [result.id for result in filler.store.results()]


def test_one_seed_has_no_spread(filler: Any) -> None:
    filler.results(filler.cell("vpt", "digits"), [50.0])
    (square,) = _board(filler)
    assert square["mean"] == 50.0
    assert math.isnan(square["std"])


def test_the_newest_cell_is_shown(filler: Any) -> None:
    new = filler.cell("vpt", "digits", version="2")
    old = filler.cell("vpt", "digits", version="1")
    filler.results(old, SCORES)
    filler.results(new, [90.0, 92.0])
    (square,) = _board(filler)
    assert (square["version"], square["mean"], square["n"], square["superseded"]) == (
        "2",
        91.0,
        2,
        3,
    )
    filler.results(old, [10.0], first_seed=3)
    (square,) = _board(filler)
    assert (square["version"], square["n"], square["superseded"]) == ("1", 4, 2)


def test_only_what_is_alike_is_one_square(filler: Any) -> None:
    for index, other in enumerate(
        [{}, {"sha": "cd" * 32}, {"protocol": {"epochs": 20}}, {"metric": "miou"}]
    ):
        filler.results(
            filler.cell("vpt", f"digits{'' if index < 3 else index}", **other), [50.0 + index]
        )
    assert [square["mean"] for square in _board(filler)] == [50.0, 51.0, 52.0, 53.0]


def test_a_failure_is_a_gap(filler: Any) -> None:
    key = filler.cell("vpt", "digits")
    filler.failure(key, 1, "out of\nmemory")
    (square,) = _board(filler)
    assert (square["n"], square["gaps"], square["ids"]) == (0, {1: "out of memory"}, [])
    assert math.isnan(square["mean"])
    filler.results(key, [50.0])
    (square,) = _board(filler)
    assert (square["n"], square["mean"], square["gaps"]) == (1, 50.0, {1: "out of memory"})


def test_a_failure_that_was_made_good_is_none(filler: Any) -> None:
    key = filler.cell("vpt", "digits")
    filler.failure(key, 0, "lost")
    filler.results(key, [50.0])
    assert failures(filler.store).empty


@pytest.mark.parametrize(("created", "told"), [("2025-12-31", {}), ("2026-01-02", {0: "lost"})])
def test_a_new_cell_that_failed_does_not_hide_the_old_score(
    filler: Any, created: str, told: dict[int, str]
) -> None:
    filler.results(filler.cell("vpt", "digits", version="1"), SCORES)
    filler.failure(filler.cell("vpt", "digits", version="2"), 0, "lost", created)
    (square,) = _board(filler)
    assert (square["version"], square["n"], square["gaps"]) == ("1", 3, told)


def test_cells_narrow_it(filler: Any) -> None:
    wanted, other = filler.cell("vpt", "digits"), filler.cell("linear", "digits")
    for key in (wanted, other):
        filler.results(key, [50.0])
        filler.failure(key, 1, "lost")
    assert (
        set(rows(filler.store, [wanted])["cell"])
        == set(failures(filler.store, [wanted])["cell"])
        == {wanted}
    )
    assert rows(filler.store, []).empty


def test_an_empty_store_gives_empty_frames(filler: Any) -> None:
    found = rows(filler.store)
    assert found.empty
    assert "score" in found
    assert leaderboard(found, failures(filler.store)).empty


def test_what_a_search_took_and_what_a_run_chose(filler: Any) -> None:
    key = filler.cell("vpt", "digits", protocol={"epochs": 20})
    filler.results(key, [50.0, 51.0])
    filler.trials(key, 3)
    (square,) = _board(filler)
    assert (square["search_units"], square["epochs"], square["pixels"]) == (3.0, 20, "pil")
    assert square["scores"] == {0: 50.0, 1: 51.0}
    first, _ = records(rows(filler.store, detail=True))
    assert (first["params"], first["curve"], first["head_params"]) == ({}, {10: 50.0}, 1000)
    assert "curve" not in rows(filler.store)


def test_the_tidy_frame_has_everything_and_says_where_it_is_from(filler: Any) -> None:
    key = filler.cell("vpt", "digits")
    filler.results(key, SCORES)
    filler.failure(key, 3, "lost")
    published = pd.DataFrame(
        [
            {
                "method": "vpt",
                "backbone": "ViT-B/16",
                "pretrain": "sup",
                "task": "digits",
                "metric": "top1",
                "value": 70.0,
                "source": "a paper",
            }
        ]
    )
    found = tidy(rows(filler.store), failures(filler.store), published)
    assert tuple(found.columns) == TIDY
    assert found["origin"].tolist() == ["measured"] * 4 + ["published"]
    assert found["score"].tolist()[:3] == SCORES
    assert (found["reason"][3], found["seed"][3], math.isnan(found["score"][3])) == (
        "lost",
        3,
        True,
    )
    assert (
        found["score"][4],
        found["source"][4],
        found["variant"][4],
        found["seed"].isna()[4],
    ) == (70.0, "a paper", "vpt", True)
    assert tidy(rows(Store("sqlite://")), failures(Store("sqlite://"))).empty
