"""Claim: on a processor of AMD's with AVX-512, products with frozen weights take half of MKL's
time, and a training step in float32 is faster by what they are of it.

    python benchmarks/frozen_products.py [--repeats 9] [--json]

One thread. A block's four maps, forward and backward, and steps of three prompt methods, AdamW's
included: `mini_vit`'s size at batch 16, and ViT-S/16 at 224 at batch 4, with random weights. CPU
seconds of the thread, interleaved; medians of repeats, and of their ratios. On another processor
both sides are the same code, and nothing is claimed.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer

from harness.backbones import products
from harness.backbones.vit import FrozenViT
from harness.training.heads import LinearHead, Model
from methods.ivpt import IVPT
from methods.vpt import VPT, VPTDeep

SIZES: dict[str, tuple[dict[str, Any], int, int]] = {
    "mini_vit": (dict(img_size=32, patch_size=5, embed_dim=96, depth=4, num_heads=3), 16, 20),
    "vit_small_patch16_224": (dict(img_size=224, embed_dim=384, depth=12, num_heads=6), 4, 2),
}
"""Architecture, images of a step, and steps of a repeat."""
METHODS: dict[str, Any] = {"vpt-deep": VPTDeep, "vpt": VPT, "ivpt": IVPT}


def step_of(method: Any, batch: int) -> Callable[[], None]:
    model = Model(method, LinearHead(method, 10)).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    side = method.vit.image_size
    images, labels = torch.randn(batch, 3, side, side), torch.randint(10, (batch,))

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()  # pyright: ignore[reportUnknownMemberType]  # torch: no annotation
        optimizer.step()

    return step


def maps_of(vit: FrozenViT, batch: int) -> Callable[[], None]:
    """A block's maps, of all its rows."""
    block = vit.blocks[0]
    maps = [block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2]
    tokens = vit.prefix + vit.image_tokens
    rows = [torch.randn(batch, tokens, one.in_features, requires_grad=True) for one in maps]
    upstream = [torch.randn(batch, tokens, one.out_features) for one in maps]

    def both_ways() -> None:
        for one, given, back in zip(maps, rows, upstream, strict=True):
            torch.autograd.grad(products.mapped(one, given), given, back)

    return both_ways


def measured(
    work: dict[str, Callable[[], None]], steps: int, repeats: int
) -> dict[str, dict[str, float]]:
    gains = products.leaves_avx512_unused
    sides = {"mkl": lambda: False, "onednn": gains}
    found: dict[str, dict[str, list[float]]] = {name: {side: [] for side in sides} for name in work}
    try:
        for _ in range(repeats):
            for name, step in work.items():
                for side, gain in sides.items():
                    products.leaves_avx512_unused = gain
                    step()
                    started = time.thread_time()
                    for _ in range(steps):
                        step()
                    found[name][side].append(1e3 * (time.thread_time() - started) / steps)
    finally:
        products.leaves_avx512_unused = gains
    return {
        name: {
            **{side: statistics.median(times) for side, times in times_of.items()},
            "ratio": statistics.median(
                mkl / onednn for mkl, onednn in zip(*times_of.values(), strict=True)
            ),
        }
        for name, times_of in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for size, (architecture, batch, steps) in SIZES.items():
        vit = FrozenViT(VisionTransformer(**architecture, num_classes=0))
        work = {"a block's maps": maps_of(vit, batch)}
        for name, method in METHODS.items():
            work[name] = step_of(method(vit, prompts=20, dropout=0.0), batch)
        found[size] = measured(work, steps, given.repeats)
    if given.json:
        print(json.dumps({"gains": products.leaves_avx512_unused(), "sizes": found}))
        return
    for size, rows in found.items():
        for name, row in rows.items():
            mkl, onednn, ratio = row["mkl"], row["onednn"], row["ratio"]
            print(f"{size}, {name}: {mkl:.1f} ms by MKL, {onednn:.1f} here: {ratio:.2f} x")


if __name__ == "__main__":
    main()
