"""Images that are there more than once, byte for byte: in training and in test, twice in a split,
or under two labels.

The rule, for `harness run` and `harness data verify` alike. A test image that train or val has too
makes a score worth less, so that is an error as soon as there are more of them than the card's
`overlap` says. Published sets do have some of their own (a photograph found twice, renderings that
look the same after JPEG): their cards expect up to so many, and a copy that was put together
wrongly has far more. What stays below is said, stored with the score, and stands under every table.
Train images in val, doubles within a split, and one image under two labels are warnings: they don't
touch what the test set measures.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from harness.tasks.cards import SPLITS, TaskCard
from harness.text import some, visible

SHOWN = 3
"""Examples that are kept and said."""


class Image(NamedTuple):
    """What is compared of a record."""

    split: str
    key: str
    label: int
    digest: str
    """sha256 of the image's stored bytes, without its mask."""
    target: str
    """What it is scored by: a label, or a mask's sha256."""


class Doubles(NamedTuple):
    """How many there are, and the first few, as pairs of keys."""

    test: int = 0
    """Test images that train or val has too."""
    test_pairs: tuple[tuple[str, str], ...] = ()
    val: int = 0
    """Val images that train has too."""
    val_pairs: tuple[tuple[str, str], ...] = ()
    within: tuple[tuple[str, int, str, str], ...] = ()
    """Splits that have images more than once: (split, how many too many, and the first two
    keys)."""
    labels: int = 0
    """Images, whatever their splits, that are there under several labels, or with several masks."""
    label_pairs: tuple[tuple[str, str], ...] = ()

    def error(self, card: TaskCard) -> str:
        """What is wrong with the test set, without an end; empty where nothing is."""
        if self.test <= card.overlap:
            return ""
        expected = f", and its card expects at most {card.overlap:,}" if card.overlap else ""
        return (
            f"{self._in_test(card)}, byte for byte{expected}: {_named(self.test_pairs, self.test)}"
        )

    def warnings(self, card: TaskCard) -> list[str]:
        """One sentence each, without an end."""
        said = []
        if 0 < self.test <= card.overlap:
            said.append(
                f"{self._in_test(card)}, as its card expects: {_named(self.test_pairs, self.test)}"
            )
        if self.val:
            said.append(
                f"{_counted(self.val, card.sizes['val'], 'val')} in train too:"
                f" {_named(self.val_pairs, self.val)}"
            )
        for split, extra, one, other in self.within:
            said.append(
                f"{split} has {some(extra, 'image')} more than once:"
                f" {_named([(other, one)], extra)}"
            )
        if self.labels:
            what = card.task_kind.target
            said.append(
                f"{some(self.labels, 'image')} under more than one {what}:"
                f" {_named(self.label_pairs, self.labels)}"
            )
        return said

    def _in_test(self, card: TaskCard) -> str:
        return f"{_counted(self.test, card.sizes['test'], 'test')} in train or val too"


def doubles(images: Iterable[Image]) -> Doubles:
    """Of a task's images, all splits."""
    of_split: dict[str, dict[str, Image]] = {split: {} for split in SPLITS}
    extra: dict[str, list[tuple[str, str]]] = {split: [] for split in SPLITS}
    first: dict[str, Image] = {}
    two: dict[str, tuple[str, str]] = {}
    test: list[Image] = []
    for image in images:
        before = of_split[image.split].setdefault(image.digest, image)
        if before is not image:
            extra[image.split].append((before.key, image.key))
        known = first.setdefault(image.digest, image)
        if known.target != image.target:
            two.setdefault(image.digest, (image.key, known.key))
        if image.split == "test":
            test.append(image)
    trained = {**of_split["val"], **of_split["train"]}
    in_test = [(image.key, trained[image.digest].key) for image in test if image.digest in trained]
    in_val = [
        (image.key, of_split["train"][digest].key)
        for digest, image in of_split["val"].items()
        if digest in of_split["train"]
    ]
    return Doubles(
        len(in_test),
        tuple(in_test[:SHOWN]),
        len(in_val),
        tuple(in_val[:SHOWN]),
        tuple((split, len(pairs), *pairs[0]) for split, pairs in extra.items() if pairs),
        len(two),
        tuple([*two.values()][:SHOWN]),
    )


def restored(fields: Mapping[str, Any]) -> Doubles:
    """From JSON. Raises `ValueError`, `TypeError`, `KeyError` for something else."""
    found = Doubles(**fields)
    counts = (found.test, found.val, found.labels, *(extra for _, extra, _, _ in found.within))
    if not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError("no counts")
    return found._replace(
        test_pairs=_pairs(found.test_pairs),
        val_pairs=_pairs(found.val_pairs),
        label_pairs=_pairs(found.label_pairs),
        within=tuple(
            (str(split), extra, str(one), str(other)) for split, extra, one, other in found.within
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
