"""Backbones: the shipped ones, and files of every format that people have."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pretrain_mini
import pytest
import timm
import torch
from families import features
from safetensors.torch import load_file, save_file

from harness import backbones
from harness.backbones.frozen import FrozenBackbone
from harness.backbones.outlines import outline
from harness.errors import BadInput
from harness.io.resources import datasets_dir

NAME = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model(NAME, pretrained=False, num_classes=5)


@pytest.mark.parametrize("name", backbones.shipped())
def test_a_shipped_backbone_is_what_its_card_says(name: str):
    card, loaded = backbones.shipped()[name], backbones.load(name)
    weights = (backbones.WEIGHTS / f"{name}.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == card.sha256
    assert len(weights) < 1_000_000
    assert (name, loaded.size, loaded.pooling) == (card.name, 32, card.pooling)
    assert backbones.own_side(name) == backbones.architecture(name).image_size == card.side
    assert outline(name).licence == card.licence
    assert all(p.dtype == torch.float32 for p in loaded.vit.parameters())


@pytest.mark.parametrize("name", backbones.shipped())
def test_a_shipped_backbones_features_are_timms_own_of_the_same_file(name: str):
    vit = backbones.load(name).vit
    model, shape = pretrain_mini.FAMILIES[vit.family]
    net: Any = model(**shape).eval()
    net.load_state_dict(load_file(backbones.WEIGHTS / f"{name}.safetensors"))
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        expected = net(images)
        if name == "mini_mae":
            net.norm = torch.nn.Identity()
            patches = net.forward_features(images)[:, 1:]
            expected = torch.nn.functional.layer_norm(patches.mean(1), (96,), eps=1e-6)
        torch.testing.assert_close(features(vit, images), expected, rtol=1e-5, atol=1e-5)


def test_shipped_backbones_differ():
    cards = backbones.shipped()
    assert cards["mini_mae"].architecture == cards["mini_vit"].architecture
    assert len({backbones.load(name).sha256 for name in cards}) == len(cards)


@pytest.mark.parametrize("name", backbones.shipped())
def test_shipped_weights_tell_where_a_shape_is_and_random_ones_do_not(name: str):
    """Least squares on features of sprites-location's training images, in % of its validation
    images; 11 % is chance."""
    arrays = np.load(datasets_dir() / "mini" / "sprites-location.npz")
    card = backbones.shipped()[name]
    mean, deviation = (torch.tensor(three)[:, None, None] for three in (card.mean, card.std))

    @torch.no_grad()
    def with_one(vit: FrozenBackbone, split: str) -> torch.Tensor:
        images = torch.from_numpy(arrays[f"{split}_images"]).permute(0, 3, 1, 2).float() / 255
        pooled = features(vit, (images - mean) / deviation)
        assert torch.isfinite(pooled).all()
        return torch.cat([pooled, torch.ones(len(pooled), 1)], dim=1)

    def accuracy(vit: FrozenBackbone) -> float:
        train, val = with_one(vit, "train"), with_one(vit, "val")
        classes = torch.eye(9)[torch.from_numpy(arrays["train_labels"])]
        ridge = train.T @ train + 1e-2 * len(train) * torch.eye(train.shape[1])
        predicted = (val @ torch.linalg.solve(ridge, train.T @ classes)).argmax(1)
        return 100 * (predicted.numpy() == arrays["val_labels"]).mean()

    torch.manual_seed(0)
    pretrained, random = accuracy(backbones.load(name).vit), accuracy(backbones.architecture(name))
    assert random < 30
    assert pretrained > 40


def test_safetensors_and_torch_checkpoints_give_the_same_backbone(model: Any, tmp_path: Path):
    save_file(model.state_dict(), tmp_path / "a.safetensors")
    torch.save(
        {"model": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "b.pth"
    )
    one, other = (
        backbones.load(f"{NAME}={tmp_path / name}") for name in ("a.safetensors", "b.pth")
    )
    assert one.sha256 == other.sha256
    assert one.size == 224
    block: Any = one.vit.vit.blocks[3]
    torch.testing.assert_close(block.attn.qkv.weight, model.blocks[3].attn.qkv.weight.detach())


def test_the_original_npz_is_read_without_pickle(tmp_path: Path):
    torch.manual_seed(0)
    state = timm.create_model(NAME, pretrained=False, num_classes=0).state_dict()
    dim, heads, arrays = 192, 3, {}
    arrays["embedding/kernel"] = state["patch_embed.proj.weight"].permute(2, 3, 1, 0)
    arrays["embedding/bias"] = state["patch_embed.proj.bias"]
    arrays["cls"] = state["cls_token"]
    arrays["Transformer/posembed_input/pos_embedding"] = state["pos_embed"]
    arrays["Transformer/encoder_norm/scale"], arrays["Transformer/encoder_norm/bias"] = (
        state["norm.weight"],
        state["norm.bias"],
    )
    for index in range(12):
        to, of = f"Transformer/encoderblock_{index}", f"blocks.{index}"
        for theirs, ours in {"LayerNorm_0": "norm1", "LayerNorm_2": "norm2"}.items():
            arrays[f"{to}/{theirs}/scale"], arrays[f"{to}/{theirs}/bias"] = (
                state[f"{of}.{ours}.weight"],
                state[f"{of}.{ours}.bias"],
            )
        weights, biases = (
            state[f"{of}.attn.qkv.weight"].chunk(3),
            state[f"{of}.attn.qkv.bias"].chunk(3),
        )
        for part, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
            arrays[f"{to}/MultiHeadDotProductAttention_1/{part}/kernel"] = weight.T.reshape(
                dim, heads, -1
            )
            arrays[f"{to}/MultiHeadDotProductAttention_1/{part}/bias"] = bias.reshape(heads, -1)
        arrays[f"{to}/MultiHeadDotProductAttention_1/out/kernel"] = state[
            f"{of}.attn.proj.weight"
        ].T.reshape(heads, -1, dim)
        arrays[f"{to}/MultiHeadDotProductAttention_1/out/bias"] = state[f"{of}.attn.proj.bias"]
        for theirs, ours in {"Dense_0": "fc1", "Dense_1": "fc2"}.items():
            arrays[f"{to}/MlpBlock_3/{theirs}/kernel"] = state[f"{of}.mlp.{ours}.weight"].T
            arrays[f"{to}/MlpBlock_3/{theirs}/bias"] = state[f"{of}.mlp.{ours}.bias"]
    np.savez(
        tmp_path / "vit.npz",
        allow_pickle=False,
        **{key: np.asarray(value) for key, value in arrays.items()},
    )
    loaded = backbones.load(f"{NAME}={tmp_path / 'vit.npz'}")
    for key, value in loaded.vit.vit.state_dict().items():
        torch.testing.assert_close(value, state[key])


def test_the_position_embedding_is_resized_where_the_resolution_differs(model: Any, tmp_path: Path):
    save_file(model.state_dict(), tmp_path / "at224.safetensors")
    loaded = backbones.load(f"vit_tiny_patch16_384={tmp_path / 'at224.safetensors'}")
    assert loaded.size == 384
    assert loaded.vit.vit.pos_embed is not None
    assert loaded.vit.vit.pos_embed.shape == (1, 1 + 24 * 24, 192)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b"not weights"),
        lambda path: torch.save({"blocks.0.norm1.weight": torch.zeros(3)}, path),
        lambda path: torch.save(
            timm.create_model("vit_small_patch32_224", pretrained=False).state_dict(), path
        ),
        lambda path: torch.save([1, 2], path),
    ],
    ids=["garbage", "a part", "another size", "no state"],
)
def test_a_file_that_doesnt_hold_the_weights_is_refused_in_one_line(tmp_path: Path, write):
    write(tmp_path / "x.pth")
    with pytest.raises(BadInput, match=NAME) as caught:
        backbones.load(f"{NAME}={tmp_path / 'x.pth'}")
    assert "\n" not in str(caught.value)


def test_a_pickle_that_would_run_code_is_not_run(tmp_path: Path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "touched",))

    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(BadInput):
        backbones.load(f"{NAME}={tmp_path / 'evil.pth'}")
    assert not (tmp_path / "touched").exists()


def test_without_a_network_the_mend_is_said(monkeypatch: pytest.MonkeyPatch):
    create = timm.create_model

    def offline(*names, pretrained: bool, **more):
        if pretrained:
            raise OSError("Couldn't reach the hub")
        return create(*names, **more)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(BadInput, match=f"could not be fetched.*--backbone {NAME}=FILE"):
        backbones.load(NAME)


def test_maes_weights_are_pooled_over_all_but_cls():
    with torch.device("meta"):
        assert backbones.architecture("vit_base_patch16_224.mae").pooling == "vpt-mae"
        assert backbones.architecture("vit_base_patch16_224.dino").pooling == "cls"
        assert backbones.architecture("vit_wee_patch16_reg1_gap_256").pooling == "avg"
