"""docs/tutorial.ipynb runs as it stands, and was committed as it ran."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "docs" / "tutorial.ipynb"


def code_of(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell: Any) -> list[tuple[str, ...]]:
    """The kinds of a cell's outputs, a stream's lines as one. How often a live output was replaced
    doesn't show."""
    kinds = [(output.output_type, output.get("name", "")) for output in cell.outputs]
    return list(dict.fromkeys(kinds))


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")  # of the kernel's client
@pytest.mark.slow
def test_each_cell_runs_and_shows_what_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In an empty folder, by this Python."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    executed: Any = nbformat.read(NOTEBOOK, as_version=4)
    for cell in code_of(executed):
        cell.outputs, cell.execution_count = [], None
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(executed, timeout=300, kernel_name="python3", resources=where).execute()
    before = nbformat.read(NOTEBOOK, as_version=4)
    for old, new in zip(code_of(before), code_of(executed), strict=True):
        assert [kind for kind in shown(new) if kind != ("display_data", "")] == [
            kind for kind in shown(old) if kind != ("display_data", "")
        ], new.source
    (board,) = [cell for cell in code_of(executed) if "leaderboard()" in cell.source]
    (output,) = board.outputs
    assert "<th>norms</th>" in output.data["text/html"]
    assert "norms" in output.data["text/plain"]
    assert {"tutorial.db", "board.html", "digits.safetensors", "mine.py"} <= {
        path.name for path in tmp_path.iterdir()
    }


def test_it_is_committed_as_it_ran():
    """Every cell once, in order; nothing was wrong; no path of a machine is in it."""
    committed = nbformat.read(NOTEBOOK, as_version=4)
    cells = code_of(committed)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert len([cell for cell in cells if cell.outputs]) > 5
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
            assert "\x1b[" not in str(output)
    text = NOTEBOOK.read_text()
    assert "site-packages" not in text
    assert "/home/" not in text
