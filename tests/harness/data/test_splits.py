"""Golden values of published VTAB-1k splits: the first keys, and sha256 of all keys, one a line."""

import hashlib

import pytest

from harness.data.splits import order, sliced

CIFAR_HEAD = [16399, 1680, 47917, 17307, 27051]
EUROSAT = {
    "AnnualCrop": 3000, "Forest": 3000, "HerbaceousVegetation": 3000, "Highway": 2500, "Industrial": 2500,
    "Pasture": 2000, "PermanentCrop": 2500, "Residential": 3000, "River": 2500, "SeaLake": 3000,
}  # fmt: skip
KEYS = {
    "cifar100": range(50000),
    "svhn": range(73257),
    "dsprites": range(737280),
    "clevr": [f"CLEVR_train_{row:06}.png" for row in range(70000)],
    "eurosat": [
        f"{name}_{name}_{row}.jpg" for name, n in EUROSAT.items() for row in range(1, n + 1)
    ],
}
# fmt: off
GOLDEN = {
    "cifar100": (
        CIFAR_HEAD, "5b25ee0661c3bc4a0f08116d4015d6f10127fe5ae74ac4fd72ca6f044fc0dd4c",
        45000, [13431, 9237, 17462, 32685, 9518], "93377e439662509b3af8a1e05deab26ef04521fc4e3123b9745627c03adf8b15",
    ),
    "svhn": (
        CIFAR_HEAD, "901fe4f6d4f65bc865589bb7c52a3778c3d35755573b0c1850b8499236a9d6de",
        65931, [21145, 64736, 23870, 1919, 26393], "36ae944d2e322a4f2d28ad7c0ff0e2a851bd3574ee88d1753f262089f6ea706f",
    ),
    "dsprites": (
        [16399, 634903, 206287, 470425, 352707], "54130b46ffd225790c81835e4e9bd2e2633ecfe2f2bf81153be3dc4266ea3cbc",
        589824, [220697, 85843, 84902, 106270, 175044], "86005e8c04783edc67c31e382b961c77cf7ef9e18a3c4f1a8dfc4f1661e4818e",
    ),
    "clevr": (
        ["CLEVR_train_043876.png", "CLEVR_train_033421.png"], "5dc1033102716488771af2b643c6b45defc3c8ff3f15be06f459522dc8285557",
        63000, ["CLEVR_train_035084.png", "CLEVR_train_029360.png"], "9a9150228251ccef4c8711c5f0db84cff6ed9b2ff6738cadd96f928d16eaa9d6",
    ),
    "eurosat": (
        ["Forest_Forest_687.jpg", "Residential_Residential_188.jpg"], "7dac90dec1b730631fee7361833db02241d4ed8f0b7a150fd07c65adac0ebb90",
        16200, ["SeaLake_SeaLake_804.jpg", "Forest_Forest_1554.jpg"], "5c9a3ab3702faf2076b229d18dc42459b03651716021c58778b447188aeee7d1",
    ),
}
# fmt: on


def sha256(keys) -> str:
    return hashlib.sha256("\n".join(map(str, keys)).encode()).hexdigest()


@pytest.mark.parametrize("task", GOLDEN)
def test_order_is_the_published_one(task: str):
    head, train_sha256, start, val_head, val_sha256 = GOLDEN[task]
    ordered = order(KEYS[task])
    train, val = sliced(ordered, 0, 800), sliced(ordered, start, start + 200)
    assert list(train[: len(head)]) == head
    assert list(val[: len(val_head)]) == val_head
    assert (sha256(train), sha256(val)) == (train_sha256, val_sha256)


def test_order_gives_the_labels_of_dsprites():
    """First 20 labels of train800: the rule of the card on the row numbers."""
    rows = order(KEYS["dsprites"])[:20]
    location = [(row // 32 % 32) // 2 for row in rows]
    orientation = [int((row // 1024 % 40) / 2.5) for row in rows]
    assert location == [0, 0, 7, 6, 7, 11, 7, 5, 6, 14, 5, 3, 10, 7, 2, 0, 4, 5, 2, 3]
    assert orientation == [6, 8, 0, 7, 9, 12, 14, 1, 14, 15, 3, 13, 0, 10, 14, 1, 8, 6, 7, 11]


def test_salt_and_slices():
    assert order(range(100), "train") != order(range(100), "validation")
    assert list(sliced(list(range(10)), 7)) == [7, 8, 9]
    with pytest.raises(ValueError, match="of 10 records"):
        sliced(list(range(10)), 5, 11)
