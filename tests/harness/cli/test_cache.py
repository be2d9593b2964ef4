"""`harness cache show` and `clear`."""

import json
from pathlib import Path

import pytest
from command_line import run_command


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    monkeypatch.setenv("VPT_HARNESS_CACHE", str(tmp_path / "cache"))

    def run(*arguments: str) -> tuple[int, str, str]:
        code, printed = run_command(monkeypatch, "cache", *arguments), capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    for name, size in {"images/a.bin": 3000, "images/b/c.bin": 20, "answers/x.json": 7}.items():
        file = tmp_path / "cache" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * size)
    (tmp_path / "cache" / "notes.txt").write_text("somebody's own")
    return tmp_path / "cache"


def test_show_has_each_part_with_its_size(call, filled: Path):
    found = json.loads(call("show", "--format", "json")[1])
    assert found["folder"] == str(filled)
    assert found["parts"]["images"] == {"files": 2, "bytes": 3020}
    assert list(found["parts"]) == ["images", "notes.txt", "answers"]
    assert "decoded images" in call("show")[1]


def test_an_absent_cache_is_empty(call, tmp_path: Path):
    assert "empty" in call("show")[1]
    assert call("clear", "--yes")[1].strip().endswith("has nothing to clear.")
    assert not (tmp_path / "cache").exists()


def test_clear_deletes_parts_that_are_ours_alone(call, filled: Path):
    code, _, err = call("clear")
    assert code == 2
    assert "give --yes" in err
    assert "Did you mean 'images'" in call("clear", "image", "--yes")[2]
    assert call("clear", "images", "--yes")[1] == "Deleted images: 3 kB.\n"
    assert sorted(path.name for path in filled.iterdir()) == ["answers", "notes.txt"]
    call("clear", "--yes")
    assert [path.name for path in filled.iterdir()] == ["notes.txt"]
