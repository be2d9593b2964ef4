"""A submission made from a store: what is in it, and what must not be."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import failure, file_of
from safetensors.numpy import save_file
from submitted import filled, record_of, sent, sound

from harness.errors import BadInput
from harness.reporting.submissions import folder
from harness.reporting.submissions.make import make
from harness.store import Store


def test_it_holds_the_rows_and_who_sends_them(board: Path, store: Store, ada: Path) -> None:
    found = folder.read(ada)
    assert (found.name, found.about.who, found.about.contact) == (
        "ada",
        "Ada Example",
        "ada@example.org",
    )
    assert found.about.hardware == "a processor"
    assert found.about.command == (
        "harness run --methods vpt,linear --suite mini --backbone mini_vit --protocol mini"
        " --seeds 0,1"
    )
    assert list(found.cells) == list(store.cells())
    assert [row.score for row in found.rows.results] == [row.score for row in store.results()]
    assert len(found.rows.trials) == 8
    assert sorted(path.name for path in board.iterdir()) == ["ada"]


def test_paths_of_the_machine_failures_and_tracebacks_stay(
    board: Path, tmp_path: Path, cells
) -> None:
    store = filled(tmp_path / "a.db", cells[:1])
    (cell,) = store.cells().values()
    odd = {
        "device": "cpu",
        "processor": "AMD EPYC",
        "cores": 2,
        "platform": "Linux-6.1-secret",
        "checkpoint": "/home/ada/results/harness.checkpoints/abc.safetensors",
        "inputs": {
            "method": "/home/ada/mine.py:Mine",
            "data_root": "/data/private",
            "backbone": "vit=/data/private/vit.npz",
            "cards": None,
        },
        "source": "https://example.org/a/b",
    }
    row = replace(store.results()[0], seed=0, provenance=odd)
    other = Store(tmp_path / "b.db")
    trials = [replace(one, reason=None, provenance=odd) for one in store.trials()]
    trials.append(
        replace(
            trials[0],
            number=2,
            state="failed",
            value=None,
            reason="no file /home/ada/x.npz\nTraceback (most recent call last): /home/ada/x.py",
        )
    )
    other.add([cell], trials, [row], [failure(cell, 3, "/home/ada")])
    sent(board, "ada", other)
    found = folder.read(board / "ada")
    (kept,) = found.rows.results
    assert kept.provenance == {
        "device": "cpu",
        "processor": "AMD EPYC",
        "cores": 2,
        "checkpoint": "abc.safetensors",
        "inputs": {
            "method": "mine.py:Mine",
            "data_root": "private",
            "backbone": "vit=vit.npz",
            "cards": None,
        },
        "source": "https://example.org/a/b",
    }
    assert found.about.hardware == "AMD EPYC, 2 cores"
    assert found.rows.failures == []
    assert found.rows.trials[2].reason == "no file x.npz"
    for file in (board / "ada").iterdir():
        assert b"/home" not in file.read_bytes()


def test_checkpoints_stay_and_their_hashes_are_sent(board: Path, store: Store) -> None:
    row = store.results()[0]
    file = file_of(store).with_suffix(".checkpoints") / f"{row.id}.safetensors"
    file.parent.mkdir()
    origin = f'{{"logits_sha256": "{row.logits_sha256}"}}'
    save_file({"a": np.zeros(3, "float32")}, file, {"origin": origin})
    sent(board, "ada", store)
    found = folder.read(board / "ada").checkpoints
    assert list(found) == [row.id]
    assert found[row.id].sha256 == folder.digest(file)
    assert found[row.id].bytes == file.stat().st_size
    save_file(
        {"a": np.zeros(3, "float32")}, file, {"origin": '{"logits_sha256": "' + "f" * 64 + '"}'}
    )
    with pytest.raises(BadInput, match=r"logits: vpt on digits, seed 0 .* its checkpoint names, f"):
        sent(board, "again", store)
    assert not (board / "again").exists()


def test_some_rows_and_records_alone_can_be_sent(
    board: Path, store: Store, cells, tmp_path: Path
) -> None:
    sent(board, "part", store, cells={cells[0].key})
    assert [row.cell for row in folder.read(board / "part").rows.results] == [cells[0].key] * 2
    again = record_of(store.results()[0], tmp_path / "again.json")
    sent(board, "record", store, "Ben Example", cells=(), records=[again], board=board)
    found = folder.read(board / "record")
    assert (found.rows.results, [record.id for record in found.records]) == (
        [],
        [store.results()[0].id],
    )


def test_it_replaces_itself_and_nothing_else(board: Path, store: Store, ada: Path) -> None:
    sent(board, "ada", store, note="a second time")
    assert folder.read(ada).about.note == "a second time"
    (board / "mine").mkdir()
    (board / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(BadInput, match="isn't a submission"):
        sent(board, "mine", store)
    assert (board / "mine" / "thesis.txt").read_text() == "all of it"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"who": ""}, "who: String should have at least 1 character"),
        ({"contact": "a\nb"}, "contact: "),
        ({"note": " x"}, "note: write one line"),
    ],
)
def test_bad_words_about_it_are_refused_and_nothing_is_written(
    board: Path, store: Store, given: dict[str, str], said: str
) -> None:
    board.mkdir()
    with pytest.raises(BadInput, match=said):
        make(
            store,
            board / "ada",
            who=given.get("who", "Ada"),
            contact=given.get("contact", "ada@example.org"),
            note=given.get("note", ""),
        )
    assert list(board.iterdir()) == []


def test_an_empty_store_makes_none(board: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no results of these"):
        sent(board, "ada", Store(tmp_path / "empty.db"))
    with pytest.raises(BadInput, match="a submission's name is of a-z"):
        sent(board, "Ada!", filled(tmp_path / "a.db", [sound()]))
