"""What is fuzzed: everything that is read from others' files, each as a tiny good original and how
it is read through the public interface.

`read` gives back (fingerprint, what was read) or raises `BadInput`. Where the fingerprint is the
original's, what was read must be too.
"""

import hashlib
import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import tiny_ade20k
import tiny_fgvc
import tiny_originals
import tiny_tfrecords
from PIL import Image

from harness.data.decode import decoded, masks
from harness.data.fingerprint import fingerprint
from harness.data.readers import check, records, resolve
from harness.tasks.cards import SPLITS, TaskCard, load_cards

Read = tuple[str, str]


@dataclass(frozen=True)
class Target:
    name: str
    make: Callable[[Path], None]
    """Writes the original into a folder."""
    read: Callable[[Path], Read]
    only: str = "*"
    """Which files are broken."""


def of_data(card: TaskCard, root: Path) -> Read:
    """Everything that a run reads of a task: lists, labels, bytes, pixels, masks."""
    found = resolve(card, root)
    check(found, root)
    seen = hashlib.sha256()
    for split in SPLITS:
        rows = records(found, root, split)
        for record, image in zip(
            rows, decoded(card.name, rows, lambda image: image.convert("RGB")), strict=True
        ):
            seen.update(
                repr((split, record.key, record.label, image.size)).encode() + image.tobytes()
            )
        for mask in masks(card.name, rows) if card.kind == "segmentation" else ():
            seen.update(repr(mask.shape).encode() + mask.tobytes())
    return fingerprint(found, root), seen.hexdigest()


def _tiny_card(**changes) -> TaskCard:
    fields = {
        "name": "tiny",
        "title": "Tiny",
        "suite": "mine",
        "group": "natural",
        "kind": "classification",
        "classes": 3,
    }
    more = {
        "sizes": {"train": 6, "val": 4, "test": 5},
        "pixels": "pil",
        "metric": "top1",
        "source": "",
        "licence": "",
        "citation": "",
    }
    return TaskCard.model_validate(
        {**fields, **more, "reader": {"format": "vtab-folder", "folder": "tiny"}, **changes}
    )


KINDS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")


def write_folder(root: Path, kinds: tuple[str, ...] = ("JPEG", "PNG")) -> None:
    rng, union = np.random.default_rng(0), []
    for split, name in (("train", "train800"), ("val", "val200"), ("test", "test")):
        folder = root / "tiny" / "images" / name
        folder.mkdir(parents=True)
        lines = []
        for row in range({"train": 6, "val": 4, "test": 5}[split]):
            kind = kinds[row % len(kinds)]
            modes = {
                "JPEG": ("RGB", "L", "CMYK"),
                "TIFF": ("RGB", "CMYK", "P"),
                "PPM": ("RGB", "L"),
                "WEBP": ("RGB",),
            }
            mode = modes.get(kind, ("RGB", "L", "P"))[row % len(modes.get(kind, "RLP"))]
            image = Image.fromarray(rng.integers(0, 256, (8 + row, 12, 3), dtype=np.uint8)).convert(
                mode
            )
            ending = "jpg" if kinds is KINDS else kind.lower()
            image.save(folder / f"{row:06}.{ending}", kind)
            lines.append(f"images/{name}/{row:06}.{ending} {row % 3}")
        (root / "tiny" / f"{name}.txt").write_text("\n".join(lines) + "\n")
        union += lines if split != "test" else []
    (root / "tiny" / "train800val200.txt").write_text("\n".join(union) + "\n")


def write_prepared(root: Path) -> None:
    from harness.data.prepare import prepare

    write_folder(root)
    prepare(_tiny_card(), root, root, lambda done, total: None)
    shutil.rmtree(root / "tiny")
    (root / "tiny.prepared.lock").unlink(missing_ok=True)


def write_arrays(root: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 6), ("val", 4), ("test", 5)):
        shape = (n, 8, 8, 3) if split == "test" else (n, 8, 8)
        arrays |= {
            f"{split}_images": rng.integers(0, 256, shape, dtype=np.uint8),
            f"{split}_labels": np.arange(n) % 3,
        }
    np.savez_compressed(root / "tiny.npz", allow_pickle=False, **arrays)


def read_arrays(root: Path) -> Read:
    card = _tiny_card(reader={"format": "arrays", "file": "tiny.npz"}, path=root / "tiny.toml")
    return of_data(card, root)


