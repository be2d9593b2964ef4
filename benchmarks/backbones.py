"""Claim: on every family of backbones that takes prompts, a step of our VPT-Deep computes and keeps
less than where prompts are concatenated to the tokens in timm's own blocks.

    python benchmarks/backbones.py [--write] [--families swin] [--batch 4] [--repeats 5] [--note
    TEXT]

50 prompts without dropout on ViT-S/16, DINOv3's, BEiT as wide and deep, and Swin-T: random weights,
224 pixels, 100 classes, float32. Both forms have fused attention, which timm's Swin hasn't unless
it is asked for. FLOPs of a step for an image, in closed form and by torch's counter; CPU seconds of
interleaved steps on one thread, medians; and the bytes that autograd saves in a step, weights
aside, which aren't the process's peak. Ratios are the concatenating form / ours: above 1, ours is
better.

`--write` keeps them in benchmarks/backbones.json.
"""

import argparse
import copy
import json
import math
import platform
import statistics
import time
from datetime import date
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from method_steps import CLASSES, KIND, SIDE, kept, timed
from timm.models.swin_transformer import window_partition, window_reverse
from torch import Tensor

from harness.backbones import families
from harness.backbones.frozen import FrozenBackbone, Read, behind
from harness.backbones.swin import FrozenSwin
from harness.training.flops import step_flops
from harness.training.heads import LinearHead, Model
from methods.vpt import VPTDeep

FILE, PROMPTS = Path(__file__).parent / "backbones.json", 50
BACKBONES: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("vit_small_patch16_224", {}),
    "rope-vit": ("vit_small_patch16_dinov3", {"img_size": SIDE, "dynamic_img_size": False}),
    "beit": ("beit_base_patch16_224", {"embed_dim": 384, "num_heads": 6}),
    "swin": ("swin_tiny_patch4_window7_224", {}),
}
KEPT = {"vit": 1.27, "rope-vit": 1.42, "beit": 1.21, "swin": 1.40}
"""Ratios of bytes at batch 4, counted by hand before anything was measured."""


def made(family: str) -> FrozenBackbone:
    name, other = BACKBONES[family]
    return families.frozen(timm.create_model(name, num_classes=0, **other))


class Concatenated(VPTDeep):
    """VPT-Deep with prompts behind the tokens in timm's own blocks, their outputs dropped: all but
    those of Swin's last block, which are pooled."""

    def __init__(self, vit: FrozenBackbone, prompts: int, dropout: float):
        super().__init__(copy.deepcopy(vit), prompts, dropout)
        for module in self.vit.modules():
            attn: Any = module
            if hasattr(attn, "_get_rel_pos_bias"):  # of places, which prompts haven't
                own = attn._get_rel_pos_bias
                attn._get_rel_pos_bias = lambda own=own: F.pad(own(), (0, prompts, 0, prompts))
            if hasattr(attn, "fused_attn"):
                attn.fused_attn = True

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        tokens = out = self.vit.embed(images)
        given = self._rotations()
        for index, (block, prompts) in enumerate(zip(self.vit.blocks, self.prompts, strict=True)):
            tokens, _ = self.vit.place(index, tokens, None, read)
            joined = behind(tokens, self.dropout(prompts, len(images)))
            swin = isinstance(self.vit, FrozenSwin)
            out = in_windows(block, joined) if swin else block(joined, **given)
            tokens = out[:, : tokens.shape[1]]
        last = out if read.rows == "image+prompts" else tokens
        return [last[:, self.vit.rows(self.vit.depth - 1, read)]]

    def _rotations(self) -> dict[str, Tensor]:
        """Of the image by its places, of prompts by nothing."""
        if self.vit.family != "rope-vit":
            return {}
        sines, cosines = self.vit.vit.rope.get_embed().chunk(2, dim=-1)
        more = (0, 0, 0, self.prompts.shape[1])
        return {"rope": torch.cat([F.pad(sines, more), F.pad(cosines, more, value=1.0)], dim=-1)}


