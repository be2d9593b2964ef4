"""What a method prints in a worker, where it stops there, and what is kept of its errors."""

import os
import subprocess
import sys

import made_up
import pytest

from harness.engine.status import read
from harness.engine.worker_output import MOST, WIDEST, CapturedOutput
from harness.reporting import rows
from harness.reporting.formats.page.html import write
from harness.reporting.report import Report
from harness.reporting.result_detail import detail
from harness.reporting.result_list import Wanted, records
from harness.store import Store

METHODS = """import torch
from torch import nn

from harness.training.method import Method


class Loud(Method):
    name = "loud"

    def __init__(self, vit):
        super().__init__(vit)
        self.p = nn.Parameter(torch.zeros(1, vit.dim))

    def forward(self, images, read):
        print("images", len(images))
        if self.training and self.name == "stops":
            breakpoint()
        return self.vit.run(self.vit.embed(images) + self.p, read)


class Stops(Loud):
    name = "stops"
"""


def test_lines_are_whole_and_bounded_in_number_and_width():
    output = CapturedOutput()
    with output.capturing():
        print("a", end="")
        assert output.taken() == []
        print("b\nc" + "x" * WIDEST)
        print("\n".join(str(number) for number in range(MOST)))
    lines = output.taken()
    assert lines[0] == "ab"
    assert len(lines[1]) == WIDEST
    assert len(lines) == MOST + 1
    assert "more than 50 lines" in lines[-1]
    with output.capturing():
        print("z" * 3 * WIDEST, end="")
    assert output.taken(over=True) == []
    with output.capturing():
        print("a job later", end="")
    assert output.taken(over=True) == ["a job later"]


def test_a_failures_traceback_is_kept_beneath_its_line_and_shown_where_it_is_asked_for(tmp_path):
    store = made_up.filled(tmp_path / "results.db", [made_up.VPT])
    trace = 'Traceback (most recent call last):\n  File "mine.py", line 12, in forward\nKeyError: 3'
    store.add_failure(made_up.failure(made_up.VPT, 5, f"KeyError: 3 (mine.py:12)\n{trace}"))
    (row,) = [row for row in records(store, Wanted(None, None, (5,)).failures(store))]
    assert row["reason"] == "KeyError: 3 (mine.py:12)"
    shown = detail(store, row["id"][:8])
    assert (shown["failed"], shown["traceback"]) == (row["reason"], trace.split("\n"))
    assert {run.reason for run in rows.read(store).failed} == {
        "out of memory",
        "KeyError: 3 (mine.py:12)",
    }
    write(tmp_path / "page.html", str(Report(store).render("html")))
    assert "line 12, in forward" in (tmp_path / "page.html").read_text()
    assert "Traceback" not in str(Report(store).render("md"))
    assert "Traceback" not in str(Report(store).render("json"))
    assert {gap.reason for gap in read(store).gaps} == {"out of memory", "KeyError: 3 (mine.py:12)"}


@pytest.mark.slow
def test_print_reaches_the_terminal_with_its_job_and_a_breakpoint_is_a_failure_that_says_so(tiny):
    file = tiny.folder / "loud.py"
    file.write_text(METHODS)
    methods = f"{file}:Loud,{file}:Stops"
    command = [
        *tiny.arguments(
            "--seeds", "0", "--trials", "1", "--workers", "1", "--debug", methods=methods
        )
    ]
    environment = {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "harness", *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "[loud on toy, trial 0] images 8" in done.stdout
    assert "[loud on toy, seed 0] images 8" in done.stdout
    assert "[stops on toy, trial 0] images 8" in done.stdout
    store = Store(tiny.store)
    (failure,) = store.failures()
    assert "breakpoint() can't stop in a worker" in failure.line
    assert failure.line.endswith("loud.py:17, in forward)")
    assert failure.traceback is not None
    assert failure.traceback in done.stdout
    assert len(store.results()) == 1
