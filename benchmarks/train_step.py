"""Claim: our training step is the paper's VPT-Deep, made faster by leaving out what it throws away.

    python benchmarks/train_step.py [--json] [--batch 16] [--repeats 5] [--threads 2] [--prompts 10
    50] [--dropout 0 0.1]

Ours against the paper's concatenating form (the oracle of the tests: timm's own blocks, with fused
attention as well), ViT-B/16 at 224 in float32, prompts p in {1, 10, 50, 100, 200}, without and with
prompt dropout, which makes our prompts' keys and values another for each image; interleaved
repeats, medians. `flop_ratio` is counted in closed form at batch 64 (docs/speed.md) and held
against torch's own counter by a test. `memory_ratio` is of the bytes that a step keeps for its
backward pass, frozen weights aside. Ratios are paper / ours: above 1, ours is better.
`ivpt_over_vpt_deep` is iVPT's time over VPT-Deep's, both ours.
"""

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from harness.backbones.vit import FrozenViT
from harness.training.flops import kept_bytes
from harness.training.heads import LinearHead, Model
from harness.training.method import Method
from methods.ivpt import IVPT
from methods.vpt import PROMPT_DROPOUT, VPTDeep

PROMPTS = (1, 10, 50, 100, 200)
DROPOUTS = (0.0, PROMPT_DROPOUT)


def oracle():
    spec = importlib.util.spec_from_file_location(
        "oracle", Path(__file__).parents[1] / "tests" / "support" / "oracle.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def flops(
    p: int,
    batch: int,
    ours: bool,
    dropout: bool = False,
    dim: int = 768,
    depth: int = 12,
    image: int = 196,
) -> float:
    """FLOPs of a training step for one image, head aside. A row costs 24 d^2 forward, attention of
    q queries on k keys 4 q k d.

    Backward costs the same for rows (activations only: weights are frozen) and twice for attention.
    With prompt dropout each image has prompts of its own.
    """
    rows, total = 1 + image, 0.0
    for block in range(depth):
        if not ours:
            tokens = rows + p
            total += 2 * 24 * dim**2 * tokens + 3 * 4 * tokens**2 * dim
            continue
        queries = 1 if block == depth - 1 else rows
        # keys and values of all rows; query, output and MLP of those that are read
        linear = 4 * dim**2 * rows + 20 * dim**2 * queries
        # the prompts' keys and values, once a batch where they are the same for all
        shared = 4 * dim**2 * p / (1 if dropout else batch)
        # gradients for queries, keys and values of the first block's image tokens
        not_needed = 6 * dim**2 * rows if block == 0 else 0.0
        total += 2 * (linear + shared) - not_needed + 3 * 4 * queries * (rows + p) * dim
    return total


def forward_flops(p: int, dim: int = 768, depth: int = 12, image: int = 196) -> float:
    """FLOPs of scoring one image in our form, head and the prompts' own rows aside."""
    rows, last = 1 + image, 4 * (1 + image + p) * dim  # the last block: one query
    return (depth - 1) * (24 * dim**2 * rows + last * rows) + 4 * dim**2 * rows + 20 * dim**2 + last


def step(forward: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> None:
    torch.nn.functional.cross_entropy(forward(images), labels).backward()


def forms_of(
    vit: VisionTransformer, p: int, dropout: float = 0.0
) -> dict[str, Callable[[Tensor], Tensor]]:
    """The paper's form of VPT-Deep, ours of the same model, and iVPT: images to logits, with `p`
    prompts, where `vit` is."""
    frozen, paper = FrozenViT(vit), oracle()
    device = next(vit.parameters()).device
    models = (
        Model(method(frozen, prompts=p, dropout=dropout), LinearHead(Method(frozen), 100))
        for method in (VPTDeep, IVPT)
    )
    deep, ivpt = (model.train().to(device) for model in models)

    def concatenated(x: Tensor) -> Tensor:
        method: Any = deep.method
        head: Any = deep.head
        prompts = [method.dropout(own, len(x)) for own in method.prompts]
        return head.linear(paper.pooled(vit, paper.vpt_deep(vit, x, prompts)))

    return {"paper": concatenated, "ours": deep, "ivpt": ivpt}


def measure(
    vit: VisionTransformer, p: int, dropout: float, batch: int, repeats: int
) -> dict[str, float]:
    images, labels = torch.randn(batch, 3, 224, 224), torch.randint(100, (batch,))
    forms = forms_of(vit, p, dropout)
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for repeat in range(repeats + 1):
        for name, forward in forms.items():
            started = time.perf_counter()
            step(forward, images, labels)
            if repeat:
                seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    own = [*vit.parameters()]
    for form in forms.values():
        own += form.parameters() if isinstance(form, nn.Module) else []
    kept = {
        name: kept_bytes(partial(step, forms[name], images, labels), own)
        for name in ("paper", "ours")
    }
    return {
        "p": p,
        "dropout": dropout,
        "time_ratio": medians["paper"] / medians["ours"],
        "flop_ratio": flops(p, 64, ours=False) / flops(p, 64, ours=True, dropout=dropout > 0),
        "memory_ratio": kept["paper"] / kept["ours"],
        "ivpt_over_vpt_deep": medians["ivpt"] / medians["ours"],
        "seconds_ours": medians["ours"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompts", type=int, nargs="*", default=PROMPTS)
    parser.add_argument("--dropout", type=float, nargs="*", default=DROPOUTS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    vit = VisionTransformer(num_classes=0)
    rows = []
    for p in arguments.prompts:
        for dropout in arguments.dropout:
            rows.append(measure(vit, p, dropout, arguments.batch, arguments.repeats))
            if not arguments.json:
                print(
                    ", ".join(f"{name} {value:.3g}" for name, value in rows[-1].items()), flush=True
                )
    if arguments.json:
        print(
            json.dumps(
                {
                    "rows": rows,
                    "batch": arguments.batch,
                    "threads": arguments.threads,
                    "torch": torch.__version__,
                }
            )
        )


if __name__ == "__main__":
    main()
