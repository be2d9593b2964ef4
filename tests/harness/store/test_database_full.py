"""A full disk: one clear line at once, nothing corrupt, and the store works again when there is
room."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import kept_store
import pytest
from made_up import VPT, filled, result
from postgres_server import SECRET, Server

from harness.errors import BadInput
from harness.store import Store
from harness.store.check import check

LIMITED = """
import os, resource, sys
from pathlib import Path
from made_up import VPT, filled, result
from harness.errors import BadInput

path = Path(sys.argv[1])
store, stored = filled(path), 100
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
try:
    for seed in range(100, 5000):
        store.add_result(result(VPT, seed, provenance={"long": "x" * 2000}))
        stored = seed + 1
except BadInput as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.add_result(result(VPT, 9999))
print(stored)
"""


def test_a_file_that_may_grow_no_more(tmp_path: Path) -> None:
    path = tmp_path / "harness.db"
    paths = {"PYTHONPATH": ":".join(entry for entry in sys.path if entry)}
    command = [sys.executable, "-c", LIMITED, str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=paths, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    line, stored = done.stdout.splitlines()
    assert line.startswith(f"store {path}: the disk or quota is full (")
    assert line.endswith(
        "Everything stored before is safe: free some space, then run the same command again."
    )
    store = Store(path)
    assert int(stored) > 110
    assert [row.seed for row in store.results(VPT.key)] == [7, 0, *range(100, int(stored)), 9999]
    assert check(store).faults == []


def test_a_full_disk(small: Path) -> None:
    store = filled(small / "harness.db")
    before = [row.seed for row in store.results(VPT.key)]
    ballast = small / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small).free))
    for use in (
        lambda: store.add_result(result(VPT, 1)),
        lambda: Store(small / "new.db").add_cell(VPT),
    ):
        with pytest.raises(
            BadInput, match=r"the disk or quota is full .*free some space"
        ) as caught:
            use()
        assert "\n" not in str(caught.value)
    ballast.unlink()
    store.add_result(result(VPT, 1))
    Store(small / "new.db").add_cell(VPT)
    assert [row.seed for row in store.results(VPT.key)] == [*before, 1]
    assert check(store).faults == check(Store(small / "new.db")).faults == []


@pytest.mark.parametrize("left", [0, 12, 24, 36, 48, 60, 4000], ids=lambda left: f"{left} KiB left")
def test_a_full_disk_stops_a_migration_or_doesnt(
    small: Path, left: int, next_schema: Callable[[], int]
) -> None:
    """The copy doesn't fit, or the log, or the tables; or there is just enough."""
    shutil.copy(kept_store.FILE, small / "old.db")
    later = next_schema()
    ballast = small / "ballast"
    ballast.write_bytes(bytes(max(0, shutil.disk_usage(small).free - left * 1024)))
    line = ""
    try:
        Store(small / "old.db", say=lambda _: None).migrate()
    except BadInput as error:
        line = str(error)
    assert line or left > 0
    assert not line or left < 4000
    ballast.unlink()
    found = check(Store(small / "old.db"))
    assert (found.schema, found.faults) == (kept_store.OLD if line else later, [])
    if line:
        assert "the disk or quota is full" in line
        Store(small / "old.db", say=lambda _: None).add_cell(VPT)
        assert (check(Store(small / "old.db")).schema, check(Store(small / "old.db")).faults) == (
            later,
            [],
        )
    assert sorted(path.name for path in small.iterdir()) == ["old.db", f"old.db.before-{later}"]


def test_a_servers_disk_that_is_full(postgres: Server, small: Path) -> None:
    assert postgres.user is not None
    shutil.chown(small, postgres.user)
    for folder in (*small.parents,):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o055)
    postgres.execute(f"create tablespace small location '{small}'")
    postgres.execute("create database small owner team tablespace small")
    try:
        store = Store(postgres.address("team", "small"), say=pytest.fail)
        store.add([VPT])
        ballast = small / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(small).free))
        stored: list[int] = []

        def store_until_full() -> None:
            for seed in range(10_000):
                store.add_result(result(VPT, seed, provenance={"long": os.urandom(3000).hex()}))
                stored.append(seed)

        with pytest.raises(
            BadInput, match=r"the disk or quota is full .*free some space"
        ) as caught:
            store_until_full()
        assert "\n" not in str(caught.value)
        assert SECRET not in str(caught.value)
        ballast.unlink()
        store.add_result(result(VPT, 10_000))
        assert [row.seed for row in store.results()] == [*stored, 10_000]
        assert check(store).faults == []
        store.close()
    finally:
        postgres.execute("drop database small with (force)")
        postgres.execute("drop tablespace small")
