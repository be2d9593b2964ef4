"""Tiny files in each original format of VTAB-1k, byte-true, and the shipped cards with sizes cut
down to them."""

import gzip
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from scipy.io import savemat

from harness.data.readers.dsprites import BASE as DSPRITES
from harness.data.readers.smallnorb import BASES
from harness.tasks.cards import TaskCard, load_cards

RNG = np.random.default_rng(0)


def pixels(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def write_cifar100_python(root: Path) -> None:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, n in (("train", 20), ("test", 6)):
        content = {
            "data": pixels(n, 3072),
            "fine_labels": [(7 * row) % 100 for row in range(n)],
            "coarse_labels": [0] * n,
        }
        with (folder / name).open("wb") as file:
            pickle.dump(content, file, protocol=2)


def write_cifar100_binary(root: Path) -> None:
    folder = root / "cifar-100-binary"
    folder.mkdir(parents=True)
    for name, n in (("train", 20), ("test", 6)):
        rows = pixels(n, 3074)
        rows[:, 0], rows[:, 1] = 3, (7 * np.arange(n)) % 100
        (folder / f"{name}.bin").write_bytes(rows.tobytes())


def write_svhn(root: Path) -> None:
    (root / "svhn").mkdir(parents=True)
    for name, n in (("train", 20), ("test", 6)):
        labels = (np.arange(n) % 10 + 1).astype(np.uint8)[:, None]
        savemat(
            root / "svhn" / f"{name}_32x32.mat",
            {"X": pixels(32, 32, 3, n), "y": labels},
            do_compression=True,
        )


def sprites() -> np.ndarray:
    return (pixels(2048, 64, 64) > 127).astype(np.uint8)


def write_dsprites_npz(root: Path) -> None:
    (root / "dsprites").mkdir(parents=True)
    np.savez_compressed(
        root / "dsprites" / f"{DSPRITES}.npz",
        imgs=sprites(),
        metadata=np.array([{"a": 1}], dtype=object),
    )


def write_dsprites_hdf5(root: Path) -> None:
    (root / "dsprites").mkdir(parents=True)
    with h5py.File(root / "dsprites" / f"{DSPRITES}.hdf5", "w") as file:
        file["imgs"] = sprites()


def matrix(values: np.ndarray) -> bytes:
    magic = 507333717 if values.dtype == np.uint8 else 507333716
    sizes = (*values.shape, 1, 1)[: max(3, values.ndim)]
    return struct.pack(f"<ii{len(sizes)}i", magic, values.ndim, *sizes) + values.tobytes()


def write_smallnorb(root: Path, packed: bool = False) -> None:
    (root / "smallnorb").mkdir(parents=True)
    for source, n in (("train", 20), ("test", 12)):
        rows = np.arange(n)
        info = np.stack([rows % 10, rows % 9, 2 * (rows % 18), rows % 6], axis=1).astype("<i4")
        for kind, values in (("dat", pixels(n, 2, 96, 96)), ("info", info)):
            content = matrix(values)
            name = root / "smallnorb" / f"{BASES[source]}-{kind}.mat"
            (name.with_name(name.name + ".gz") if packed else name).write_bytes(
                gzip.compress(content) if packed else content
            )


def write_smallnorb_packed(root: Path) -> None:
    write_smallnorb(root, packed=True)


def write_patch_camelyon(root: Path) -> None:
    (root / "patch_camelyon").mkdir(parents=True)
    for part, n in (("train", 20), ("valid", 8), ("test", 6)):
        for what, values in (
            ("x", pixels(n, 96, 96, 3)),
            ("y", (np.arange(n) % 2).astype(np.uint8).reshape(n, 1, 1, 1)),
        ):
            with h5py.File(
                root / "patch_camelyon" / f"camelyonpatch_level_2_split_{part}_{what}.h5", "w"
            ) as file:
                file.create_dataset(what, data=values, compression="gzip")


def write_patch_camelyon_packed(root: Path) -> None:
    write_patch_camelyon(root)
    for path in (root / "patch_camelyon").glob("*.h5"):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


def write_classes(root: Path) -> None:
    for of_class, n in (("Forest", 12), ("River", 9)):
        for number in range(1, n + 1):
            picture(root / "eurosat" / "2750" / of_class / f"{of_class}_{number}.jpg")


def write_resisc45(root: Path) -> None:
    for of_class, n in (("airplane", 11), ("sea_ice", 10)):
        for number in range(1, n + 1):
            picture(root / "resisc45" / "NWPU-RESISC45" / of_class / f"{of_class}_{number:03}.jpg")


def write_clevr(root: Path) -> None:
    for part, n in (("train", 20), ("val", 6)):
        (root / "CLEVR_v1.0" / "images" / part).mkdir(parents=True)
        (root / "CLEVR_v1.0" / "scenes").mkdir(exist_ok=True)
        scenes = []
        for row in reversed(range(n)):  # in any order
            name = f"CLEVR_{part}_{row:06}.png"
            Image.fromarray(pixels(6, 9, 3)).save(root / "CLEVR_v1.0" / "images" / part / name)
            objects = [{"pixel_coords": [1.0, 2.0, 8.0 + one / 4]} for one in range(3 + row % 8)][
                ::-1
            ]
            scenes.append({"image_filename": name, "objects": objects})
        (root / "CLEVR_v1.0" / "scenes" / f"CLEVR_{part}_scenes.json").write_text(
            json.dumps({"info": {}, "scenes": scenes})
        )


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(7, 9, 3)).save(path)


