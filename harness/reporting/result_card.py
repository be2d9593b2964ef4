"""One result for a reader: what `harness show` prints unless JSON is asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.store import WARNINGS
from harness.store.records import CHECKPOINT_BYTES, FLOPS, FLOPS_SCORED, preference
from harness.text import plain, some

TRIALS = 20
"""How many trials are shown, the best first."""


def card(detail: Mapping[str, Any]) -> RenderableType:
    """`detail`: of `harness.reporting.result_detail`, of a result or of a run that failed."""
    identity, labels = detail["identity"], detail["labels"]
    task = identity["task"]["name"]
    title = Text(plain(f"{labels['variant']} on {task}, seed {detail['seed']}"), style="bold")
    if "failed" in detail:
        return Group(
            Text.assemble(title, "  failed"),
            _facts({"id": detail["id"], "why": detail["failed"], "when": _time(detail)}),
            Text(""),
            *(Text(plain(line), style="dim") for line in detail["traceback"]),
        )
    score = f"  {detail['score']:.2f} % {labels['metric']} on test"
    return Group(
        Text.assemble(title, (score, "bold green")),
        _facts(
            {
                "id": detail["id"],
                "hyper-parameters": _pairs(detail["params"]),
                "other arguments": _pairs(labels.get("arguments", {})),
                "backbone": _backbone(identity["backbone"]),
                "protocol": _protocol(labels),
                "parameters": _parameters(detail),
                "cost": _cost(detail),
                "made on": _machine(detail["provenance"]),
                "when": _time(detail),
                "note": "; ".join(detail["extras"].get(WARNINGS, ())),
                "checkpoint": detail["provenance"].get("checkpoint"),
            }
        ),
        *_search(detail["trials"]),
        Text(""),
        Text.assemble("Run it again: ", plain(detail["again"])),
        Text("All that is stored, the key's parts included: --format json", style="dim"),
    )


def _facts(rows: Mapping[str, object]) -> Table:
    """A line for each that is known."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        if value not in (None, ""):
            table.add_row(name, Text(plain(str(value))))
    return table


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_written(value)}" for name, value in sorted(values.items()))


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _backbone(backbone: Mapping[str, Any]) -> str:
    side = f"@{backbone['side']}" if backbone.get("side") else ""
    return f"{backbone['name']}{side}, sha256 {backbone['sha256'][:12]}"


def _protocol(labels: Mapping[str, Any]) -> str:
    searched = _pairs(
        {
            name: " or ".join(map(_written, space)) if isinstance(space, list) else space
            for name, space in labels.get("searched", {}).items()
        }
    )
    return f"{labels['protocol']}" + (f"; searched {searched}" if searched else "")


def _parameters(detail: Mapping[str, Any]) -> str:
    only = detail.get("train_only") or 0
    return f"{detail['trainable']:,} trained, and {detail['head_params']:,} of the head" + (
        f"; {only:,} more in training alone" if only else ""
    )


def _cost(detail: Mapping[str, Any]) -> str:
    extras, parts = detail["extras"], [f"{detail['seconds']:,.1f} s"]
    if detail.get("memory"):
        parts.append(f"{detail['memory'] / 2**20:,.0f} MiB at most")
    if extras.get(FLOPS):
        parts.append(f"{extras[FLOPS] / 1e9:.3g} GFLOP to train on an image")
    if extras.get(FLOPS_SCORED):
        parts.append(f"{extras[FLOPS_SCORED] / 1e9:.3g} to score one")
    if extras.get(CHECKPOINT_BYTES):
        parts.append(f"checkpoint of {extras[CHECKPOINT_BYTES]:,} bytes")
    return ", ".join(parts)


def _machine(provenance: Mapping[str, Any]) -> str:
    versions = provenance.get("versions", {})
    device = provenance.get("device")
    what = [provenance.get("processor") if device in (None, "cpu") else device]
    what.append(provenance.get("precision"))
    named = [f"{name} {versions[name]}" for name in ("vpt-harness", "torch") if name in versions]
    return ", ".join(str(part) for part in (*what, *named) if part)


def _time(detail: Mapping[str, Any]) -> str:
    return str(detail.get("created") or "").replace("T", " ").replace("+00:00", " UTC")


def _search(trials: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """The search's points, the best first."""
    if not trials:
        return []
    names = sorted({name for trial in trials for name in trial["params"]})
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("trial", *names, "val", "state"):
        table.add_column(name, justify="left" if name == "state" else "right", no_wrap=True)
    best = sorted(trials, key=lambda one: preference(one["value"], one["params"], one["number"]))
    for trial in best[:TRIALS]:
        value = "" if trial["value"] is None else f"{trial['value']:.2f}"
        reason = f": {plain(trial['reason'])[:60]}" if trial.get("reason") else ""
        values = (_written(trial["params"].get(name, "")) for name in names)
        table.add_row(
            str(trial["number"]), *values, value, Text(f"{trial['state']}{reason}", overflow="fold")
        )
    more = len(trials) - TRIALS
    return [
        Text(""),
        Text(f"Search: {some(len(trials), 'trial')}, the best first", style="bold"),
        table,
        *([Text(f"... and {more:,} more", style="dim")] if more > 0 else []),
    ]
