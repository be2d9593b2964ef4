"""Where training happens: runs a job step by step, without Ray.

It keeps the backbone and the data of its last tasks warm.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from harness.backbones import compiled, digest_of, load
from harness.backbones.frozen import FrozenBackbone
from harness.data.loader import FinalData, TuningData, open_final, open_tuning
from harness.engine.broadcast import Broadcast
from harness.engine.failures import device_failure, free_memory, reason_of
from harness.engine.guard import differences, restore_forwards
from harness.engine.jobs import OUT_OF_MEMORY, TRACEBACK, FinalJob, Job, Outcome, smaller
from harness.engine.provenance import forget_peak, peak_memory, provenance
from harness.inference import checkpoint, checkpoint_files
from harness.inference.checkpoint_files import Keep
from harness.inference.strip import strip
from harness.planning import user_errors
from harness.planning.cell import PlannedCell
from harness.planning.plan import RunPlan
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
from harness.training.forward import at_once, each_in
from harness.training.heads import HeadOnTokens, Model, sized
from harness.training.loop import Score, fit
from harness.training.method import Method, trained_values
from harness.training.seeds import TUNING_SEED, seeded

WARM_TASKS = 3
"""Tasks whose data stay open, each for tuning and for final runs, as images and as features."""


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
                        seed = job.seeds[len(outcomes)]
                        step = self._with_checkpoint(planned, seed, job.params, step)
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
        note = checkpoint_files.save(self.keep, self.model, origin)
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


def scored_at_once(planned: PlannedCell, job: Job) -> int:
    """Images per forward pass when a job doesn't train."""
    return at_once(planned.kind.scored_together, job.micro_batch, planned.batch_size(*job.chosen))


def merges(method: Method) -> bool:
    """Whether what was tuned folds into the backbone's own weights."""
    try:
        with torch.no_grad():
            deepcopy(method).merge()
    except Exception:  # whatever a method raises: it is scored as it is
        return False
    return True
