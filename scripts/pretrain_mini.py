"""Pretrain a backbone of the mini suite on 44,100 CIFAR-10 images at 32 x 32: `mini_vit` is
supervised, `mini_mae` a masked autoencoder; `mini_rope`, `mini_swin` and `mini_convnext`, of other
families, are supervised.

    python scripts/pretrain_mini.py cifar10-train.zip mini_vit.safetensors
    python scripts/pretrain_mini.py cifar10-train.zip mini_mae.safetensors --objective mae
    python scripts/pretrain_mini.py cifar10-train.zip mini_swin.safetensors --family swin

The archive holds one folder a class with one JPEG an image. The last image of every ten is held out
to state a figure. The cards in harness/backbones/weights/ say with which options the shipped files
were made. A run is seeded; on another machine or torch version the weights differ in their last
digits, which is why the shipped files, not this script, are what results are keyed by. With
`--checkpoint FILE`, a run that was cut off resumes after its last whole epoch.
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
from pretraining_objectives import OBJECTIVES
from safetensors.torch import save_file
from timm.models.convnext import ConvNeXt
from timm.models.eva import Eva
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

COLUMN = dict(img_size=32, patch_size=5, embed_dim=96, depth=4, num_heads=3, num_classes=0)
FAMILIES: dict[str, tuple[type[nn.Module], dict]] = {
    "vit": (VisionTransformer, COLUMN),
    "rope-vit": (
        Eva,
        {
            **COLUMN,
            **dict(qkv_bias=False, num_reg_tokens=2, init_values=0.1, global_pool="token"),
            **dict(use_abs_pos_emb=False, use_rot_pos_emb=True, rope_type="dinov3"),
            **dict(rope_grid_indexing="ij", rope_rotate_half=True, use_fc_norm=False),
        },
    ),
    "swin": (
        SwinTransformer,
        dict(img_size=32, patch_size=4, window_size=4, embed_dim=60, num_classes=0)
        | dict(depths=(2, 2), num_heads=(3, 6)),
    ),
    "convnext": (
        ConvNeXt,
        dict(patch_size=1, depths=(2, 2, 2, 2), dims=(24, 48, 80, 112), num_classes=0)
        | dict(ls_init_value=0.1),
    ),
}
"""timm's classes and what they are built with: each has fewer than half a million values."""
# ImageNet's, as for every backbone of the protocol
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH, WEIGHT_DECAY, GREY = 250, 0.05, 0.2


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
    mean, std = (torch.tensor(of, device=images.device)[:, None, None] for of in (MEAN, STD))
    return (images.float() / 255 - mean) / std


def augment(images: Tensor, rng: torch.Generator) -> Tensor:
    """Random crop after a reflected border of 4, horizontal flip, and grey for one image in five;
    per image, as one gather. `rng` is on the CPU, wherever the images are."""
    n, device = len(images), images.device
    padded = F.pad(images.float(), (4, 4, 4, 4), mode="reflect").to(torch.uint8)
    top, left = (torch.randint(0, 9, (2, n, 1), generator=rng)).unbind(0)
    rows, cols = top + torch.arange(32), left + torch.arange(32)
    cols = torch.where(torch.rand(n, 1, generator=rng) < 0.5, cols.flip(1), cols)
    is_grey = (torch.rand(n, 1, 1, 1, generator=rng) < GREY).to(device)
    every, rows, cols = torch.arange(n, device=device), rows.to(device), cols.to(device)
    crop = padded[every[:, None, None], :, rows[:, :, None], cols[:, None, :]].permute(0, 3, 1, 2)
    grey = crop.float().mean(1, keepdim=True).to(torch.uint8).expand_as(crop)
    return torch.where(is_grey, grey, crop)


def save(vit: nn.Module, output: Path, facts: dict) -> None:
    save_file(
        {name: value.half().cpu().contiguous() for name, value in vit.state_dict().items()},
        output,
        {"recipe": json.dumps(facts)},
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--objective", choices=OBJECTIVES, default="supervised")
    parser.add_argument("--family", choices=FAMILIES, default="vit")
    parser.add_argument("--epochs", type=int, default=45)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--checkpoint", type=Path, help="resume from it, if it is there")
    arguments = parser.parse_args()
    device = arguments.device

    torch.manual_seed(arguments.seed)
    rng = torch.Generator().manual_seed(arguments.seed)
    images, labels, classes = read(arguments.archive)
    held_out = torch.arange(len(labels)) % 10 == 9
    train_x, train_y = images[~held_out].to(device), labels[~held_out].to(device)
    test = normalise(images[held_out].to(device)), labels[held_out].to(device)

    model, shape = FAMILIES[arguments.family]
    vit = model(**shape)
    objective = OBJECTIVES[arguments.objective](vit).to(device)
    learned = [p for p in objective.parameters() if p.requires_grad]
    decayed, plain = [p for p in learned if p.ndim > 1], [p for p in learned if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}],
        betas=objective.betas,
    )
    steps = len(train_y) // BATCH
    total, warmup = arguments.epochs * steps, objective.warmup_epochs * steps
    done = 0
    if arguments.checkpoint and arguments.checkpoint.exists():
        state = torch.load(arguments.checkpoint, map_location="cpu", weights_only=True)
        objective.load_state_dict(state["objective"])
        optimizer.load_state_dict(state["optimizer"])
        rng.set_state(state["rng"])
        done = state["epoch"]
    started, step = time.monotonic(), done * steps
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    for epoch in range(done, arguments.epochs):
        objective.train()
        sum_of_losses = torch.zeros((), dtype=torch.float64, device=device)
        for index in torch.randperm(len(train_y), generator=rng)[: steps * BATCH].split(BATCH):
            index = index.to(device)
            rate = min(
                step / warmup, 0.5 + 0.5 * np.cos(np.pi * max(0, step - warmup) / (total - warmup))
            )
            for group in optimizer.param_groups:
                group["lr"] = objective.peak_lr * float(rate)
            loss = objective(normalise(augment(train_x[index], rng)), train_y[index], rng)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learned, 1.0)
            optimizer.step()
            sum_of_losses += loss.detach()
            step += 1
        print(
            f"epoch {epoch + 1}/{arguments.epochs} loss {sum_of_losses.item() / steps:.4f} seconds"
            f" {time.monotonic() - started:.0f}",
            flush=True,
        )
        if (epoch + 1) % 5 == 0:
            print(f"  held-out {objective.eval().watch(*test)}", flush=True)
            save(vit, arguments.output, {"epoch": epoch + 1})
        if arguments.checkpoint:
            state = {"objective": objective.state_dict(), "optimizer": optimizer.state_dict()}
            beside = arguments.checkpoint.with_suffix(".new")
            torch.save(state | {"rng": rng.get_state(), "epoch": epoch + 1}, beside)
            beside.replace(arguments.checkpoint)
    facts = {
        "objective": arguments.objective,
        "classes": classes,
        "epochs": arguments.epochs,
        "seed": arguments.seed,
        "held_out": len(test[1]),
        **objective.eval().measure((normalise(train_x), train_y), test),
    }
    save(vit, arguments.output, facts)
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
