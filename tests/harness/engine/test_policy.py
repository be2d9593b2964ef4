"""The order of work, from what cells say of themselves: no plan, store or search."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from harness.engine.jobs import EAGER, FINAL, TRIAL
from harness.engine.policy import Policy


@dataclass
class StandIn:
    """Of a cell: what a policy looks at."""

    task: str = "digits"
    method: str = "vpt"
    trials: int = 10
    trial_units: float = 100.0
    final_units: float = 50.0
    kind: int | None = TRIAL
    left: float = 0.0
    seconds: float = 100.0
    units: float = 100.0
    done_trials: int = 0
    open: int = 0
    sampler: str = "tpe"
    most: list[int] = field(default_factory=list)
    """What `gives` was called with."""

    @property
    def planned(self) -> Any:
        return SimpleNamespace(
            key=f"{self.method}/{self.task}",
            card=SimpleNamespace(name=self.task),
            variant=SimpleNamespace(label=self.method),
            protocol=SimpleNamespace(sampler=self.sampler),
            trials=self.trials,
            constant_features=False,
        )

    def gives(self, few: int) -> int | None:
        self.most.append(few)
        return self.kind


def policy(*cells: StandIn, devices: int = 1) -> Policy:
    return Policy(cells, devices)  # type: ignore[arg-type]


def test_final_runs_go_before_trials_and_those_before_eager_ones():
    eager = StandIn("a", kind=EAGER, trial_units=900)
    trial = StandIn("b", kind=TRIAL, trial_units=500)
    final = StandIn("c", kind=FINAL, trial_units=1)
    order = policy(eager, trial, final)
    for cell in (final, trial, eager):
        assert order.first() is cell
        cell.kind = None
        order.update(cell)  # type: ignore[arg-type]
    assert order.first() is None


def test_the_task_with_the_longest_chain_comes_first():
    short, long, middle = (
        StandIn(task, trial_units=units, final_units=0.0)
        for task, units in (("short", 10), ("long", 1000), ("middle", 100))
    )
    assert policy(short, long, middle).cells == [long, middle, short]


def test_each_method_is_tried_on_its_shortest_task_before_all_else():
    cells = [
        StandIn(task, method, trial_units=units, seconds=0.0, units=0.0)
        for task, units in (("long", 500), ("short", 5))
        for method in ("vpt", "lora")
    ]
    order = policy(*cells)
    for _ in range(2):
        cell = order.first()
        assert isinstance(cell, StandIn)
        assert cell.task == "short"
        cell.seconds = cell.units = 5.0
        order.update(cell)
    assert {cell.method for cell in cells if cell.units} == {"vpt", "lora"}
    assert order.first() is cells[0]


def test_the_shortest_cell_comes_first_as_a_whole():
    long, short, probe = (
        StandIn("long", left=900.0, kind=FINAL),
        StandIn("short", left=5.0),
        StandIn("middle", "lora", left=90.0, trial_units=1.0, seconds=0.0, units=0.0),
    )
    order = policy(long, short, probe)
    for kind in (TRIAL, TRIAL, FINAL):
        short.kind = kind
        order.update(short)  # type: ignore[arg-type]
        assert order.first() is short
    for kind in (EAGER, None):  # its search waits for what is in flight, others don't
        short.kind = kind
        order.update(short)  # type: ignore[arg-type]
        assert order.first() is probe
    short.kind, short.left = FINAL, 1.0
    order.update(short)  # type: ignore[arg-type]
    assert order.first() is short
    short.kind, short.left = None, 0.0
    order.update(short)  # type: ignore[arg-type]
    assert order.first() is probe
    assert policy(long).opener is long


@pytest.mark.parametrize(
    ("devices", "at_once"),
    [
        # at a second a unit, 4200 s of work are left: 4200 s on one device, 1050 s on four, ...
        (1, 2),  # no need: a fifth of the trials
        (4, 2),  # 0.6 x 1050 s less a final run's 50: 5 trials after each other, 10 / 5 at once
        (8, 5),  # 0.6 x 525 s: 2 after each other
        (12, 10),  # 0.6 x 350 s: 1
        (60, 10),  # 0.6 x 70 s: not even a final run; all at once
    ],
)
def test_a_search_takes_as_many_trials_as_its_chain_needs_to_end_in_time(
    devices: int, at_once: int
):
    one = StandIn("one", left=10 * 100 + 50)
    other = StandIn("other", trial_units=300, final_units=150, left=10 * 300 + 150)
    order = policy(one, other, devices=devices)
    assert order.few(one) == at_once  # type: ignore[arg-type]
    order.update(one)  # type: ignore[arg-type]
    assert one.most[-1] == at_once


def test_a_search_that_does_not_learn_takes_all_its_trials():
    assert policy(StandIn(sampler="grid", left=1050)).few(StandIn(sampler="grid")) == 10  # type: ignore[arg-type]


def test_what_remains_takes_each_method_as_long_as_its_own_speed_says():
    slow = StandIn("a", "ivpt", left=300, seconds=40, units=20)
    fast = StandIn("a", "vpt", left=100, seconds=10, units=100)
    new = StandIn("a", "lora", left=60, seconds=0, units=0)
    order = policy(slow, fast, new)
    assert order.seconds_of_work == pytest.approx(300 * 2 + 100 * 0.1 + 60 * 50 / 120)
    slow.left = 200
    order.update(slow)  # type: ignore[arg-type]
    assert order.seconds_of_work == pytest.approx(200 * 2 + 100 * 0.1 + 60 * 50 / 120)
    assert policy(new).seconds_of_work is None
