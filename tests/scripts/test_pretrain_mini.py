"""The script that made the shipped backbones: a run that was cut off, and what it writes."""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pretrain_mini
import pytest
import torch
from families import features
from PIL import Image
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

from harness.backbones import families
from harness.backbones.frozen import FrozenBackbone, resize


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """30 images in 10 folders: 27 to train on, 3 held out."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as zipped:
        for index in range(30):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file, "JPEG")
            zipped.writestr(f"class{index // 3}/{index}.jpg", file.getvalue())
    return tmp_path / "images.zip"


@pytest.mark.parametrize("objective", ["supervised", "mae"])
def test_a_run_that_was_cut_off_ends_with_the_same_weights(
    objective: str, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pretrain_mini, "BATCH", 9)

    def run(output: Path, *more: str) -> None:
        arguments = [str(archive), str(output), "--objective", objective, "--epochs", "4"]
        monkeypatch.setattr(sys, "argv", ["pretrain_mini", *arguments, *more])
        pretrain_mini.main()

    run(tmp_path / "whole.safetensors")
    checkpoint = tmp_path / "run.ckpt"
    whole_epoch, epochs = Path.replace, []

    def cut_off(self: Path, target: Path) -> None:
        whole_epoch(self, target)
        epochs.append(target)
        if len(epochs) == 3:  # past warm-up
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", cut_off)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "resumed.safetensors", "--checkpoint", str(checkpoint))
    run(tmp_path / "resumed.safetensors", "--checkpoint", str(checkpoint))

    assert epochs == [checkpoint] * 4
    whole, resumed = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "resumed"))
    assert all((whole[name] == resumed[name]).all() for name in whole)
    expected = VisionTransformer(**pretrain_mini.COLUMN)  # type: ignore[arg-type]
    assert {name: value.shape for name, value in whole.items()} == {
        name: value.shape for name, value in expected.state_dict().items()
    }


@pytest.mark.parametrize("family", pretrain_mini.FAMILIES)
def test_a_member_of_each_family_is_small_and_covered(
    family: str, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    output = tmp_path / "mini.safetensors"
    monkeypatch.setattr(pretrain_mini, "BATCH", 9)
    arguments = [str(archive), str(output), "--family", family, "--epochs", "3"]
    monkeypatch.setattr(sys, "argv", ["pretrain_mini", *arguments])
    pretrain_mini.main()
    assert output.stat().st_size < 1_000_000
    model, shape = pretrain_mini.FAMILIES[family]
    net = model(**shape).eval()
    net.load_state_dict(load_file(output))
    resize(net, 32)
    frozen: FrozenBackbone = families.frozen(net)
    assert frozen.family == family
    images = torch.randn(2, 3, 32, 32)
    assert torch.allclose(features(frozen, images), net(images), atol=1e-5)
