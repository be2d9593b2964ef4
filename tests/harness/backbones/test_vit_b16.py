"""An ordinary timm checkpoint of ViT-B/16, with random weights, runs through `--backbone NAME=FILE`
on real images."""

import shutil

import pytest
import timm
import torch
from places import SHARED

SAMPLE = SHARED / "data" / "vtab-1k-sample" / "cifar10"

CARD = """
name = "cifar10-few"
title = "a few images of the CIFAR-10 sample"
suite = "mine"
group = "natural"
kind = "classification"
classes = 10
sizes = { train = 8, val = 4, test = 4 }
pixels = "pil"
metric = "top1"
source = "https://www.cs.toronto.edu/~kriz/cifar.html"
licence = "none stated"
citation = "Krizhevsky 2009"
reader = { format = "vtab-folder", folder = "few" }
"""


@pytest.mark.slow
@pytest.mark.skipif(not SAMPLE.is_dir(), reason="needs ../shared/data/vtab-1k-sample")
def test_one_tiny_trial_on_a_vit_b16_checkpoint(tiny, harness):
    few = tiny.folder / "few"
    for name, n in {"train800": 8, "val200": 4, "test": 4}.items():
        lines = (SAMPLE / f"{name}.txt").read_text().splitlines()[:n]
        (few / "images" / name).mkdir(parents=True)
        (few / f"{name}.txt").write_text("\n".join(lines) + "\n")
        for line in lines:
            shutil.copyfile(SAMPLE / line.split()[0], few / line.split()[0])
    (tiny.cards / "few.toml").write_text(CARD)
    tiny.protocol.write_text(
        tiny.protocol.read_text()
        .replace("epochs = 2", "epochs = 1")
        .replace("warmup_epochs = 1", "warmup_epochs = 0")
    )
    torch.manual_seed(0)
    torch.save(
        timm.create_model("vit_base_patch16_224", pretrained=False).state_dict(),
        tiny.folder / "b16.pth",
    )
    backbone = f"vit_base_patch16_224={tiny.folder / 'b16.pth'}"
    more = (
        "--backbone",
        backbone,
        "--data-root",
        str(tiny.folder),
        "--trials",
        "1",
        "--seeds",
        "0",
        "--workers",
        "1",
    )
    done = harness(*tiny.arguments(*more, tasks="cifar10-few", methods="vpt-deep"))
    assert done.returncode == 0, done.stderr
    assert "cifar10-few" in done.stdout
    assert "vit_base_patch16_224" in done.stdout
