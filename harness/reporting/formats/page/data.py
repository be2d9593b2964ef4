"""What the page shows, as plain lists for JSON: every number from the frames, rounded; texts that
repeat are stored once."""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.io import commands
from harness.reporting.captions import METRICS, caption, notes_of, title_of
from harness.reporting.columns import task_columns
from harness.reporting.display import places_of
from harness.reporting.leaderboard import TaskResult
from harness.reporting.rows import Run
from harness.reporting.section import Section
from harness.reporting.statistics.common import TooFew, complete
from harness.reporting.statistics.friedman import Friedman, cliques, friedman
from harness.reporting.statistics.intervals import bootstrap, interval
from harness.reporting.statistics.means import mean_of_present
from harness.reporting.statistics.wilcoxon import Pair, pairwise
from harness.reporting.toggle_families import families
from harness.text import plain

CURVE_POINTS = 24
ALL_PAIRS = 15
"""Up to so many variants each is compared with each; beyond, with one."""
HIDDEN = ("checkpoint", "no_checkpoint")
"""Provenance that the page leaves out, with the paths of `inputs`: they are of no use on another
machine. `harness show` has them."""


class Once:
    """A list in which equal values share a place."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        key = json.dumps(value, sort_keys=True, default=str)
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)
        return self._places[key]


def section(part: Section, baseline: str | None) -> dict[str, Any]:
    """A section without its single runs, which `Runs` has. Variants and tasks are named by their
    places."""
    variants, tasks = list(part.scores), part.tasks
    notes = Once()
    return {
        "title": plain(title_of(part)),
        "suite": plain(part.suite),
        "backbone": plain(part.backbone),
        "backbone_sha": part.first.backbone_sha,
        "pooling": part.first.pooling,
        "side": part.first.side,
        "normalize": part.first.normalize,
        "protocol": plain(part.protocol),
        "settings": json.loads(part.first.settings),
        "metric": METRICS.get(part.first.metric, part.first.metric),
        "caption": plain(caption(part, "underlined")),
        "notes": [plain(note) for note in notes_of(part) if note not in _readings(part).values()],
        "missing": list(part.missing),
        "seeds": part.seeds,
        "groups": [
            {"name": plain(group), "tasks": [tasks.index(task) for task in of]}
            for group, of in part.groups.items()
        ],
        "tasks": [_task(part, task) for task in tasks],
        "variants": _variants(part, notes),
        "readings": notes.values,
        "cells": [[_square(part, variant, task) for task in tasks] for variant in variants],
        "scales": [
            column
            for task, _ in enumerate(tasks)
            if (column := _several_scales(part, tasks[task], task))
        ],
        "places": _places(part),
        "tests": _tests(part, baseline),
        "families": _families(part),
    }


def _task(part: Section, task: str) -> dict[str, Any]:
    cells = [row.cell for row in part.board if row.task == task]
    said = {
        name: sorted({plain(str(getattr(cell, name))) for cell in cells})
        for name in ("suite", "pixels", "data")
    }
    return {"name": plain(task), "group": plain(cells[0].group), **said}


def _variants(part: Section, notes: Once) -> list[dict[str, Any]]:
    found, readings = [], _readings(part)
    for variant, said in part.methods.items():
        results = [row for row in part.board if row.variant == variant]
        done = [row for row in results if row.n]
        over_tasks = (
            bootstrap(list(part.scores[variant].values())) if said.mean is not None else None
        )
        found.append(
            {
                "name": plain(variant),
                "method": plain(said.method),
                "versions": sorted({plain(row.cell.version) for row in results}),
                "reading": notes.place(plain(readings[variant])) if variant in readings else None,
                "mean": number(said.mean),
                "mean_of_present": number(said.mean_of_present),
                "interval": [number(end) for end in over_tasks] if over_tasks else None,
                "groups": [_group(part.scores[variant], tasks) for tasks in part.groups.values()],
                "mean_of_groups": number(said.mean_of_groups),
                "rank": number(said.mean_rank),
                "params": number(said.params, 1),
                "tasks": said.tasks,
                "runs": sum(row.n for row in done),
                **{name: _average(done, name) for name in ("seconds", "memory")},
                "units": shortened(float(said.units)),
                "search_units": shortened(float(sum(row.cell.search_units for row in results))),
                "trials": sorted({row.cell.trials for row in results}),
                "failed_trials": sum(row.cell.failed_trials for row in results),
                "epochs": sorted(
                    {row.cell.epochs for row in results if row.cell.epochs is not None}
                ),
            }
        )
    budgets = Counter(str(said["trials"]) for said in found).most_common(2)
    usual = budgets[0][0] if len(budgets) == 1 or budgets[0][1] > budgets[1][1] else None
    for said in found:
        said["unequal"] = str(said["trials"]) != usual
    return found


def _group(scores: Mapping[str, float], tasks: Sequence[str]) -> list[Any]:
    """[mean over the group, whether or not it is whole; on how many of its tasks]"""
    return [number(mean_of_present(scores, tasks)), sum(task in scores for task in tasks)]


def _readings(part: Section) -> dict[str, str]:
    """What a method's author must say of its numbers, by variant."""
    return {row.variant: row.cell.note for row in part.board if row.cell.note}