def write_dtd(root: Path) -> None:
    (root / "dtd" / "labels").mkdir(parents=True)
    names = [
        f"{of_class}/{of_class}_{number:04}.jpg"
        for number in range(1, 11)
        for of_class in ("banded", "zigzagged", "blotchy")
    ]
    for name, part in (("train1", names[:20]), ("val1", names[20:24]), ("test1", names[24:])):
        (root / "dtd" / "labels" / f"{name}.txt").write_text("\n".join(part) + "\n")
    for name in names:
        picture(root / "dtd" / "images" / name)


def write_flowers(root: Path) -> None:
    folder = root / "oxford_flowers102"
    for number in range(1, 31):
        picture(folder / "jpg" / f"image_{number:05}.jpg")
    savemat(folder / "imagelabels.mat", {"labels": np.arange(1, 31, dtype=np.uint8)[None]})
    parts = {"trnid": np.arange(30, 10, -1), "valid": np.arange(7, 11), "tstid": np.arange(1, 7)}
    savemat(
        folder / "setid.mat", {name: ids.astype(np.uint16)[None] for name, ids in parts.items()}
    )


def write_pets(root: Path) -> None:
    folder = root / "oxford_iiit_pet"
    (folder / "annotations").mkdir(parents=True)
    for name, start, n in (("trainval", 0, 20), ("test", 20, 6)):
        lines = [
            f"Breed_{row}_{row} {row % 5 + 1} 1 {row % 3 + 1}" for row in range(start, start + n)
        ]
        (folder / "annotations" / f"{name}.txt").write_text("\n".join(lines) + "\n")
        for line in lines:
            picture(folder / "images" / f"{line.split()[0]}.jpg")


KITTI = 120
DEPTHS = {
    0: [],
    1: [("Car", 8.0)],
    2: [("Car", 8.01), ("Van", 30.0)],
    3: [("Truck", 20.0)],
    4: [("Pedestrian", 3.0), ("Car", 20.5)],
}
"""Objects of image i % 5, and so its class: none 3, at 8 m 0, over it 1, at 20 m 1, over it 2;
people don't count."""


def write_kitti(root: Path) -> None:
    folder = root / "kitti_distance"
    for row in range(KITTI):
        picture(folder / "training" / "image_2" / f"{row:06}.png")
        objects = [
            f"{kind} 0.00 0 0.0 0 0 9 9 1.5 1.6 3.7 -1.0 1.7 {depth} 0.1"
            for kind, depth in DEPTHS[row % 5]
        ]
        lines = (
            "\n".join([*objects, "DontCare -1 -1 -10 0 0 9 9 -1 -1 -1 -1000 -1000 -1000 -10"])
            + "\n"
        )
        (folder / "training" / "label_2").mkdir(exist_ok=True)
        (folder / "training" / "label_2" / f"{row:06}.txt").write_text(lines)
    (folder / "mapping").mkdir()
    mapping = [
        f"2011_09_26 2011_09_26_drive_{row // 4:04}_sync {row % 4:010}" for row in range(KITTI)
    ]
    (folder / "mapping" / "train_mapping.txt").write_text("\n".join(mapping) + "\n")
    rand = np.random.default_rng(5).permutation(KITTI) + 1
    (folder / "mapping" / "train_rand.txt").write_text(",".join(map(str, rand)) + "\n")


SUN = 24


