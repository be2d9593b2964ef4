"""Claim: what a training step takes a GPU follows, within a third, from its operations and bytes.

    python benchmarks/roofline.py [--json] [--card h100] [--methods vpt-deep,ivpt,...]
    [--suite vtab] [--protocol default] [--tflops T --bandwidth GB/S --sms N] [--check]

A model, so that hours can be said for a card that isn't at hand. Every operation of a step of
ViT-B/16 at 224 (bf16 autocast, batch 64, 100 classes) is traced on tensors without values. A matrix
product takes its operations over what the card's tensor cores reach, whole tiles counted;
attention, which fused kernels compute, its operations over a smaller share; anything else the bytes
that it reads and writes over the share of the bandwidth that plain kernels reach; and every kernel
at least `KERNEL` seconds. `hours` are those of a suite by a protocol's schedule, nothing pruned, as
if the CPU queued every kernel in time (recorded steps are: docs/speed.md) and data never made the
GPU wait.

`--check` holds the model to what was measured: device time of a step in benchmarks/gpu.json, and
timm's published throughput of plain ViTs.
"""

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from train_step import forms_of, step

from harness.backbones.vit import FrozenViT
from harness.planning import protocols
from harness.planning.cost import Pace, variant_cost
from harness.planning.search_space import search_size, search_space
from harness.planning.variant import Variant
from harness.planning.variants import parse
from harness.tasks.cards import load_cards, load_suites
from harness.training.heads import LinearHead, Model
from harness.training.kinds import kind_of
from harness.training.step import loss_of

SIDE, BATCH, SCORED, CLASSES = 224, 64, 256, 100
KIND = kind_of("classification")
BACKBONE = "vit_base_patch16_224.orig_in21k"
ATTENTION, ATTENTION_BACKWARD = 0.25, 0.2
"""Shares of the tensor cores' nominal rate that fused attention reaches, forward and backward;
assumed."""
KERNEL = 2e-6
"""Seconds that the shortest kernel takes."""
TILE, LEAST, INNER = (128, 256), 16, 128
"""Rows and columns of a product that a multiprocessor computes at a time, less by powers of two
down to `LEAST` for narrow ones; and the inner length that starting a tile costs as much as."""


@dataclass(frozen=True)
class Card:
    """Nominal rates, from vendors' data sheets: dense bf16 with float32 sums; and the shares of
    them that large matrix products, and kernels that only move bytes, reach."""

    tflops: float
    bandwidth: float
    """GB/s."""
    sms: int
    """Multiprocessors."""
    reached: float
    streamed: float


SERVER, GEFORCE = (0.79, 0.55), (1.0, 0.9)
"""`reached` and `streamed`. Of servers' cards: a square product's as measured on an H200, and what
comes within 7 % of VPT-Deep's step there with 10 prompts. Of GeForce cards: their nominal rates,
which they pass by clocking higher. All other rows of `--check` are predictions."""
CARDS = {
    "a100": Card(312, 2039, 108, *SERVER),  # SXM, 80 GB
    "h100": Card(989, 3350, 132, *SERVER),  # SXM
    "h200": Card(989, 4800, 132, *SERVER),
    "l4": Card(121, 300, 60, *SERVER),
    "l40s": Card(362, 864, 142, *SERVER),
    "rtx4090": Card(165, 1008, 128, *GEFORCE),
    "rtx3090": Card(71, 936, 82, *GEFORCE),
}
PUBLISHED = {
    ("rtx4090", 384): 7693.38,
    ("rtx4090", 768): 2787.15,
    ("rtx3090", 384): 4584.86,
    ("rtx3090", 768): 1570.66,
}
"""Images a second of ViT-S/16 and ViT-B/16 at 224, by width: inference with automatic mixed
precision (float16), eager, batches of 1024, as timm publishes it: its results' files
benchmark-infer-amp-nchw-pt240-cu124-{rtx4090,rtx3090}.csv at commit aa4b585."""


@dataclass
class Counts:
    """What a piece of work does, and what that takes a card."""

    kernels: int = 0
    flop: float = 0.0
    bytes: float = 0.0
    products: float = 0.0
    """Seconds in matrix products."""
    attention: float = 0.0
    memory: float = 0.0
    """Seconds in what only moves bytes."""

    @property
    def seconds(self) -> float:
        return self.products + self.attention + self.memory


