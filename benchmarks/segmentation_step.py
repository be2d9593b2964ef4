"""Claim: one ADE20K step at its real size, ViT-L/16 on a 512 crop with SETR-PUP, runs on a CPU. And
what the whole recipe asks of a GPU.

    python benchmarks/segmentation_step.py [--json] [--prompts 10] [--tflops 400]

Random weights, batch 1, float32: loss, seconds and the process's peak memory of one training step
of VPT-Deep. FLOPs are counted by PyTorch's FlopCounterMode on tensors without memory, attention
unfused so that the counter sees into it: of our form, of the concatenating form, and of the head
alone. `gpu_hours`: those FLOPs over --tflops, what a GPU is supposed to reach of its peak; a
prediction, not a measurement.
"""

import argparse
import json
import resource
import time
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from harness.backbones.frozen import Read
from harness.backbones.vit import FrozenViT
from harness.planning import protocols
from harness.planning.cost import cell_cost
from harness.planning.protocols import Segmentation as Table
from harness.tasks.cards import load_cards
from harness.training.heads import Model, SetrPup
from harness.training.method import Method
from harness.training.recipe import new_optimizer
from harness.training.segmentation import Segmentation, SegmentationRecipe
from methods.linear import Linear
from methods.vpt import VPTDeep

CARD = load_cards()["ade20k"]


class Concatenated(VPTDeep):
    """The paper's form: prompts are rows of every block like any other, and their outputs are
    dropped."""

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        tokens, found = self.vit.embed(images), []
        for index, prompts in enumerate(self.prompts):
            tokens = self.vit.block(
                index, torch.cat([tokens, prompts.expand(len(tokens), -1, -1)], 1)
            )[:, : tokens.shape[1]]
            if index in read.blocks:
                found.append(tokens[:, self.vit.prefix :])
        return found


def large(**more: Any) -> FrozenViT:
    """ViT-L/16 with random weights, for crops of the card's size."""
    vit = VisionTransformer(
        **{**dict(patch_size=16, embed_dim=1024, depth=24, num_heads=16, num_classes=0), **more}
    )
    return FrozenViT(vit).at(CARD.crop or 512)


def model_of(method: type[Method], vit: FrozenViT, **arguments: Any) -> Model:
    return Model(method(vit, **arguments), SetrPup(vit, CARD.classes))


def step(model: Model, crops: int = 1, optimizer: torch.optim.Optimizer | None = None) -> Tensor:
    """Forward, loss and backward; and the optimiser's step."""
    vit, device = model.method.vit, next(model.parameters()).device
    images = torch.randn(crops, 3, vit.image_size, vit.image_size, device=device)
    masks = torch.randint(CARD.classes, (crops, vit.image_size, vit.image_size), device=device)
    found = Segmentation().loss(model.train()(images), masks)
    found.backward()
    if optimizer is not None:
        optimizer.step()
    return found.detach()


def flops(method: type[Method], **arguments: Any) -> tuple[int, int]:
    """Of a training step on one crop, and of scoring one window."""
    with torch.device("meta"):
        model = model_of(method, large(), **arguments)
    counts = []
    for work in (lambda: step(model), lambda: scored(model)):
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            work()
        counts.append(counter.get_total_flops())
    return counts[0], counts[1]


def scored(model: Model) -> None:
    side = model.method.vit.image_size
    model.requires_grad_(False)  # which FlopCounterMode wants in place of no_grad
    with torch.no_grad():
        model.eval()(torch.randn(1, 3, side, side, device=next(model.parameters()).device))


def recipe_of(protocol: Table) -> SegmentationRecipe:
    names = (name for name in SegmentationRecipe.names() if hasattr(protocol, name))
    return SegmentationRecipe(**{name: getattr(protocol, name) for name in names})


def measure(prompts: int, tflops: float, **more: Any) -> dict[str, Any]:
    """All figures. `more` makes a smaller ViT."""
    protocol = protocols.load("vpt").of("segmentation")
    assert isinstance(protocol, Table)
    torch.manual_seed(0)
    model = model_of(VPTDeep, large(**more), prompts=prompts)
    optimizer = new_optimizer(model, recipe_of(protocol))
    started = time.perf_counter()
    found = step(model, optimizer=optimizer).item()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rows = {"linear": flops(Linear)} | {
        f"vpt-deep, {p} prompts": flops(VPTDeep, prompts=p) for p in (10, 50, 100)
    }
    paper = {p: flops(Concatenated, prompts=p)[0] for p in (10, 50, 100)}
    hours = {}
    for name, (train, score) in rows.items():
        run = cell_cost(CARD, protocol, 0, 1, False)
        hours[name] = (run.train * train + run.scored * score) / (tflops * 1e12) / 3600
    return {
        "loss": found,
        "seconds": seconds,
        "peak_memory": peak,
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "tflops_a_crop": {name: train / 1e12 for name, (train, _) in rows.items()},
        "tflops_a_window": {name: score / 1e12 for name, (_, score) in rows.items()},
        "paper_form_over_ours": {p: paper[p] / rows[f"vpt-deep, {p} prompts"][0] for p in paper},
        "gpu_hours_a_final_run": hours,
        "reached_tflops": tflops,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--prompts", type=int, default=10)
    parser.add_argument("--tflops", type=float, default=400.0)
    arguments = parser.parse_args()
    found = measure(arguments.prompts, arguments.tflops)
    if arguments.json:
        print(json.dumps(found))
        return
    print(
        f"one step: loss {found['loss']:.3f}, {found['seconds']:.1f} s, peak memory"
        f" {found['peak_memory'] / 2**30:.2f} GiB"
    )
    for name, train in found["tflops_a_crop"].items():
        window, hours = found["tflops_a_window"][name], found["gpu_hours_a_final_run"][name]
        print(
            f"{name}: {train:.2f} TFLOP a crop, {window:.2f} a window; at {arguments.tflops:.0f}"
            f" TFLOP/s {hours:.1f} h a final run"
        )
    for p, ratio in found["paper_form_over_ours"].items():
        print(f"{p} prompts: the concatenating form takes {ratio:.3f} x our FLOPs")


if __name__ == "__main__":
    main()
