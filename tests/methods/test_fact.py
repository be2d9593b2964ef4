"""FacT: counts on ViT-B/16, and the paper's equations by explicit sums in float64."""

import copy
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from tuned import check_equal_to_weights, features, randomise, trainable

from harness.backbones.vit import FrozenViT
from methods.fact import FacT, FacTTK, FacTTT
from methods.linear import Linear

RANK, DIM = 3, 24


@pytest.mark.parametrize(
    ("method", "rank", "expected"),
    [
        (FacTTT, 4, 8_448),
        (FacTTT, 8, 21_504),
        (FacTTT, 16, 61_440),
        (FacTTK, 8, 13_952),
        (FacTTK, 16, 30_976),
        (FacTTK, 32, 86_528),
    ],
)
def test_parameter_counts_on_vit_b16(method: type[FacT], rank: int, expected: int):
    with torch.device("meta"):
        built = method(FrozenViT(VisionTransformer(num_classes=0)), rank=rank)
    assert sum(p.numel() for p in trainable(built).values()) == expected


def update(method: Any, cores: list[Tensor], ins: int, outs: int) -> Tensor:
    """0.7 V S U for each pair of an input's part and an output's; `cores` by output, then input,
    each r x r."""
    rows = []
    for out in range(outs):
        row = [0.7 * method.up @ cores[out * ins + i] @ method.down for i in range(ins)]
        rows.append(torch.cat(row, dim=1))
    return torch.cat(rows)


def cores_of_train(own: Tensor, ins: int, outs: int) -> list[Tensor]:
    return [
        own[RANK * out : RANK * (out + 1), RANK * i : RANK * (i + 1)]
        for out in range(outs)
        for i in range(ins)
    ]


def cores_of_tucker(method: Any, first: int, name: str) -> list[Tensor]:
    """S_t by explicit sums; an MLP's are read column by column, from t to t, and cut into four."""
    count = {"qkv": 3, "proj": 1}.get(name, 4)
    s = [
        [
            [
                sum(method.centre[i, j, k] * method.mixing[k, first + t] for k in range(RANK))
                for t in range(count)
            ]
            for j in range(RANK)
        ]
        for i in range(RANK)
    ]
    if count < 4:  # tokens @ S_t there, S_t @ tokens here
        return [
            torch.stack([torch.stack([s[i][j][t] for i in range(RANK)]) for j in range(RANK)])
            for t in range(count)
        ]
    lines = [[s[i][j][t] for j in range(RANK) for t in range(4)] for i in range(RANK)]
    quarters = [
        torch.stack([torch.stack(line[RANK * c : RANK * (c + 1)]) for line in lines])
        for c in range(4)
    ]
    return [quarter.T if name == "fc1" else quarter for quarter in quarters]


@pytest.mark.parametrize("kind", [FacTTT, FacTTK])
def test_all_maps_share_two_factors(plain: VisionTransformer, kind: type[FacT]):
    method: Any = kind(FrozenViT(copy.deepcopy(plain)), rank=RANK, scale=0.7).double().eval()
    randomise(method)
    weights, taken = {}, 0
    for index in range(3):
        for name, ins, outs in (("qkv", 1, 3), ("proj", 1, 1), ("fc1", 1, 4), ("fc2", 4, 1)):
            path = f"blocks.{index}.{'attn' if ins * outs in (1, 3) else 'mlp'}.{name}"
            beside: Any = method.vit.vit.get_submodule(path)
            cores = (
                cores_of_train(beside.own, ins, outs)
                if kind is FacTTT
                else cores_of_tucker(method, taken, name)
            )
            taken += ins * outs
            weights[f"{path}.weight"] = beside.linear.weight + update(method, cores, ins, outs)
    check_equal_to_weights(plain, method, weights)


@pytest.mark.parametrize("kind", [FacTTT, FacTTK])
def test_it_starts_at_the_backbone_and_drops_in_training(
    plain: VisionTransformer, kind: type[FacT]
):
    method = kind(FrozenViT(copy.deepcopy(plain))).double().train()
    torch.testing.assert_close(
        features(method), features(Linear(FrozenViT(plain))), rtol=1e-9, atol=1e-9
    )
    randomise(method)
    assert not torch.equal(features(method), features(method))
    assert torch.equal(features(method.eval()), features(method))


def test_mlps_are_whole_multiples_of_the_width():
    vit = VisionTransformer(embed_dim=24, depth=1, num_heads=2, mlp_ratio=2.5, num_classes=0)
    with pytest.raises(ValueError, match="fact-tt needs MLPs of a whole multiple of the width 24"):
        FacTTT(FrozenViT(vit))
    with pytest.raises(ValueError, match="fact-tk's rank is a number from 1 on"):
        FacTTK(FrozenViT(vit), rank=0)
