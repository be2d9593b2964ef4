"""Whether a task's data are what they should be, read byte by byte and decoded, for `harness data
verify`."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from harness.data.decode import looks, masks
from harness.data.fingerprint import contents, remembered, rows_of
from harness.data.keys import exact_labels
from harness.data.readers import open_reader, resolve
from harness.tasks.cards import TaskCard
from harness.tasks.kinds import IGNORED
from harness.text import some, visible

NAMED = 5
"""Images that can't be decoded, of a split, that are named."""
SHOWN = 3
"""Of those that something is to be said of."""


@dataclass(frozen=True)
class Verdict:
    """What a task's data turned out to be."""

    task: str
    format: str
    fingerprint: str
    histograms: dict[str, Counter[int]]
    """Images of each class, by split; of a segmentation task, images that it is seen in."""
    decoded: int
    """Images that were decoded; 0 for a quick look."""
    faults: tuple[str, ...]
    """What should not be: images that can't be decoded, or that training and test share; other
    labels than the exact split's; a fingerprint that is not the one remembered."""
    warnings: tuple[str, ...]
    """What may be: doubles within a split, one image under two labels."""


def verify(
    card: TaskCard, root: Path | None, progress: Callable[[str], None], quick: bool = False
) -> Verdict:
    """Reads all records of all splits, and decodes each unless `quick`. Raises `BadInput` for data
    that is missing, short or wrong."""
    found = resolve(card, root)
    progress(f"{card.name}: counts and labels")
    reader = open_reader(found, root)
    rows = rows_of(reader)
    reader.check()
    of_split = {split: [record for of, record in rows if of == split] for split in card.sizes}
    histograms: dict[str, Counter[int]] = {}
    faults, warnings, decoded = [], [], 0
    for split, records in of_split.items():
        if found.masked:
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
        for record, look in zip(records, looks(records), strict=True):
            wrong += [look.failure] if look.failure else []
            for remark in look.remarks:
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
                f" split has {counted[other]}: these are other records, or other labels"
            )
    progress(f"{card.name}: fingerprint")
    before, now = remembered(found, root, rows), contents(found, root, rows, again=True)
    if before is not None and before != now.fingerprint:
        faults.append(
            f"its fingerprint was {before[:16]} and is {now.fingerprint[:16]}: bytes have changed,"
            " sizes and times haven't"
        )
    faults += filter(None, [now.doubles.error(card)])
    return Verdict(
        card.name,
        found.reader.format,
        now.fingerprint,
        histograms,
        decoded,
        tuple(faults),
        (*warnings, *now.doubles.warnings(card)),
    )
