"""A cell's search: what Optuna is asked for."""

from typing import Any

import optuna
import pytest
from planned import TPE, planned

from harness.engine.study import CellSearch


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
