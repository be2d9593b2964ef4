"""`harness try` in this process: what it prints, and its exit codes."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run_command

MINE = """
import torch
from torch import nn
from harness import Method, new_prompts

class Mine(Method):
    name = "mine"

    def __init__(self, vit, prompts: int = 2):
        super().__init__(vit)
        self.prompts = new_prompts(vit, prompts)
        self.scale = nn.Parameter(torch.ones(vit.dim))

    def forward(self, images, read):
        prompts = self.prompts * self.scale{detached}
        return self.vit.run(self.vit.embed(images), read, [prompts] * self.vit.depth)
"""


def tried(monkeypatch, capsys, tiny, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.chdir(tiny.folder)
    code = run_command(monkeypatch, "try", *arguments, "--task", "toy", "--cards", str(tiny.cards))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_sound_method_is_trained(monkeypatch, capsys, tiny):
    (tiny.folder / "mine.py").write_text(MINE.replace("{detached}", ""))
    code, out, _ = tried(monkeypatch, capsys, tiny, "./mine.py:Mine(prompts=3)")
    assert code == 0, out
    assert "ok      contract        mine, version 1" in out
    assert "prompts 288, scale 96" in out
    assert "ok      training        toy, mini_vit, base_lr" in out
    assert out.splitlines()[-1].startswith("        2: loss ")
    assert out.splitlines()[-1].endswith(" %")
    assert list(Path(tiny.folder).glob("*.db")) == []


def test_a_fault_is_a_line_and_exit_code_1(monkeypatch, capsys, tiny):
    (tiny.folder / "mine.py").write_text(MINE.replace("{detached}", ".detach()"))
    code, out, _ = tried(monkeypatch, capsys, tiny, "./mine.py:Mine")
    (line,) = [line for line in out.splitlines() if line.startswith("failed")]
    assert code == 1
    assert line == (
        "failed  gradients       steps 1 and 2: no gradient arrives at scale"
        " (mine.py:14, in forward)"
    )


def test_an_error_of_its_own_code_is_a_line_too(monkeypatch, capsys, tiny):
    broken = (
        MINE.replace("{detached}", "") + "\n    def epoch(self, number, epochs):\n        1 / 0\n"
    )
    (tiny.folder / "mine.py").write_text(broken)
    code, out, _ = tried(monkeypatch, capsys, tiny, "./mine.py:Mine")
    assert code == 1
    assert (
        "failed  training        ZeroDivisionError: division by zero (mine.py:19, in epoch" in out
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["vpt-dep"], "unknown method 'vpt-dep'. Did you mean 'vpt-deep'"),
        (["vpt,linear"], "one method at a time"),
        (["./absent.py:Mine"], "no file"),
        (["vpt", "--backbone", "mini_vot"], "Did you mean 'mini_vit'"),
    ],
)
def test_bad_input_is_exit_code_2(monkeypatch, capsys, tiny, arguments: list[str], said: str):
    code, _, error = tried(monkeypatch, capsys, tiny, *arguments)
    assert code == 2
    assert said in error


def test_a_breakpoint_stops_at_a_terminal(tiny):
    """A pseudo terminal, as a user has one; what is typed is read, and `q` ends the command."""
    stopping = MINE.replace("{detached}", "").replace(
        "        self.scale =", "        breakpoint()\n        self.scale ="
    )
    (tiny.folder / "mine.py").write_text(stopping)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "harness", "try", "./mine.py:Mine"]
    process = subprocess.Popen(
        command, cwd=tiny.folder, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
    )
    os.close(theirs)
    os.write(ours, b"print('there', prompts * 21)\nq\n")
    seen = b""
    try:
        while part := os.read(ours, 4096):
            seen += part
    except OSError:  # Linux says so where the other end is closed
        pass
    finally:
        os.close(ours)
    code = process.wait(timeout=60)
    assert b"-> self.scale =" in seen, seen
    assert b"there 42" in seen
    assert b"Traceback" not in seen
    assert code == 130
