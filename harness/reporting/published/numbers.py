"""Numbers that papers print, to be read beside what was measured. They have a type of their own,
and a source each; no mean, rank or test takes them in: `leaderboard` takes rows of another type.
"""

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from harness.errors import BadInput, nearest
from harness.io.resources import published_csv
from harness.reporting.published.setups import (
    Setup,
    measured_setup,
    setup_differences,
    setup_of_source,
)
from harness.reporting.section import Section
from harness.tasks.cards import load_cards, load_suites
from harness.tasks.kinds import metric_of
from harness.text import plain

COLUMNS = ("method", "backbone", "pretrain", "task", "metric", "value", "source")
"""Of `results/published.csv`; results/README.md says what they hold."""

TOLERANCE = 0.1
"""Points that a printed mean may be off the mean of printed numbers: where both are rounded to one
decimal, each by half of it."""

BACKBONES = {
    "vit_base_patch16_224.orig_in21k": ("ViT-B/16", "sup-IN21k"),
    "vit_base_patch16_224.augreg_in21k": ("ViT-B/16", "AugReg-IN21k"),
    "vit_base_patch16_224.mae": ("ViT-B/16", "MAE-IN1k"),
    "vit_base_patch16_224.mocov3": ("ViT-B/16", "MoCov3-IN1k"),
}
"""How papers name the backbones here. MoCo v3's name is ours, as timm has none; a bare
`vit_base_patch16_224=FILE` doesn't say what it was trained on."""

USUAL = BACKBONES["vit_base_patch16_224.orig_in21k"]
"""What most of the published tables are of."""

SEGMENTERS = {"vit_large_patch16_224.orig_in21k": ("ViT-L/16 + SETR-PUP", "sup-IN21k")}
"""The same for segmentation, where a head is part of the name."""


@dataclass(frozen=True)
class PublishedNumber:
    """A line of the file: a number as a paper prints it, in percent."""

    method: str
    backbone: str
    pretrain: str
    task: str
    """A task, or the name of a mean over tasks."""
    metric: str
    value: float
    source: str
    """Where it was read."""


@dataclass(frozen=True)
class PublishedRow:
    """What papers print of one method on one backbone."""

    method: str
    backbone: str
    pretrain: str
    metric: str
    numbers: Mapping[str, float]
    """By task, in percent."""
    means: Mapping[str, float]
    """By name, such as `mean-vtab_natural7`, in percent, as printed."""
    sources: Mapping[str, str]
    """Where each number and mean was read."""

    @property
    def source(self) -> str:
        """All sources, each once."""
        return "; ".join(dict.fromkeys(self.sources.values()))


@dataclass(frozen=True)
class PublishedBeside:
    """The published rows that may stand beside a section, and where there are none, why."""

    rows: tuple[PublishedRow, ...]
    reason: str | None


ALIASES = {"bitfit": "bias", "adaptformer": "adapter", "adapter": "adapter of papers"}
"""Methods that papers name otherwise. Ours named `adapter` is AdaptFormer; what papers call Adapter
is Houlsby's or Pfeiffer's."""


def named_here(method: str) -> str:
    """A published method as it is named here, without the note in brackets."""
    name = re.sub(r"\(.*", "", method).strip().lower()
    return ALIASES.get(name, name)


@cache
def means() -> dict[str, tuple[str, ...]]:
    """The tasks that each named mean is over."""
    cards, suites = load_cards(), load_suites()
    vtab, fgvc = suites["vtab"].tasks, suites["fgvc"].tasks
    groups = {
        f"mean-vtab_{name}{count}": tuple(task for task in vtab if cards[task].group == name)
        for name, count in (("natural", 7), ("specialized", 4), ("structured", 8))
    }
    return {
        **groups,
        "mean-fgvc5": tuple(fgvc),
        "mean-vtab19_tasks": tuple(vtab),
        "mean-vtab3_groups": tuple(vtab),
    }


