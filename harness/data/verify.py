"""Whether a task's data are what they should be, read byte by byte, for `harness data verify`."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from harness.cards import IGNORED, TaskCard
from harness.data.decode import masks
from harness.data.fingerprint import fingerprint, forget
from harness.data.keys import exact_labels
from harness.data.readers import check, records, resolve


@dataclass(frozen=True)
class Verdict:
    """What a task's data turned out to be."""

    task: str
    format: str
    fingerprint: str
    histograms: dict[str, Counter[int]]
    """Images of each class, by split; of a segmentation task, images that it is seen in."""
    faults: tuple[str, ...]
    """What should not be: shared images, other labels than the exact split's, a fingerprint that is not the one remembered."""


def verify(card: TaskCard, root: Path | None, progress: Callable[[str], None]) -> Verdict:
    """Reads all records of all splits. Raises `BadInput` for data that is missing, short or wrong."""
    found = resolve(card, root)
    progress(f"{card.name}: counts and labels")
    check(found, root)
    hashes: dict[str, dict[str, str]] = {}
    histograms: dict[str, Counter[int]] = {}
    for split in card.sizes:
        progress(f"{card.name}: images of {split}")
        rows = records(found, root, split)
        if found.kind == "segmentation":
            seen = chain.from_iterable(np.unique(mask).tolist() for mask in masks(card.name, rows))
            histograms[split] = Counter(label for label in seen if label != IGNORED)
        else:
            histograms[split] = Counter(record.label for record in rows)
        hashes[split] = {record.sha256(): record.key for record in rows}
    faults = []
    for split, expected in exact_labels(card).items():
        if histograms[split] != (counted := Counter(expected)):
            wrong = min(label for label in counted | histograms[split] if counted[label] != histograms[split][label])
            faults.append(
                f"{split} has {histograms[split][wrong]} images of class {wrong}, VTAB-1k's own split has {counted[wrong]}: "
                "these are other records, or other labels"
            )
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        shared = hashes.get(one, {}).keys() & hashes.get(other, {}).keys()
        if shared:
            example = min(shared)
            faults.append(
                f"{one} and {other} share {len(shared)} images, such as {hashes[one][example]} and {hashes[other][example]}: "
                "the same bytes in both"
            )
    progress(f"{card.name}: fingerprint")
    remembered = forget(found, root)
    now = fingerprint(found, root)
    if remembered is not None and remembered != now:
        faults.append(f"its fingerprint was {remembered[:16]} and is {now[:16]}: bytes have changed, sizes and times haven't")
    return Verdict(card.name, found.reader.format, now, histograms, tuple(faults))
