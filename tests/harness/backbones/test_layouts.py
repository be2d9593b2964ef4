"""Files of weights for every family: read back as they are, and refused in one line where they are
of another size, family or pooling."""

from pathlib import Path
from typing import Any

import pytest
import torch
from families import SHAPE, TINY, timm_model
from timm.models.beit import Beit
from timm.models.eva import Eva

from harness.backbones.frozen import resize
from harness.backbones.layouts import fill
from harness.errors import BadInput


def saved(vit: Any, folder: Path) -> Path:
    torch.save({"model": vit.state_dict()}, folder / "weights.pth")
    return folder / "weights.pth"


@pytest.mark.parametrize("name", TINY)
def test_a_file_of_timm_s_names_is_read_back(name: str, tmp_path: Path):
    vit, other = timm_model(name), TINY[name]()
    fill(other, name, saved(vit, tmp_path))
    assert vit.state_dict().keys() == other.state_dict().keys()
    for key, value in vit.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


WRONG: dict[str, tuple[str, str, str]] = {
    "a gap name and a file that pools by attention": ("gap", "siglip", "does pool by attention"),
    "and the other way round": ("siglip", "gap", "doesn't pool by attention"),
    "a RoPE name and a plain ViT's file": ("dinov3", "plain", "it has an extra pos_embed"),
    "a plain name and a RoPE ViT's file": ("plain", "dinov3", "it lacks pos_embed, "),
    "a BEiT name and an EVA file": ("beit v2", "eva", "it has an extra pos_embed"),
    "an EVA name and a BEiT file": ("eva", "beit v2", "it lacks pos_embed; it has an extra"),
    "EVA-02's maps apart and one map": ("eva-02", "eva", "it lacks blocks.0.attn.q_proj.weight"),
    "a distilled name and a plain file": ("distilled", "plain", "it lacks dist_token"),
    "a plain name and a distilled file": ("plain", "distilled", "it has an extra dist_token"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_of_another_family_or_pooling_is_one_line(case: str, tmp_path: Path):
    asked, given, said = WRONG[case]
    refused(TINY[asked](), asked, saved(timm_model(given), tmp_path), said)


@pytest.mark.parametrize("kind", [Eva, Beit])
def test_a_file_of_another_size_is_one_line(kind: Any, tmp_path: Path):
    shape = {**SHAPE, "num_heads": 3}
    own = kind(**shape)
    for change, said in (
        ({"depth": 3}, "it has 3 blocks, and mine 2"),
        ({"embed_dim": 48}, "it is 48 wide, and mine 24"),
        ({"patch_size": 16}, "it has patches of 16 x 16 pixels, and mine of 8 x 8"),
        ({"mlp_ratio": 2}, "its blocks.0.mlp.fc1.weight is 48 x 24, and not 96 x 24"),
    ):
        refused(own, "mine", saved(kind(**{**shape, **change}), tmp_path), said)


@pytest.mark.parametrize("name", ["beit v2", "beit", "eva", "dinov3"])
def test_a_file_for_another_side_is_read_as_it_is(name: str, tmp_path: Path):
    vit, other = timm_model(name), TINY[name]()
    resize(vit, 48)
    fill(other, name, saved(vit, tmp_path))
    for key, value in vit.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


def refused(vit: Any, name: str, file: Path, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        fill(vit, name, file)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"backbone {name}: {file} doesn't fit")