@dataclass
class Roofline(TorchDispatchMode):
    """Counts the operations that are dispatched within."""

    card: Card
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self.count(func, args, out)
        return out

    def count(self, func: Any, args: tuple[Any, ...], out: Any) -> None:
        if is_free(func):
            return
        name, card, counts = func.overloadpacket.__name__, self.card, self.counts
        moved = sum(tensor.nbytes for tensor in (*tensors(args), *tensors(out)))
        stream = moved / (card.streamed * card.bandwidth * 1e9)
        counts.kernels += 1
        counts.bytes += moved
        if "attention" in name:
            flop = attention_flop(args, backward="backward" in name)
            share = ATTENTION_BACKWARD if "backward" in name else ATTENTION
            counts.flop += flop
            counts.attention += max(KERNEL, stream, flop / (share * card.tflops * 1e12))
        elif shape := product(name, args, out):
            batch, rows, columns, inner = shape
            flop = 2.0 * batch * rows * columns * inner
            counts.flop += flop
            counts.products += max(KERNEL, stream, product_seconds(shape, card))
        else:
            counts.memory += max(KERNEL, stream)


def is_free(func: Any) -> bool:
    """Whether an operation only looks at a tensor in another way, or only makes room for one."""
    if func.is_view or func.namespace == "prim" or "empty" in func.name():
        return True
    return func.overloadpacket.__name__ in ("detach", "_unsafe_view", "alias", "lift_fresh")


def tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:  # pyright: ignore[reportUnknownVariableType]
            yield from tensors(one)


def product(name: str, args: tuple[Any, ...], out: Any) -> tuple[int, int, int, int] | None:
    """Of a matrix product: batch, rows, columns and inner length."""
    if name in ("mm", "bmm"):
        *batch, rows, inner = args[0].shape
        return math.prod(batch), rows, args[1].shape[-1], inner
    if name in ("addmm", "baddbmm"):
        *batch, rows, inner = args[1].shape
        return math.prod(batch), rows, args[2].shape[-1], inner
    if name == "convolution":  # of patches: a product with their pixels
        images, channels, *places = out.shape
        return 1, images * math.prod(places), channels, math.prod(args[1].shape[1:])
    return None


def product_seconds(shape: tuple[int, int, int, int], card: Card) -> float:
    """Tiles are computed by all multiprocessors at once; those of the last round may idle."""
    batch, rows, columns, inner = shape
    high, wide = (
        min(most, max(LEAST, 2 ** math.ceil(math.log2(length))))
        for most, length in zip(TILE, (rows, columns), strict=True)
    )
    tiles = batch * math.ceil(rows / high) * math.ceil(columns / wide)
    rounds = math.ceil(tiles / card.sms)
    flop = 2.0 * high * wide * (inner + INNER) * card.sms * rounds
    return flop / (card.reached * card.tflops * 1e12)


def attention_flop(args: tuple[Any, ...], backward: bool) -> float:
    """Two products of queries and keys forward; five, one of them computed again, backward."""
    query, key = args[1:3] if backward else args[:2]
    images, heads, queries, width = query.shape
    return 2.0 * images * heads * queries * key.shape[-2] * width * (5 if backward else 2)


def counted(work: Callable[[], object], card: Card) -> Counts:
    """Of `work` on tensors that have shapes and types alone, in bf16 where autocast says so."""
    with torch.autocast("cpu", torch.bfloat16), Roofline(card) as found:
        work()
    return found.counts


def without_values() -> FakeTensorMode:
    """Within, tensors have shapes and types alone; those of models that are there too."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def random_images(count: int) -> tuple[Tensor, Tensor]:
    return torch.randn(count, 3, SIDE, SIDE), torch.zeros(count, dtype=torch.long)


def vit(width: int = 768, depth: int = 12) -> VisionTransformer:
    return VisionTransformer(
        img_size=SIDE, embed_dim=width, depth=depth, num_heads=width // 64, num_classes=0
    )


def of_method(variant: Variant, card: Card, width: int = 768) -> tuple[Counts, Counts]:
    """A training step of `BATCH` images, the optimiser's aside; and scoring `SCORED`."""
    method = variant.build(FrozenViT(vit(width)), variant.arguments)
    model = Model(method, LinearHead(method, CLASSES)).train()
    with without_values():

        def train() -> None:
            images, labels = random_images(BATCH)
            loss_of(KIND, model, images, labels).backward()  # pyright: ignore[reportUnknownMemberType]  # torch: no annotation

        def score() -> None:
            with torch.no_grad():
                model.eval()(random_images(SCORED)[0])

        return counted(train, card), counted(score, card)