def _average(rows: Sequence[TaskResult], name: str) -> float | None:
    return shortened(float(np.mean([getattr(row, name) for row in rows]))) if rows else None


def _square(part: Section, variant: str, task: str) -> list[Any] | None:
    """[mean, std, seeds, low, high, gaps]; gaps are [seed, reason], with the lines of a traceback.
    None where nothing was run."""
    row = part.results.get((variant, task))
    if row is None:
        return None
    ends = interval(list(row.scores.values())) or (None, None)
    traces = {
        seed: [plain(line) for line in text.splitlines()] for seed, text in row.tracebacks.items()
    }
    gaps = [
        [seed, plain(reason), *([traces[seed]] if seed in traces else [])]
        for seed, reason in row.gaps.items()
    ]
    return [
        number(row.mean),
        number(row.std),
        row.n,
        *(number(end, 4) for end in ends),
        gaps,
    ]


def _several_scales(part: Section, task: str, index: int) -> dict[str, Any] | None:
    """The column that a segmentation task has beside its own: its mIoU on several scales and
    mirrored, where that was scored."""
    found = next(
        (
            column
            for column in task_columns(part)
            if column.task == task and column.title.endswith("MS")
        ),
        None,
    )
    if found is None:
        return None
    rows = [part.results.get((variant, task)) for variant in part.scores]
    return {
        "task": index,
        "title": plain(found.title),
        "cells": [
            ([number(row.mean_ms), number(row.std_ms), row.n_ms] if row and row.n_ms else None)
            for row in rows
        ],
        "places": [entry.place for entry in found.entries.values()],
    }


_PICTURE = re.compile(r"[A-Za-z0-9+/]{1,400000}={0,2}")


