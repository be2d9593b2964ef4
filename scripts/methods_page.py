"""Writes docs/methods.md from the methods' classes and docstrings, and from
benchmarks/method_steps.json: python scripts/methods_page.py.

A test holds the page to the classes.
"""

import importlib
import inspect
import json
import re
import textwrap
from pathlib import Path
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer

from harness.backbones import architecture
from harness.backbones.frozen import FrozenBackbone
from harness.backbones.vit import FrozenViT
from harness.planning.registry import registered
from harness.reporting.display import NOTHING
from harness.training.method import Method, trained_values

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "methods.md"
MEASURED = ROOT / "benchmarks" / "method_steps.json"

FAMILIES = {
    "prompts": "Prompts",
    "peft": "Other parameter-efficient methods",
    "references": "References",
}
RELEASED = {
    "vpt": ("KMnP/vpt", "CC BY-NC 4.0"),
    "vpt-deep": ("KMnP/vpt", "CC BY-NC 4.0"),
    "e2vpt": ("ChengHan111/E2VPT", "CC BY-NC 4.0"),
    "vfpt": ("runtsang/VFPT", "CC BY-NC 4.0"),
    "vapt": ("Minhchuyentoancbn/VAPT", "CC BY-NC 4.0"),
    "self-prompt": ("WangYZ1608/Self-Prompt-Tuning", "none stated"),
    "gate-vpt": ("ryongithub/GatedPromptTuning", "MIT"),
    "sa2vp": ("tommy-xq/SA2VP", "MIT"),
    "da-vpt": ("Noahsark/DA-VPT", "MIT"),
    "vqt": ("andytu28/VQT", "BSD-3-Clause"),
    "cvpt": ("Lingyun0419/CVPT", "none stated"),
    "pae": ("reeive/PAE", "none stated"),
    "vipamin": ("iamjaekyun/vipamin", "CC BY-NC, by its README"),
    **dict.fromkeys(("bpt", "bpt-whitened"), ("WangYZ1608/BPT", "MIT")),
    "pro-vpt": ("MCG-NJU/ProVP", "none stated"),
    "lor-vp": ("jincan333/LoR-VP", "none stated"),
    "pixel-prompt": ("hjbahng/visual_prompting", "MIT"),
    "dtl": ("heekhero/DTL", "MIT"),
    "arc": ("DavidYanAnDe/ARC", "MIT"),
    "sct": ("zhaohengyuan1/SCT", "none stated"),
    "res-tuning": ("modelscope/ms-swift", "Apache-2.0"),
    "noah": ("ZhangYuanhan-AI/NOAH", "MIT"),
    "lora": ("microsoft/LoRA", "MIT"),
    "ssf": ("dongzelian/SSF", "MIT"),
    **dict.fromkeys(("fact-tt", "fact-tk"), ("JieShibo/PETL-ViT", "MIT")),
    "adaptformer": ("ShoufaChen/AdaptFormer", "MIT"),
    "convpass": ("JieShibo/PETL-ViT", "MIT"),
    "conv-adapter": ("Hhhhhhao/Conv-Adapter", "none"),
    "bi-adaptformer": ("JieShibo/PETL-ViT", "MIT"),
    "bi-lora": ("JieShibo/PETL-ViT", "MIT"),
    "adapter-plus": ("visinf/adapter_plus", "Apache-2.0"),
    "tcpa": ("zhoujiahuan1991/ICML2025-TCPA", "none stated"),
    **dict.fromkeys(
        ("peft", "dora", "vera", "oft", "boft", "ia3", "fourierft", "hra", "lokr"),
        ("huggingface/peft", "Apache-2.0; an extra that is installed beside this package"),
    ),
}
"""Repositories that the papers' authors have published, and their licences. Ours is written from
the equations; no code of theirs is in it."""

HEAD = """# The methods

Every method is one file in `methods/`, with the paper's equations, how the released code is read
where it differs, and each deviation. `harness list methods` prints the short form;
`--methods prompts` runs a family, `--methods everything` all.

`peft` and what shares its section are Hugging Face's library, an extra: `pip install
'vpt-harness[peft]'`. As a bare name `peft` is the family of all methods in its table, save `peft`
itself, which is any of the library's types by brackets: `peft(type=loha,rank=4)`; `peft()` is
`peft(type=lora)`.

Values are trained values on ViT-B/16 with the method's defaults, the head aside; where only
training needs some of them, these stand behind a plus. GFLOP are operations of an image there, in
a training step at batch 64 and in scoring, counted by torch ([Costs](costs.md)). Memory is what a
step keeps for its backward pass, and time its seconds, both in those of `full` ({said}).
`benchmarks/method_steps.py` measures them, and `scripts/methods_page.py` writes this page.

The last column: ours and released code, the authors' unless another is named below, were run side
by side on the same weights, outside this repository, and their logits (or what is named) agree to
this digit. Commits, gradients, and what isn't equal stand below the tables.

"""