def predicted(variant: Variant, card: Card) -> dict[str, Any]:
    """A row: what a step and its scoring do, and take."""
    train, score = of_method(variant, card)
    return {
        "method": variant.label,
        "kernels": train.kernels,
        "tflop": train.flop / 1e12,
        "gigabytes": train.bytes / 1e9,
        "products_ms": 1e3 * train.products,
        "attention_ms": 1e3 * train.attention,
        "memory_ms": 1e3 * train.memory,
        "step_ms": 1e3 * train.seconds,
        "scored_ms": 1e3 * score.seconds,
    }


def hours(variant: Variant, row: dict[str, Any], suite: str, protocol: str) -> float:
    """Of all tasks of a suite, one job after another, no trial pruned, on one card."""
    pace = Pace(row["step_ms"] / 1e3 / BATCH, row["scored_ms"] / 1e3 / SCORED)
    cards, chosen, total = load_cards(), protocols.load(protocol), 0.0
    for name in load_suites()[suite].tasks:
        card = cards[name]
        settings = chosen.of(card.kind).for_cell(variant, suite, BACKBONE, card.train_on)
        trials = search_size(search_space(variant, settings), settings)
        total += pace.hours(variant_cost(variant, card, settings, trials, len(settings.seeds)))
    return total


def measured() -> Iterator[dict[str, Any]]:
    """Device time of steps on an H200, and timm's throughput, beside what is predicted for them."""
    rows = json.loads((Path(__file__).parent / "gpu.json").read_text(encoding="utf-8"))["rows"]
    for row in rows:
        for form in ("paper", "ours", "ivpt"):
            seconds = of_form(form, row["p"], CARDS["h200"]).seconds
            yield compared(f"{form}, p = {row['p']}, H200", 1e3 * seconds, row[form]["device_ms"])
    for (name, width), rate in PUBLISHED.items():  # ViT-S has half of ViT-B's width
        seconds = plain(width, CARDS[name]).seconds
        label = f"ViT-{'S' if width == 384 else 'B'}/16 scored, {name}"
        yield compared(label, 1e3 * seconds, 1e3 * 1024 / rate)


def compared(what: str, predicted_ms: float, measured_ms: float) -> dict[str, Any]:
    return {
        "what": what,
        "predicted_ms": predicted_ms,
        "measured_ms": measured_ms,
        "ratio": predicted_ms / measured_ms,
    }


def of_form(name: str, p: int, card: Card) -> Counts:
    """A step of one of train_step.py's forms, as gpu.py times it."""
    forward = forms_of(vit(), p)[name]
    with without_values():
        images, labels = random_images(BATCH)
        return counted(lambda: step(forward, images, labels), card)


def plain(width: int, card: Card) -> Counts:
    """timm's own model with its classifier, in inference."""
    model = VisionTransformer(img_size=SIDE, embed_dim=width, num_heads=width // 64).eval()
    with without_values(), torch.no_grad():
        images, _ = random_images(1024)
        return counted(lambda: model(images), card)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--card", choices=sorted(CARDS), default="h100")
    parser.add_argument("--methods", default="linear,vpt,vpt-deep,ivpt,lora,full")
    parser.add_argument("--suite", default="vtab")
    parser.add_argument("--protocol", default="default")
    parser.add_argument("--tflops", type=float, help="of another card: dense bf16")
    parser.add_argument("--bandwidth", type=float, help="of another card, in GB/s")
    parser.add_argument("--sms", type=int, help="of another card: its multiprocessors")
    parser.add_argument("--check", action="store_true", help="against what was measured")
    chosen = parser.parse_args()
    if chosen.check:
        rows = list(measured())
    else:
        given = {name: getattr(chosen, name) for name in ("tflops", "bandwidth", "sms")}
        card = Card(
            **{**asdict(CARDS[chosen.card]), **{k: v for k, v in given.items() if v is not None}}
        )
        rows = []
        for variant in parse(chosen.methods):
            row = predicted(variant, card)
            rows.append(row | {"hours": hours(variant, row, chosen.suite, chosen.protocol)})
    if chosen.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        cells = (
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in row.items()
        )
        print(", ".join(cells))


if __name__ == "__main__":
    main()
