"""What a user names: a backbone of timm by today's name or an old one, one whose authors publish it
elsewhere, its side and its file."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from harness.backbones.cards import WEIGHTS
from harness.errors import BadInput, nearest
from harness.io import flags
from harness.tasks.cards import LARGEST_CROP, Archive
from harness.text import one_of

MOCO_V3 = "vit_base_patch16_224.mocov3"
ELSEWHERE = {
    MOCO_V3: "https://dl.fbaipublicfiles.com/moco-v3/vit-b-300ep/linear-vit-b-300ep.pth.tar"
}
"""Weights that timm hasn't, and where their authors publish them.

The part before the dot is timm's architecture. Its images are taken to be normalized with
ImageNet's mean and std, and its features to be the CLS token if timm's are; of others,
`statistics_of` and `_pooling` in this room say so, and `layouts` of tensors called otherwise.

MoCo v3's are those of its linear probe, whose frozen encoder is the pretrained one: the file that
VPT's README names (328 MB for 2 GB).
"""
MODULES = (
    "vision_transformer",
    "deit",
    "eva",
    "beit",
    "swin_transformer",
    "swin_transformer_v2",
    "convnext",
    "resnet",
)
"""timm's modules whose models are covered, but for those that have a part which isn't."""
COVERED = (
    "timm's vit_, deit, eva, beit, aimv2_, swin, convnext and resnet models whose blocks are of"
    " known kinds"
)
SIZES = {
    **dict.fromkeys(("t", "ti", "tiny"), "tiny"),
    **dict.fromkeys(("s", "small"), "small"),
    **dict.fromkeys(("b", "base"), "base"),
    **dict.fromkeys(("l", "large"), "large"),
    **dict.fromkeys(("h", "huge"), "huge"),
}
USUAL = re.compile(
    rf"(?P<family>vit|deit|deit3|beit|beitv2|swin|swinv2|convnext|convnextv2)[-_ ]?"
    rf"(?P<size>{'|'.join(SIZES)})[-_/ ]?p?(?P<patch>\d+)?"
)
"""A backbone as papers write it, such as ViT-B/16, in small letters."""
HUBS = ("hf_hub:", "hf-hub:", "local-dir:")
"""What begins a name that timm finds by itself: a repository of Hugging Face's hub, or a folder as
timm saves one for it."""


@dataclass(frozen=True)
class Spec:
    """What `NAME`, `NAME@SIDE`, `NAME=FILE` or `NAME@SIDE=FILE` asks for."""

    name: str
    side: int | None = None
    """Of its square images, in pixels; None: the one that the name stands for."""
    file: Path | None = None

    def __str__(self) -> str:
        return (
            self.name
            + (f"@{self.side}" if self.side else "")
            + (f"={self.file}" if self.file else "")
        )


def parse(text: str) -> Spec:
    """Reads what a user asks for, an old name as today's. Raises `BadInput`."""
    named, _, file = text.partition("=")
    name, at, side = named.rpartition("@") if "@" in named else (named, "", "")
    if at and is_of_hub(name) and not side.isdecimal():  # a revision
        name, at, side = named, "", ""
    if at and not (side.isdecimal() and 0 < int(side) <= LARGEST_CROP):
        raise BadInput(
            f"backbone {text}: after @ comes the side of its images in pixels, as {name}@224, up to"
            f" {LARGEST_CROP}."
        )
    return Spec(
        todays(name), int(side) if at else None, flags.path(file).absolute() if file else None
    )


def is_of_hub(name: str) -> bool:
    """Whether a name is of a hub or of a folder that was saved for one."""
    return name.startswith(HUBS)


def is_shipped(name: str) -> bool:
    return (WEIGHTS / f"{name}.toml").is_file()


def covered() -> list[str]:
    """timm's architectures of the modules that are covered."""
    import timm

    return sorted({name for module in MODULES for name in timm.list_models(module=module)})


def todays(name: str) -> str:
    """What timm calls a backbone now; a name that timm doesn't know as an old one stays as it
    is."""
    # with weights said, or shipped: an old name says its weights without a dot
    if "_" not in name or "." in name or is_of_hub(name) or is_shipped(name):
        return name
    # timm has no public table of its old names
    from timm.models import _registry  # pyright: ignore[reportPrivateUsage]

    return getattr(_registry, "_deprecated_models", {}).get(name) or name


