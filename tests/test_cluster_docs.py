"""What docs/cluster.md gives to copy: the YAML has a RayJob's fields, bash reads the script, the
costs are counted."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from train_step import flops, forward_flops
from typer.testing import CliRunner

from harness.cli import main as cli
from harness.planning import protocols
from harness.planning.cost import cell_cost
from harness.planning.plan import of_cell, search_size, search_space, trained_on
from harness.planning.variants import parse
from harness.tasks.cards import load_cards, load_suites

DOCS = Path(__file__).parent.parent / "docs"
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


def test_the_costs_are_counted():
    cards, suites, page = load_cards(), load_suites(), (DOCS / "cluster.md").read_text()
    answer = (DOCS / "faq.md").read_text()
    step, forward = flops(50, 64, ours=True, dropout=True), forward_flops(50)
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
            total = train * step + scored * forward
            figures = (
                f"| {train / 1e6:.1f} M | {scored / 1e6:.1f} M | {total / 1e15:.0f} |"
                f" {total / 100e12 / 3600:.1f} |"
            )
            assert figures in page, (name, suite, figures)
            if suite == "vtab":
                assert re.search(rf"\b{total / 100e12 / 3600:.1f}\s(GPU )?hours", answer), name
