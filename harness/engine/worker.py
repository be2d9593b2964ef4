"""Where training happens: runs a job step by step, inside a Ray Tune actor.

The actor is reused for trial after trial, and keeps the backbone and the data of its last tasks
warm.
"""

import json
import platform
import resource
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from harness.backbones import compiled, digest_of, load
from harness.backbones.frozen import FrozenBackbone
from harness.data.fingerprint import fingerprint
from harness.data.loader import FinalData, TuningData, open_final, open_tuning
from harness.engine.broadcast import Broadcast
from harness.engine.cluster import this_node, threads_here
from harness.engine.failures import device_failure, free_memory, reason_of
from harness.engine.gpu_memory import keep_to_share, let_segments_grow
from harness.engine.guard import differences, restore_forwards
from harness.engine.jobs import (
    NODE,
    OUT_OF_MEMORY,
    TRACEBACK,
    FinalJob,
    Job,
    Outcome,
    parse,
    smaller,
)
from harness.engine.watchdog import Watchdog, store_reason
from harness.engine.worker_output import CapturedOutput, refuse_breakpoints
from harness.errors import BadInput
from harness.inference import checkpoint
from harness.inference.checkpoint import Keep
from harness.inference.strip import strip
from harness.io.cores import cores
from harness.planning import builtin, user_errors
from harness.planning.plan import PlannedCell, RunPlan
from harness.store import (
    CHECKPOINT_BYTES,
    FLOPS,
    FLOPS_OVERHEAD,
    FLOPS_SCORED,
    SECONDS_IMAGE,
    WARNINGS,
)
from harness.training.features import FeatureSplit, features
from harness.training.flops import scored_flops, step_flops
from harness.training.forward import Precision, at_once, each_in
from harness.training.heads import HeadOnTokens, Model, sized
from harness.training.loop import Score, fit
from harness.training.method import Method, trained_values
from harness.training.seeds import TUNING_SEED, seeded

builtin.pin()  # in a worker's process, before it receives methods

WARM_TASKS = 3
"""Tasks whose data an actor keeps open, each for tuning and for final runs, as images and as
features."""

NEWS, FILES = "news", "files"
"""Keys of a worker's results: what it warmed up; and checkpoints by name, if it isn't on the
driver's machine."""

UNFIT = 30.0
"""Seconds for which a worker on a node without the data keeps a job before it returns it, so that
such a node doesn't attract all jobs."""


