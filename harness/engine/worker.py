"""The Ray Tune actor in which jobs are run, on whatever machine of a cluster."""

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from harness.backbones import compiled
from harness.data.fingerprint import fingerprint
from harness.engine.broadcast import Broadcast
from harness.engine.cluster import this_node, threads_here
from harness.engine.failures import device_failure, reason_of
from harness.engine.gpu_memory import keep_to_share, let_segments_grow
from harness.engine.jobs import NODE, Outcome, parse
from harness.engine.trainer import Trainer, scored_at_once
from harness.engine.watchdog import Watchdog, store_reason
from harness.engine.worker_output import CapturedOutput, refuse_breakpoints
from harness.errors import BadInput
from harness.inference.checkpoint_files import Keep
from harness.planning import builtin
from harness.planning.plan import RunPlan
from harness.training.loop import Score

builtin.pin()  # in a worker's process, before it receives methods

NEWS, FILES = "news", "files"
"""Keys of a worker's results: what it warmed up; and checkpoints by name, if it isn't on the
driver's machine."""

UNFIT = 30.0
"""Seconds for which a worker on a node without the data keeps a job before it returns it, so that
such a node doesn't attract all jobs."""


class TrialActor(tune.Trainable):
    """The Ray Tune actor around a `Trainer`. A trial's configuration is a job; a step runs until
    the next score."""

    def setup(
        self,
        config: dict,
        plan: RunPlan,
        threads: int | Mapping[str, float],
        keep: Keep | None,
        timeout: float = 0.0,
        home: str = "",
        compile: bool = False,
    ) -> None:
        """`threads`: how many, or the resources of a job: then its share of the node's cores.
        `home`: the driver's node. `compile`: as `Resources`' does."""
        self.away = bool(home) and ray.get_runtime_context().get_node_id() != home
        self.checked: set[str] = set()
        if self.away and keep is not None:
            self.outbox = tempfile.TemporaryDirectory(prefix="vpt-harness-")
            keep = replace(keep, folder=Path(self.outbox.name))
        self.output = CapturedOutput()
        refuse_breakpoints()
        self.watchdog = Watchdog(timeout, lambda reason: store_reason(self.trial_id, reason))
        device = assigned_device()
        compiled.switch(compile and device.type == "cuda")
        self.trainer = Trainer(
            plan,
            threads if isinstance(threads, int) else threads_here(threads),
            keep,
            self.watchdog.alive,
            device=device,
        )
        self._start(config)

    def reset_config(self, new_config: dict) -> bool:
        self._start(new_config)
        return True

    def _start(self, config: dict) -> None:
        self.started = time.monotonic()
        self.job = parse(config["job"])
        self.planned = self.trainer.plan.cell(self.job.cell)
        self.at_once = scored_at_once(self.planned, self.job)
        self.steps = self.trainer.run(self.job)

    def step(self) -> dict:
        try:
            with self.watchdog.watching(), self.output.capturing():
                if self.away:
                    self._check_data()
                step = next(self.steps)
        except (Exception, SystemExit) as error:
            if failure := device_failure(error):
                self.watchdog.end(str(failure))  # every later job here would fail as well
            # returned as a result, since Tune doesn't pass on an error's text
            if self.away and isinstance(error, BadInput):
                time.sleep(UNFIT)
                return {"done": True, "error": f"{NODE} {this_node()} can't do it: {error}"}
            return {
                "done": True,
                "error": reason_of(error, self.at_once),
                NEWS: self._news(over=True),
            }
        if isinstance(step, Score):
            return {
                "done": False,
                "epoch": step.epoch,
                "value": step.value,
                "units": step.units,
                "seconds": time.monotonic() - self.started,
                NEWS: self._news(),
            }
        files = {}
        if self.away:
            step, files = sent_back(step)
        return {
            "done": True,
            "outcomes": json.dumps([asdict(outcome) for outcome in step]),
            NEWS: self._news(over=True),
            FILES: files,
        }

    def _check_data(self) -> None:
        """Checks, once per task, that this machine's files are those of the score's key; all bytes
        are read once per node."""
        card = self.planned.card
        if card.name not in self.checked:
            if fingerprint(card, self.planned.root) != self.planned.fingerprint:
                raise BadInput(
                    f"task {card.name}: its files differ from those on the driver's machine. Copy"
                    " them, or share the folder."
                )
            self.checked.add(card.name)

    def _news(self, over: bool = False) -> dict[str, Any]:
        """What this process has warmed up since the last call: splits decoded, backbones copied to
        this node; and what was printed.

        `over`: the job has ended.
        """
        sent = self.trainer.plan.backbones
        fetched = sent.fetched if isinstance(sent, Broadcast) else []
        news = {
            "node": this_node(),
            "decoded": list(self.trainer.decoded),
            "fetched": list(fetched),
            "printed": self.output.taken(over),
        }
        self.trainer.decoded.clear()
        fetched.clear()
        return news

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to save: an interrupted trial is run again."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing to load."""


def assigned_device() -> torch.device:
    """What Ray has assigned to this worker, not always all that torch sees; and of its memory no
    more than this worker's share."""
    context = ray.get_runtime_context()
    if not context.get_accelerator_ids().get("GPU") or not torch.cuda.is_available():
        return torch.device("cpu")
    let_segments_grow()
    keep_to_share(context.get_assigned_resources().get("GPU", 1.0))
    return torch.device("cuda")


def sent_back(outcomes: list[Outcome]) -> tuple[list[Outcome], dict[str, bytes]]:
    """Moves the outcomes' checkpoints from this machine's disk into the returned files, by name;
    the outcomes then have these names."""
    files, noted = {}, []
    for outcome in outcomes:
        path = (outcome.provenance or {}).get("checkpoint")
        if path is not None:
            files[Path(path).name] = Path(path).read_bytes()
            Path(path).unlink()
            outcome = replace(
                outcome, provenance={**(outcome.provenance or {}), "checkpoint": Path(path).name}
            )
        noted.append(outcome)
    return noted, files


def outcomes_of(result: dict) -> list[Outcome]:
    """The outcomes in a worker's last result."""
    return [
        Outcome(**{**fields, "curve": {int(k): v for k, v in fields["curve"].items()}})
        for fields in json.loads(result["outcomes"])
    ]
