"""Claim: on a GPU a training step that is replayed as one CUDA graph takes what the device works on
it; queued kernel by kernel, a small model's takes what the queueing takes.

    python benchmarks/replay.py [--write] [--batch 64] [--repeats 30] [--methods vpt-deep ivpt]

Forward, backward and the optimiser's step of a run (`harness.training.replay.Steps`) in bf16, on
images that are on the device: the suite's own mini_vit at 32 pixels, ViT-S/16 and ViT-B/16 with
random weights at 224. Milliseconds of interleaved steps, each waited for, medians; `ratio`: queued
/ replayed, above 1 the graph is better; `memory`: the most that the process has allocated after
each, without the images; `equal`: whether both runs have the same weights after the same steps, to
the last bit. What a GPU-less machine can say of this is in tests/harness/training/test_replay.py.

`--write` keeps them in benchmarks/replay.json.
"""

import argparse
import copy
import json
import statistics
import sys
from datetime import date
from pathlib import Path
from typing import Any

import torch
from gpu import seconds
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from harness.backbones.vit import FrozenViT
from harness.planning.variants import parse
from harness.training import replay
from harness.training.classification import Classification, ClassificationRecipe
from harness.training.heads import LinearHead, Model
from harness.training.recipe import new_optimizer
from harness.training.replay import Steps
from harness.training.seeds import seed_all

FILE, CLASSES, STEPS = Path(__file__).parent / "replay.json", 100, 8
SIZES: dict[str, dict[str, int]] = {
    "mini_vit": {"img_size": 32, "patch_size": 5, "embed_dim": 96, "depth": 4, "num_heads": 3},
    "ViT-S/16": {"embed_dim": 384, "num_heads": 6},
    "ViT-B/16": {},
}


class OnDevice:
    """Images whose every batch is the same one."""

    def __init__(self, batch: int, side: int, device: torch.device):
        self.images = torch.randn(batch, 3, side, side, device=device)
        self.labels = torch.randint(CLASSES, (batch,), device=device)

    def batch(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        return self.images, self.labels


def run_of(name: str, vit: VisionTransformer, batch: int, queued: bool) -> tuple[Any, Model, Steps]:
    """A function that trains for one step, the model, and what makes its steps."""
    seed_all(0)
    device = torch.device("cuda")
    (variant,) = parse(f"{name}()")
    method = variant.build(FrozenViT(copy.deepcopy(vit)), variant.arguments)
    model = Model(method, LinearHead(method, CLASSES)).to(device).train()
    recipe = ClassificationRecipe(
        optimizer="sgd",
        base_lr=0.1,
        weight_decay=0.001,
        batch_size=batch,
        epochs=1,
        warmup_epochs=0,
    )
    train = OnDevice(batch, vit.patch_embed.img_size[0], device)  # type: ignore[index]
    steps = Steps(Classification(), model, train, recipe, device)
    if queued:
        steps.refused = "it is compared with"
    optimizer, rows = new_optimizer(model, recipe), torch.arange(batch)

    def step() -> None:
        steps(rows)
        optimizer.step()

    return step, model, steps


def measure(name: str, size: str, batch: int, repeats: int) -> dict[str, Any]:
    torch.manual_seed(0)
    vit = VisionTransformer(num_classes=0, **SIZES[size]).eval()  # type: ignore[arg-type]
    runs, memory = {}, {}
    for form in ("queued", "replayed"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        runs[form] = run_of(name, vit, batch, form == "queued")
        for _ in range(replay.WARM_UP + replay.COMPARED + STEPS):
            runs[form][0]()
        memory[form] = torch.cuda.max_memory_allocated() - before
    values = [
        torch.cat([p.detach().flatten() for p in model.parameters()])
        for _, model, _ in runs.values()
    ]
    times: dict[str, list[float]] = {form: [] for form in runs}
    for _ in range(repeats):
        for form, (step, *_) in runs.items():
            times[form].append(1e3 * seconds(step, torch.device("cuda")))
    medians = {form: statistics.median(of) for form, of in times.items()}
    return {
        "method": name,
        "backbone": size,
        "refused": runs["replayed"][2].refused,
        **{f"{form}_ms": round(value, 3) for form, value in medians.items()},
        "ratio": round(medians["queued"] / medians["replayed"], 2),
        "memory": memory,
        "equal": torch.equal(*values),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--methods", nargs="*", default=["vpt-deep", "ivpt", "lora"])
    parser.add_argument("--backbones", nargs="*", choices=SIZES, default=list(SIZES))
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("replay.py needs a CUDA device, and torch sees none here.")
    rows = []
    for size in arguments.backbones:
        for name in arguments.methods:
            rows.append(measure(name, size, arguments.batch, arguments.repeats))
            print(json.dumps(rows[-1]), flush=True)
    if arguments.write:
        facts = {
            "device": torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "date": date.today().isoformat(),
            "batch": arguments.batch,
        }
        FILE.write_text(json.dumps(facts | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
