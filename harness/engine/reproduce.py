"""Runs one row of the store again and compares: the same logits, or by how much they differ."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import backbones
from harness.data import normalization
from harness.data.fingerprint import data_summary, rows_of
from harness.data.readers import resolve
from harness.engine.jobs import FinalJob, Outcome
from harness.errors import BadInput, unknown
from harness.planning import protocols
from harness.planning.cell import PlannedCell, plan_cell
from harness.planning.plan import RunPlan, check_data
from harness.planning.request import Request
from harness.planning.variants import recorded
from harness.store import Cell, Result
from harness.store.records import SAME_SCORE
from harness.store.transfer.reproduced import CUDA_TOLERANCE, Record
from harness.tasks.cards import load_cards
from harness.training.forward import precision_of

if TYPE_CHECKING:
    from harness.inference.checkpoint_files import Keep

_SINCE = {"method": ("source", "bases")}
"""Parts of an identity that older rows lack: there is nothing to compare them with."""


@dataclass(frozen=True)
class Reproduction:
    """A stored result and the same run repeated."""

    stored: Result
    score: float
    logits_sha256: str
    differences: tuple[str, ...]
    """What has changed: versions, processor, threads."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Of the repeated run."""
    tolerance: float = CUDA_TOLERANCE
    """Percentage points that the two may differ by on CUDA: the method's `rounding`."""

    @property
    def altered(self) -> bool:
        """Whether the stored score isn't that of the stored logits: somebody has changed it."""
        return self._same_logits and abs(self.score - self.stored.score) > SAME_SCORE

    @property
    def equal(self) -> bool:
        return self._same_logits and not self.altered

    @property
    def within_tolerance(self) -> bool:
        if self._same_logits:
            return self.equal
        on_cuda = self.stored.provenance.get("device") != "cpu"
        return on_cuda and abs(self.score - self.stored.score) <= self.tolerance

    @property
    def _same_logits(self) -> bool:
        return self.logits_sha256 == self.stored.logits_sha256

    def record(self) -> Record:
        """What to send to a board, beside or without rows of your own."""
        return Record(
            id=self.stored.id,
            cell=self.stored.cell,
            seed=self.stored.seed,
            score=self.stored.score,
            logits_sha256=self.stored.logits_sha256,
            device=str(self.stored.provenance.get("device"))[:300],
            again_score=self.score,
            again_logits_sha256=self.logits_sha256,
            again_device=str(self.provenance.get("device"))[:300],
            again_versions={
                str(name)[:300]: str(version)[:300]
                for name, version in self.provenance.get("versions", {}).items()
            },
            differences=[change[:300] for change in self.differences],
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def __str__(self) -> str:
        """What has changed, then whether the results are equal, or by how much they differ."""
        stored = self.stored
        if self.equal:
            verdict = f"equal: {stored.score:.2f}, logits sha256 {stored.logits_sha256[:16]}"
        elif self.altered:
            verdict = (
                f"not equal: the logits are the stored ones, and their score is {self.score:.2f}."
                f" The stored score, {stored.score:.2f}, was altered"
            )
        else:
            verdict = (
                f"not equal: stored {stored.score:.2f}, now {self.score:.2f}"
                f" ({self.score - stored.score:+.2f} points), different logits"
            )
            if self.within_tolerance:
                verdict += f"; rounding may move this method by {self.tolerance:g} points"
        changes = (f"differs from the stored run: {change}" for change in self.differences)
        return "\n".join((*changes, verdict))


def reproduce(
    result: Result,
    cell: Cell,
    data_root: Path | None,
    cards: Path | None,
    backbone: str | None,
    keep: "Keep | None" = None,
    method: str | None = None,
) -> Reproduction:
    """Trains and scores `result` again from what the store knows about it. The next three arguments
    replace paths that have moved.

    `keep`: where to save the new run's checkpoint. `method`: FILE.py:CLASS, which must be given
    if the row's method is one of a file.

    Raises `BadInput` if data, weights, card or method have changed since the row was stored.
    """
    from harness.engine.trainer import Trainer

    planned, plan = replan(result, cell, data_root, cards, backbone, method)
    trainer = Trainer(plan, result.provenance.get("threads"), keep)
    *_, outcomes = trainer.run(
        FinalJob(planned.key, (result.seed,), result.params, result.provenance.get("micro_batch"))
    )
    assert isinstance(outcomes, list)
    (outcome,) = outcomes
    assert isinstance(outcome, Outcome)
    if outcome.score is None:
        raise BadInput(f"{result.id} can't be reproduced: {outcome.reason}.")
    return Reproduction(
        result,
        outcome.score,
        outcome.logits_sha256,
        differences(result.provenance, outcome.provenance or {}),
        outcome.provenance or {},
        planned.variant.method.rounding,
    )


def replan(
    result: Result,
    cell: Cell,
    data_root: Path | None,
    cards: Path | None,
    backbone: str | None,
    method: str | None = None,
) -> tuple[PlannedCell, RunPlan]:
    """The planned cell of a stored result, from its identity and inputs; its key must be the
    same."""
    inputs, identity = result.provenance.get("inputs", {}), cell.identity
    root = data_root or (Path(inputs["data_root"]) if inputs.get("data_root") else None)
    cards = cards or (Path(inputs["cards"]) if inputs.get("cards") else None)
    known = load_cards(cards)
    name = identity["task"]["name"]
    if name not in known:
        raise unknown("task", name, known)
    card = resolve(known[name], root, inputs.get("pixels"))
    reader = check_data([card], root)[card.name]
    spec = str(
        backbones.sided(
            backbone or inputs.get("backbone") or identity["backbone"]["name"], identity, card.crop
        )
    )
    loaded = backbones.load(spec)
    protocol = protocols.stored(
        card.kind, cell.labels["protocol"], result.seed, identity["protocol"]
    )
    protocol = protocol.model_copy(update={"precision": precision_of(identity, result.provenance)})
    variant = replace(
        recorded(inputs.get("method") or identity["method"]["name"], method),
        arguments=identity["method"]["arguments"],
    )
    request = Request(data_root=root, cards=cards, seeds=(result.seed,))
    planned = plan_cell(
        card,
        request,
        data_summary(card, root, rows_of(reader)).fingerprint,
        variant,
        spec,
        loaded,
        protocol,
        normalization.of(identity),
    )
    for part in ("method", "task", "backbone", "protocol"):
        before, now = identity[part], planned.cell.identity[part]
        now = {
            name: value
            for name, value in now.items()
            if name in before or name not in _SINCE.get(part, ())
        }
        if now != before:
            raise BadInput(
                f"{result.id} can't be reproduced: its {part} has changed"
                f" ({_first_change(before, now)})."
            )
    return planned, RunPlan((planned,), {spec: loaded}, (card.name,), None)


def differences(before: dict, now: dict) -> tuple[str, ...]:
    """Changes of provenance that may affect a number, such as `torch 2.9 -> 2.10`."""
    changes = [
        f"{k} {v} -> {now.get('versions', {}).get(k)}"
        for k, v in before.get("versions", {}).items()
        if now.get("versions", {}).get(k) != v
    ]
    changes += [
        f"{k} {before.get(k)} -> {now.get(k)}"
        for k in ("device", "processor", "threads", "precision", "compiled")
        if before.get(k) != now.get(k)
    ]
    return tuple(changes)


def _first_change(before: dict, now: dict) -> str:
    key = next(key for key in {**before, **now} if before.get(key) != now.get(key))
    return f"{key}: {str(before.get(key))[:40]} -> {str(now.get(key))[:40]}"
