"""The compiler of torch isn't loaded until something is compiled, and then as if it always had been
there."""

import json
import subprocess
import sys
from typing import Any

import pytest

SCRIPT = """
import json, sys
import harness.engine.worker
import torch, torchvision

def loaded():
    return [name for name in ("torch._dynamo.eval_frame", "triton.runtime") if name in sys.modules]

def halved():
    value = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([value], lr=0.25)
    optimizer.zero_grad()
    (value ** 2).sum().backward()
    optimizer.step()
    return value.tolist()

said = {"imported": loaded(), "step": halved(), "stepped": loaded()}
exec(sys.argv[1])
said["step again"] = halved()
print(json.dumps(said))
"""
COMPILED = """
import torch._dynamo.testing

@torch.compiler.disable
def left_out(x):
    return x + 1

counter = torch._dynamo.testing.CompileCounter()
model = torch.compile(lambda x: 2 * left_out(3 * x), backend=counter)
said["compiled"] = model(torch.ones(1)).tolist()
said["graphs"] = counter.frame_count
said["one module"] = torch._dynamo is sys.modules["torch._dynamo"]
said["loaded"] = loaded()
value = torch.nn.Parameter(torch.ones(2))
optimizer = torch.optim.SGD([value], lr=0.25)
counter = torch._dynamo.testing.CompileCounter()
torch.compile(lambda: optimizer.zero_grad(), backend=counter)()
said["disabled"] = counter.frame_count
"""
ASKED = """
said["supported"] = sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu")
said["configured"] = torch._dynamo.config.suppress_errors
said["loaded"] = loaded()
"""


def said(then: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, then],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("then", "found"),
    [
        (COMPILED, {"compiled": [8.0], "graphs": 2, "one module": True, "disabled": 0}),
        (ASKED, {"supported": True, "configured": False}),
    ],
    ids=["compiled", "asked"],
)
def test_it_is_loaded_when_it_is_needed(then: str, found: dict[str, Any]):
    assert said(then) == {
        **{"imported": [], "step": [0.5, 0.5], "stepped": [], "step again": [0.5, 0.5]},
        **{**found, "loaded": ["torch._dynamo.eval_frame", "triton.runtime"]},
    }
