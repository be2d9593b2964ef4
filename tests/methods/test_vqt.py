"""VQT: its features against an explicit softmax, and the frozen model left as it is."""

from typing import Any

import oracle
import pytest
import torch
from in_process import outcomes
from segmentation import seg
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from harness.backbones.vit import FrozenViT
from harness.engine.jobs import FinalJob
from harness.engine.trainer import Trainer
from harness.errors import BadInput
from harness.inference import checkpoint, checkpoint_files, tuned_model
from harness.planning.plan import plan
from harness.training.heads import LinearHead, Model
from harness.training.method import trained_values
from methods.vqt import VQT

__all__ = ["seg"]
IMAGES = torch.randn(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def make(vit: VisionTransformer, **arguments: Any) -> VQT:
    torch.manual_seed(0)
    pooling = "cls" if vit.global_pool == "token" else "avg"
    return VQT(FrozenViT(vit, pooling), **{"queries": 2, "dropout": 0.0, **arguments}).double()


def features_of(method: VQT) -> Tensor:
    (tokens,) = method(IMAGES, method.vit.read())
    return method.pool(tokens)


def test_parameter_counts_on_vit_b16():
    with torch.device("meta"):
        vit = FrozenViT(VisionTransformer(num_classes=0))
        method = VQT(vit, queries=1)
        head = LinearHead(method, 397)
    assert trained_values(method) == (9_216, 0)
    assert method.width == 768 * 13
    assert sum(p.numel() for p in head.parameters()) == 9_984 * 397 + 397 == 3_963_648 + 397
    assert VQT(vit, queries=10).width == 768 * (1 + 12 * 10)
    assert VQT(vit, queries=10, average=True).width == 768 * 13


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_features_equal_an_explicit_softmax(plain, normalize: bool, average: bool):
    method = make(plain, normalize=normalize, average=average)
    tokens = plain.norm_pre(plain._pos_embed(plain.patch_embed(IMAGES)))
    parts = []
    for block, queries in zip(plain.blocks, method.queries, strict=True):
        tokens, asked = oracle.block(block, tokens, queries=queries)
        assert asked is not None
        parts.append(asked.mean(1) if average else asked.reshape(3, -1))
    parts.insert(0, plain.norm(tokens)[:, 0])
    theirs = torch.stack(
        [
            torch.cat(
                [part[i] / (part[i].square().sum().sqrt() if normalize else 1) for part in parts]
            )
            for i in range(3)
        ]
    )
    ours = features_of(method)
    assert ours.shape == (3, method.width)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    weights = torch.randn_like(ours)
    (one,) = torch.autograd.grad((ours * weights).sum(), method.queries)
    (other,) = torch.autograd.grad((theirs * weights).sum(), method.queries)
    assert other.abs().max() > 1e-3
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_the_image_s_rows_are_those_of_the_frozen_model(vit: VisionTransformer):
    method = make(vit)
    read = method.vit.read()
    (tokens,) = method(IMAGES, read)
    (frozen,) = method.vit.run(method.vit.embed(IMAGES), read)
    torch.testing.assert_close(tokens[:, : frozen.shape[1]], frozen, rtol=1e-12, atol=1e-12)
    parts = method.pool(tokens).split([24] + [48] * 3, dim=1)
    pooled = torch.nn.functional.normalize(method.vit.pool(frozen))
    torch.testing.assert_close(parts[0], pooled, rtol=1e-12, atol=1e-12)
    for part in parts:
        torch.testing.assert_close(part.norm(dim=1), torch.ones(3).double(), rtol=1e-9, atol=0)


def test_queries_of_a_block_don_t_see_one_another_nor_reach_the_next(plain: VisionTransformer):
    method = make(plain)
    method.normalize = False
    before = features_of(method).split([24] * 7, dim=1)
    method.queries.data[0, 1] += 1.0
    after = features_of(method).split([24] * 7, dim=1)
    same = [torch.equal(one, other) for one, other in zip(before, after, strict=True)]
    assert same == [True, True, False, True, True, True, True]


def test_nothing_of_the_image_s_rows_waits_for_a_backward_pass(plain: VisionTransformer):
    method, seen = make(plain), []
    real = method.vit.block_and_queries

    def watched(*given: Any, **more: Any) -> tuple[Tensor, Tensor]:
        out = real(*given, **more)
        seen.append((out[0].requires_grad, out[1].requires_grad))
        return out

    method.vit.block_and_queries = watched  # type: ignore[method-assign]
    features_of(method)
    assert seen == [(False, True)] * 3


def test_a_final_run_and_its_checkpoint(tiny):
    keep = checkpoint_files.Keep(tiny.folder / "kept")
    found = plan(tiny.request("vqt(queries=2)"))
    (cell,) = found.cells
    assert list(cell.space) == ["base_lr", "weight_decay"]
    trainer = Trainer(found, threads=1, raises=True, keep=keep)
    point = {"base_lr": 0.5, "weight_decay": 0.0}
    _, (outcome,) = outcomes(trainer, FinalJob(cell.key, (0,), point))
    assert outcome.score is not None
    assert (outcome.trainable, outcome.head_params) == (4 * 2 * 96, 9 * 96 * 3 + 3)
    (file,) = keep.folder.iterdir()
    base = found.backbones[cell.backbone]
    loaded = tuned_model.rebuilt("a test", cell.variant, base, *checkpoint.read(file)).model
    images = torch.rand(2, 3, base.vit.image_size, base.vit.image_size)
    assert isinstance(trainer.model, Model)
    assert torch.equal(loaded.eval()(images), trainer.model.eval()(images))


def test_segmentation_is_refused(seg):
    with pytest.raises(BadInput, match=r"vqt can't do segmentation \(task halves\): its features"):
        plan(seg.request("vqt", "halves"))