def page() -> str:
    classes = {name: entry.load() for name, entry in registered().items() if _is_ours(entry)}
    measured = json.loads(MEASURED.read_text())
    m = measured["measured"]
    size = {768: "ViT-B/16", 384: "ViT-S/16"}[m["width"]]
    said = f"{m['date']}, torch {m['torch']}, {size} on a CPU, batch {m['batch']}"
    said += f"; {m['note']}" if m["note"] else ""
    parts = HEAD.format(said=said).split("\n\n")
    text = "\n\n".join(textwrap.fill(part, 100, break_on_hyphens=False) for part in parts)
    for family, title in FAMILIES.items():
        names = [name for name, method in classes.items() if method.family == family]
        names.sort(key=lambda name: (classes[name].year or 0, name))
        text += f"## {title}\n\n"
        text += "| method | paper | what it is | values | GFLOP trained | GFLOP scored | memory | "
        text += "time | equal to released code |\n"
        text += "|---|---|---|---|---|---|---|---|---|\n"
        text += "".join(_row(name, classes[name], measured["methods"]) for name in names) + "\n"
        modules: dict[str, list[str]] = {}
        for name in names:
            modules.setdefault(classes[name].__module__, []).append(name)
        for module, of in modules.items():
            said = _details(module, {name: classes[name] for name in of})
            text += f"### {', '.join(of)}\n\n{said}" if said else ""
    return text.rstrip() + "\n"


def _is_ours(entry: Any) -> bool:
    return entry.value.startswith("methods.")


def _row(name: str, method: type[Method], measured: dict[str, dict[str, float]]) -> str:
    idea, arxiv = _idea(method)
    paper = f"[{method.year}](https://arxiv.org/abs/{arxiv})" if arxiv else NOTHING
    with torch.device("meta"):
        vit: FrozenBackbone = FrozenViT(VisionTransformer(num_classes=0))
        on = ""
        if "convolutions" in method.needs:
            vit, on = architecture("convnext_base"), " (ConvNeXt-B)"
        kept, only = trained_values(method(vit))
    values = f"{kept:,}" + (f" + {only:,}" if only else "") + on
    row = measured.get(name, {})
    digits = {"gflop": 1, "gflop_scored": 1, "memory": 2, "time_full": 2}
    costs = (f"{row[key]:.{n}f}" if key in row else NOTHING for key, n in digits.items())
    cells = (f"`{name}`", paper, idea, values, *costs, _equal(name, method))
    return f"| {' | '.join(cells)} |\n"


def _equal(name: str, method: type[Method]) -> str:
    """To which digit logits (features, or prompts) are those of released code, as its module says:
    of all its methods, or of those that it names there."""
    module = importlib.import_module(method.__module__)
    said = " ".join((inspect.getdoc(module) or "").split()).partition("Equal to ")[2]
    kinds = (r"(logits)", r"(features|prompts)")
    tries = (re.search(rf"\b{kind}[a-z ]* to (\d+e-\d+)", said) for kind in kinds)
    found = next(filter(None, tries), None)
    named = {*re.findall(r"`([\w-]+)`", said)} & {*registered()}
    if found is None or (named and name not in named):
        return NOTHING
    what, digit = found.groups()
    return f"to {digit}" if what == "logits" else f"{what} to {digit}"


def _idea(method: type[Method]) -> tuple[str, str | None]:
    """The summary without its number, and that."""
    found = re.search(r"arXiv (\d{4}\.\d{4,5})", method.summary)
    idea = re.sub(r"\s*\((?:our reading of )?arXiv [^)]*\)", "", method.summary)
    if idea[:2].islower():
        idea = idea[0].upper() + idea[1:]
    return idea, found[1] if found else None


def _details(module: str, methods: dict[str, type[Method]]) -> str:
    """What a module's docstring says of released code and of deviations, and its methods' notes."""
    docstring = inspect.getdoc(importlib.import_module(module)) or ""
    said = _released([*methods])
    for part in re.split(r"\n\s*\n", docstring):
        if part.startswith(("As released", "Ours", "Equal to", "Not compared", "Not equal")):
            said.append(" ".join(part.split()))
    said += dict.fromkeys(method.note for method in methods.values() if method.note)
    lines = (textwrap.fill(_plain(part), 100, break_long_words=False) for part in said)
    return "".join(f"{part}\n\n" for part in lines)


def _released(names: list[str]) -> list[str]:
    """A line for each repository of these methods; with their names, where it isn't of all."""
    repositories: dict[tuple[str, str], list[str]] = {}
    for name in names:
        if name in RELEASED:
            repositories.setdefault(RELEASED[name], []).append(name)
    return [
        f"Released code{'' if of == names else f' of {_listed(of)}'}:"
        f" [{repository}](https://github.com/{repository}), licence: {licence}."
        for (repository, licence), of in repositories.items()
    ]


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _plain(text: str) -> str:
    """Without what Markdown would read as markup."""
    return re.sub(r"(?<!`)([_*<\[\]])(?!`)", r"\\\1", text) if "](" not in text else text


if __name__ == "__main__":
    PAGE.write_text(page())
