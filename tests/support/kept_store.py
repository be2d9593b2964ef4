"""A store as an earlier harness made it, and a made-up next schema.

    python tests/support/kept_store.py FILE.db

makes one of today's schema, with the same rows.
"""

import argparse
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import harness
from harness.store import SCHEMA, Cell, Failure, Result, Store, Trial, cell_key, result_id

OLD = 3
FILE = Path(__file__).parent.parent / "harness" / "store" / f"schema-{OLD}.db"
PACKAGE = Path(harness.__file__).parent

REVISION = f"""
import sqlalchemy as sa
from alembic import op

revision, down_revision = "{SCHEMA + 1}", "{SCHEMA}"


def upgrade() -> None:
    op.add_column("results", sa.Column("watts", sa.Double))
    op.create_index("failures_by_time", "failures", ["created"])
"""

MADE = {
    "device": "cpu",
    "versions": {"torch": "2.9"},
    "inputs": {"method": "vpt"},
    "odd": "é\u2028",
}


def rows() -> tuple[list[Cell], list[Trial], list[Result], list[Failure]]:
    """Every kind of row, every state, the largest and the smallest numbers."""
    extras = {"miou": {"0.5": 1 / 3}, "iou": [0.0, 100.0]}
    cells, trials, results, failures = [], [], [], []
    for variant, task in (
        ("vpt", "digits"),
        ("linear", "digits"),
        ("vpt-deep(prompts=5)", "fashion"),
    ):
        identity = {
            "method": {
                "name": variant.partition("(")[0],
                "version": "1",
                "arguments": {"label": variant},
            },
            "task": {"name": task, "card": "c" * 64, "data": "d" * 64, "pixels": "pil"},
            "backbone": {"name": "mini_vit", "sha256": "ab" * 32, "pooling": "cls"},
            "protocol": {
                "epochs": 10,
                "trials": 3,
                "space": {"base_lr": {"low": 0.05, "high": 50.0, "log": True}},
            },
        }
        labels = {
            "variant": variant,
            "suite": "mini",
            "group": "real",
            "kind": "classification",
            "metric": "top1",
            "classes": 10,
        }
        key = cell_key(identity)
        cells.append(Cell(key, identity, {**labels, "protocol": "mini", "note": ""}))
        trials.append(
            Trial(
                key,
                0,
                {"base_lr": 0.1, "cdc": True},
                "complete",
                0.1 + 0.2,
                {5: 10.0, 10: 20.5},
                None,
                1.5,
                3e5,
                MADE,
            )
        )
        trials.append(
            Trial(
                key,
                1,
                {"base_lr": 5e-324, "cdc": False},
                "pruned",
                None,
                {5: 1 / 3},
                None,
                0.75,
                1.5e5,
                MADE,
            )
        )
        trials.append(
            Trial(
                key,
                2,
                {"base_lr": 50.0, "cdc": True},
                "failed",
                None,
                {},
                "NaN at epoch 2: é'\"",
                0.1,
                0.0,
                {},
            )
        )
        for seed, score in ((2**31 - 1, 97.123456789012345), (0, 0.0)):
            measured = (
                score,
                960,
                2**40,
                "e" * 64,
                2.5,
                5 * 2**30,
                1e15,
                {10: score},
                MADE,
                "2026-01-02T10:00:00+00:00",
            )
            results.append(
                Result(
                    result_id(key, seed),
                    key,
                    seed,
                    {"base_lr": 0.1, "cdc": True},
                    *measured,
                    extras,
                )
            )
        failures.append(Failure(key, 3, "out of memory", "2026-01-02T11:00:00+00:00"))
    return cells, trials, results, failures


def make(file: Path) -> None:
    """Writes the store, in pages that are small as its rows are few."""
    store = Store(file)
    store.add(*rows())
    store.close()
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.executescript(
            "PRAGMA journal_mode=DELETE; PRAGMA page_size=512; VACUUM; PRAGMA journal_mode=WAL;"
        )


def with_a_revision_more(folder: Path) -> Path:
    """A copy of the migrations with one that is yet to come."""
    shutil.copytree(
        PACKAGE / "store" / "migrations", folder, ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "versions" / f"{SCHEMA + 1}_watts.py").write_text(REVISION)
    return folder


def with_a_column_more(folder: Path) -> Path:
    """A folder with a copy of the packages, in which results have one column more: an edit of
    `records`, and the revision. Gives the folder back."""
    copy, left_out = folder / "harness", shutil.ignore_patterns("__pycache__", "migrations")
    shutil.copytree(PACKAGE, copy, ignore=left_out)
    shutil.copytree(PACKAGE.parent / "methods", folder / "methods", ignore=left_out)
    with_a_revision_more(copy / "store" / "migrations")
    text = (copy / "store" / "records.py").read_text()
    for old, new in {
        f"\nSCHEMA = {SCHEMA}\n": f"\nSCHEMA = {SCHEMA + 1}\n",
        "    extras: Object = field(default_factory=dict)\n": (
            "    extras: Object = field(default_factory=dict)\n"
            "    watts: Amount | None ="
            f' field(default=None, metadata={{"since": {SCHEMA + 1}}})\n'
        ),
    }.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (copy / "store" / "records.py").write_text(text)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    make(parser.parse_args().file)