class Trainer:
    """Runs jobs on a device, with a warm backbone and data. Plain Python, so that `harness
    reproduce` and tests can use it without Ray."""

    def __init__(
        self,
        plan: RunPlan,
        threads: int | None = None,
        keep: Keep | None = None,
        alive: Callable[[], None] | None = None,
        raises: bool = False,
        device: torch.device | None = None,
    ):
        """`keep`: where final runs save checkpoints; None: nowhere. `alive` is called at every
        batch. `raises`: errors in a run propagate, for a debugger, instead of becoming outcomes.
        `device`: None: the first GPU, or else the CPU."""
        self.plan = plan
        self.raises = raises
        self.keep = keep
        self.alive = alive or (lambda: None)
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if threads:
            torch.set_num_threads(threads)
        self.warm: OrderedDict[tuple, Any] = OrderedDict()
        self.decoded: list[str] = []
        """Splits that weren't in this machine's cache and haven't been reported yet."""
        self.digests: dict[str, str] = {}
        """The sha256 of each backbone when it arrived."""
        self.unverified: PlannedCell | None = None
        """The cell of a run after which the shared backbone hasn't been checked."""
        self.probed: tuple[str, Method] | None = None
        """The last method whose features were computed, by its cell."""
        self.model: torch.nn.Module
        """The last one trained."""

    def run(self, job: Job, seed: int = TUNING_SEED) -> Iterator[Score | list[Outcome]]:
        """Yields intermediate scores, and finally the outcomes, one per point. `seed`: for a
        `TuneJob`."""
        planned = self.plan.cell(job.cell)
        return each_in(planned.precision, self._steps(planned, job, seed))

    def _steps(self, planned: PlannedCell, job: Job, seed: int) -> Iterator[Score | list[Outcome]]:
        self._changed()
        if planned.backbone not in self.digests:
            self.digests[planned.backbone] = digest_of(
                self.plan.backbones[planned.backbone].vit.vit
            )
        data, extracted = self._data(planned, job)
        if isinstance(job, FinalJob):
            assert isinstance(data, FinalData)
            runs = [
                partial(self._run, planned, job.params, seed, data.train, data.test, ())
                for seed in job.seeds
            ]
        else:
            assert isinstance(data, TuningData)
            at = () if job.runs > 1 else planned.protocol.score_at()
            runs = [
                partial(self._run, planned, params, seed, data.train, data.val, at)
                for _, params in job.points
            ]
        outcomes: list[Outcome] = []
        micro_batch = job.micro_batch
        for run in runs:
            for step in run(micro_batch):
                if isinstance(step, Outcome):
                    full = (step.reason or "").startswith(OUT_OF_MEMORY)
                    if full and not planned.variant.method.whole_batch:  # the next ones would be
                        micro_batch = smaller(micro_batch, planned.batch_size(*job.chosen)) or 1
                    step = replace(step, units=step.units + (0.0 if outcomes else extracted))
                    if isinstance(job, FinalJob):
                        step = self._with_checkpoint(
                            planned, job.seeds[len(outcomes)], job.params, step
                        )
                        seed = job.seeds[len(outcomes)]
                        step = self._with_extras(planned, seed, job.params, data.test, step)
                    outcomes.append(step)
                elif job.runs == 1:
                    yield step
        yield outcomes

    def _run(
        self,
        planned: PlannedCell,
        params: dict[str, Any],
        seed: int,
        train: Any,
        held_out: Any,
        score_at: tuple[int, ...],
        micro_batch: int | None = None,
    ) -> Iterator[Score | Outcome]:
        recipe = replace(planned.recipe(params), micro_batch=micro_batch)
        made_with = provenance(self.device, planned.precision) | (
            {"micro_batch": micro_batch} if micro_batch else {}
        )
        if compiled.is_on():
            made_with["compiled"] = True
        started, curve = time.monotonic(), {}
        forget_peak(self.device)
        counts, alive = {}, self.alive  # the model holds nothing that leads to the data

        def build() -> torch.nn.Module:
            if isinstance(train, FeatureSplit):
                method = self._probe(planned)
            else:
                method = planned.variant.build(
                    self._vit(planned),
                    planned.method_arguments(params),
                    planned.statistics,
                    recipe.drop_path,
                ).to(self.device)
            head = planned.kind.new_head(method, planned.card.classes, planned.protocol.head_init)
            counts["trainable"], counts["train_only"] = trained_values(method)
            counts["head_params"] = sum(p.numel() for p in head.parameters())
            self.model = (
                HeadOnTokens(head) if isinstance(train, FeatureSplit) else Model(method, head)
            )
            self.model.register_forward_pre_hook(lambda *_: alive())
            return self.model

        score, reason, trace = None, None, None
        if not isinstance(train, FeatureSplit):
            self.unverified = planned
        try:
            for score in fit(
                planned.kind, build, train, held_out, recipe, seed, self.device, score_at, alive
            ):
                curve[score.epoch] = score.value
                if score.epoch < planned.protocol.last:
                    yield score
        except (Exception, SystemExit) as error:
            if self.raises:
                raise
            if failure := device_failure(error):
                raise failure from error
            # whatever a method raises is this run's failure, not the engine's
            reason, trace = (
                reason_of(
                    error, micro_batch or recipe.batch_size, planned.variant.method.whole_batch
                ),
                user_errors.full_traceback(error),
            )
        reason = self._changed() or reason
        # here, where the error no longer keeps the run's memory alive
        if reason is not None:
            free_memory()
            yield Outcome(
                None,
                curve,
                time.monotonic() - started,
                0.0,
                reason,
                provenance={**made_with, **({TRACEBACK: trace} if trace else {})},
            )
            return
        assert score is not None
        yield Outcome(
            score.value,
            curve,
            time.monotonic() - started,
            score.units if not isinstance(train, FeatureSplit) else 0.0,
            logits_sha256=score.logits_sha256,
            memory=peak_memory(self.device),
            provenance=made_with,
            extras={
                **(score.extras or {}),
                SECONDS_IMAGE: score.seconds_image,
                **({WARNINGS: list(score.warnings)} if score.warnings else {}),
            },
            **counts,
            curves=dict(score.curves),
        )

    def _with_checkpoint(
        self, planned: PlannedCell, seed: int, params: dict[str, Any], outcome: Outcome
    ) -> Outcome:
        """Saves the checkpoint, and notes it in the outcome."""
        if self.keep is None or outcome.score is None:
            return outcome
        assert outcome.score is not None
        origin = checkpoint.origin_of(
            planned, seed, params, outcome.score, outcome.logits_sha256, outcome.provenance or {}
        )
        note = checkpoint.save(self.keep, self.model, origin)
        return replace(outcome, provenance={**(outcome.provenance or {}), **note})

    def _with_extras(
        self,
        planned: PlannedCell,
        seed: int,
        params: dict[str, Any],
        test: Any,
        outcome: Outcome,
    ) -> Outcome:
        """Adds the size of a checkpoint; for the first seed's model FLOPs, and predictions on a few
        images, if its kind has pictures; and scores at several scales, if the protocol requests
        them.

        A failure here doesn't lose the result: it is noted in its provenance.
        """
        if outcome.score is None:
            return outcome
        extras, units, provenance = (
            dict(outcome.extras or {}),
            outcome.units,
            dict(outcome.provenance or {}),
        )
        try:
            extras[CHECKPOINT_BYTES] = checkpoint.size_of(self.model)
            if seed == planned.seeds[0]:
                pictures = strip(planned.kind, self.model, test, self.device)
                extras |= {"strip": pictures} if pictures else {}
                extras |= self._flops(planned, planned.batch_size(params))
            if planned.protocol.multi_scale:
                several = planned.kind.at_several_scales(self.model, test, self.device)
                extras |= several.values
                units += several.units
        except Exception as error:
            if failure := device_failure(error):
                raise failure from error
            provenance["not_all_extras"] = reason_of(error, 1)
        return replace(outcome, extras=extras, units=units, provenance=provenance)

    def _flops(self, planned: PlannedCell, batch_size: int) -> dict[str, int]:
        """Of a training step, an image; where features are kept, with the forward that made them.
        And of scoring one, and what of that a linear probe of the backbone doesn't need."""
        model = self.model
        if isinstance(model, HeadOnTokens):
            model = Model(self._probe(planned), model.head)
        assert isinstance(model, Model)
        vit, kind = self._vit(planned), planned.kind
        scored = scored_flops(model, vit.image_size, kind.scored_together, self.device)
        meta = torch.device("meta")  # counted without being computed
        probe = Method(deepcopy(vit).to(meta))
        head = kind.new_head(probe, planned.card.classes, planned.protocol.head_init).to(meta)
        plain = scored_flops(Model(probe, head), vit.image_size, kind.scored_together, meta)
        beyond = scored - plain
        return {
            FLOPS: step_flops(kind, model, vit.image_size, batch_size, self.device),
            FLOPS_SCORED: scored,
            FLOPS_OVERHEAD: 0 if beyond > 0 and merges(model.method) else beyond,
        }

    def _vit(self, planned: PlannedCell) -> FrozenBackbone:
        """The planned backbone on the CPU, at the task's image side. Methods get copies of it."""
        return sized(self.plan.backbones[planned.backbone].vit, planned.card.crop)

    def _probe(self, planned: PlannedCell) -> Method:
        """A method with constant features: built once for all points and seeds of a cell, since
        none of it is trained."""
        if self.probed is None or self.probed[0] != planned.key:
            self.unverified = planned
            with seeded(TUNING_SEED):  # the surrounding run keeps its own random state
                self.probed = (
                    planned.key,
                    planned.variant.build(
                        self._vit(planned), planned.method_arguments({}), planned.statistics
                    ).to(self.device),
                )
        return self.probed[1]

    def _changed(self) -> str | None:
        """What the last run changed of what methods share, in words; the next one then gets it as
        it was loaded."""
        planned, self.unverified = self.unverified, None
        if planned is None:
            return None
        name = planned.backbone
        used = self.plan.backbones[name]
        changes = restore_forwards(used)
        if digest_of(used.vit.vit) != self.digests[name]:
            if isinstance(self.plan.backbones, Broadcast):
                self.plan.backbones.forget(name)
            else:
                self.plan = replace(self.plan, backbones={**self.plan.backbones, name: load(name)})
            changes.append(differences(used, self.plan.backbones[name]))
        if not changes:
            return None
        self.probed = None
        self.warm.clear()
        return (
            f"{planned.variant.label} changed {', '.join(changes)}: a method may change only its"
            " own copy of the backbone"
        )

    def _data(self, planned: PlannedCell, job: Job) -> tuple[TuningData | FinalData, int]:
        """The splits that this kind of job may see, opened once and kept for the next job; as
        features if the method's are constant.

        Also the number of images whose features had to be computed for it: forward-image units
        that the job has spent.
        """
        constant = planned.constant_features
        method_key = (planned.variant.label, job.micro_batch) if constant else None
        key = (
            type(job),
            planned.card.name,
            planned.card.train_on,
            planned.fingerprint,
            planned.backbone,
            planned.statistics,
            planned.precision,
            method_key,
        )
        extracted = 0
        if key not in self.warm:
            open_data = open_final if isinstance(job, FinalJob) else open_tuning
            data = open_data(
                planned.card,
                planned.root,
                self._vit(planned).image_size,
                planned.fingerprint,
                planned.statistics,
                self.decoded.append,
            )
            if constant:
                data = self._as_features(planned, data, job)
                extracted = len(data.train) + len(
                    data.test if isinstance(data, FinalData) else data.val
                )
            self.warm[key] = data
            while len(self.warm) > 4 * WARM_TASKS:
                self.warm.popitem(last=False)
        self.warm.move_to_end(key)
        return self.warm[key], extracted

    def _as_features(
        self, planned: PlannedCell, data: TuningData | FinalData, job: Job
    ) -> TuningData | FinalData:
        method = self._probe(planned)
        vit, hook = method.vit, method.register_forward_pre_hook(lambda *_: self.alive())
        batch_size = scored_at_once(planned, job)
        try:
            train = features(method, vit.read(), data.train, self.device, batch_size)
            held_out = features(
                method,
                vit.read(),
                data.test if isinstance(data, FinalData) else data.val,
                self.device,
                batch_size,
            )
        finally:
            hook.remove()
        if changed := self._changed():
            raise RuntimeError(changed)
        return (
            FinalData(train, held_out)
            if isinstance(data, FinalData)
            else TuningData(train, held_out)
        )


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


def scored_at_once(planned: PlannedCell, job: Job) -> int:
    """Images per forward pass when a job doesn't train."""
    return at_once(planned.kind.scored_together, job.micro_batch, planned.batch_size(*job.chosen))


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


def merges(method: Method) -> bool:
    """Whether what was tuned folds into the backbone's own weights."""
    try:
        with torch.no_grad():
            deepcopy(method).merge()
    except Exception:  # whatever a method raises: it is scored as it is
        return False
    return True


def forget_peak(device: torch.device) -> None:
    """Lets `peak_memory` begin anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return
    with suppress(OSError):  # not Linux, or not allowed here: then it is the process's so far
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """Bytes: of the device's memory; on a CPU of this process, with all it has loaded."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def provenance(device: torch.device, precision: Precision) -> dict[str, Any]:
    """How a number was computed; stored with it. Of this only `precision` is part of its key."""
    packages = ("vpt-harness", "torch", "timm", "ray", "optuna", "numpy")
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
        },
        "platform": platform.platform(),
        "processor": _processor(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "precision": "bf16 autocast" if precision == "bf16" else "fp32",
        "cores": cores(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            return next(
                line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return platform.processor()
