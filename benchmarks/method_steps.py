"""Claim: a training step of a method takes what its operations say, beside VPT-Deep's.

    python benchmarks/method_steps.py [--json] [--write] [--batch 4] [--repeats 3] [--threads 2]
    [--methods prompts]

Every method with its defaults on ViT-B/16 at 224 in float32, 100 classes: time of a training step
(penalty and optimiser included), interleaved with VPT-Deep's of 10 prompts, medians; operations of
a step for an image of a batch of 64; and the bytes that a step keeps for its backward pass, frozen
weights aside. All in VPT-Deep's. `--write` puts them into benchmarks/method_steps.json, from which
scripts/methods_page.py makes docs/methods.md.
"""

import argparse
import json
import platform
import statistics
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from harness.backbones.vit import FrozenViT
from harness.planning.variants import Variant, parse
from harness.training.flops import kept_bytes, step_flops
from harness.training.heads import LinearHead, Model
from harness.training.kinds import kind_of
from harness.training.loop import loss_of

CLASSES, SIDE, OF_BATCH = 100, 224, 64
KIND = kind_of("classification")
FILE = Path(__file__).parent / "method_steps.json"
BASE = "vpt-deep"


def model_of(variant: Variant, vit: FrozenViT) -> Model:
    method = variant.build(vit, variant.arguments)
    return Model(method, LinearHead(method, CLASSES)).train()


def kept(model: Model, images: Tensor, labels: Tensor) -> int:
    """Bytes that one step keeps for its backward pass, the model's own tensors aside."""
    own = (*model.parameters(), *model.buffers())
    size = kept_bytes(lambda: loss_of(KIND, model, images, labels).backward(), own)
    model.zero_grad()
    return size


def timed(model: Model, images: Tensor, labels: Tensor) -> float:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.0, momentum=0.9)
    started = time.perf_counter()
    loss_of(KIND, model, images, labels).backward()
    optimizer.step()
    took = time.perf_counter() - started
    model.zero_grad()
    return took


def measure(methods: str, vit: FrozenViT, batch: int, repeats: int) -> dict[str, dict[str, float]]:
    """By method: `flops`, `memory` and `time`, in VPT-Deep's."""
    images = torch.randn(batch, 3, vit.image_size, vit.image_size)
    labels = torch.randint(CLASSES, (batch,))
    (base_variant,) = parse(BASE)
    base = model_of(base_variant, vit)
    cpu = torch.device("cpu")
    of_base = {
        "flops": step_flops(KIND, base, vit.image_size, OF_BATCH, cpu),
        "memory": kept(base, images, labels),
    }
    rows: dict[str, dict[str, float]] = {}
    for variant in parse(methods):
        model = model_of(variant, vit)
        seconds: dict[str, list[float]] = {"own": [], "base": []}
        for repeat in range(repeats + 1):
            for name, one in (("own", model), ("base", base)):
                took = timed(one, images, labels)
                if repeat:  # the first warms up
                    seconds[name].append(took)
        flops = step_flops(KIND, model, vit.image_size, OF_BATCH, cpu)
        rows[variant.label] = {
            "flops": round(flops / of_base["flops"], 3),
            "memory": round(kept(model, images, labels) / of_base["memory"], 3),
            "time": round(
                statistics.median(seconds["own"]) / statistics.median(seconds["base"]), 3
            ),
        }
        del model
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--methods", default="everything")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    vit = FrozenViT(VisionTransformer(img_size=SIDE, num_classes=0))
    found: dict[str, Any] = {
        "measured": {
            "date": date.today().isoformat(),
            "batch": arguments.batch,
            "repeats": arguments.repeats,
            "threads": arguments.threads,
            "processor": platform.processor() or platform.machine(),
            "torch": torch.__version__.split("+")[0],
        },
        "methods": measure(arguments.methods, vit, arguments.batch, arguments.repeats),
    }
    if arguments.write:
        FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    if arguments.json:
        print(json.dumps(found))
        return
    for name, row in found["methods"].items():
        print(
            f"{name}: {row['flops']:.2f} of {BASE}'s FLOPs, {row['time']:.2f} of its time,"
            f" {row['memory']:.2f} of its memory"
        )


if __name__ == "__main__":
    main()