def write_masks(root: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 6), ("val", 4), ("test", 5)):
        arrays |= {f"{split}_images": rng.integers(0, 256, (n, 8, 9, 3), dtype=np.uint8)}
        arrays |= {f"{split}_masks": rng.choice([0, 1, 2, 255], (n, 8, 9)).astype(np.uint8)}
    np.savez_compressed(root / "tiny.npz", allow_pickle=False, **arrays)


def read_masks(root: Path) -> Read:
    kind = {"kind": "segmentation", "pixels": "setr", "crop": 8, "metric": "miou"}
    return of_data(
        _tiny_card(
            reader={"format": "arrays", "file": "tiny.npz"}, path=root / "tiny.toml", **kind
        ),
        root,
    )


def write_ade20k(root: Path) -> None:
    tiny_ade20k.ade(root)


def read_ade20k(root: Path) -> Read:
    return of_data(load_cards()["ade20k"].model_copy(update={"sizes": tiny_ade20k.SIZES}), root)


def _fgvc() -> dict[str, tuple[TaskCard, Callable[[Path], None]]]:
    of = tiny_fgvc.card_of
    return {
        "fgvc json": (
            of("cub200_2011"),
            partial(tiny_fgvc.write_json, task="cub200_2011", images="images"),
        ),
        "fgvc cub": (of("cub200_2011"), tiny_fgvc.write_cub),
        "fgvc nabirds": (of("nabirds"), tiny_fgvc.write_nabirds),
        "fgvc flowers": (of("oxford_flowers"), tiny_fgvc.write_flowers),
        "fgvc dogs": (of("stanford_dogs"), tiny_fgvc.write_dogs),
        "fgvc cars combined": (of("stanford_cars"), tiny_fgvc.write_cars_combined),
        "fgvc cars devkit": (of("stanford_cars"), tiny_fgvc.write_cars_devkit),
    }


def write_archive(form: str, folder: Path) -> None:
    rng = np.random.default_rng(0)
    files = {
        "list.txt": b"a 1\nb 2\n",
        "images/a.bin": rng.bytes(400),
        "images/b.bin": rng.bytes(3000),
        "deep/er/c.txt": b"c" * 900,
    }
    path = folder / f"a.{form}"
    if form == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    elif form == "bin.gz":
        import gzip

        path.write_bytes(gzip.compress(files["images/b.bin"] + files["deep/er/c.txt"]))
    else:
        plain = folder / "plain"
        for name, content in files.items():
            (plain / name).parent.mkdir(parents=True, exist_ok=True)
            (plain / name).write_bytes(content)
        with tarfile.open(path, "w:gz" if form != "tar" else "w") as archive:
            archive.add(plain, ".")
        shutil.rmtree(plain)


def read_archive(form: str, folder: Path) -> Read:
    """Extracted, and nothing outside of its folder."""
    from harness.data.unpack import unpack

    into = folder / "in" / "to"
    into.mkdir(parents=True)
    before = _listed(folder)
    try:
        unpack(folder / f"a.{form}", into)
    finally:
        for path, content in _listed(folder).items():
            if not path.startswith("in/to/") and before.get(path) != content:
                raise AssertionError(f"wrote {path}, outside of its folder")
        for path in into.rglob("*"):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise AssertionError(f"made {path.name}, which is no file and no folder")
    digest = hashlib.sha256(json.dumps(_listed(into)).encode()).hexdigest()
    return digest, digest


