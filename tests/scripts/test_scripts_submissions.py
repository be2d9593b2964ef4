"""What the workflow `submissions` runs, run here: the shipped submissions are sound, and their site
is built."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent.parent
SCRIPT = "scripts/check_submissions.sh"
WORKFLOW = ROOT / ".github" / "workflows" / "submissions.yml"


def test_the_shipped_submissions_pass_and_are_a_site(tmp_path: Path) -> None:
    public = tmp_path / "public"
    run = subprocess.run(
        [ROOT / SCRIPT, "results/submissions", public],
        cwd=ROOT,
        env=os.environ
        | {"HARNESS": f"{sys.executable} -m harness", "KNOWN": "results/submissions"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "without a fault" in run.stdout
    names = {path.name for path in (ROOT / "results" / "submissions").iterdir()}
    assert {path.stem for path in (public / "submissions").iterdir()} == names
    assert "mini-cpu" in names


def test_a_fault_ends_the_script_before_it_builds(tmp_path: Path) -> None:
    (tmp_path / "submissions" / "odd").mkdir(parents=True)
    run = subprocess.run(
        [ROOT / SCRIPT, tmp_path / "submissions", tmp_path / "public"],
        env=os.environ | {"HARNESS": f"{sys.executable} -m harness"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "odd: fault: schema: " in run.stdout
    assert not (tmp_path / "public").exists()


def test_the_workflow_runs_the_script_and_lets_a_pull_request_write_nothing() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text())
    jobs = workflow["jobs"]
    runs = [step["run"] for step in jobs["check"]["steps"] if "run" in step]
    assert f"{SCRIPT} results/submissions public" in runs
    assert os.access(ROOT / SCRIPT, os.X_OK)
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in jobs["check"]
    assert "pull_request_target" not in workflow[True]  # YAML reads the key `on` so
    assert jobs["publish"]["needs"] == "check"
    assert "github.event_name != 'pull_request'" in jobs["publish"]["if"]
