"""Everything that is known of one result, for `harness show`."""

import json
from dataclasses import asdict
from typing import Any

from harness import hints
from harness.store import Store


def detail(store: Store, id: str) -> dict[str, Any]:
    """The result, what it is keyed by, and the trials of its search; `id` may be the beginning of one. Raises `BadInput`."""
    result, cell = store.result(id)
    extras = {name: value for name, value in result.extras.items() if name != "strip"}  # pictures
    trials = [{key: value for key, value in asdict(trial).items() if key not in ("cell", "provenance")} for trial in store.trials(cell.key)]
    return {
        **asdict(result),
        "extras": extras,
        "labels": cell.labels,
        "identity": cell.identity,
        "trials": trials,
        "again": hints.again(store, result),
    }


def text(store: Store, id: str) -> str:
    """The same as JSON."""
    return json.dumps(detail(store, id), indent=2, ensure_ascii=False)
