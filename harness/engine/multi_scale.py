"""Scores a stored segmentation result at several scales too, from its checkpoint, without
retraining."""

from pathlib import Path
from typing import Any

import torch

from harness.data.loader import open_final
from harness.engine.reproduce import replan
from harness.errors import BadInput
from harness.inference import checkpoint_files, tuned_model
from harness.store import Cell, Result, Store
from harness.store.transfer.reproduced import CUDA_TOLERANCE
from harness.tasks.kinds import has_scales
from harness.training.forward import Diverged, computing_in


def at_several_scales(
    store: Store,
    result: Result,
    cell: Cell,
    data_root: Path | None,
    cards: Path | None,
    backbone: str | None,
    method: str | None = None,
) -> dict[str, Any]:
    """The score of `result` at six scales and mirrored, which is added to its extras.

    The next three arguments replace paths that have moved; `method` is the user's own file,
    FILE.py:CLASS, which is executed.

    Raises `BadInput` for another kind of task; if there is no checkpoint, or data, weights or
    method have changed since the row was stored; or if the checkpoint doesn't give the stored
    score.
    """
    if not has_scales(cell.labels.get("kind")):
        raise BadInput(
            f"result {result.id} is of {cell.labels.get('kind')}, which isn't scored at several"
            " scales."
        )
    file = checkpoint_files.find(store, result)
    planned, plan = replan(result, cell, data_root, cards, backbone, method)
    tuned = tuned_model.load(file, plan.backbones[planned.backbone], method)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = tuned.model.to(device)
    test = open_final(
        planned.card, planned.root, tuned.size, planned.fingerprint, planned.statistics
    ).test
    with computing_in(planned.precision):
        try:
            once = planned.kind.score(model, test, device, planned.kind.scored_together)
        except Diverged as error:
            raise BadInput(f"{file}: {error}.") from error
        if once.sha256 != result.logits_sha256 and abs(once.value - result.score) > CUDA_TOLERANCE:
            raise BadInput(
                f"{file} scores {once.value:.2f}, not the stored {result.score:.2f}: it"
                f" isn't the checkpoint of {result.id}."
            )
        several = planned.kind.at_several_scales(model, test, device).values
    store.add_extras(result.id, several)
    return several
