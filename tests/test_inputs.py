"""What reaches the patch embedding, wherever images go through a backbone: the side and the
statistics that a result's key says."""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from in_process import fill
from PIL import Image
from rich.console import Console
from segmentation import planned, with_segmentation
from timm.layers.patch_embed import PatchEmbed

from harness.data import normalization
from harness.data.loader import open_final
from harness.data.normalization import IMAGENET, INCEPTION, NONE, Statistics
from harness.engine import multi_scale
from harness.engine.progress import ProgressView
from harness.engine.reproduce import reproduce
from harness.engine.trainer import Trainer
from harness.errors import BadInput
from harness.inference import checkpoint_files, tuned_model
from harness.inference.overlay import overlays
from harness.planning.choices import sided
from harness.planning.dry_run import preview
from harness.planning.plan import plan
from harness.planning.request import Request
from harness.reporting.compare import command, compare
from harness.reporting.leaderboard import leaderboard
from harness.reporting.report import Report
from harness.reporting.result_detail import detail
from harness.reporting.rows import read
from harness.reporting.section import sections
from harness.reporting.tidy import tidy
from harness.store import Store
from harness.tasks.cards import load_cards, load_suites
from harness.training.forward import predict, sha256_of


@pytest.fixture
def seen() -> Iterator[list[torch.Tensor]]:
    """All that any patch embedding is given."""
    found: list[torch.Tensor] = []

    def record(module: torch.nn.Module, inputs: Any) -> None:
        if isinstance(module, PatchEmbed) and not inputs[0].is_meta:  # as FLOPs are counted
            found.extend(inputs[0].detach().clone())

    handle = torch.nn.modules.module.register_module_forward_pre_hook(record)
    yield found
    handle.remove()


def request(tiny, **changes) -> Request:
    asked = {
        "methods": "linear,vpt-deep",
        "tasks": "toy",
        "cards": tiny.cards,
        "protocol": str(tiny.protocol),
        "backbone": "mini_vit",
    }
    return Request(**{**asked, **changes})


def key(tiny, **changes) -> str:
    return plan(request(tiny, methods="linear", **changes)).cells[0].key


def expected(tiny, side: int, mean: float, std: float) -> torch.Tensor:
    """Every image of the toy task by Pillow and NumPy alone: (image, 3, side, side)."""
    with np.load(tiny.cards / "toy.npz") as arrays:
        images = [
            image for split in ("train", "val", "test") for image in arrays[f"{split}_images"]
        ]
    squares = [
        np.asarray(
            Image.fromarray(image).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        )
        for image in images
    ]
    return torch.from_numpy((np.stack(squares).transpose(0, 3, 1, 2) / 255 - mean) / std).float()


