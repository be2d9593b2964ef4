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
from harness.training import segmentation
from harness.training.classification import Diverged
from harness.training.metrics import overlap
from harness.training.sliding import measure


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
    if cell.labels.get("kind") != "segmentation":
        raise BadInput(
            f"result {result.id} is of {cell.labels.get('kind')}: only segmentation is scored at"
            " several scales."
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
        once = measure(model, test, planned.card.classes, device)
    except Diverged as error:
        raise BadInput(f"{file}: {error}.") from error
    score = overlap(once.confusion).miou
    if once.sha256 != result.logits_sha256 and abs(score - result.score) > CUDA_TOLERANCE:
        raise BadInput(
            f"{file} scores {score:.2f} and not the {result.score:.2f} that are stored: it isn't"
            f" the checkpoint of {result.id}."
        )
    found = segmentation.multi_scale(model, test, device)
    store.add_extras(result.id, found)
    return found
