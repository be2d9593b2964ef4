"""A cell's search: what Optuna is asked for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from planned import GRID, TPE, planned

from harness.engine.study import CellSearch
from harness.planning.cell import PlannedCell
from harness.planning.space import points
from harness.planning.variants import one
from harness.store import Cell, Trial
from harness.store.records import cell_key


@pytest.mark.parametrize(
    ("trials", "at_random"), [(2, 2), (3, 2), (9, 3), (21, 7), (30, 10), (90, 10)]
)
def test_a_third_of_the_trials_are_random_before_tpe_learns_two_at_least_ten_at_most(
    trials: int, at_random: int, monkeypatch: pytest.MonkeyPatch
):
    made: list[dict[str, Any]] = []
    sampler = optuna.samplers.TPESampler

    def recorded(**arguments: Any) -> optuna.samplers.BaseSampler:
        made.append(arguments)
        return sampler(**arguments)

    monkeypatch.setattr(optuna.samplers, "TPESampler", recorded)
    search = CellSearch(planned(protocol=TPE.model_copy(update={"trials": trials})), [])
    made.clear()  # what Optuna makes of its own accord for a new study
    search.ask()
    search.ask()
    assert [arguments["n_startup_trials"] for arguments in made] == [at_random] * 2
    assert made[0]["seed"] != made[1]["seed"]


FEW = {
    "base_lr": CategoricalDistribution((3.0, 1.0)),
    "prompts": IntDistribution(2, 6, step=2),
}


def row(number: int, params: dict[str, Any], value: float = 50.0) -> Trial:
    return Trial("", number, params, "complete", value, {}, None, 0.0, 0.0, {})


def begun(cell: PlannedCell, trials: int) -> list[Trial]:
    """The first trials of a new search, one after another."""
    search, ended = CellSearch(cell, []), []
    for _ in range(trials):
        ended.append(row(*search.ask()))
        search.tell(ended[-1])
    return ended


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_no_point_is_tried_twice_until_all_were(sampler: str):
    cell = planned(protocol=TPE.model_copy(update={"sampler": sampler, "trials": 6}), space=FEW)
    tried = begun(cell, 4)
    resumed = CellSearch(cell, tried)
    tried += [row(number, params) for number, params in (resumed.ask(), resumed.ask())]
    assert cell.trials == 6
    assert sorted(str(trial.params) for trial in tried) == sorted(map(str, points(FEW)))


@pytest.mark.parametrize("sampler", ["grid", "tpe", "random"])
@pytest.mark.parametrize("failed", range(6))
def test_a_point_whose_worker_was_killed_is_tried_by_the_next_run(sampler: str, failed: int):
    space = FEW | {"prompts": CategoricalDistribution((2, 4, 6))}
    cell = planned(protocol=TPE.model_copy(update={"sampler": sampler, "trials": 6}), space=space)
    tried = begun(cell, 6)
    killed = replace(tried[failed], state="failed", value=None, reason="the worker process died")
    number, params = CellSearch(cell, [killed, *tried[:failed], *tried[failed + 1 :]]).ask()
    assert (number, params) == (6, killed.params)


def test_a_search_has_no_more_trials_than_points():
    assert planned(protocol=TPE.model_copy(update={"trials": 20}), space=FEW).trials == 6
    assert planned(protocol=TPE.model_copy(update={"trials": 20})).trials == 20


def test_trials_that_are_fewer_than_a_grid_are_drawn_from_all_of_it():
    space = {"a": CategoricalDistribution(range(10)), "b": CategoricalDistribution(range(10))}
    cell = planned(protocol=GRID.model_copy(update={"trials": 8}), space=space)
    drawn = CellSearch(cell, []).first
    assert len({str(point) for point in drawn}) == 8
    assert len({point["a"] for point in drawn}) > 3
    assert CellSearch(cell, []).first == drawn
    assert CellSearch(cell, [row(0, drawn[0])]).first == drawn[1:]


def test_an_edit_of_one_s_own_method_is_searched_at_the_same_points(tmp_path: Path):
    """The code is part of a row's key, and no part of where its search looks."""
    keys: set[str] = set()

    def asked(text: str, name: str = "mine") -> list[dict[str, Any]]:
        file = tmp_path / f"{name}{len(text)}.py"
        file.write_text(
            f"{text}from methods.vpt import VPT\nclass Mine(VPT):\n    name = {name!r}\n"
        )
        variant = one(f"{file}:Mine")
        identity = {"method": variant.identity, "task": {"name": "toy"}}
        cell = Cell(cell_key(identity), identity, {"variant": name})
        keys.add(cell.key)
        search = CellSearch(replace(planned(), cell=cell, variant=variant), [])
        return [search.ask()[1] for _ in range(3)]

    assert asked("") == asked("# a comment\n") != asked("", "other")
    assert len(keys) == 3