def distances(seen: list[torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """Of what was seen, but for the zeros by which FLOPs are counted."""
    return torch.cdist(
        torch.stack([image for image in seen if image.any()]).flatten(1),
        images.flatten(1),
        compute_mode="donot_use_mm_for_euclid_dist",
    )


def none_apart(seen: list[torch.Tensor], images: torch.Tensor) -> bool:
    """Whether everything that was seen is one of `images`, and each of them was seen."""
    away = distances(seen, images)
    return bool(away.min(1).values.max() < 1e-3) and len(set(away.argmin(1).tolist())) == len(
        images
    )


def test_training_scoring_checkpoint_and_reproduction_take_the_pixels_that_the_key_says(
    tiny, seen: list[torch.Tensor]
):
    run, store = (
        plan(request(tiny, image_size=40, normalize="inception", seeds=(3,))),
        Store(tiny.store),
    )
    images = expected(tiny, 40, 0.5, 0.5)
    fill(run, store, Trainer(run, threads=1, keep=checkpoint_files.Keep(store.checkpoints)))
    assert none_apart(seen, images)
    for result in store.results():
        cell = store.cells()[result.cell]
        assert cell.identity["backbone"]["side"] == 40
        assert cell.identity["task"]["normalize"] == {"mean": [0.5] * 3, "std": [0.5] * 3}
        seen.clear()
        assert reproduce(result, cell, None, None, None).equal
        assert reproduce(result, cell, None, None, "mini_vit").equal
        assert distances(seen, images).min(1).values.max() < 1e-3
        tuned = tuned_model.load(checkpoint_files.find(store, result))
        assert (tuned.size, tuned.statistics) == (40, INCEPTION)
        with np.load(tiny.cards / "toy.npz") as arrays:
            image = Image.fromarray(arrays["test_images"][0])
        torch.testing.assert_close(tuned.pixels(image), images[30], rtol=0, atol=1e-5)
        (planned_cell,) = (one for one in run.cells if one.key == result.cell)
        test = open_final(planned_cell.card, None, 40, planned_cell.fingerprint, INCEPTION).test
        assert sha256_of(predict(tuned, test, torch.device("cpu"))) == result.logits_sha256
        other = open_final(planned_cell.card, None, 40, planned_cell.fingerprint).test
        assert sha256_of(predict(tuned, other, torch.device("cpu"))) != result.logits_sha256


def test_segmentation_takes_them_in_training_windows_strips_scales_and_overlays(
    tiny, seen: list[torch.Tensor], tmp_path: Path
):
    seg = with_segmentation(tiny, "multi_scale = true")
    run, store = planned(seg, "linear", seeds=(3,), normalize="none"), Store(seg.store)
    fill(run, store, Trainer(run, threads=1, keep=checkpoint_files.Keep(store.checkpoints)))
    (result,) = store.results()
    cell = store.cells()[result.cell]
    assert cell.identity["task"]["normalize"] == {"mean": [0.0] * 3, "std": [1.0] * 3}
    assert cell.identity["backbone"]["side"] == 30
    (image,) = (Image.fromarray(np.full((30, 40, 3), 20, np.uint8)),)
    image.save(tmp_path / "image.png")
    tuned = tuned_model.load(checkpoint_files.find(store, result))
    list(overlays(tuned, [tmp_path / "image.png"], tmp_path / "out"))
    multi_scale.at_several_scales(store, result, cell, None, None, None)
    assert reproduce(result, cell, None, None, None).equal
    values = torch.stack(seen)
    assert values.min() >= 0  # by ImageNet's statistics, what is dark is below zero
    assert 0.5 < values.max() <= 1


def test_the_key_has_the_numbers_whatever_named_them(tiny):
    usual = key(tiny)
    keys = {name: key(tiny, normalize=name) for name in normalization.NAMES}
    assert keys["imagenet"] == keys["backbone"] == usual  # the mini ViT's own are ImageNet's
    assert len({*keys.values()}) == 3
    tiny.protocol.write_text('normalize = "inception"\n' + tiny.protocol.read_text())
    assert key(tiny) == keys["inception"]
    assert key(tiny, normalize="imagenet") == usual
    with pytest.raises(
        BadInput, match=r"unknown normalization 'imagnet'\. Did you mean 'imagenet'"
    ):
        key(tiny, normalize="imagnet")


def test_a_segmentation_table_has_its_own_or_the_protocols(tiny):
    seg = with_segmentation(tiny)
    seg.protocol.write_text('normalize = "inception"\n' + seg.protocol.read_text())
    assert [cell.statistics for cell in planned(seg, "linear", tasks="toy,halves").cells] == [
        INCEPTION,
        INCEPTION,
    ]
    seg.protocol.write_text(
        seg.protocol.read_text().replace("[segmentation]\n", '[segmentation]\nnormalize = "none"\n')
    )
    assert [cell.statistics for cell in planned(seg, "linear", tasks="toy,halves").cells] == [
        INCEPTION,
        NONE,
    ]


def test_the_side_is_in_the_key_however_it_is_asked_for(tiny):
    assert (
        key(tiny, image_size=40)
        == key(tiny, backbone="mini_vit@40")
        == key(tiny, backbone="mini_vit@40", image_size=40)
    )
    assert len({key(tiny), key(tiny, image_size=40), key(tiny, image_size=35)}) == 3
    assert key(tiny, image_size=32) == key(tiny)  # its own, which is no multiple of 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"image_size": 33},
            "backbone mini_vit has patches of 5 pixels, which 33 is no multiple of: take 30 or 35.",
        ),
        ({"image_size": 3}, "which 3 is no multiple of: take 5."),
        (
            {"image_size": 40, "backbone": "mini_vit@35"},
            "--image-size 40 and --backbone mini_vit@35 set different image sizes: leave one out.",
        ),
        (
            {"backbone": "mini_vit@big"},
            (
                "backbone mini_vit@big: after @ comes the side of its images in pixels, as"
                " mini_vit@224"
            ),
        ),
        ({"backbone": "mini_vit@99999"}, "up to 4096"),
    ],
)
def test_a_side_that_cannot_be_is_refused_in_a_line(tiny, changes: dict, message: str):
    with pytest.raises(BadInput, match=re.escape(message)):
        plan(request(tiny, **changes))


def test_a_segmentation_tasks_side_is_its_crop(tiny):
    seg = with_segmentation(tiny)
    with pytest.raises(
        BadInput,
        match="task halves: its card's crop sets the image size, 30 pixels: leave 40 out",
    ):
        planned(seg, "linear", image_size=40)


def test_a_name_that_says_no_side_is_run_at_its_suites():
    suites, card = load_suites(), load_cards()["dtd"]

    def at(spec: str, image_size: int | None = None) -> str:
        return sided(spec, image_size, card, suites["vtab"])

    assert at("vit_small_patch14_dinov2.lvd142m") == "vit_small_patch14_dinov2.lvd142m@224"
    assert (
        at("vit_base_patch14_reg4_dinov2=/some.pth") == "vit_base_patch14_reg4_dinov2@224=/some.pth"
    )
    assert (
        at("vit_small_patch14_dinov2", 518)
        == at("vit_small_patch14_dinov2@518")
        == "vit_small_patch14_dinov2@518"
    )
    for name in (
        "vit_base_patch16_224.orig_in21k",
        "vit_base_patch16_384",
        "vit_base_patch16_clip_quickgelu_224.openai",
        "mini_vit",
    ):
        assert at(name) == name
    assert (
        sided("vit_small_patch14_dinov2", None, load_cards()["ade20k"], suites["ade20k"])
        == "vit_small_patch14_dinov2"
    )


