"""A hung trial: its worker ends itself, and says why."""

import subprocess
import sys

import pytest
from driving import rows

from harness.store import Store

HUNG = """
import sys, time
from harness.engine.watchdog import Watchdog
dog = Watchdog(0.5, lambda reason: print(reason, flush=True))
time.sleep(1)  # between jobs, nothing is expected
with dog.watching():
    for _ in range(4):
        time.sleep(0.3)
        dog.alive()
    print("four batches", flush=True)
    def stuck():
        time.sleep(60)
    stuck()
"""


def test_a_job_without_a_batch_for_too_long_ends_its_process_and_says_where():
    ended = subprocess.run(
        [sys.executable, "-c", HUNG], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 70, ended.stderr
    assert (
        ended.stdout
        == "four batches\nhung: no batch for 0.5 s (--trial-timeout), in stuck (<string>:12)\n"
    )


@pytest.mark.slow
def test_a_hung_trial_is_a_failure_with_its_reason_tried_once_more_and_the_others_go_on(
    tiny, harness
):
    mine = tiny.folder / "mine.py"
    mine.write_text(
        "import time\nfrom methods.vpt import VPTDeep\n\n\nclass Stuck(VPTDeep):\n    name ="
        " 'stuck'\n\n    def forward(self, images, read):\n        time.sleep(10_000)\n"
    )
    done = harness(
        *tiny.arguments(
            "--trial-timeout",
            "8",
            "--trials",
            "1",
            "--workers",
            "2",
            methods=f"{mine}:Stuck,vpt-deep",
        )
    )
    assert done.returncode == 3, done.stderr
    assert set(rows(tiny.store)) == {("vpt-deep", "toy", 0), ("vpt-deep", "toy", 1)}
    store = Store(tiny.store)
    failed = [trial for trial in store.trials() if trial.state == "failed"]
    assert len(failed) == 2
    assert {trial.reason for trial in failed} == {
        "hung: no batch for 8 s (--trial-timeout), in forward (mine.py:9)"
    }
    assert {failure.seed for failure in store.failures()} == {0, 1}
