"""Claim: a training step of a method takes what its operations say, between a linear probe's and
full fine-tuning's.

    python benchmarks/method_steps.py [--json] [--write] [--methods everything] [--batch 4]
    [--repeats 3] [--threads 2] [--width 768] [--note TEXT]

Every registered method with its defaults, 100 classes. Counted, on ViT-B/16 at 224: GFLOP of an
image, in a training step at batch 64 and in scoring, by torch's counter. Measured, in float32 at
`--width` (384: ViT-S/16): seconds of a training step (penalty and optimiser included), interleaved
with `linear`'s and `full`'s of the same batch, medians, in theirs; and the bytes that a step keeps
for its backward pass, weights aside, in `full`'s. `--repeats 0` only counts.

`--write` puts them into benchmarks/method_steps.json, from which scripts/methods_page.py makes
docs/methods.md; methods that `--methods` doesn't name keep their numbers there.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from harness.backbones.vit import FrozenViT
from harness.planning.registry import registered
from harness.planning.variant import Variant
from harness.planning.variants import carried, one, parse
from harness.training.flops import kept_bytes, scored_flops, step_flops
from harness.training.heads import LinearHead, Model
from harness.training.kinds import kind_of
from harness.training.step import loss_of

CLASSES, SIDE, OF_BATCH, WIDTH = 100, 224, 64, 768
KIND = kind_of("classification")
FILE = Path(__file__).parent / "method_steps.json"
BASES = ("linear", "full")
META = torch.device("meta")


def backbone(width: int = WIDTH) -> FrozenViT:
    """ViT-B/16, or one of another width with heads of the same size."""
    return FrozenViT(
        VisionTransformer(img_size=SIDE, embed_dim=width, num_heads=width // 64, num_classes=0)
    )


def model_of(variant: Variant, vit: FrozenViT) -> Model:
    method = variant.build(vit, variant.arguments)
    return Model(method, LinearHead(method, CLASSES)).train()


def counted(variant: Variant) -> dict[str, float]:
    """GFLOP of an image on ViT-B/16: without computing them, unless what the method does depends on
    values."""
    try:
        with META:
            return _counted(model_of(variant, backbone()), META)
    except (RuntimeError, NotImplementedError):
        return _counted(model_of(variant, backbone()), torch.device("cpu"))


def _counted(model: Model, device: torch.device) -> dict[str, float]:
    flops = {
        "gflop": step_flops(KIND, model, SIDE, OF_BATCH, device),
        "gflop_scored": scored_flops(model, SIDE, KIND.scored_together, device),
    }
    return {name: round(value / 1e9, 2) for name, value in flops.items()}


def kept(model: Model, images: Tensor, labels: Tensor) -> int:
    """Bytes that one step keeps for its backward pass, the model's own tensors aside."""
    own = (*model.parameters(), *model.buffers())
    size = kept_bytes(lambda: loss_of(KIND, model, images, labels).backward(), own)
    model.zero_grad()
    return size


def timed(
    model: Model,
    images: Tensor,
    labels: Tensor,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.0, momentum=0.9)
    started = clock()
    loss_of(KIND, model, images, labels).backward()
    optimizer.step()
    took = clock() - started
    model.zero_grad()
    return took


class Timing:
    """Steps of methods beside those of a linear probe and of full fine-tuning."""

    def __init__(self, vit: FrozenViT, batch: int, repeats: int):
        self.vit, self.repeats = vit, repeats
        self.images = torch.randn(batch, 3, SIDE, SIDE)
        self.labels = torch.randint(CLASSES, (batch,))
        self.bases = {name: model_of(one(name), vit) for name in BASES}
        self.most = kept(self.bases["full"], self.images, self.labels)

    def of(self, variant: Variant) -> dict[str, float]:
        models = {"own": model_of(variant, self.vit), **self.bases}
        seconds: dict[str, list[float]] = {name: [] for name in models}
        for repeat in range(self.repeats + 1):
            for name, model in models.items():
                took = timed(model, self.images, self.labels)
                if repeat:  # the first warms up
                    seconds[name].append(took)
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        size = kept(models["own"], self.images, self.labels)
        return {
            **{f"time_{name}": round(medians["own"] / medians[name], 3) for name in BASES},
            "memory": round(size / self.most, 3),
        }


def measure(
    methods: str, width: int, batch: int, repeats: int, told: bool = False
) -> dict[str, dict[str, float]]:
    """By method: `gflop` and `gflop_scored` of an image; `time_linear` and `time_full`, in theirs;
    `memory`, in `full`'s."""
    timing = Timing(backbone(width), batch, repeats) if repeats else None
    rows: dict[str, dict[str, float]] = {}
    with META:
        variants, without = carried(parse(methods), [backbone()])
    for line in without:
        print(line, file=sys.stderr)
    for variant in variants:
        rows[variant.label] = counted(variant) | (timing.of(variant) if timing else {})
        if told:
            said = ", ".join(f"{name} {value:g}" for name, value in rows[variant.label].items())
            print(f"{variant.label}: {said}", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--methods", default="everything")
    parser.add_argument("--note", default="", help="what else ran on the machine")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    rows = measure(asked.methods, asked.width, asked.batch, asked.repeats, told=not asked.json)
    found: dict[str, Any] = {
        "measured": {
            "date": date.today().isoformat(),
            **{name: getattr(asked, name) for name in ("batch", "repeats", "threads", "width")},
            "note": asked.note,
            "processor": platform.processor() or platform.machine(),
            "torch": torch.__version__.split("+")[0],
        },
        "methods": rows,
    }
    if asked.write:
        before = json.loads(FILE.read_text()) if FILE.exists() else {"methods": {}}
        measured = found["measured"] if asked.repeats else before.get("measured", {})
        kept_rows = {name: row for name, row in before["methods"].items() if name in registered()}
        merged = kept_rows | {name: kept_rows.get(name, {}) | row for name, row in rows.items()}
        text = json.dumps({"measured": measured, "methods": merged}, indent=1, sort_keys=True)
        FILE.write_text(text + "\n")
    if asked.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
