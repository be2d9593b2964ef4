"""Swin Transformers by name, from files, and folded back into timm's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import Tensor

from harness import backbones
from harness.backbones.layouts import fill
from harness.backbones.swin import FrozenSwin
from harness.errors import BadInput
from harness.inference.merging import merged
from harness.planning.variants import one
from harness.training.heads import LinearHead, Model

NAME = "swin_tiny_patch4_window7_224"
State = dict[str, Tensor]


def tiny(kind: Any = SwinTransformer, **changes: Any) -> Any:
    torch.manual_seed(len(changes))
    shape = {
        "img_size": 32,
        "embed_dim": 8,
        "depths": (2, 2),
        "num_heads": (1, 2),
        "window_size": 4,
        "num_classes": 3,
    }
    return kind(**{**shape, **changes})


def timms(state: State) -> State:
    return state


def its_own(state: State) -> State:
    """As in Microsoft's files: a stage ends with its merging, and what follows from shapes is
    there."""
    found = {
        key.replace("layers.1.downsample", "layers.0.downsample").replace("head.fc", "head"): value
        for key, value in state.items()
    }
    found["layers.0.blocks.1.attn_mask"] = torch.zeros(4, 16, 16)
    found["layers.0.blocks.1.attn.relative_position_index"] = torch.zeros(16, 16).long()
    return found


def pretrained(state: State) -> State:
    """As SimMIM's: behind a prefix, with what only pretraining has."""
    found = {f"encoder.{key}": value for key, value in its_own(state).items()}
    return {**found, "encoder.mask_token": torch.ones(1, 1, 8), "decoder.0.weight": torch.ones(9)}


@pytest.mark.parametrize("layout", [timms, its_own, pretrained])
@pytest.mark.parametrize("kind", [SwinTransformer, SwinTransformerV2])
def test_files_of_every_layout_give_the_same(
    layout: Callable[[State], State], kind: Any, tmp_path: Path
):
    trained, empty = tiny(kind), tiny(kind, num_classes=0)
    torch.save({"model": layout(trained.state_dict())}, tmp_path / "a.pth")
    fill(empty, "it", tmp_path / "a.pth")
    theirs = {key: value for key, value in trained.state_dict().items() if key[:4] != "head"}
    assert {key: value.tolist() for key, value in empty.state_dict().items()} == {
        key: value.tolist() for key, value in theirs.items()
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"window_size": 2}, "its windows are 2 tokens wide, and the name's 4"),
        ({"embed_dim": 16}, "it is 16 wide, and it 8"),
        ({"depths": (2, 4)}, "it has 6 blocks, and it 4"),
        ({"depths": (4, 2)}, "it has 6 blocks, and it 4"),
        ({"patch_size": 2}, "it has patches of 2 x 2 pixels, and it of 4 x 4"),
        ({"mlp_ratio": 2}, r"its layers\.0\.blocks\.0\.mlp\.fc1\.bias is 16, and not 32"),
        ({"kind": SwinTransformerV2}, r"it lacks .*relative_position_bias_table.* extra .*cpb_mlp"),
    ],
)
def test_a_wrong_file_is_one_line(changes: dict[str, Any], said: str, tmp_path: Path):
    save_file(tiny(**changes).state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(BadInput, match=f"backbone it: .* doesn't fit: .*{said}") as caught:
        fill(tiny(num_classes=0), "it", tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)


def test_a_vits_file_is_refused(tmp_path: Path):
    vit: Any = timm.create_model("test_vit", num_classes=0)
    save_file(vit.state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(BadInput, match="it has patches of 16 x 16 pixels, and it of 4 x 4"):
        fill(tiny(num_classes=0), "it", tmp_path / "a.safetensors")
    save_file(tiny().state_dict(), tmp_path / "b.safetensors")
    with pytest.raises(BadInput, match="it has patches of 4 x 4 pixels, and it of 16 x 16"):
        fill(vit, "it", tmp_path / "b.safetensors")


def test_by_name_with_a_file_at_two_sides(tmp_path: Path):
    """In float32, and folded back: what a linear probe of it makes is timm's classifier's."""
    torch.manual_seed(0)
    vit: Any = timm.create_model(NAME, num_classes=0).eval()
    save_file(vit.state_dict(), tmp_path / "a.safetensors")
    for side in (224, 96):
        spec = f"{NAME}@{side}={tmp_path / 'a.safetensors'}"
        loaded = backbones.load(spec)
        frozen, images = loaded.vit, torch.randn(1, 3, side, side)
        assert isinstance(frozen, FrozenSwin)
        assert (loaded.size, loaded.pooling, frozen.name) == (side, "avg+prompts", NAME)
        if side == 224:
            own, digest = vit, loaded.sha256
        else:
            own = timm.create_model(NAME, num_classes=0, img_size=96, window_size=3).eval()
            own.load_state_dict(frozen.vit.state_dict())
            assert loaded.sha256 == digest
        with torch.no_grad():
            (tokens,) = frozen.run(frozen.embed(images), frozen.read())
            expected = own(images)
        torch.testing.assert_close(frozen.pool(tokens), expected, rtol=1e-5, atol=1e-5)
    method = one("bitfit").build(frozen, {})
    folded, arguments = merged(Model(method, LinearHead(method, 3)), NAME)
    assert arguments["img_size"] == 96
    assert folded.get_parameter("head.fc.weight").shape == (3, 768)


def test_names_that_are_not_such_a_swin_are_refused():
    with pytest.raises(
        BadInput, match=r"swinv2_cr_tiny_224 is not covered: only timm's .* swin, .* models"
    ):
        backbones.architecture("swinv2_cr_tiny_224")
    with pytest.raises(BadInput, match=f"unknown backbone.* Did you mean '{NAME}'"):
        backbones.architecture("swin_tny_patch4_window7_224")
    with pytest.raises(BadInput, match="patches of 4 pixels, which 225 is no multiple of"):
        backbones.architecture(f"{NAME}@225")