def published(path: Path | None = None) -> list[PublishedNumber]:
    """The lines of a file with the columns `COLUMNS`; by default of the one that is shipped.
    Raises `BadInput` for a file with a fault."""
    path = path or published_csv()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except (OSError, ValueError, csv.Error) as error:  # Unicode's are ValueErrors
        raise BadInput(f"{path} can't be read as CSV ({plain(str(error))[:160]}).") from error
    header, *rest = lines or [[]]
    if tuple(header) != COLUMNS:
        raise BadInput(
            f"{path} has the columns {', '.join(map(plain, header))[:160]}; they are"
            f" {', '.join(COLUMNS)}."
        )
    numbers: list[PublishedNumber] = []
    seen: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(rest, 2):
        if not line:  # blank
            continue
        fault = _fault(line)
        if fault is None and (first := seen.setdefault(tuple(line[:5]), number)) != number:
            fault = f"the same number as in line {first}"
        if fault is not None:
            raise BadInput(f"{path}, line {number}: {fault}.")
        *key, value, source = line
        numbers.append(PublishedNumber(*key, value=float(value), source=source))
    return numbers


def means_disagree(numbers: Sequence[PublishedNumber]) -> list[str]:
    """A line for each printed mean that is more than `TOLERANCE` off the mean of the numbers
    printed for the same method and backbone.

    Where there are no numbers of all tasks, means over VTAB's groups are held to the groups'
    printed means.
    """
    lines = []
    for row in _rows(numbers):
        for name, printed in row.means.items():
            made = _recomputed(name, row)
            if made is not None and abs(made - printed) > TOLERANCE + 1e-9:
                where = f"{row.method} on {row.backbone} ({row.pretrain})"
                lines.append(
                    f"{where}: {name} is printed as {printed:g}, its own numbers give {made:.2f}"
                )
    return lines


def means_checked(numbers: Sequence[PublishedNumber]) -> tuple[int, int]:
    """How many printed means can be recomputed, of how many."""
    made = [_recomputed(name, row) for row in _rows(numbers) for name in row.means]
    return sum(mean is not None for mean in made), len(made)


def beside(section: Section, published: Sequence[PublishedNumber]) -> PublishedBeside:
    """The published rows on the section's backbone and metric that have a number on its tasks, or a
    mean over tasks that it all has.

    Where papers don't know the backbone, those on the usual one, which `differences` then says.
    Numbers on other tasks are left out, means over other tasks too.
    """
    named = _named(section) or (
        USUAL if section.first.metric == "top1" else next(iter(SEGMENTERS.values()))
    )
    rows = []
    for row in _rows(published):
        if (row.backbone, row.pretrain, row.metric) != (
            *named,
            metric_of(section.first.metric).published,
        ):
            continue
        numbers = {task: row.numbers[task] for task in section.tasks if task in row.numbers}
        whole = {
            name: value
            for name, value in row.means.items()
            if set(means()[name]) <= set(section.tasks)
        }
        if numbers or whole:
            sources = {name: row.sources[name] for name in (*numbers, *whole)}
            rows.append(
                PublishedRow(
                    row.method, row.backbone, row.pretrain, row.metric, numbers, whole, sources
                )
            )
    return PublishedBeside(
        tuple(rows), None if rows else "different tasks: no paper's numbers are known on these"
    )


