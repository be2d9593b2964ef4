"""Pretrain `mini_vit`, the backbone of the mini suite: supervised, on 49,000 CIFAR-10 images at 32
x 32.

    python scripts/pretrain_mini_vit.py cifar10-train.zip harness/weights/mini_vit.safetensors

The archive holds one folder a class with one JPEG an image. The last image of every ten is held out
to state an accuracy; the recipe (below) was fixed before the mini tasks were looked at. The run is
seeded; on another machine or torch version the weights differ in their last digits, which is why
the shipped file, not this script, is what results are keyed by.
"""

import argparse
import io
import json
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

ARCHITECTURE = dict(img_size=32, patch_size=5, embed_dim=96, depth=4, num_heads=3, num_classes=0)
# ImageNet's, as for every backbone of the protocol
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH, PEAK_LR, WEIGHT_DECAY, WARMUP_EPOCHS, SMOOTHING, GREY = 250, 2e-3, 0.05, 2, 0.1, 0.2


def read(archive: Path) -> tuple[Tensor, Tensor, list[str]]:
    """uint8 images (n, 3, 32, 32), labels (n,), class names; ordered by file name, which is the
    order of the archive's folders."""
    with zipfile.ZipFile(archive) as zipped:
        names = sorted(name for name in zipped.namelist() if name.endswith(".jpg"))
        classes = sorted({name.split("/")[-2] for name in names})
        images = [
            np.asarray(Image.open(io.BytesIO(zipped.read(name))).convert("RGB")) for name in names
        ]
    labels = [classes.index(name.split("/")[-2]) for name in names]
    return (
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(),
        torch.tensor(labels),
        classes,
    )


def normalise(images: Tensor) -> Tensor:
    return (images.float() / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[
        :, None, None
    ]


def augment(images: Tensor, rng: torch.Generator) -> Tensor:
    """Random crop after a reflected border of 4, horizontal flip, and grey for one image in five;
    per image, as one gather."""
    n = len(images)
    padded = F.pad(images.float(), (4, 4, 4, 4), mode="reflect").to(torch.uint8)
    top, left = (torch.randint(0, 9, (2, n, 1), generator=rng)).unbind(0)
    rows, cols = top + torch.arange(32), left + torch.arange(32)
    cols = torch.where(torch.rand(n, 1, generator=rng) < 0.5, cols.flip(1), cols)
    crop = padded[torch.arange(n)[:, None, None], :, rows[:, :, None], cols[:, None, :]].permute(
        0, 3, 1, 2
    )
    grey = crop.float().mean(1, keepdim=True).to(torch.uint8).expand_as(crop)
    return torch.where(torch.rand(n, 1, 1, 1, generator=rng) < GREY, grey, crop)


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.eval()
    hits = sum(
        (model(normalise(x)).argmax(1) == y).sum().item()
        for x, y in zip(images.split(500), labels.split(500), strict=True)
    )
    return 100 * hits / len(labels)


def save(vit: VisionTransformer, output: Path, facts: dict) -> None:
    save_file(
        {name: value.half().contiguous() for name, value in vit.state_dict().items()},
        output,
        {"recipe": json.dumps(facts)},
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    rng = torch.Generator().manual_seed(arguments.seed)
    images, labels, classes = read(arguments.archive)
    held_out = torch.arange(len(labels)) % 10 == 9
    train_x, train_y, test_x, test_y = (
        images[~held_out],
        labels[~held_out],
        images[held_out],
        labels[held_out],
    )

    vit = VisionTransformer(**ARCHITECTURE)  # type: ignore[arg-type]
    model = nn.Sequential(vit, nn.Linear(vit.embed_dim, len(classes)))
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}]
    )
    steps = len(train_y) // BATCH
    total, warmup = arguments.epochs * steps, WARMUP_EPOCHS * steps
    started, step = time.monotonic(), 0
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    for epoch in range(arguments.epochs):
        model.train()
        for index in torch.randperm(len(train_y), generator=rng)[: steps * BATCH].split(BATCH):
            rate = min(
                step / warmup, 0.5 + 0.5 * np.cos(np.pi * max(0, step - warmup) / (total - warmup))
            )
            for group in optimizer.param_groups:
                group["lr"] = PEAK_LR * rate
            logits = model(normalise(augment(train_x[index], rng)))
            loss = F.cross_entropy(logits, train_y[index], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
        print(
            f"epoch {epoch + 1}/{arguments.epochs} loss {loss.item():.3f} seconds"
            f" {time.monotonic() - started:.0f}",
            flush=True,
        )
        if (epoch + 1) % 5 == 0:
            print(f"  held-out top-1 {accuracy(model, test_x, test_y):.2f}", flush=True)
            save(vit, arguments.output, {"epoch": epoch + 1})
    top1 = accuracy(model, test_x, test_y)
    facts = {
        "classes": classes,
        "epochs": arguments.epochs,
        "seed": arguments.seed,
        "held_out": len(test_y),
        "top1": round(top1, 2),
    }
    save(vit, arguments.output, facts)
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