def _listed(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = f"link to {path.readlink()}"
        elif path.is_file():
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@cache
def _vit():
    """The mini backbone's state, made narrower: two blocks of width 16."""
    import torch
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    return VisionTransformer(
        img_size=32, patch_size=16, embed_dim=16, depth=1, num_heads=2, num_classes=0
    )


def write_weights(form: str, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    state = _vit().state_dict()
    if form == "safetensors":
        save_file(state, folder / "weights.safetensors")
    elif form == "npz":
        np.savez(folder / "weights.npz", allow_pickle=False, **_original_names(state))
    else:
        torch.save(
            {"model": {f"module.{name}": value for name, value in state.items()}},
            folder / "weights.pt",
        )


def _original_names(state: dict) -> dict[str, np.ndarray]:
    """As the original ViT's .npz files name and shape them."""
    arrays = {
        "embedding/kernel": state["patch_embed.proj.weight"].permute(2, 3, 1, 0),
        "embedding/bias": state["patch_embed.proj.bias"],
    }
    arrays |= {
        "cls": state["cls_token"],
        "Transformer/posembed_input/pos_embedding": state["pos_embed"],
    }
    arrays |= {
        "Transformer/encoder_norm/scale": state["norm.weight"],
        "Transformer/encoder_norm/bias": state["norm.bias"],
    }
    to, of = "Transformer/encoderblock_0", "blocks.0"
    for theirs, ours in {"LayerNorm_0": "norm1", "LayerNorm_2": "norm2"}.items():
        arrays |= {
            f"{to}/{theirs}/scale": state[f"{of}.{ours}.weight"],
            f"{to}/{theirs}/bias": state[f"{of}.{ours}.bias"],
        }
    weights, biases = state[f"{of}.attn.qkv.weight"].chunk(3), state[f"{of}.attn.qkv.bias"].chunk(3)
    attention = f"{to}/MultiHeadDotProductAttention_1"
    for part, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
        arrays |= {
            f"{attention}/{part}/kernel": weight.T.reshape(16, 2, -1),
            f"{attention}/{part}/bias": bias.reshape(2, -1),
        }
    arrays[f"{attention}/out/kernel"] = state[f"{of}.attn.proj.weight"].T.reshape(2, -1, 16)
    arrays[f"{attention}/out/bias"] = state[f"{of}.attn.proj.bias"]
    for theirs, ours in {"Dense_0": "fc1", "Dense_1": "fc2"}.items():
        arrays[f"{to}/MlpBlock_3/{theirs}/kernel"] = state[f"{of}.mlp.{ours}.weight"].T
        arrays[f"{to}/MlpBlock_3/{theirs}/bias"] = state[f"{of}.mlp.{ours}.bias"]
    return {name: np.asarray(value) for name, value in arrays.items()}


def read_weights(form: str, folder: Path) -> Read:
    from harness import backbones

    architecture = {
        "img_size": 32,
        "patch_size": 16,
        "embed_dim": 16,
        "depth": 1,
        "num_heads": 2,
        "num_classes": 0,
    }
    card = replace(
        backbones.shipped()["mini_vit"],
        name="narrow",
        architecture=architecture,
        pooling="cls",
        mean=[0.5] * 3,
        std=[0.5] * 3,
    )
    was = backbones.shipped
    backbones.shipped = lambda: {"narrow": card}
    try:
        digest = backbones.load(f"narrow={folder / f'weights.{form}'}").sha256
    finally:
        backbones.shipped = was
    return digest, digest


def write_checkpoint(folder: Path, crop: int | None = None) -> None:
    import torch

    from harness import backbones
    from harness.inference import checkpoint, checkpoint_files
    from harness.planning.variants import parse
    from harness.store import cell_key, result_id
    from harness.training.heads import Model, sized
    from harness.training.kinds import kind_of

    base = backbones.load("mini_vit")
    (variant,) = parse("vpt")
    torch.manual_seed(0)
    method = variant.method(sized(base.vit, crop), prompts=2)  # type: ignore[call-arg]
    identity = {
        "method": {"name": "vpt", "version": variant.method.version, "arguments": {}},
        "task": {"name": "digits", "card": "c" * 64, "data": "d" * 64, "pixels": "pil"},
        "backbone": {"name": "mini_vit", "sha256": base.sha256, "pooling": base.pooling},
        "protocol": {"epochs": 1},
    }
    origin = checkpoint.Origin(
        result_id(cell_key(identity), 0),
        cell_key(identity),
        0,
        identity,
        {"prompts": 2},
        {},
        3,
        (),
        {},
        50.0,
        "e" * 64,
        {},
        crop,
    )
    kind = kind_of("classification" if crop is None else "segmentation")
    head = kind.new_head(method, 3, "kaiming_normal")
    checkpoint_files.save(checkpoint_files.Keep(folder), Model(method, head), origin)
    next(folder.glob("*.safetensors")).rename(folder / "tuned.safetensors")


@cache
def _mini():
    from harness import backbones

    return backbones.load("mini_vit")


def read_checkpoint(folder: Path) -> Read:
    """Loaded, and an image predicted and named."""
    from harness.inference.predictions import rows
    from harness.inference.tuned_model import load

    tuned = load(folder / "tuned.safetensors", _mini())
    Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)).save(folder / "image.png")
    if tuned.origin.crop is not None:
        from harness.inference.overlay import overlays

        (seen,) = overlays(tuned, [folder / "image.png"], folder / "seen")
        digest = hashlib.sha256(repr(seen["classes"]).encode()).hexdigest()
        return digest, digest
    logits = tuned.predict([folder / "image.png"])
    rows(logits, logits.softmax(1), [Path("image.png")], tuned.origin.class_names, 2)
    digest = hashlib.sha256(logits.numpy().tobytes()).hexdigest()
    return digest, digest


