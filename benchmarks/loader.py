"""Claim: an epoch from the cache takes a fifth of the time of decoding JPEGs again, and a training
run hardly waits for its data.

    python benchmarks/loader.py --data-root ../shared/data/vtab-1k-sample [--folder cifar10]
    [--json]

On the training images of a task in the VTAB-1k folder format, at 224 x 224, in batches of 64,
interleaved repeats, medians, first epochs not counted. `epoch_ratio`: an epoch through
torchvision's usual way (PIL, Resize, ToTensor, Normalize, DataLoader with 2 workers) over one
through the cache. `bytes_per_image`: what the cache takes. `waits`: the share of a VPT-Deep step on
ViT-B/16 (batch 4, as a CPU can do) that reading its batch takes.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from train_step import forms_of, step

from harness.data.cache import Mapped, cached
from harness.data.loader import Split
from harness.data.normalization import IMAGENET
from harness.tasks.cards import TaskCard

SIZE, BATCH = 224, 64
CPU = torch.device("cpu")


def card_of(root: Path, folder: str) -> TaskCard:
    """A card for the folder, from its lists."""
    sizes = {
        split: len((root / folder / f"{name}.txt").read_text().split("\n")) - 1
        for split, name in LISTS.items()
    }
    labels = [
        int(line.split()[-1]) for line in (root / folder / "train800.txt").read_text().splitlines()
    ]
    fields = {
        "kind": "classification",
        "classes": max(labels) + 1,
        "sizes": sizes,
        "pixels": "pil",
        "metric": "top1",
    }
    texts = dict.fromkeys(("title", "suite", "group", "source", "licence", "citation"), "benchmark")
    reader = {"format": "vtab-folder", "folder": folder}
    return TaskCard.model_validate({"name": "benchmark", "reader": reader, **fields, **texts})


LISTS = {"train": "train800", "val": "val200", "test": "test"}


class Files(Dataset):
    """The training list as most code reads it."""

    def __init__(self, folder: Path):
        lines = [
            line.rsplit(maxsplit=1) for line in (folder / "train800.txt").read_text().splitlines()
        ]
        self.items = [(folder / path, int(label)) for path, label in lines]
        self.steps = transforms.Compose(
            [
                transforms.Resize((SIZE, SIZE), transforms.InterpolationMode.BICUBIC),
                transforms.ToTensor(),
                transforms.Normalize(IMAGENET.mean, IMAGENET.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int):
        path, label = self.items[row]
        return self.steps(Image.open(path).convert("RGB")), label


def epoch_of(split: Split) -> Iterator:
    for index in torch.randperm(len(split)).split(BATCH):
        yield split.batch(index, CPU)


def seconds(work: Callable[[], Iterator]) -> float:
    started = time.perf_counter()
    for _ in work():
        pass
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--folder", default="cifar10")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    card = card_of(arguments.data_root, arguments.folder)
    with tempfile.TemporaryDirectory() as folder:
        import os

        os.environ["VPT_HARNESS_CACHE"] = folder
        kept = cached(card, arguments.data_root, "train", SIZE, "0" * 64)
        assert isinstance(kept, Mapped)
        ours = Split([kept], "pil", SIZE, training=True)
        loader = DataLoader(
            Files(arguments.data_root / arguments.folder),
            BATCH,
            shuffle=True,
            num_workers=2,
            persistent_workers=True,
        )
        times: dict[str, list[float]] = {"cache": [], "files": []}
        for repeat in range(arguments.repeats + 1):
            for name, work in (("cache", lambda: epoch_of(ours)), ("files", lambda: iter(loader))):
                took = seconds(work)
                if repeat:
                    times[name].append(took)
        medians = {name: statistics.median(values) for name, values in times.items()}
        found = {
            "epoch_ratio": medians["files"] / medians["cache"],
            "bytes_per_image": kept.flat.size / len(kept.labels),
            "waits": waits(ours),
            "seconds": medians,
        }
    print(
        json.dumps(found)
        if arguments.json
        else "\n".join(f"{name}: {value}" for name, value in found.items())
    )


def waits(split: Split, batch: int = 4, steps: int = 5) -> float:
    """Time to read batches over the time to read them and train on them."""
    forward = forms_of(VisionTransformer(num_classes=0), 10)["ours"]
    reading = training = 0.0
    for index in torch.randperm(len(split))[: batch * (steps + 1)].split(batch)[1:]:
        started = time.perf_counter()
        images, labels = split.batch(index, CPU)
        read = time.perf_counter()
        step(forward, images, labels)
        reading, training = reading + read - started, training + time.perf_counter() - read
    return reading / (reading + training)


if __name__ == "__main__":
    main()