def test_the_dry_run_says_what_a_backbone_is_given(tiny):
    def said(**changes) -> str:
        return "\n".join(preview(request(tiny, **changes), ProgressView(Console()).stage).notes)

    assert (
        "Images of 32 x 32 pixels, as pil resizes them, normalized by imagenet (mean 0.485, 0.456,"
        " 0.406; std 0.229" in said()
    )
    assert (
        "Images of 40 x 40 pixels, as pil resizes them, normalized by none (mean 0, 0, 0; std 1,"
        " 1, 1)." in said(image_size=40, normalize="none")
    )


@pytest.fixture
def two(tiny) -> Store:
    """A store with `linear` and `vpt` as usual, and by other statistics at another side."""
    store = Store(tiny.store)
    for changes in ({}, {"image_size": 40, "normalize": "inception"}):
        fill(plan(request(tiny, methods="linear,vpt", seeds=(0, 1), **changes)), store)
    return store


def test_scores_of_other_inputs_have_tables_of_their_own(two: Store):
    board = leaderboard(read(two))
    assert not any(result.superseded for result in board)
    found = {section.backbone: section for section in sections(board, None, None)}
    assert set(found) == {
        "mini_vit at 32 px, normalized by imagenet",
        "mini_vit at 40 px, normalized by inception",
    }
    rows = tidy(read(two))
    assert set(zip(rows["side"], rows["normalize"], strict=True)) == {
        ("32", "imagenet"),
        ("40", "inception"),
    }
    document = json.loads(str(Report(two).render("json")))
    assert {(row["side"], row["normalize"]) for row in document["methods"]} == {
        ("32", "imagenet"),
        ("40", "inception"),
    }
    page = str(Report(two).render("html"))
    assert '"side":"40","normalize":"inception"' in page.replace('": "', '":"').replace(", ", ",")
    usual, other = (command(part, two) for part in compare(two, "linear", "vpt").parts)
    assert "--image-size" not in usual
    assert "--image-size 40 --normalize inception" in other
    shown = detail(
        two,
        next(
            row.id
            for row in two.results()
            if two.cells()[row.cell].identity["backbone"]["side"] == 40
        ),
    )
    assert shown["identity"]["task"]["normalize"]["std"] == [0.5] * 3


def test_rows_that_were_stored_before_are_still_shown(two: Store, tmp_path: Path):
    old = Store(tmp_path / "old.db")
    cell, results = next(iter(two.cells().values())), two.results()
    identity = json.loads(json.dumps(cell.identity))
    del identity["task"]["normalize"], identity["backbone"]["side"]
    from harness.store import cell_key

    before = dataclasses.replace(cell, key=cell_key(identity), identity=identity)
    old.add_cell(before)
    old.add_result(
        dataclasses.replace(next(row for row in results if row.cell == cell.key), cell=before.key)
    )
    for form in ("md", "json", "csv", "html"):
        assert "linear" in str(Report(old).render(form))
    (row,) = old.results()
    with pytest.raises(BadInput, match="its task has changed"):
        reproduce(row, before, None, None, None)


def test_a_checkpoint_is_not_loaded_on_a_backbone_of_another_side(tiny):
    from harness import backbones

    run, store = plan(request(tiny, methods="linear", image_size=40, seeds=(3,))), Store(tiny.store)
    fill(run, store, Trainer(run, threads=1, keep=checkpoint_files.Keep(store.checkpoints)))
    file = checkpoint_files.find(store, store.results()[0])
    with pytest.raises(
        BadInput,
        match=r"was tuned on images of 40 pixels, but mini_vit was loaded for 32: load mini_vit@40",
    ):
        tuned_model.load(file, backbones.load("mini_vit"))
    with pytest.raises(BadInput, match=r"it was made with images of 40 pixels\. Leave @35 out"):
        tuned_model.load(file, "mini_vit@35")
    assert tuned_model.load(file, backbones.load("mini_vit@40")).size == 40


def test_the_numbers_have_their_names_or_are_said():
    assert (IMAGENET.name, INCEPTION.name, NONE.name) == ("imagenet", "inception", "none")
    assert (
        Statistics((0.48145466, 0.4578275, 0.40821073), (0.2, 0.2, 0.2)).name
        == "0.48145,0.45783,0.40821/0.2,0.2,0.2"
    )
    with pytest.raises(ValueError, match="above zero"):
        normalization.from_lists([0, 0, 0], [1, 1, 0])


def test_a_backbones_own_are_timms():
    from harness.backbones import statistics_of

    clip = (0.48145466, 0.4578275, 0.40821073)
    assert statistics_of("vit_base_patch16_clip_224.openai").mean == clip
    assert statistics_of("vit_base_patch16_224.augreg_in21k") == INCEPTION
    assert statistics_of("vit_base_patch16_224.mae") == IMAGENET
