"""Writes docs/backbones.md from the families of backbones and the methods' classes: python
scripts/backbones_page.py.

A test holds the page to them.
"""

from pathlib import Path

from timm.models.vision_transformer import VisionTransformer

from harness.backbones import shipped
from harness.backbones.carried import CAN, lacking
from harness.backbones.outlines import KNOWN, Outline, outline
from harness.backbones.vit import FrozenViT
from harness.planning.registry import registered
from harness.planning.variants import one

PAGE = Path(__file__).parent.parent / "docs" / "backbones.md"
COLUMNS = {
    "ViT": "vit_base_patch16_224.augreg_in21k",
    "SigLIP": "vit_base_patch16_siglip_224.v2_webli",
    "DINOv3": "vit_small_patch16_dinov3.lvd1689m",
    "EVA-02": "eva02_base_patch14_224.mim_in22k",
    "BEiT v2": "beitv2_base_patch16_224.in1k_ft_in22k",
    "Swin": "swin_base_patch4_window7_224.ms_in22k",
    "ConvNet": "convnext_base.fb_in22k",
}
"""One backbone for all that carry the same."""

TOP = """# Backbones

A backbone is a model of timm, frozen, and a forward that lets methods in between its blocks. Each
family has one: its features are timm's own, and prompts act as in timm's blocks with the prompts
behind the image, which `tests/harness/backbones/test_families.py` holds to 1e-5 and, in float64, to
1e-9, gradients too.

| family | timm's models | places of prompts |
|---|---|---|
| `vit` | AugReg, MAE, DINO, DINOv2, CLIP, SigLIP, AIMv2, DeiT | none: positions come first |
| `rope-vit` | DINOv3, EVA-02, the Perception Encoder, RoPE-ViT | none: only the image is rotated |
| `eva` | EVA | none |
| `beit` | BEiT and BEiT v2 | none: biases are of pairs of the image and CLS |
| `swin` | Swin and Swin V2 ([their own page](swin.md)) | none: biases are of pairs in a window |
| `convnext` | ConvNeXt and ConvNeXt V2 | takes no prompts |
| `resnet` | ResNet, ResNeXt, SE-ResNet and the like | takes no prompts |

A model is refused, in one line, where one of its parts isn't known: grouped-query attention
(Sapiens2), norms behind blocks (EVA-02 E), parallel blocks, patches from convolutions (hybrids),
and whatever isn't in timm's modules `vision_transformer`, `deit`, `eva`, `beit`,
`swin_transformer`, `swin_transformer_v2`, `convnext` and `resnet`, as EfficientNet.

A ConvNet has no tokens that prompts could join: what runs on it is what changes pixels, weights or
maps, and `conv-adapter`, which is made for it. Its batch norms keep the mean and variance that they
came with, whatever is tuned, so that a prediction never depends on its batch; `ln-tuning` and
`full` train their weights and biases. The side of its images is a multiple of its stride: 32, and 8
of `mini_convnext`.

Features are pooled as timm pools them: the class token, the mean of the image tokens, the model's
own attention pooling (SigLIP, the Perception Encoder), or the mean of the tokens for the class and
for distillation (DeiT distilled). DINOv3 is pooled by the mean of the image, as in timm. MAE's is
VPT's: the mean of the image and of what the last block makes of prompts, behind a norm of its own.

`NAME@SIDE` sets the side of the images: positions, rotations or biases are resized by timm.
`NAME=FILE` reads weights, with timm's names or those of the authors' files that timm reads; a file
for another size, family or pooling is refused in one line. `hf_hub:OWNER/NAME` and
`local-dir:FOLDER` are timm's own names for a repository on Hugging Face's hub and for a folder as
`timm.models.save_for_hf` writes one; the latter needs no network.

## Some names

`harness list backbones` prints these and those of suites. The first ones ship with the project and
need no network: `harness run --backbone mini_swin --suite mini`; how they were made is in
[datasets/mini/README.md](../datasets/mini/README.md). `scripts/backbones_page.py` writes this page.
The licence is that of the weights, as timm or their card states it.

"""

WORDS = """
## Which methods run on which

A method says what it needs of a backbone (`needs`), and a backbone what it carries. What a method
needs and a backbone lacks is said before anything runs: by `harness run`, `--dry-run`, `try`, `fit`
and `reproduce`. A method that doesn't say runs on plain Vision Transformers alone. Groups such as
`--methods prompts` or `everything` go without what the backbone can't carry, and say so.

"""


def page() -> str:
    lines = [
        TOP
        + "| name | family | side | tokens | width | blocks | values | pooling | pixels |\
 licence |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    known = [outline(name) for name in (*shipped(), *KNOWN)]
    for own in known:
        values = f"{own.parameters / 1e6:.1f} M"
        cells = (own.side, own.tokens, own.width, own.depth, values, own.pooling, own.pixels)
        said = " | ".join(map(str, cells))
        lines.append(f"| `{own.name}` | {own.family} | {said} | {own.licence} |")
    lines.append(WORDS + f"| method | {' | '.join(COLUMNS)} |")
    lines.append("|---|" + "---|" * len(COLUMNS))
    vits = [next(own for own in known if own.name == name) for name in COLUMNS.values()]
    for method in sorted(registered()):
        cells = [_cell(method, own) for own in vits]
        lines.append(f"| `{method}` | {' | '.join(cells)} |")
    lines.append("\nThe words of `needs`, as in these messages:\n")
    lines += [f"- `{word}`: {said}" for word, said in CAN.items()]
    return "\n".join(lines) + "\n"


def _cell(name: str, own: Outline) -> str:
    variant = one(f"{name}()")
    needs = variant.method.needs
    if lacking(needs, own.name, own.carries):
        return "no: " + next(word for word in needs if word not in own.carries)
    without = "cls" not in own.carries and "CLS" in variant.refusal(without_cls())
    return "no: cls" if without else "runs"


def without_cls() -> FrozenViT:
    """A small one, for what methods say of it themselves."""
    vit = VisionTransformer(depth=2, num_classes=0, class_token=False, global_pool="avg")
    return FrozenViT(vit, "avg")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
