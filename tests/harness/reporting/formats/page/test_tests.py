"""What the page says where Nemenyi's diagram and the table of pairs differ."""

import numpy as np
import pytest

from harness.reporting.formats.page.tests import apart
from harness.reporting.statistics.friedman import Friedman, friedman
from harness.reporting.statistics.wilcoxon import Pair, pairwise


def made(tasks: int, methods: int, step: float, noise: float) -> tuple[Friedman, list[Pair]]:
    """Methods that are so many points apart."""
    draw = np.random.default_rng(1)
    names = [f"t{task}" for task in range(tasks)]
    scores = {
        f"m{row}": {name: float(60 + step * row + draw.normal(0, noise)) for name in names}
        for row in range(methods)
    }
    overall, pairs = friedman(scores, names), pairwise(scores, names)
    assert isinstance(overall, Friedman)
    assert isinstance(pairs, list)
    return overall, pairs


def test_few_tasks_can_show_nothing_in_the_table_and_the_diagram_is_to_be_cited() -> None:
    """Five tasks: p is at least 1/16, whatever the scores."""
    said = apart(*made(tasks=5, methods=4, step=10, noise=0.1))
    assert said is not None
    assert said.startswith("The diagram tells ")
    assert "m0 and m3" in said
    assert "With 5 tasks Wilcoxon's p can't be below 0.062, so with 6 corrected" in said
    assert "cite the diagram, with its 5 tasks" in said


def test_with_enough_tasks_the_table_is_to_be_cited() -> None:
    """Neighbours of eight differ on each of 24 tasks, but are nearer than the critical
    difference."""
    said = apart(*made(tasks=24, methods=8, step=3, noise=0.2))
    assert said is not None
    assert said.startswith("The table tells ")
    assert "For a claim about two methods cite the table" in said


@pytest.mark.parametrize(("step", "noise"), [(0.0, 1.0), (20.0, 0.1)])
def test_where_they_agree_nothing_is_said(step: float, noise: float) -> None:
    """No difference at all, or three methods that both tell apart."""
    assert apart(*made(tasks=19, methods=3, step=step, noise=noise)) is None
