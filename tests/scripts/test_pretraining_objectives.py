"""The masked autoencoder: what its encoder sees, what it is scored on, and its positions."""

import pytest
import torch
from pretrain_mini import COLUMN
from pretraining_objectives import MaskedAutoencoder, positions
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

PATCHES, KEPT, SIDE = 36, 9, 5


@pytest.fixture
def autoencoder() -> MaskedAutoencoder:
    torch.manual_seed(0)
    return MaskedAutoencoder(VisionTransformer(**COLUMN)).eval()  # type: ignore[arg-type]


def loss(autoencoder: MaskedAutoencoder, images: Tensor) -> Tensor:
    """With the same masks each time."""
    return autoencoder(images, torch.zeros(len(images)), torch.Generator().manual_seed(1))


def test_the_encoder_sees_cls_and_a_quarter_of_the_patches(autoencoder: MaskedAutoencoder):
    seen = []
    autoencoder.vit.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    loss(autoencoder, torch.randn(3, 3, 32, 32))
    assert [tokens.shape for tokens in seen] == [(3, 1 + KEPT, 96)]


def test_what_is_missing_is_scored_and_what_is_kept_stands_in_its_place(
    autoencoder: MaskedAutoencoder,
):
    """Of a decoder that predicts 0, a missing patch's error is 74/75: 75 values, normalised by
    their unbiased variance. A flat one's is 0, and so each patch tells by the loss without its
    contents whether it is scored."""
    seen: list[Tensor] = []
    autoencoder.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    for parameter in autoencoder.pixels.parameters():
        torch.nn.init.zeros_(parameter)
    images = torch.randn(1, 3, 32, 32)
    error = (3 * SIDE**2 - 1) / (3 * SIDE**2)
    assert loss(autoencoder, images).item() == pytest.approx(error, abs=1e-4)
    entered = (seen[0] - autoencoder.places)[0, 1:]
    missing = (entered - autoencoder.missing[0]).abs().amax(1) < 1e-6
    assert missing.sum() == PATCHES - KEPT

    for patch in range(PATCHES):
        top, left = SIDE * (patch // 6), SIDE * (patch % 6)
        flat = images.clone()
        flat[:, :, top : top + SIDE, left : left + SIDE] = 0.3
        less = (error - loss(autoencoder, flat).item()) * (PATCHES - KEPT) / error
        assert less == pytest.approx(float(missing[patch]), abs=0.01)


def test_a_patch_is_predicted_where_it_was(autoencoder: MaskedAutoencoder):
    """Given each patch's normalised pixels as the prediction at its place, the loss is 0."""
    torch.manual_seed(2)
    images = torch.randn(2, 3, 32, 32)
    patches = [
        images[:, :, top : top + SIDE, left : left + SIDE].flatten(1)
        for top in range(0, 30, SIDE)
        for left in range(0, 30, SIDE)
    ]
    perfect = torch.stack([(p - p.mean(1, True)) / p.std(1, keepdim=True) for p in patches], 1)
    autoencoder.pixels.register_forward_hook(lambda *_: perfect)
    assert loss(autoencoder, images).item() < 1e-6
    autoencoder.pixels.register_forward_hook(lambda *_: perfect.flip(1))
    assert loss(autoencoder, images).item() > 1


def test_positions_differ_and_tell_row_from_column():
    table = positions(6, 96)[0]
    assert table.shape == (1 + PATCHES, 96)
    assert (table[0] == 0).all()
    patches = table[1:].unflatten(0, (6, 6))
    assert torch.equal(patches[2, 0, :48], patches[2, 5, :48])
    assert torch.equal(patches[0, 2, 48:], patches[5, 2, 48:])
    assert torch.equal(patches[2, 5, :48], patches[5, 2, 48:])
    # the first frequency is 1, in radians per patch
    assert patches[3, 0, 0].item() == pytest.approx(0.14112, abs=1e-5)
    assert torch.cdist(table[None], table[None])[0].fill_diagonal_(9).min() > 0.5
