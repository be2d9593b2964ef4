"""Scores a stored segmentation result at several scales too, from its checkpoint: nothing is
trained again."""

from pathlib import Path
from typing import Any

import torch

from harness.data.loader import open_final
from harness.engine.reproduce import CUDA_TOLERANCE, replan
from harness.errors import BadInput
from harness.inference import checkpoint
from harness.store import Cell, Result, Store
from harness.tasks.kinds import has_scales
from harness.training.forward import Diverged


def at_several_scales(
    store: Store,
    result: Result,
    cell: Cell,
    data_root: Path | None,
    cards: Path | None,
    backbone: str | None,
    method: str | None = None,
) -> dict[str, Any]:
    """What six scales and their mirror images say of `result`, now among its extras.

    The next three arguments replace paths that have moved; `method` names a file of one's own,
    FILE.py:CLASS, which is run.

    Raises `BadInput` for another kind of task; where there is no checkpoint, or data, weights or
    method are no longer what the row was made with; or where the checkpoint doesn't make the score
    that is stored.
    """
    if not has_scales(cell.labels.get("kind")):
        raise BadInput(
            f"result {result.id} is of {cell.labels.get('kind')}, which isn't scored at several"
            " scales."
        )
    file = checkpoint.find(store, result)
    planned, plan = replan(result, cell, data_root, cards, backbone, method)
    tuned = checkpoint.load(file, plan.backbones[planned.backbone], method)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = tuned.model.to(device)
    test = open_final(
        planned.card, planned.root, tuned.size, planned.fingerprint, planned.statistics
    ).test
    try:
        once = planned.kind.score(model, test, device, planned.kind.scored_together)
    except Diverged as error:
        raise BadInput(f"{file}: {error}.") from error
    if once.sha256 != result.logits_sha256 and abs(once.value - result.score) > CUDA_TOLERANCE:
        raise BadInput(
            f"{file} scores {once.value:.2f} and not the {result.score:.2f} that are stored: it"
            f" isn't the checkpoint of {result.id}."
        )
    several = planned.kind.at_several_scales(model, test, device).values
    store.add_extras(result.id, several)
    return several
