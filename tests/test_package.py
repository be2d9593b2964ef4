"""The wheel: everything a user needs is in it, and it works from another folder."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def test_cards_data_weights_protocols_and_published_numbers_are_inside(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "harness/datasets/suites.toml",
        "harness/datasets/vtab/cifar100.toml",
        "harness/datasets/mini/sprites-count.npz",
        *(
            f"harness/backbones/weights/mini_{member}.{kind}"
            for member in ("convnext", "mae", "rope", "swin", "vit")
            for kind in ("safetensors", "toml")
        ),
        "harness/planning/protocols/vpt.toml",
        "harness/results/published.csv",
        "harness/results/recipes.toml",
        "harness/results/osu_tuned.csv",
        "harness/results/submissions/mini-cpu/rows.parquet",
        "harness/reporting/submissions/pages/templates/base.html",
        "harness/store/migrations/versions/3_first.py",
        "methods/ivpt.py",
    } <= names
    assert not [
        name
        for name in names
        if name.startswith(("tests/", "scripts/", "datasets/")) or name.endswith(".db")
    ]
    assert wheel.stat().st_size < 12_000_000


def test_installed_it_runs_from_another_folder(wheel: Path, tiny, tmp_path: Path):
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    site = Path(
        subprocess.run(
            [home / "bin" / "python", "-c", "import site; print(site.getsitepackages()[0])"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    )
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            str(site),
            str(wheel),
        ],
        check=True,
        capture_output=True,
    )
    # the dependencies of this environment
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    environment = {**os.environ, "COLUMNS": "100", "PYTHONPATH": str(site)}

    def run(*command: str) -> str:
        done = subprocess.run(
            [home / "bin" / "python", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = json.loads(
        run(
            "-c",
            "import json, harness, methods; print(json.dumps([harness.__file__,"
            " methods.__file__]))",
        )
    )
    assert all(path.startswith(str(site)) for path in where)
    assert "sprites-count" in run("-m", "harness", "list", "tasks")
    out = run(
        "-m",
        "harness",
        "run",
        "--tasks",
        "digits",
        "--methods",
        "linear",
        "--trials",
        "1",
        "--seeds",
        "0",
        "--workers",
        "1",
    )
    assert "digits" in out
    assert (tmp_path / "results" / "harness.db").is_file()
