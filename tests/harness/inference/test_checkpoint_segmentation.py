"""Checkpoints of segmentation models."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from segmentation import filled, seg, stored

from harness.data.loader import open_final
from harness.errors import BadInput
from harness.inference import checkpoint, checkpoint_files, tuned_model
from harness.store import Store
from harness.tasks.cards import load_cards
from harness.training.sliding import measure

__all__ = ["filled", "seg", "stored"]


def test_the_loaded_checkpoint_makes_the_maps_that_were_scored(stored: Store, seg):
    for result in stored.results():
        tuned = tuned_model.load(checkpoint_files.find(stored, result))
        cell = stored.cells()[result.cell]
        card = load_cards(seg.cards)["halves"]
        test = open_final(card, None, tuned.size, cell.identity["task"]["data"]).test
        assert (tuned.size, tuned.origin.crop) == (30, 30)
        assert (
            measure(tuned.model, test, card.classes, torch.device("cpu")).sha256
            == result.logits_sha256
        )
        assert not [name for name in checkpoint.tuned_tensors(tuned.model) if "auxiliary" in name]


@pytest.mark.parametrize("crop", [0, -30, 10**9, 2.5, "30", True])
def test_a_checkpoint_that_asks_for_another_crop_is_refused_before_it_takes_memory(
    stored: Store, tmp_path: Path, crop: Any
):
    file = checkpoint_files.find(stored, stored.results()[0])
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    origin = {**json.loads(metadata["origin"]), "crop": crop}
    save_file(tensors, tmp_path / "theirs.safetensors", {**metadata, "origin": json.dumps(origin)})
    with pytest.raises(BadInput, match="has no record of its origin"):
        tuned_model.load(tmp_path / "theirs.safetensors")
