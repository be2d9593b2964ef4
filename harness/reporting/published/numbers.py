"""Numbers from papers, to be read next to measured ones. They have their own type, and a source
each; they enter no mean, rank or test: `leaderboard` takes rows of another type.
"""

import csv
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import BadInput, nearest
from harness.io.resources import published_csv
from harness.reporting.leaderboard import TaskResult
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
"""Columns of `results/published.csv`; results/README.md describes them."""

TOLERANCE = 0.1
"""By how many points a printed mean may differ from the mean of printed numbers, when both are
rounded to one decimal."""

BACKBONES = {
    "vit_base_patch16_224.orig_in21k": ("ViT-B/16", "sup-IN21k"),
    "vit_base_patch16_224.augreg_in21k": ("ViT-B/16", "AugReg-IN21k"),
    "vit_base_patch16_224.mae": ("ViT-B/16", "MAE-IN1k"),
    "vit_base_patch16_224.mocov3": ("ViT-B/16", "MoCov3-IN1k"),
    "swin_base_patch4_window7_224.ms_in22k": ("Swin-B", "sup-IN21k"),
}
"""How papers call our backbones. MoCo v3's name is ours, as timm has none; a bare
`vit_base_patch16_224=FILE` doesn't say what it was trained on."""

USUAL = BACKBONES["vit_base_patch16_224.orig_in21k"]
"""The backbone of most published tables."""

SEGMENTERS = {
    "vit_large_patch16_224.orig_in21k": ("ViT-L/16 + SETR-PUP", "sup-IN21k"),
    "vit_base_patch16_224.mae": ("ViT-B/16 + SETR-PUP", "MAE-IN1k"),
    "vit_base_patch16_224.mocov3": ("ViT-B/16 + SETR-PUP", "MoCov3-IN1k"),
}
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
    """What papers print for one method on one backbone."""

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
        """All sources, without repeats."""
        return "; ".join(dict.fromkeys(self.sources.values()))


@dataclass(frozen=True)
class PublishedMatches:
    """The published rows that may be shown next to a section; if there are none, why."""

    rows: tuple[PublishedRow, ...]
    reason: str | None


ALIASES = {
    "adapter": "pfeiffer",  # VPT's and NOAH's are behind the MLP alone
    "adapter-houlsby": "houlsby",
    "adapter-pfeiffer": "pfeiffer",
    "da-vpt+": "da-vpt",
    "fact": "fact-tk",
    "gatevpt": "gate-vpt",
    "partial-1": "partial-k",
    "spt-deep": "self-prompt",
    "spt-shallow": "self-prompt",
}
"""Methods that papers call something else."""

VARIANTS: Mapping[str, Mapping[str, int | bool]] = {
    "da-vpt": {"plus": False},
    "da-vpt+": {"plus": True},
    "partial-1": {"blocks": 1},
    "spt-deep": {"deep": True},
    "spt-shallow": {"deep": False},
}
"""The arguments here of those that papers have a name for, or that have several."""


def named_here(method: str) -> str:
    """Our name of a published method, without the note in brackets."""
    return ALIASES.get(_bare(method), _bare(method))


def _bare(method: str) -> str:
    return re.sub(r"\(.*", "", method).strip().lower()


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
    """The lines of a file with the columns `COLUMNS`; by default the shipped one. Raises `BadInput`
    for a file with a fault."""
    path = path or published_csv()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except (OSError, ValueError, csv.Error) as error:  # Unicode's are ValueErrors
        raise BadInput(f"{path} can't be read as CSV ({plain(str(error))[:160]}).") from error
    header, *rest = lines or [[]]
    if tuple(header) != COLUMNS:
        raise BadInput(
            f"{path} has the columns {', '.join(map(plain, header))[:160]}; name them"
            f" {', '.join(COLUMNS)}."
        )
    numbers: list[PublishedNumber] = []
    seen: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(rest, 2):
        if not line:  # blank
            continue
        fault = _fault(line)
        if fault is None and (first := seen.setdefault(tuple(line[:5]), number)) != number:
            fault = f"repeats the number of line {first}"
        if fault is not None:
            raise BadInput(f"{path}, line {number}: {fault}.")
        *key, value, source = line
        numbers.append(PublishedNumber(*key, value=float(value), source=source))
    return numbers


def means_disagree(numbers: Sequence[PublishedNumber]) -> list[str]:
    """A line for each printed mean that differs by more than `TOLERANCE` from the mean of the
    numbers printed for the same method and backbone.

    Where not all tasks have numbers, means over VTAB's groups are compared with the groups'
    printed means.
    """
    lines = []
    for row in _rows(numbers):
        for name, printed in row.means.items():
            recomputed = _recomputed(name, row)
            if recomputed is not None and abs(recomputed - printed) > TOLERANCE + 1e-9:
                lines.append(
                    f"{_of(row)}: {name} is printed as {printed:g}, its own numbers give"
                    f" {recomputed:.2f}"
                )
    return lines


def means_checked(numbers: Sequence[PublishedNumber]) -> tuple[int, int]:
    """How many printed means can be recomputed, and how many there are."""
    recomputed = [_recomputed(name, row) for row in _rows(numbers) for name in row.means]
    return sum(mean is not None for mean in recomputed), len(recomputed)


