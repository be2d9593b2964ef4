"""Twenty steps of VPT-Deep by the engine, and by a plain loop over the paper's concatenating form:
the same prompts and head."""

from typing import Any

import oracle
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from harness.backbones.vit import FrozenViT
from harness.engine.method_checks.subject import Images
from harness.training.classification import Classification, ClassificationRecipe
from harness.training.heads import LinearHead, Model
from harness.training.loop import fit
from methods.vpt import VPTDeep


def test_twenty_steps_of_sgd_are_those_of_the_papers_form(plain: VisionTransformer):
    rng = torch.Generator().manual_seed(1)
    data = Images(
        torch.randn(20, 3, 16, 16, dtype=torch.float64, generator=rng),
        torch.randint(4, (20,), generator=rng),
    )
    recipe = ClassificationRecipe(
        optimizer="sgd", base_lr=6.4, weight_decay=0.01, batch_size=5, epochs=5, warmup_epochs=2
    )
    built = []

    def build() -> Model:
        model = Model(
            method := VPTDeep(FrozenViT(plain), prompts=3, dropout=0.0),
            LinearHead(method, 4),
        ).double()
        built.append(model)
        return model

    list(
        fit(
            Classification(),
            build,
            data,
            data,
            recipe,
            seed=7,
            device=torch.device("cpu"),
            score_at=(),
        )
    )

    torch.manual_seed(7)
    reference: Any = build()
    prompts, head = reference.method.prompts, reference.head.linear
    order = torch.Generator().manual_seed(7)
    decayed = {"params": [prompts, head.weight], "weight_decay": 0.01}
    optimizer = torch.optim.SGD(
        [decayed, {"params": [head.bias], "weight_decay": 0.0}], lr=0.1, momentum=0.9
    )
    steps = 0
    for epoch in range(5):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr(epoch)
        for index in torch.randperm(20, generator=order).split(5):
            logits = head(
                oracle.pooled(plain, oracle.vpt_deep(plain, data.images[index], list(prompts)))
            )
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits, data.labels[index]).backward()
            optimizer.step()
            steps += 1
    assert steps == 20
    trained: Any = built[0]
    for ours, theirs in (
        (trained.method.prompts, prompts),
        (trained.head.linear.weight, head.weight),
        (trained.head.linear.bias, head.bias),
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    start = VPTDeep(FrozenViT(plain), prompts=3).double().prompts
    assert not torch.allclose(prompts, start)