def check(name: str, shipped: Iterable[str]) -> None:
    """Raises `BadInput` for a name that isn't one of timm's `covered` models, nor one of
    `ELSEWHERE` or of a hub."""
    import timm

    if name in ELSEWHERE or is_of_hub(name):
        return
    architecture, dot, tag = name.partition(".")
    plain = covered()
    if architecture not in plain:
        if timm.is_model(architecture):
            raise not_covered(name)
        kin = timm.list_models(f"{architecture}*")
        if kin and not set(kin) & set(plain):
            raise not_covered(kin[0])
        whole = [
            full
            for full in (*timm.list_pretrained(), *ELSEWHERE)
            if full.partition(".")[0] in set(plain)
        ]
        family = [] if dot else _family(name, [*plain, *whole], whole)
        close = (
            f" Did you mean {one_of(map(repr, family))}?"
            if family
            else _close(name, [*(whole if dot else plain), *shipped]) or _close(name, whole)
        )
        raise BadInput(f"unknown backbone '{name}'.{close} See `harness list backbones`.")
    known = [
        *timm.list_pretrained(f"{architecture}.*"),
        *(full for full in ELSEWHERE if full.startswith(f"{architecture}.")),
    ]
    tags = [full.partition(".")[2] for full in known]
    if dot and tag not in tags:
        raise BadInput(
            f"unknown weights '{tag}' of {architecture}: known are"
            f" {', '.join(sorted(tags)) or 'none'}.{nearest(tag, tags)}"
        )


def _family(name: str, known: list[str], weights: list[str]) -> list[str]:
    """Up to three of the known names that have all parts of a name, those of the usual size,
    patches and side first; one of each architecture."""
    usual = USUAL.fullmatch(name.lower())
    parts = re.split(r"[-_/. ]+", name.lower())
    if usual is not None:
        parts = [usual["family"], SIZES[usual["size"]]]
        parts += [f"patch{usual['patch']}"] if usual["patch"] else []
    have = {full.partition(".")[0] for full in weights}

    def has(full: str) -> bool:
        segments = re.split(r"[_.]", full)
        found = (any(one.startswith(part) for one in segments) for part in parts)
        return segments[0] != "test" and all(found)  # timm's own tiny ones

    def order(full: str) -> tuple[bool | int, ...]:
        segments = re.split(r"[_.]", full)
        return (
            not set(parts) <= set(segments),
            segments[0] != parts[0],
            full.partition(".")[0] not in have,
            -len({"base", "patch16", "224", "window7", "resnet50"} & set(segments)),
            len(segments),
        )

    first: dict[str, str] = {}
    for full in sorted(filter(has, known), key=order):
        first.setdefault(full.partition(".")[0], full)
    return list(first.values())[:3]


def _close(name: str, known: list[str]) -> str:
    """A guess, where it is close enough to be meant."""
    return nearest(name, known) if get_close_matches(name, known, n=1, cutoff=0.7) else ""


def not_covered(name: str, part: str = "") -> BadInput:
    """`part`: what of it isn't known."""
    return BadInput(f"timm's {name} is not covered{f' ({part})' if part else ''}: only {COVERED}.")


def here(name: str) -> Path:
    """Where the file of one of `ELSEWHERE` is, once it was downloaded."""
    from harness.io.resources import cache_dir

    return cache_dir() / "weights" / Archive(url=ELSEWHERE[name]).name


def fetched(name: str) -> Path:
    """The file of one of `ELSEWHERE`, downloaded into the cache once. Raises `BadInput`."""
    from harness.data.download import download
    from harness.io.atomic import making

    archive, path = Archive(url=ELSEWHERE[name]), here(name)
    with making(path):
        try:
            download(archive, path, lambda _what, _done, _total: None)
        except BadInput as error:
            raise BadInput(
                f"backbone {name}: {error} Or give a file: --backbone {name}=FILE."
            ) from error
    return path