def differences(section: Section, row: PublishedRow) -> list[str]:
    """What sets a section apart from a published row, a phrase each; then what isn't known of its
    sources.

    The rows here of the same method are compared, where there are any, else all: the facts of
    `harness.reporting.published.setups`, one by one.
    """
    found = []
    named = _named(section)
    if named != (row.backbone, row.pretrain):
        found.append(
            f"backbone: {plain(section.first.backbone)} here, {row.backbone} ({row.pretrain}) there"
        )
    if (measured := metric_of(section.first.metric).published) != row.metric:
        found.append(f"metric: {measured or plain(section.first.metric)} here, {row.metric} there")
    known = {
        name: setup_of_source(source) if row.metric == "top1" else None
        for name, source in row.sources.items()
    }
    theirs = {
        task: recipe.at(row.method, task, row.pretrain)
        for name, recipe in known.items()
        if recipe
        for task in means().get(name, (name,))
    }
    found += _apart(section, row.method, theirs) if theirs else []
    if None in known.values():
        found.append(
            "how it was made: not known of"
            f" {'its source' if not any(known.values()) else 'some of its sources'}"
        )
    return found


def _apart(section: Section, method: str, theirs: Mapping[str, Setup]) -> list[str]:
    """What sets the section's rows of this published method apart; or all its rows, where there is
    none of it."""
    same = [result for result in section.board if result.cell.method == named_here(method)]
    made: dict[str, list[Setup]] = {}
    for result in same or section.board:
        made.setdefault(result.task, []).append(measured_setup(result, section.seeds))
    return setup_differences(made, theirs, bool(same))


def _fault(line: Sequence[str]) -> str | None:
    """What is wrong with a line of the file."""
    if len(line) != len(COLUMNS):
        return f"{len(line)} columns, where there are {len(COLUMNS)}"
    for name, text in zip(COLUMNS, line, strict=True):
        if not text.strip():
            return f"no {name}"
        if plain(text) != text:
            return f"a control character in {name}"
    *_, task, metric, printed, _ = line
    try:
        value = float(printed)
    except ValueError:
        return f"the value '{printed[:40]}' is no number"
    if not (math.isfinite(value) and 0 <= value <= 100):
        return f"the value {printed[:40]} is no percentage"
    if metric not in ("top1", "mIoU-SS", "mIoU-MS"):
        return f"unknown metric '{metric[:40]}'; known: top1, mIoU-SS, mIoU-MS"
    known = {*_tasks(), *means()}
    return None if task in known else f"unknown task '{task[:40]}'.{nearest(task, known)}"


@cache
def _tasks() -> frozenset[str]:
    """All that ship with the harness."""
    return frozenset(load_cards())


def _rows(numbers: Sequence[PublishedNumber]) -> list[PublishedRow]:
    """A row per (method, backbone, pretraining, metric)."""
    rows: dict[tuple[str, str, str, str], list[PublishedNumber]] = {}
    for number in numbers:
        key = (number.method, number.backbone, number.pretrain, number.metric)
        rows.setdefault(key, []).append(number)
    return [
        PublishedRow(
            *key,
            numbers={number.task: number.value for number in of if number.task not in means()},
            means={number.task: number.value for number in of if number.task in means()},
            sources={number.task: number.source for number in of},
        )
        for key, of in rows.items()
    ]


def _recomputed(name: str, row: PublishedRow) -> float | None:
    """A mean from the numbers printed for its tasks, else from the printed means of VTAB's groups;
    None where they aren't there."""
    groups = [group for group in means() if group.startswith("mean-vtab_")]
    if all(task in row.numbers for task in means()[name]):
        of_groups = (
            [float(np.mean([row.numbers[task] for task in means()[group]])) for group in groups]
            if name == "mean-vtab3_groups"
            else []
        )
        return float(np.mean(of_groups or [row.numbers[task] for task in means()[name]]))
    if name not in ("mean-vtab3_groups", "mean-vtab19_tasks") or any(
        group not in row.means for group in groups
    ):
        return None
    weights = [len(means()[group]) if name == "mean-vtab19_tasks" else 1 for group in groups]
    return float(np.average([row.means[group] for group in groups], weights=weights))


def _named(section: Section) -> tuple[str, str] | None:
    """The section's backbone as papers name it: architecture and pretraining."""
    return (BACKBONES if section.first.metric == "top1" else SEGMENTERS).get(section.first.backbone)