def write_sun397(root: Path) -> None:
    folder = root / "sun397"
    names = [
        f"/{of_class[0]}/{of_class}/sun_{row}.jpg"
        for row in range(SUN // 3)
        for of_class in ("abbey", "church/indoor", "tower")
    ]
    for row, name in enumerate(names):
        path = folder / "SUN397" / name[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        # all of them are called .jpg
        kind, shape = ("JPEG", (9, 12, 3)) if row % 3 else ("PNG", (8, 10))
        Image.fromarray(pixels(*shape)).save(path, kind)
    for part, lines in (
        ("tr", names[:14]),
        ("va", names[14:18]),
        ("te", [*names[18:], "/t/track/outdoor/sun_aophkoiosslinihb.jpg"]),
    ):
        (folder / f"sun397_tfds_{part}.txt").write_text("\n".join(lines) + "\n")


def write_retinopathy(root: Path) -> None:
    folder = root / "diabetic_retinopathy"
    (folder / "train").mkdir(parents=True)
    (folder / "test").mkdir()
    train, test = ["image,level"], ["image,level,Usage"]
    for row in range(24):
        part, lines, more = (
            ("train", train, "")
            if row < 14
            else ("test", test, ",Public" if row < 18 else ",Private")
        )
        eye = np.zeros((20, 30, 3), np.uint8)
        eye[2:18, 5:25] = pixels(16, 20, 3) // 2 + 100
        Image.fromarray(eye).save(folder / part / f"{row}_left.jpeg")
        lines.append(f"{row}_left,{row % 5}{more}")
    (folder / "trainLabels.csv").write_text("\n".join(train) + "\n")
    (folder / "retinopathy_solution.csv").write_text("\n".join(test) + "\n")


def tiny(task: str, **arguments) -> TaskCard:
    """The shipped card, its sizes and slices cut down; `arguments` replace its source's."""
    card = load_cards()[task]
    (source,) = (one for one in card.sources if one.format != "tfds")
    cut = {"validation[:200]": "validation[:4]", "test[:200]": "test[:4]"}
    ends = {
        "test[12150:]": "test[6:]",
        "train[21600:]": "train[15:]",
        "train[25200:]": "train[15:]",
        "train[663552:]": "train[2042:]",
    }
    val, test = card.slices["val"], card.slices["test"]
    slices = {
        "train": "train[:8]",
        "val": cut.get(val, "train[8:12]"),
        "test": ends.get(test, test),
    }
    own = source.model_copy(update=arguments)
    return card.model_copy(
        update={
            "sizes": {"train": 8, "val": 4, "test": 6},
            "slices": slices,
            "sources": (own,),
            "archives": (),
        }
    )


COUNTS = {"train": 20, "test": 6}
FORMS: dict[str, tuple[str, Callable[[Path], None], dict]] = {
    "cifar100 python": ("cifar100", write_cifar100_python, {"counts": COUNTS}),
    "cifar100 binary": ("cifar100", write_cifar100_binary, {"counts": COUNTS}),
    "svhn": ("svhn", write_svhn, {"counts": COUNTS}),
    "dsprites npz": ("dsprites_location", write_dsprites_npz, {"counts": {"train": 2048}}),
    "dsprites hdf5": ("dsprites_orientation", write_dsprites_hdf5, {"counts": {"train": 2048}}),
    "smallnorb": ("smallnorb_azimuth", write_smallnorb, {"counts": {"train": 20, "test": 12}}),
    "smallnorb gzipped": (
        "smallnorb_elevation",
        write_smallnorb_packed,
        {"counts": {"train": 20, "test": 12}},
    ),
    "patch_camelyon": (
        "patch_camelyon",
        write_patch_camelyon,
        {"counts": {"train": 20, "validation": 8, "test": 6}},
    ),
    "patch_camelyon gzipped": (
        "patch_camelyon",
        write_patch_camelyon_packed,
        {"counts": {"train": 20, "validation": 8, "test": 6}},
    ),
    "eurosat": ("eurosat", write_classes, {"images": {"Forest": 12, "River": 9}}),
    "resisc45": ("resisc45", write_resisc45, {"images": {"airplane": 11, "sea_ice": 10}}),
    "clevr_count": ("clevr_count", write_clevr, {"counts": {"train": 20, "validation": 6}}),
    "clevr_distance": ("clevr_distance", write_clevr, {"counts": {"train": 20, "validation": 6}}),
    "dtd": ("dtd", write_dtd, {"counts": {"train": 20, "validation": 4, "test": 6}}),
    "flowers": (
        "oxford_flowers102",
        write_flowers,
        {"counts": {"train": 20, "validation": 4, "test": 6}},
    ),
    "pets": ("oxford_iiit_pet", write_pets, {"counts": COUNTS}),
    "kitti": (
        "kitti_distance",
        write_kitti,
        {"counts": {"train": 96, "validation": 12, "test": 12}},
    ),
    "sun397": ("sun397", write_sun397, {"counts": {"train": 14, "validation": 4, "test": 7}}),
    "retinopathy": (
        "diabetic_retinopathy",
        write_retinopathy,
        {"counts": {"train": 14, "validation": 4, "test": 6}},
    ),
}
NEEDS_DATA = ("dtd", "flowers", "pets", "kitti", "sun397", "retinopathy")
"""Forms whose keys don't follow from counts."""


def card_of(form: str) -> TaskCard:
    task, _, arguments = FORMS[form]
    card = tiny(task, **arguments)
    if task == "kitti_distance":  # three of thirty videos, four images each
        card = card.model_copy(update={"sizes": {"train": 8, "val": 4, "test": 12}})
    classes = {"eurosat": 2, "resisc45": 2, "sun397": 3}
    return card.model_copy(update={"classes": classes.get(task, card.classes)})
