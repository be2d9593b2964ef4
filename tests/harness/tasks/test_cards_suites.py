"""`harness run` on whole suites: tiny files of every task in the form that its owner publishes,
through the engine, into a store."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny_fgvc
import tiny_originals
from PIL import Image
from tiny_tfrecords import dmlab, write_dmlab

from harness.cli import main as cli
from harness.planning import choices
from harness.store import Store
from harness.tasks.cards import SplitName, TaskCard, load_cards, load_suites

pytestmark = pytest.mark.timeout(600)

PROTOCOL = """
title = "one epoch"
optimizer = "adamw"
epochs = 1
warmup_epochs = 0
batch_size = 8
seeds = [0]
sampler = "random"
pruner = "none"
space = { base_lr = { choices = [0.5] }, weight_decay = { choices = [0.0] } }
method_space = { prompts = { choices = [2] } }
"""

VTAB = (
    *(
        "cifar100 python",
        "svhn",
        "dsprites npz",
        "smallnorb",
        "patch_camelyon",
        "eurosat",
        "resisc45",
        "clevr_count",
    ),
    *("dtd", "flowers", "pets", "kitti", "sun397", "retinopathy"),
)
"""Forms that hold all files of 17 tasks; DMLab's shards and caltech101's prepared folder make
19."""


def vtab(root: Path) -> list[TaskCard]:
    for form in VTAB:
        tiny_originals.FORMS[form][1](root)
    write_dmlab(root)
    cards = {
        task: tiny_originals.card_of(form)
        for form, (task, _, _) in tiny_originals.FORMS.items()
        if form not in ("dsprites hdf5",)
    }
    location, azimuth = cards["dsprites_location"], cards["smallnorb_azimuth"]
    cards["dsprites_orientation"] = tiny_originals.tiny(
        "dsprites_orientation", counts=location.sources[0].arguments["counts"]
    )
    cards["smallnorb_elevation"] = tiny_originals.tiny(
        "smallnorb_elevation", counts=azimuth.sources[0].arguments["counts"]
    )
    return [*cards.values(), dmlab(), caltech101(root)]


def caltech101(root: Path) -> TaskCard:
    """The one task that only a prepared folder has."""
    card = load_cards()["caltech101"].model_copy(
        update={"sizes": {"train": 8, "val": 4, "test": 6}}
    )
    rng = np.random.default_rng(0)
    names: dict[SplitName, str] = {"train": "train800", "val": "val200", "test": "test"}
    for split, name in names.items():
        lines = [f"images/{name}/{row:06}.jpg {17 * row % 102}" for row in range(card.sizes[split])]
        for line in lines:
            path = root / "caltech101" / line.split()[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(path)
        (root / "caltech101" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return card


def fgvc(root: Path) -> list[TaskCard]:
    """Three tasks from the official files, one from VPT's lists, one with an official val."""
    tiny_fgvc.write_cub(root)
    tiny_fgvc.write_dogs(root)
    tiny_fgvc.write_cars_combined(root)
    tiny_fgvc.write_flowers(root)
    tiny_fgvc.write_json(root, "nabirds", "images")
    return [tiny_fgvc.card_of(task) for task in load_suites()["fgvc"].tasks]


@pytest.mark.parametrize(
    ("suite", "write", "methods"),
    [
        pytest.param("vtab", vtab, "ivpt", id="vtab", marks=pytest.mark.slow),
        pytest.param("fgvc", fgvc, "linear,ivpt", id="fgvc", marks=pytest.mark.slow),
    ],
)
def test_every_cell_of_a_suite_is_filled(
    suite: str,
    write,
    methods: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    root, store = tmp_path / "data", tmp_path / "results.db"
    cards = {card.name: card for card in write(root)}
    (tmp_path / "quick.toml").write_text(PROTOCOL)
    monkeypatch.setattr(choices, "load_cards", lambda extra=None: cards)

    def harness(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code, capsys.readouterr().err

    run = [
        "run",
        "--methods",
        methods,
        "--suite",
        suite,
        "--trials",
        "1",
        "--seeds",
        "0",
        "--data-root",
        str(root),
    ]
    harness(
        *run,
        "--backbone",
        "mini_vit",
        "--protocol",
        str(tmp_path / "quick.toml"),
        "--store",
        str(store),
    )
    tasks = load_suites()[suite].tasks
    assert filled(store) == [(variant, task) for task in tasks for variant in methods.split(",")]
    assert not Store(store).failures()
    pixels = {
        cell.identity["task"]["name"]: cell.identity["task"]["pixels"]
        for cell in Store(store).cells().values()
    }
    assert pixels == {
        task: "pil" if task == "caltech101" else "tf" if suite == "vtab" else "vpt"
        for task in tasks
    }

    capsys.readouterr()
    harness("report", "--suite", suite, "--published", "--format", "md", "--store", str(store))
    text = " ".join(capsys.readouterr().out.split())
    assert {"vtab": "| natural (7) | 75.88 | 68.93 | 76.81 | 78.48 |", "fgvc": "| vpt-deep"}[
        suite
    ] in text
    assert "backbone: mini\\_vit here, ViT-B/16 (sup-IN21k) there" in text.replace(
        "mini_vit", "mini\\_vit"
    )


def filled(store: Path) -> Sequence[tuple[str, str]]:
    """(variant, task) of every cell that has its result, in the plan's order."""
    found = Store(store)
    done = {result.cell for result in found.results()}
    assert len(done) == len(found.results())
    return [
        (cell.labels["variant"], cell.identity["task"]["name"])
        for cell in found.cells().values()
        if cell.key in done
    ]
