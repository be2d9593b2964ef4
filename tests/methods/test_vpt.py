"""VPT's facts: parameters, initial values, dropout."""

import math

import torch
from timm.models.vision_transformer import VisionTransformer

from harness.backbones.vit import FrozenViT
from methods.vpt import VPT, PromptDropout, VPTDeep


def trainable(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def test_parameter_counts_on_vit_b16():
    with torch.device("meta"):
        vit = FrozenViT(VisionTransformer(num_classes=0))
        assert trainable(VPTDeep(vit, prompts=10)) == 92_160
        assert trainable(VPT(vit, prompts=10)) == 7_680


def test_prompts_start_uniform_within_the_papers_bound(plain: VisionTransformer):
    torch.manual_seed(0)
    prompts = VPTDeep(FrozenViT(plain), prompts=200).prompts
    bound = math.sqrt(6 / (3 * 4 * 4 + 24))
    assert prompts.abs().max() <= bound
    assert abs(prompts.std().item() - bound / math.sqrt(3)) < 0.02 * bound


def test_dropout_has_a_mask_of_its_own_for_each_sample_and_none_in_eval():
    dropout, prompts = PromptDropout(0.5), torch.ones(4, 32)
    torch.manual_seed(0)
    dropped = dropout(prompts, 3)
    assert dropped.shape == (3, 4, 32)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(dropped[0], dropped[1])
    assert dropout.eval()(prompts, 3) is prompts
