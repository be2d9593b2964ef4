"""Duplicate images, byte for byte: in both training and test, twice in a split, or with two labels.

The rule, for `harness run` and `harness data verify` alike: a test image that is also in train or
val makes a score worth less, so it is an error if there are more of them than the card's `overlap`
allows. Published sets do have some (a photograph collected twice, renderings that look the same
after JPEG): their cards expect up to that number, and a copy that was put together wrongly has far
more. A permitted overlap is reported, stored with the score, and noted under every table. Train
images in val, duplicates within a split, and one image with two labels are warnings: they don't
affect what the test set measures.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from harness.tasks.cards import SPLITS, TaskCard
from harness.text import some, visible

SHOWN = 3
"""Examples that are kept and shown."""


class Image(NamedTuple):
    """The part of a record that is compared."""

    split: str
    key: str
    label: int
    digest: str
    """sha256 of the image's stored bytes, without its mask."""
    target: str
    """What predictions are compared with: a label, or a mask's sha256."""


class Duplicates(NamedTuple):
    """How many there are of each sort, and the first few, as pairs of keys."""

    test: int = 0
    """Test images that are also in train or val."""
    test_pairs: tuple[tuple[str, str], ...] = ()
    val: int = 0
    """Val images that are also in train."""
    val_pairs: tuple[tuple[str, str], ...] = ()
    within: tuple[tuple[str, int, str, str], ...] = ()
    """Splits with repeated images: (split, number of surplus images, the first two keys)."""
    labels: int = 0
    """Images, in any split, that have several labels or several masks."""
    label_pairs: tuple[tuple[str, str], ...] = ()

    def error(self, card: TaskCard) -> str:
        """What is wrong with the test set, without a full stop; empty if nothing is."""
        if self.test <= card.overlap:
            return ""
        expected = f", but its card expects at most {card.overlap:,}" if card.overlap else ""
        return (
            f"{self._in_test(card)}, byte for byte{expected}: {_named(self.test_pairs, self.test)}"
        )

    def warnings(self, card: TaskCard) -> list[str]:
        """One sentence each, without a full stop."""
        sentences = []
        if 0 < self.test <= card.overlap:
            sentences.append(
                f"{self._in_test(card)}, as its card expects: {_named(self.test_pairs, self.test)}"
            )
        if self.val:
            sentences.append(
                f"{_counted(self.val, card.sizes['val'], 'val')} also in train:"
                f" {_named(self.val_pairs, self.val)}"
            )
        for split, extra, one, other in self.within:
            sentences.append(
                f"{split} has {some(extra, 'image')} more than once:"
                f" {_named([(other, one)], extra)}"
            )
        if self.labels:
            what = card.task_kind.target
            sentences.append(
                f"{some(self.labels, 'image')} with more than one {what}:"
                f" {_named(self.label_pairs, self.labels)}"
            )
        return sentences

    def _in_test(self, card: TaskCard) -> str:
        return f"{_counted(self.test, card.sizes['test'], 'test')} also in train or val"


def duplicates(images: Iterable[Image]) -> Duplicates:
    """The duplicates among a task's images, given those of all splits."""
    of_split: dict[str, dict[str, Image]] = {split: {} for split in SPLITS}
    extra: dict[str, list[tuple[str, str]]] = {split: [] for split in SPLITS}
    first: dict[str, Image] = {}
    relabelled: dict[str, tuple[str, str]] = {}
    test: list[Image] = []
    for image in images:
        before = of_split[image.split].setdefault(image.digest, image)
        if before is not image:
            extra[image.split].append((before.key, image.key))
        known = first.setdefault(image.digest, image)
        if known.target != image.target:
            relabelled.setdefault(image.digest, (image.key, known.key))
        if image.split == "test":
            test.append(image)
    trained = {**of_split["val"], **of_split["train"]}
    in_test = [(image.key, trained[image.digest].key) for image in test if image.digest in trained]
    in_val = [
        (image.key, of_split["train"][digest].key)
        for digest, image in of_split["val"].items()
        if digest in of_split["train"]
    ]
    return Duplicates(
        len(in_test),
        tuple(in_test[:SHOWN]),
        len(in_val),
        tuple(in_val[:SHOWN]),
        tuple((split, len(pairs), *pairs[0]) for split, pairs in extra.items() if pairs),
        len(relabelled),
        tuple([*relabelled.values()][:SHOWN]),
    )


def restored(fields: Mapping[str, Any]) -> Duplicates:
    """From JSON. Raises `ValueError`, `TypeError`, `KeyError` for something else."""
    result = Duplicates(**fields)
    counts = (result.test, result.val, result.labels, *(extra for _, extra, _, _ in result.within))
    if not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError("no counts")
    return result._replace(
        test_pairs=_pairs(result.test_pairs),
        val_pairs=_pairs(result.val_pairs),
        label_pairs=_pairs(result.label_pairs),
        within=tuple(
            (str(split), extra, str(one), str(other)) for split, extra, one, other in result.within
        ),
    )


def _pairs(pairs: Iterable[Iterable[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((str(one), str(other)) for one, other in pairs)


def _counted(count: int, of: int, split: str) -> str:
    return f"{count:,} of {of:,} {split} images {'is' if count == 1 else 'are'}"


def _named(pairs: Iterable[tuple[str, str]], count: int) -> str:
    shown = list(pairs)
    more = f", and {count - len(shown):,} more" if count > len(shown) else ""
    return ", ".join(f"{visible(one)} = {visible(other)}" for one, other in shown) + more