def write_store(folder: Path) -> None:
    from made_up import filled

    filled(folder / "theirs.db").close()
    for path in folder.glob("theirs.db-*"):
        path.unlink()


def write_exported(folder: Path) -> None:
    from made_up import filled

    from harness.store.transfer import exchange

    store = filled(folder / "theirs.db")
    exchange.write(exchange.of_store(store), folder / "theirs.parquet")
    store.close()
    for path in folder.glob("theirs.db*"):
        path.unlink()


def read_results(name: str, folder: Path) -> Read:
    """Imported into an empty store, and reported."""
    from harness.reporting.report import Report
    from harness.store import Store
    from harness.store.transfer import exchange
    from harness.store.transfer.merge import merge
    from harness.store.transfer.sources import sources

    mine = Store(folder / "mine" / "results.db")
    try:
        for source in sources(str(folder / name), mine):
            merge(mine, source.rows())
        rows = exchange.of_store(mine)
        if rows.results:
            for form in ("md", "json", "csv", "table"):
                Report(mine, None, None, None).render(form)
    finally:
        mine.close()
    digest = hashlib.sha256(repr(rows).encode()).hexdigest()
    return digest, digest


def write_submission(folder: Path) -> None:
    """Of a method that isn't registered, so that no code of one is imported."""
    from submitted import filled, record_of, seal, sent, sound

    from harness.reporting.submissions import checkpoints

    store = filled(folder / "mine.db", [sound("mine"), sound("mine", "fashion")], (0,))
    row = store.results()[0]
    sent(folder / "board", "ada", store, records=[record_of(row, folder / "again.json")])
    one = checkpoints.Checkpoint(10, "a" * 64, row.logits_sha256)
    checkpoints.write(folder / "board" / "ada" / "checkpoints.csv", {row.id: one})
    seal(folder / "board" / "ada")
    store.close()
    for path in (*folder.glob("mine.db*"), folder / "again.json"):
        path.unlink()


def read_submission(folder: Path) -> Read:
    """Checked as if it was sealed by whoever broke it, and built."""
    from submitted import seal

    from harness.errors import BadInput
    from harness.reporting.submissions.check import check_all
    from harness.reporting.submissions.pages import build

    with suppress(BadInput, OSError):
        seal(folder / "board" / "ada")
    outcomes = check_all(folder / "board")
    build(outcomes, folder / "public")
    found = [outcome.submission for outcome in outcomes]
    assert all(found)
    read = [(one.rows, one.checkpoints, one.records) for one in found if one]
    digest = hashlib.sha256(repr(read).encode()).hexdigest()
    return digest, digest


def write_published(folder: Path) -> None:
    from harness.io.resources import published_csv

    lines = published_csv().read_text().splitlines(keepends=True)
    (folder / "published.csv").write_text("".join(lines[:40]))


def read_published(folder: Path) -> Read:
    """Read, and its means held to its numbers."""
    from harness.reporting.published.numbers import means_disagree, published

    numbers = published(folder / "published.csv")
    digest = hashlib.sha256(repr((numbers, means_disagree(numbers))).encode()).hexdigest()
    return digest, digest


def write_known(folder: Path) -> None:
    from harness.io.resources import osu_csv

    lines = osu_csv().read_text().splitlines(keepends=True)
    (folder / "known.csv").write_text("".join(lines[:1] + lines[180:220]))


def read_known(folder: Path) -> Read:
    from harness.planning.known import table

    digest = hashlib.sha256(repr(table(str(folder / "known.csv"))).encode()).hexdigest()
    return digest, digest


def write_card(name: str, folder: Path) -> None:
    (source,) = (
        path for path in (card.path for card in load_cards().values()) if path.stem == name
    )
    text = source.read_text().replace(f'name = "{name}"', 'name = "a-card"', 1)
    (folder / "cards").mkdir()
    (folder / "cards" / "a-card.toml").write_text(text)


