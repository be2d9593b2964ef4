"""SCT: which channels are salient, what is added to them, and that a checkpoint has them."""

import copy
from types import SimpleNamespace
from typing import Any

import oracle
import pytest
import torch
from in_process import outcomes
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from tuned import check_equal_to_form

from harness.backbones.vit import FrozenViT
from harness.engine.jobs import FinalJob
from harness.engine.trainer import Trainer
from harness.inference import checkpoint, checkpoint_files, tuned_model
from harness.planning.plan import plan
from harness.training.heads import Model
from harness.training.method import trained_values
from harness.training.train_split import TrainSplit
from methods.sct import SCT, one_each

IMAGES = torch.randn(5, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 2, 2, 0, 2])  # none of class 1
TRAIN = TrainSplit(
    5, lambda rows: (IMAGES[rows], LABELS[rows]), lambda: iter(()), seed=0, at_once=2, classes=3
)


def make(vit: VisionTransformer, **arguments: Any) -> SCT:
    torch.manual_seed(0)
    pooling = "cls" if vit.global_pool == "token" else "avg"
    method = SCT(FrozenViT(copy.deepcopy(vit), pooling), **{"channels": 4, **arguments}).double()
    with torch.no_grad():
        for linear in method.maps:
            for parameter in linear.parameters():
                parameter.normal_()
        method.salient.copy_(torch.tensor([[1, 3, 20, 5], [0, 1, 2, 3], [23, 22, 7, 9]]))
    return method


def features(method: SCT) -> Tensor:
    (tokens,) = method(IMAGES, method.vit.read())
    return method.vit.pool(tokens)


def test_parameter_counts_on_vit_b16():
    with torch.device("meta"):
        method = SCT(FrozenViT(VisionTransformer(num_classes=0)))
    assert trained_values(method) == (111_744, 0)
    assert method.salient.shape == (12, 96)


@pytest.mark.parametrize("rescale", [False, True])
def test_features_and_gradients_equal_the_equation(plain: VisionTransformer, rescale: bool):
    """Channel by channel, between the halves of a block."""
    method = make(plain, scale=0.3, rescale=rescale)
    tokens: Any = plain._pos_embed(plain.patch_embed(IMAGES))
    block: Any
    for index, block in enumerate(plain.blocks):
        idle = copy.deepcopy(block)
        idle.ls2 = Nothing()
        y, _ = oracle.block(idle, tokens)
        linear: Any = method.maps[index]
        changed = {}
        for row, channel in enumerate(method.salient[index].tolist()):
            out = linear.bias[row] + sum(
                linear.weight[row, column] * y[..., other]
                for column, other in enumerate(method.salient[index].tolist())
            )
            changed[channel] = (
                0.3 * y[..., channel] + out if rescale else y[..., channel] + 0.3 * out
            )
        y = torch.stack([changed.get(channel, y[..., channel]) for channel in range(24)], 2)
        tokens = y + block.mlp(block.norm2(y))
    theirs: Any = plain.norm(tokens[:, 0])
    check_equal_to_form(method, features(method), theirs)


class Nothing(nn.Module):
    """A layer scale of 0: a block without its MLP."""

    def forward(self, rows: Tensor) -> Tensor:
        return 0 * rows


def test_salient_channels_have_the_largest_norms_over_a_classs_image_tokens(
    vit: VisionTransformer,
):
    method = make(vit)
    with torch.no_grad():
        method.begin(TRAIN, nn.Identity())
    seen: list[Tensor] = []
    for block in vit.blocks:
        block.norm2.register_forward_hook(  # type: ignore[union-attr]
            lambda _, inputs, __: seen.append(inputs[0][:, vit.num_prefix_tokens :])
        )
    vit(IMAGES)
    for index, tokens in enumerate(seen):
        norms = [
            [float(tokens[label == LABELS, :, c].detach().norm()) for c in range(24)]
            for label in (0, 2)
        ]
        means = [(one + other) / 2 for one, other in zip(*norms, strict=True)]
        expected = sorted(sorted(range(24), key=lambda c: -means[c])[:4])
        assert method.salient[index].tolist() == expected, index


def test_a_channel_that_all_classes_use_goes_before_one_of_a_single_class(
    plain: VisionTransformer, monkeypatch: pytest.MonkeyPatch
):
    """Norms 7 and 7 against 10 and 0: in the mean of norms more, in that of squares less."""
    method = SCT(FrozenViT(plain), channels=1).double()
    rows = torch.zeros(2, 17, 24).double()
    rows[0, 1, 0], rows[:, 1, 1] = 10.0, 7.0
    monkeypatch.setattr(method.vit, "attend", lambda index, tokens: rows)
    labels = torch.tensor([0, 1])
    train = TrainSplit(
        2, lambda at: (IMAGES[at], labels[at]), lambda: iter(()), seed=0, at_once=2, classes=2
    )
    with torch.no_grad():
        method.begin(train, nn.Identity())
    assert method.salient.tolist() == [[1]] * 3


def test_a_masks_class_is_that_of_most_pixels():
    masks = torch.tensor([[[2, 2], [0, 255]], [[1, 255], [255, 255]], [[255, 255], [255, 255]]])
    assert one_each(masks, 3).tolist() == [2, 1, 0]
    assert one_each(LABELS, 3) is LABELS


def test_a_final_run_and_its_checkpoint(tiny: SimpleNamespace):
    keep = checkpoint_files.Keep(tiny.folder / "kept")
    found = plan(tiny.request("sct"))
    (cell,) = found.cells
    assert list(cell.space) == ["scale", "base_lr", "weight_decay"]
    trainer = Trainer(found, threads=1, raises=True, keep=keep)
    point = {"base_lr": 0.05, "weight_decay": 0.0, "scale": 1.0}
    _, (outcome,) = outcomes(trainer, FinalJob(cell.key, (0,), point))
    assert outcome.score is not None
    assert outcome.trainable == 4 * (12 * 12 + 12)
    (file,) = keep.folder.iterdir()
    base = found.backbones[cell.backbone]
    loaded: Any = tuned_model.rebuilt("a test", cell.variant, base, *checkpoint.read(file)).model
    images = torch.rand(2, 3, base.vit.image_size, base.vit.image_size)
    assert isinstance(trainer.model, Model)
    assert torch.equal(loaded.eval()(images), trainer.model.eval()(images))
    assert loaded.method.salient.tolist() != torch.arange(12).repeat(4, 1).tolist()


@pytest.mark.usefixtures("unchecked")
def test_channels_are_some_of_the_backbones(plain: VisionTransformer):
    for channels in (0, 25):
        with pytest.raises(ValueError, match=f"channels={channels}, and the backbone has 1 to 24"):
            SCT(FrozenViT(plain), channels=channels)
