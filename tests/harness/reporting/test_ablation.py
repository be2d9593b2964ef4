"""The grid of a method's toggles, and the interval beside a difference."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from harness.errors import BadInput
from harness.planning.variants import parse
from harness.reporting.ablation import ablation
from harness.reporting.statistics.intervals import mean_difference


def test_ivpt_has_six_valid_rows_and_da_without_cdc_is_left_out_with_its_reason():
    grid = ablation("ivpt")
    assert grid.toggles == ("cdc", "da", "ar")
    names = [
        "+".join(name for name, value in zip(grid.toggles, on, strict=True) if value) or "none"
        for on in grid.settings.values()
    ]
    assert sorted(names) == sorted(["none", "ar", "cdc", "cdc+ar", "cdc+da", "cdc+da+ar"])
    assert names[0] == "none"
    assert {on: "without CDC" in reason for on, reason in grid.refused.items()} == {
        (False, True, False): True,
        (False, True, True): True,
    }


def test_rows_share_their_cells_with_run():
    grid = ablation("ivpt")
    by_setting = {on: label for label, on in grid.settings.items()}
    assert by_setting[True, True, True] == "ivpt"
    assert by_setting[False, False, False] == "ivpt(ar=false,cdc=false,da=false)"
    assert [variant.label for variant in parse(grid.methods)] == list(grid.settings)


def test_fixed_arguments_stay_fixed():
    grid = ablation("ivpt(ar=false,prompts=5)")
    assert grid.toggles == ("cdc", "da")
    assert set(grid.settings) == {
        "ivpt(ar=false,cdc=false,da=false,prompts=5)",
        "ivpt(ar=false,da=false,prompts=5)",
        "ivpt(ar=false,prompts=5)",
    }


@pytest.mark.parametrize(
    ("method", "message"),
    [("vpt", "has no toggles"), ("vpt,ivpt", "one method"), ("ivtp", "Did you mean 'ivpt'")],
)
def test_what_cant_be_ablated_is_said(method: str, message: str):
    with pytest.raises(BadInput, match=message):
        ablation(method)


def test_a_check_of_the_users_that_fails_on_a_row_is_one_line(tmp_path: Path):
    (tmp_path / "mine.py").write_text(
        "from harness.training.method import Method\n\n\nclass Mine(Method):\n    name = 'mine'\n  "
        "  toggles = ('on',)\n\n    def __init__(self, vit, on=False):\n       "
        " super().__init__(vit)\n\n    @classmethod\n    def check(cls, arguments):\n        if"
        " 'on' in arguments:\n            {}['layer']\n"
    )
    with pytest.raises(
        BadInput, match=r"mine: its check\(\) fails: KeyError: 'layer' \(.*mine.py:14, in check\)"
    ):
        ablation(f"{tmp_path}/mine.py:Mine")


def test_the_interval_is_students_over_tasks():
    rng = np.random.RandomState(0)
    one = {f"task{i}": {seed: rng.normal(60, 5) for seed in range(3)} for i in range(6)}
    other = {task: {seed: rng.normal(58, 5) for seed in range(3)} for task in one}
    found = mean_difference(one, other)
    differences = [
        np.mean(list(one[task].values())) - np.mean(list(other[task].values())) for task in one
    ]
    expected = ttest_1samp(differences, 0).confidence_interval(0.95)
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx(
        (np.mean(differences), expected.low, expected.high)
    )


def test_too_few_tasks_or_none_in_common_give_no_interval():
    two = {"a": {0: 1.0}, "b": {0: 2.0}}
    found = mean_difference(two, {"a": {0: 0.0}, "b": {0: 0.0}})
    assert found is not None
    assert (found.mean, found.low) == (1.5, None)
    assert mean_difference(two, {"a": {0: 0.0}}) is None
    assert mean_difference(two, {"a": {1: 0.0}, "b": {0: 0.0}}) is None