def read_card(folder: Path) -> Read:
    """Read, its keys computed, its data looked for."""
    from harness.data.keys import keys
    from harness.data.status import status
    from harness.errors import BadInput

    found = load_cards(folder / "cards")
    (card,) = (found[name] for name in found.keys() - _shipped())
    (folder / "data").mkdir(exist_ok=True)
    said = [card.model_dump_json()]
    for split in ("train", "val", "test"):
        try:
            said.append(hashlib.sha256("\n".join(keys(card, None, split)).encode()).hexdigest())
        except BadInput as error:
            said.append(one_line(error))
    for root in (None, folder / "data"):
        said.append(status(card, root).state)
    digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()
    return digest, digest


@cache
def _shipped() -> frozenset[str]:
    return frozenset(load_cards())


def one_line(error: Exception) -> str:
    if "\n" in str(error) or "\r" in str(error):
        raise AssertionError(f"more than one line: {error}")
    return str(error)


def write_protocol(folder: Path) -> None:
    from harness.planning import protocols

    shutil.copy(Path(protocols.__file__).parent / "vpt.toml", folder / "mine.toml")


def read_protocol(folder: Path) -> Read:
    from harness.planning import protocols

    protocol = protocols.load(str(folder / "mine.toml"))
    protocol.score_at()
    try:
        protocols.grid(
            {
                name: entry.distribution()
                for name, entry in {**protocol.space, **protocol.method_space}.items()
            }
        )
    finally:
        digest = hashlib.sha256(
            json.dumps(protocol.identity(), sort_keys=True).encode()
        ).hexdigest()
    return digest, digest


def _of_card(
    card: TaskCard, write: Callable[[Path], None]
) -> tuple[Callable[[Path], None], Callable[[Path], Read]]:
    return write, partial(of_data, card)


@cache
def targets() -> dict[str, Target]:
    """All of them, by name."""
    found = [
        Target("vtab folder", write_folder, partial(of_data, _tiny_card())),
        Target(
            "images", partial(write_folder, kinds=KINDS), partial(of_data, _tiny_card()), "*.jpg"
        ),
        Target("prepared", write_prepared, partial(of_data, _tiny_card())),
        Target("arrays", write_arrays, read_arrays),
        Target("arrays with masks", write_masks, read_masks),
        Target("ade20k", write_ade20k, read_ade20k),
    ]
    for form, (_, write, _) in tiny_originals.FORMS.items():
        found.append(Target(form, *_of_card(tiny_originals.card_of(form), write)))
    for name, (card, write) in _fgvc().items():
        found.append(Target(name, *_of_card(card, write)))
    found.append(Target("dmlab", *_of_card(tiny_tfrecords.dmlab(), tiny_tfrecords.write_dmlab)))
    for task in (
        "cifar100",
        "clevr_distance",
        "kitti_distance",
        "smallnorb_elevation",
        "dsprites_location",
        "diabetic_retinopathy",
    ):
        write = partial(tiny_tfrecords.write_tfds, task=task)
        found.append(Target(f"tfds {task}", *_of_card(tiny_tfrecords.tiny_tfds(task), write)))  # type: ignore[arg-type]
    for form in ("zip", "tar", "tar.gz", "bin.gz"):
        found.append(
            Target(f"archive .{form}", partial(write_archive, form), partial(read_archive, form))
        )
    for form in ("safetensors", "npz", "pt"):
        found.append(
            Target(f"weights .{form}", partial(write_weights, form), partial(read_weights, form))
        )
    found += [
        Target("checkpoint", write_checkpoint, read_checkpoint, "tuned.safetensors"),
        Target(
            "checkpoint of segmentation",
            partial(write_checkpoint, crop=30),
            read_checkpoint,
            "tuned.safetensors",
        ),
        Target("store", write_store, partial(read_results, "theirs.db"), "theirs.db"),
        Target(
            "exported store",
            write_exported,
            partial(read_results, "theirs.parquet"),
            "theirs.parquet",
        ),
        Target("submission", write_submission, read_submission),
        Target("published.csv", write_published, read_published),
        Target("known.csv", write_known, read_known),
        Target("protocol", write_protocol, read_protocol),
    ]
    for name in ("svhn", "eurosat", "cub200_2011", "digits", "ade20k"):
        found.append(Target(f"card {name}", partial(write_card, name), read_card))
    return {target.name: target for target in found}


def cache_in(folder: Path) -> None:
    os.environ["VPT_HARNESS_CACHE"] = str(folder)