def matching_rows(section: Section, published: Sequence[PublishedNumber]) -> PublishedMatches:
    """The published rows on the section's backbone and metric that have a number on its tasks, or a
    mean over tasks that it all has.

    If no paper uses the backbone, those on the usual one, which `differences` then mentions.
    Numbers and means over other tasks are left out.
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
        complete_means = {
            name: value
            for name, value in row.means.items()
            if set(means()[name]) <= set(section.tasks)
        }
        if numbers or complete_means:
            sources = {name: row.sources[name] for name in (*numbers, *complete_means)}
            rows.append(
                PublishedRow(
                    row.method,
                    row.backbone,
                    row.pretrain,
                    row.metric,
                    numbers,
                    complete_means,
                    sources,
                )
            )
    return PublishedMatches(tuple(rows), None if rows else _no_rows(section, published))


def differences(section: Section, row: PublishedRow) -> list[str]:
    """What sets a section apart from a published row, as phrases; then what isn't known about its
    sources.

    Our rows of the same method are compared, if there are any, else all: the facts of
    `harness.reporting.published.setups`, one by one.
    """
    phrases = []
    named = _named(section)
    if named != (row.backbone, row.pretrain):
        phrases.append(
            f"backbone: {plain(section.first.backbone)} here, {row.backbone} ({row.pretrain}) there"
        )
    if (measured := metric_of(section.first.metric).published) != row.metric:
        phrases.append(
            f"metric: {measured or plain(section.first.metric)} here, {row.metric} there"
        )
    known = {
        name: setup_of_source(source) if row.metric == "top1" else None
        for name, source in row.sources.items()
    }
    theirs = {
        task: recipe.at(row.method, task, row.backbone, row.pretrain)
        for name, recipe in known.items()
        if recipe
        for task in means().get(name, (name,))
    }
    phrases += _setup_phrases(section, row.method, theirs) if theirs else []
    if None in known.values():
        phrases.append(
            "how it was made: not known for"
            f" {'its source' if not any(known.values()) else 'some of its sources'}"
        )
    return phrases


def disagreeing(rows: Sequence[PublishedRow], published: Sequence[PublishedNumber]) -> list[str]:
    """The lines of `means_disagree` on the method and backbone of one of these rows."""
    shown = {f"{_of(row)}: " for row in rows}
    return [line for line in means_disagree(published) if line.startswith(tuple(shown))]


def _setup_phrases(section: Section, method: str, theirs: Mapping[str, Setup]) -> list[str]:
    """What sets the section's rows of this published method apart; or all its rows, if there are
    none."""
    same, phrases = _same_method(section, method)
    measured: dict[str, dict[int, Setup]] = {}
    for result in same or section.board:
        # equal facts are one object, and most variants share theirs
        setup = measured_setup(result, section.seeds)
        measured.setdefault(result.task, {})[id(setup)] = setup
    distinct = {task: list(of.values()) for task, of in measured.items()}
    return phrases + setup_differences(distinct, theirs, bool(same))


def _same_method(section: Section, method: str) -> tuple[list[TaskResult], list[str]]:
    """The section's rows of a published method: of its variant, if there are any; else of others,
    and a phrase that says so."""
    same = [result for result in section.board if result.cell.method == named_here(method)]
    wanted = VARIANTS.get(_bare(method), {})
    fitting = [result for result in same if _arguments(result, wanted) == wanted]
    if fitting or not same:
        return fitting, []
    phrases = []
    for name, there in wanted.items():
        here = {_arguments(result, wanted).get(name) for result in same} - {there}
        if known := sorted(str(value).lower() for value in here if value is not None):
            phrases.append(
                f"method: {name}={' or '.join(map(plain, known))} here,"
                f" {name}={str(there).lower()} there"
            )
        elif here:
            phrases.append(f"method: {name}={str(there).lower()} there, not recorded here")
    return same, phrases


def _arguments(result: TaskResult, names: Collection[str]) -> Mapping[str, Any]:
    """Those with these names that a row was stored with."""
    stored = json.loads(result.cell.arguments)
    return {name: stored[name] for name in names if isinstance(stored, dict) and name in stored}


def _fault(line: Sequence[str]) -> str | None:
    """What is wrong with a line of the file."""
    if len(line) != len(COLUMNS):
        return f"{len(line)} columns, expected {len(COLUMNS)}"
    for name, text in zip(COLUMNS, line, strict=True):
        if not text.strip():
            return f"no {name}"
        if plain(text) != text:
            return f"a control character in {name}"
    *_, task, metric, printed, _ = line
    try:
        value = float(printed)
    except ValueError:
        return f"the value '{printed[:40]}' isn't a number"
    if not (math.isfinite(value) and 0 <= value <= 100):
        return f"the value {printed[:40]} isn't a percentage"
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
    None if these are missing."""
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


def _of(row: PublishedRow) -> str:
    return f"{row.method} on {row.backbone} ({row.pretrain})"


def _no_rows(section: Section, published: Sequence[PublishedNumber]) -> str:
    """Why none may be shown: of others on the same tasks it is said that there are some."""
    metric, named = metric_of(section.first.metric).published, _named(section)
    others = any(
        number.metric == metric
        and set(means().get(number.task, (number.task,))) <= set(section.tasks)
        for number in published
    )
    where = f" with {named[0]} ({named[1]})" if named and others else ""
    return f"no paper's numbers on these tasks{where} are known"


def _named(section: Section) -> tuple[str, str] | None:
    """The section's backbone as papers name it: architecture and pretraining."""
    return (BACKBONES if section.first.metric == "top1" else SEGMENTERS).get(section.first.backbone)
