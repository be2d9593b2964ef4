"""A third kind of task is one file: here several labels an image, scored by mean average precision,
from its card through plan, search, final runs and checkpoint to the board. Nothing outside this
file knows of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from in_process import fill
from jaxtyping import Bool, Float, Int
from PIL import Image
from rich.console import Console
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from harness.engine.reproduce import reproduce
from harness.engine.trainer import Trainer
from harness.errors import BadInput
from harness.inference import checkpoint_files, tuned_model
from harness.planning.cost import cell_cost
from harness.planning.dry_run import preview
from harness.planning.plan import RunPlan, plan
from harness.planning.request import Request
from harness.reporting.report import Report
from harness.store import Store
from harness.tasks import kinds as on_paper
from harness.tasks.kinds import Metric, TaskKind
from harness.training import kinds
from harness.training.classification import Classification


class LabelSets(TaskKind):
    """A record's label is a set of classes: bit c is set where it is of class c."""

    def labels(self, classes: int) -> int:
        return 2**classes


class MultiLabel(Classification):
    """Any number of classes an image: a sigmoid each, scored by mean average precision."""

    task = LabelSets("multi-label", Metric("map", "Mean average precision"), ("pil", "tf", "vpt"))

    def loss(
        self, outputs: Float[Tensor, "batch class"], targets: Int[Tensor, " batch"]
    ) -> Float[Tensor, ""]:
        wanted = members(targets, outputs.shape[1]).float()
        return nn.functional.binary_cross_entropy_with_logits(outputs, wanted)

    def metric(self, logits: Float[Tensor, "image class"], labels: Int[Tensor, " image"]) -> float:
        return mean_average_precision(logits, members(labels, logits.shape[1]))

    def probabilities(self, logits: Float[Tensor, "image class"]) -> Float[Tensor, "image class"]:
        return logits.sigmoid()


def members(labels: Int[Tensor, " image"], classes: int) -> Bool[Tensor, "image class"]:
    return (labels[:, None] >> torch.arange(classes, device=labels.device)) & 1 > 0


def mean_average_precision(
    logits: Float[Tensor, "image class"], truth: Bool[Tensor, "image class"]
) -> float:
    """In percent: of each class the mean, over its images, of the precision down to their rank."""
    order = logits.argsort(0, descending=True)
    hits = truth.gather(0, order).double()
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)[:, None]
    return 100 * ((precision * hits).sum(0) / hits.sum(0)).mean().item()


CARD = """
name = "bands"
title = "which thirds are bright"
suite = "mine"
group = "toy"
kind = "multi-label"
classes = 3
class_names = ["top", "middle", "bottom"]
sizes = { train = 24, val = 12, test = 16 }
pixels = "pil"
metric = "map"
source = "generated"
licence = "none"
citation = "none"

[reader]
format = "arrays"
file = "bands.npz"
"""


@pytest.fixture
def bands(tiny: Any) -> Iterator[Any]:
    """The kind, and a task of it: three bands, each bright or dark."""
    kinds.register(MultiLabel())
    (tiny.cards / "bands.toml").write_text(CARD)
    rng, arrays = np.random.default_rng(0), {}
    for split, n in {"train": 24, "val": 12, "test": 16}.items():
        labels = rng.permutation(np.arange(n) % 8)
        bright = (labels[:, None] >> np.arange(3)) & 1
        rows = np.repeat(bright, 4, axis=1)[:, :, None]
        arrays[f"{split}_labels"] = labels
        arrays[f"{split}_images"] = (140 * rows + rng.integers(0, 80, (n, 12, 12))).astype(np.uint8)
    np.savez(tiny.cards / "bands.npz", allow_pickle=False, **arrays)
    yield tiny
    for known in (kinds.KINDS, on_paper.KINDS):
        known.pop("multi-label")


def run_of(bands: Any, methods: str, **more: Any) -> RunPlan:
    return plan(request(bands, methods, **more))


def request(bands: Any, methods: str, **more: Any) -> Request:
    protocol = str(bands.protocol)
    return Request(
        methods, tasks="bands", cards=bands.cards, protocol=protocol, backbone="mini_vit", **more
    )


def test_a_kind_of_this_file_goes_from_its_card_to_the_board(bands: Any, tmp_path: Path):
    bands.protocol.write_text(
        bands.protocol.read_text()
        .replace("epochs = 2", "epochs = 20")
        .replace("score_every = 1", "score_every = 10")
    )
    run, store = run_of(bands, "linear,vpt-deep"), Store(bands.store)
    trainer = Trainer(run, threads=1, keep=checkpoint_files.Keep(store.checkpoints))
    fill(run, store, trainer)
    results = store.results()
    assert [result.reason for result in store.failures()] == []
    assert len(results) == 4
    assert min(result.score for result in results) > 70  # by chance 50
    assert all(len(store.trials(cell.key)) == 2 for cell in run.cells)

    first = results[0]
    cell = store.cells()[first.cell]
    assert (cell.labels["kind"], cell.labels["metric"]) == ("multi-label", "map")
    again = reproduce(first, cell, None, None, None)
    assert again.equal

    tuned = tuned_model.load(checkpoint_files.find(store, first))
    assert tuned.origin.task_kind.name == "multi-label"
    arrays = np.load(bands.cards / "bands.npz")
    files = []
    for row, image in enumerate(arrays["test_images"]):
        files.append(tmp_path / f"{row}.png")
        Image.fromarray(image).save(files[-1])
    logits = tuned.predict(files)
    wanted = (arrays["test_labels"][:, None] >> np.arange(3)) & 1
    by_sklearn = np.mean(
        [average_precision_score(wanted[:, c], logits[:, c].numpy()) for c in range(3)]
    )
    assert first.score == pytest.approx(100 * by_sklearn, abs=1e-9)

    console = Console(width=120)
    with console.capture() as text:
        console.print(Report(store).render("table"))
        console.print(preview(request(bands, "linear,vpt-deep"), lambda stage: None))
    assert "Mean average precision in %, mean ± standard deviation over 2 seeds" in text.get()
    assert "2 cells: 2 methods x 1 task" in text.get()
    for form in ("md", "latex", "json", "html", "csv"):
        assert "bands" in str(Report(store).render(form))


def test_the_predicted_units_are_those_that_a_run_counts(bands: Any):
    bands.protocol.write_text(bands.protocol.read_text().replace('"median"', '"none"'))
    run, store = run_of(bands, "vpt-deep"), Store(bands.store)
    fill(run, store)
    (cell,) = run.cells
    cost = cell_cost(cell.card, cell.protocol, 2, 2, cell.constant_features)
    rows = (*store.trials(), *store.results())
    assert cost.units == sum(row.units for row in rows) > 0


def test_what_a_card_of_the_kind_cant_say_is_one_line(bands: Any):
    card = (bands.cards / "bands.toml").read_text()
    for text, message in (
        (card.replace('"map"', '"top1"'), "metric top1 doesn't score multi-label"),
        (card.replace('"pil"', '"setr"'), "multi-label has pixels pil, tf, vpt, not setr"),
        (card.replace('"multi-label"', '"sets"'), "unknown kind 'sets'"),
    ):
        (bands.cards / "bands.toml").write_text(text)
        with pytest.raises(BadInput, match=message):
            run_of(bands, "linear")