def in_windows(block: Any, joined: Tensor) -> Tensor:
    """timm's Swin block with prompts in every window's attention, which adds to each the mean of
    what it gives there. As `flops`, for windows that divide the grid."""
    grid, shift = block.input_resolution, block.shift_size
    normed, prompts = block.norm1(joined).tensor_split([math.prod(grid)], dim=1)
    image = normed.unflatten(1, grid)
    image = image.roll((-shift[0], -shift[1]), (1, 2)) if any(shift) else image
    windows = window_partition(image, block.window_size).flatten(1, 2)
    every, p = prompts.repeat_interleave(len(windows) // len(prompts), dim=0), prompts.shape[1]
    mask = None if block.attn_mask is None else F.pad(block.attn_mask, (0, p, 0, p))
    mixed = block.attn(torch.cat([windows, every], dim=1), mask)
    inside, others = mixed.tensor_split([windows.shape[1]], dim=1)
    image = window_reverse(inside.unflatten(1, block.window_size), block.window_size, *grid)
    image = image.roll(tuple(shift), (1, 2)) if any(shift) else image
    mean = others.unflatten(0, (len(joined), -1)).mean(1)
    joined = joined + torch.cat([image.flatten(1, 2), mean], dim=1)
    return joined + block.mlp(block.norm2(joined))


def models_of(vit: FrozenBackbone, p: int, dropout: float = 0.0) -> dict[str, Model]:
    """Both forms, with the same weights and prompts."""
    methods = {form: form(vit, prompts=p, dropout=dropout) for form in (Concatenated, VPTDeep)}
    paper, ours = (Model(method, LinearHead(method, CLASSES)) for method in methods.values())
    paper.load_state_dict(ours.state_dict())
    return {"paper": paper.train(), "ours": ours.train()}


def flops(vit: FrozenBackbone, p: int, batch: int, ours: bool, dropout: bool = False) -> int:
    """FLOPs of a training step for an image, with unfused attention, which torch's counter sees.

    In a block of width d, with n rows of the image in windows of a (a column has one window), a row
    costs 2 d^2 each for query, key, value and output, and twice the MLP's weights. Attention of q
    rows on k costs 4 q k d. Backward costs the same for rows, whose weights are frozen, and twice
    for attention.
    """
    read, before, patches = vit.read(), vit.widths[0], vit.vit.patch_embed
    total = 2.0 * patches.proj.weight.numel() * patches.num_patches + 3 * 2 * vit.dim * CLASSES
    for index, block in enumerate(vit.blocks):
        d, last = vit.widths[index], index == vit.depth - 1
        grid = vit.grids[index] if isinstance(vit, FrozenSwin) else (vit.prefix + vit.image_tokens,)
        n = math.prod(grid)
        windows = n // getattr(block.attn, "window_area", n)
        mlp = 2 * sum(weight.numel() for weight in block.mlp.parameters() if weight.ndim == 2)
        # rows that ask: the image's, and prompts in each window
        rows = len(range(n)[vit.rows(index, read)]) if ours and last else n
        asking = p if not ours or (last and read.rows == "image+prompts") else 0
        linear = 4 * d**2 * n + (4 * d**2 + mlp) * rows
        linear += (8 * d**2 * (1 if ours else windows) + mlp) * asking
        if not asking:  # keys and values alone: once a batch, where all images share them
            linear += 4 * d**2 * p / (1 if dropout else batch)
        linear += 8 * before * d * n if d != before else 0  # four neighbours merged
        attention = 4 * (rows + windows * asking) * (n // windows + p) * d
        total += 2 * linear + 3 * attention
        if ours and index == 0:  # the image's queries, keys and values need no gradients
            total -= 6 * d**2 * n + attention / 2
        before = d
    return round(total)


def measure(family: str, batch: int, repeats: int) -> dict[str, Any]:
    """By form: FLOPs for an image in closed form and as counted, seconds, and bytes kept."""
    models, cpu = models_of(vit := made(family), PROMPTS), torch.device("cpu")
    images, labels = torch.randn(batch, 3, SIDE, SIDE), torch.randint(CLASSES, (batch,))
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(repeats + 1):
        for name, model in models.items():
            seconds[name].append(timed(model, images, labels, time.process_time))
    rows: dict[str, Any] = {
        name: {
            "flops": flops(vit, PROMPTS, batch, name == "ours"),
            "counted": step_flops(KIND, model, SIDE, batch, cpu),
            "seconds": round(statistics.median(seconds[name][1:]), 4),  # the first warms up
            "kept": kept(model, images, labels),
        }
        for name, model in models.items()
    }
    return rows


def table(rows: dict[str, Any]) -> str:
    """As benchmarks/README.md has it."""
    names = ("family", "backbone", "GFLOP", "FLOPs", "time", "bytes, predicted", "bytes", "seconds")
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    for family, row in rows.items():
        paper, ours = row["paper"], row["ours"]
        flops, seconds, size = (
            f"{paper[it] / ours[it]:.2f}" for it in ("flops", "seconds", "kept")
        )
        lines.append(
            f"| {family} | `{BACKBONES[family][0]}` | {paper['flops'] / 1e9:.2f} /"
            f" {ours['flops'] / 1e9:.2f} | {flops} | {seconds} | {KEPT[family]:.2f} | {size} |"
            f" {ours['seconds']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--families", nargs="*", default=list(BACKBONES), choices=BACKBONES)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--note", default="", help="what else ran on the machine")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = {family: measure(family, asked.batch, asked.repeats) for family in asked.families}
    print(table(rows))
    if asked.write:
        measured = {
            "date": date.today().isoformat(),
            **{name: getattr(asked, name) for name in ("batch", "repeats", "note")},
            "processor": platform.processor() or platform.machine(),
            "torch": torch.__version__.split("+")[0],
        }
        FILE.write_text(json.dumps({"measured": measured, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