def strips(part: Section, extras: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of each segmentation task some test images: [image, truth, then what each variant saw or
    None], in base64.

    `extras`: what else was measured, by result. Somebody else's may hold anything.
    """
    found = []
    for index, task in enumerate(part.tasks):
        seen: dict[int, dict[str, dict[str, str]]] = {}
        for variant in part.scores:
            row = part.results.get((variant, task))
            of_runs = (extras.get(id, {}).get("strip") for id in row.ids) if row else ()
            for picture in next((strip for strip in of_runs if isinstance(strip, list)), ()):
                if _is_picture(picture):
                    seen.setdefault(picture["row"], {}).setdefault(variant, picture)
        if seen:
            rows = []
            for _, by_variant in sorted(seen.items()):
                first = next(iter(by_variant.values()))
                rows.append(
                    [
                        first["image"],
                        first["truth"],
                        *(by_variant.get(variant, {}).get("seen") for variant in part.scores),
                    ]
                )
            found.append({"task": index, "rows": rows})
    return found


def _is_picture(value: Any) -> bool:
    texts = (
        [value.get(name) for name in ("image", "truth", "seen")]
        if isinstance(value, dict)
        else [None]
    )
    return (
        all(isinstance(text, str) and _PICTURE.fullmatch(text) for text in texts)
        and type(value.get("row")) is int
    )


def _places(part: Section) -> dict[str, Any]:
    """Who is best (1) and second (2) in each column, by what is shown, {column: {variant: place}};
    who is `near` the best."""
    order = {variant: index for index, variant in enumerate(part.scores)}

    def at(found: Mapping[str, int]) -> dict[int, int]:
        return {order[variant]: place for variant, place in found.items()}

    methods = part.methods.items()
    columns = [
        places_of({variant: said.mean for variant, said in methods}, 2),
        places_of({variant: said.mean_of_groups for variant, said in methods}, 2),
        places_of({variant: said.mean_rank for variant, said in methods}, 2, lowest=True),
        *(
            places_of({variant: said.group_means[group] for variant, said in methods}, 2)
            for group in part.groups
        ),
    ]
    mean, mean_of_groups, rank, *groups = map(at, columns)
    tasks = [
        at(places_of({variant: of.get(task) for variant, of in part.scores.items()}, 1))
        for task in part.tasks
    ]
    near = [sorted(order[variant] for variant in part.near[task]) for task in part.tasks]
    return {
        "mean": mean,
        "mean_of_groups": mean_of_groups,
        "rank": rank,
        "groups": groups,
        "tasks": tasks,
        "near": near,
    }


def _tests(part: Section, baseline: str | None) -> dict[str, Any]:
    order = {variant: index for index, variant in enumerate(part.scores)}
    kept, dropped = complete(part.scores, part.tasks)
    against = baseline if baseline is not None or len(kept) <= ALL_PAIRS else next(iter(kept))
    found, pairs = friedman(part.scores, part.tasks), pairwise(part.scores, part.tasks, against)
    return {
        "dropped": [
            [order[variant], [plain(task) for task in lacks]] for variant, lacks in dropped.items()
        ],
        "friedman": plain(str(found)) if isinstance(found, TooFew) else _friedman(found, order),
        "against": None if against is None else plain(against),
        "chosen": baseline is None and against is not None,
        "pairs": (
            plain(str(pairs))
            if isinstance(pairs, TooFew)
            else [_pair(pair, order) for pair in pairs]
        ),
    }


def _friedman(found: Friedman, order: Mapping[str, int]) -> dict[str, Any]:
    return {
        "variants": [order[variant] for variant in found.variants],
        "ranks": [number(found.ranks[variant]) for variant in found.variants],
        "tasks": len(found.tasks),
        "chi2": shortened(found.chi2),
        "p": shortened(found.p),
        "f": shortened(found.f),
        "f_p": shortened(found.f_p),
        "critical_difference": number(found.critical_difference),
        "cliques": [[order[variant] for variant in clique] for clique in cliques(found)],
    }


def _pair(pair: Pair, order: Mapping[str, int]) -> list[Any]:
    """[one, other, wins, ties, losses, mean, low, high, statistic, p, p by Holm, effect]"""
    means = (number(value) for value in (pair.mean, pair.low, pair.high))
    p = (shortened(value) for value in (pair.p, pair.p_holm))
    return [
        order[pair.one],
        order[pair.other],
        pair.wins,
        pair.ties,
        pair.losses,
        *means,
        pair.statistic,
        *p,
        number(pair.effect),
    ]


def _families(part: Section) -> list[dict[str, Any]]:
    order = {variant: index for index, variant in enumerate(part.scores)}
    found = []
    for family in families(part):
        settings = []
        for one in family.settings:
            apart = one.difference
            ends = (
                None
                if apart is None
                else [number(value) for value in (apart.mean, apart.low, apart.high)]
            )
            settings.append(
                [order[one.variant], [one.on[toggle] for toggle in family.toggles], ends]
            )
        found.append(
            {
                "name": plain(family.name),
                "toggles": [plain(toggle) for toggle in family.toggles],
                "reference": order[family.reference],
                "all_off": family.all_off,
                "settings": settings,
            }
        )
    return found


class Runs:
    """The final runs behind the squares: what a reader sees of one by clicking on it."""

    def __init__(self, rows: Mapping[str, Run]):
        """`rows`: with detail, by id."""
        self._rows = rows
        self._kept = {
            name: Once()
            for name in ("params", "epochs", "versions", "machines", "inputs", "created")
        }

    def of(self, part: Section) -> list[list[Any]]:
        """By variant and task: a list of `_run`."""
        results = part.results
        return [
            [
                (
                    [self._run(self._rows[id]) for id in results[variant, task].ids]
                    if (variant, task) in results
                    else []
                )
                for task in part.tasks
            ]
            for variant in part.scores
        ]

    def shared(self) -> dict[str, list[Any]]:
        return {name: once.values for name, once in self._kept.items()}

    def _run(self, run: Run) -> list[Any]:
        """[id, seed, score, trained values, of the head, seconds, bytes, units, places in `shared`
        by name, thinned curve]"""
        detail = run.detail
        if detail is None:
            raise ValueError("read the rows with detail")
        made = {name: value for name, value in detail.provenance.items() if name not in HIDDEN}
        inputs = {
            name: value
            for name, value in made.pop("inputs", {}).items()
            if name in ("method", "backbone", "pixels") and value
        }
        inputs |= {
            name: at(str(inputs[name]))
            for name, at in (("method", commands.method), ("backbone", commands.backbone))
            if name in inputs
        }
        versions = made.pop("versions", {})
        curve = thinned(detail.curve)
        params = {plain(str(name)): shortened(value, 8) for name, value in detail.params.items()}
        values = {
            "params": params,
            "epochs": list(curve),
            "versions": versions,
            "machines": made,
            "inputs": inputs,
            "created": run.created,
        }
        places = [self._kept[name].place(value) for name, value in values.items()]
        measured = (shortened(run.seconds), run.memory, shortened(run.units))
        return [
            run.id,
            run.seed,
            number(run.score, 4),
            run.trainable,
            detail.head_params,
            *measured,
            places,
            list(curve.values()),
        ]


def thinned(curve: Mapping[int, float], points: int = CURVE_POINTS) -> dict[int, float]:
    """At most `points` of a curve, evenly, the first and the last among them; to one digit."""
    epochs = sorted(curve)
    if len(epochs) > points:
        epochs = [
            epochs[index] for index in np.linspace(0, len(epochs) - 1, points).round().astype(int)
        ]
    return {epoch: round(curve[epoch], 1) for epoch in epochs}


def number(value: float | None, digits: int = 6) -> float | None:
    """Rounded far below what is shown, so that it is shown as other formats show it; None for what
    isn't a finite number."""
    return None if value is None or not math.isfinite(value) else round(float(value), digits)


def shortened(value: Any, digits: int = 4) -> Any:
    """To so many significant digits; None for infinity and NaN. What is no fraction stays as it
    is."""
    if not isinstance(value, float):
        return plain(value) if isinstance(value, str) else value
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None
