"""Checks a task's data by reading all bytes and decoding all images, for `harness data verify`."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.decode import decode_checks, masks
from harness.data.fingerprint import data_summary, remembered, rows_of
from harness.data.keys import exact_labels
from harness.data.readers import open_reader, resolve
from harness.tasks.cards import TaskCard
from harness.tasks.kinds import IGNORED
from harness.text import some, visible

NAMED = 5
"""How many images of a split that can't be decoded are named."""
SHOWN = 3
"""How many images with a remark are named."""


@dataclass(frozen=True)
class Verdict:
    """The outcome for a task's data."""

    task: str
    format: str
    fingerprint: str
    histograms: dict[str, Counter[int]]
    """Images of each class, by split; for a segmentation task, images that contain it."""
    decoded: int | None
    """Images that were decoded; None for a quick check."""
    faults: tuple[str, ...]
    """Errors: images that can't be decoded, or that training and test share; labels that differ
    from the exact split's; a fingerprint that has changed."""
    warnings: tuple[str, ...]
    """What is permitted: duplicates within a split, one image with two labels."""

    def json(self) -> dict[str, Any]:
        """As `harness data verify --format json` lists it; classes are numbers, as in labels."""
        classes = {split: dict(sorted(counts.items())) for split, counts in self.histograms.items()}
        return {**asdict(self), "histograms": classes}

    def lines(self, classes: int) -> list[str]:
        """As it is said, one line per finding; `classes`: how many the task has."""
        seen = ", ".join(
            f"{split} {len(counts)}"
            f" ({min(counts.values(), default=0)}-{max(counts.values(), default=0)} images each)"
            for split, counts in self.histograms.items()
        )
        decoded = (
            "no image decoded (--quick)"
            if self.decoded is None
            else f"{some(self.decoded, 'image')} decoded"
        )
        what = f"{self.format}, fingerprint {self.fingerprint[:16]}, {decoded}"
        return [
            f"{self.task}: {what}, classes of {classes} seen: {seen}",
            *(f"{self.task}: warning: {warning}." for warning in self.warnings),
            *(f"{self.task}: {fault}." for fault in self.faults),
        ]


def verify(
    card: TaskCard, root: Path | None, progress: Callable[[str], None], quick: bool = False
) -> Verdict:
    """Reads all records of all splits, and decodes each unless `quick`. Raises `BadInput` for data
    that is missing, short or wrong."""
    resolved = resolve(card, root)
    progress(f"{card.name}: counts and labels")
    reader = open_reader(resolved, root)
    rows = rows_of(reader)
    reader.check()
    of_split = {split: [record for of, record in rows if of == split] for split in card.sizes}
    histograms: dict[str, Counter[int]] = {}
    faults, warnings, decoded = [], [], 0
    for split, records in of_split.items():
        if resolved.masked:
            progress(f"{card.name}: masks of {split}")
            seen = chain.from_iterable(
                np.unique(mask).tolist() for mask in masks(card.name, records)
            )
            histograms[split] = Counter(label for label in seen if label != IGNORED)
        else:
            histograms[split] = Counter(record.label for record in records)
        if quick:
            continue
        progress(f"{card.name}: decoding {some(len(records), 'image')} of {split}")
        wrong, remarked = [], defaultdict[str, list[str]](list)
        for record, check in zip(records, decode_checks(records), strict=True):
            wrong += [check.failure] if check.failure else []
            for remark in check.remarks:
                remarked[remark].append(record.key)
        decoded += len(records) - len(wrong)
        for remark, names in remarked.items():
            has = "image has" if len(names) == 1 else "images have"
            warnings.append(
                f"{split}: {len(names):,} {has} {remark}: {', '.join(map(visible, names[:SHOWN]))}"
            )
        faults += [f"{split}: {failed}" for failed in wrong[:NAMED]]
        if len(wrong) > NAMED:
            faults.append(f"{split}: {some(len(wrong) - NAMED, 'more image')} can't be decoded")
    for split, expected in exact_labels(card).items():
        if histograms[split] != (counted := Counter(expected)):
            other = min(
                label
                for label in counted | histograms[split]
                if counted[label] != histograms[split][label]
            )
            faults.append(
                f"{split} has {histograms[split][other]} images of class {other}, VTAB-1k's own"
                f" split has {counted[other]}: the records or labels differ"
            )
    progress(f"{card.name}: fingerprint")
    before, now = remembered(resolved, root, rows), data_summary(resolved, root, rows, again=True)
    if before is not None and before != now.fingerprint:
        faults.append(
            f"its fingerprint was {before[:16]} and is {now.fingerprint[:16]}: bytes have changed"
            " while sizes and times haven't"
        )
    faults += filter(None, [now.duplicates.error(card)])
    return Verdict(
        card.name,
        resolved.reader.format,
        now.fingerprint,
        histograms,
        None if quick else decoded,
        tuple(faults),
        (*warnings, *now.duplicates.warnings(card)),
    )
