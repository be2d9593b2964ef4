"""The GPU benchmark's machinery, on the CPU at small size; and what it says where there is no
GPU."""

import os
import subprocess
import sys
from pathlib import Path

import gpu
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer


def test_it_measures_every_form():
    vit = VisionTransformer(
        img_size=16, patch_size=4, embed_dim=24, depth=2, num_heads=2, num_classes=0
    )
    row = gpu.measure(
        vit, p=3, batch=2, repeats=1, matmul=gpu.peak(torch.device("cpu"), 64), compiled=False
    )
    assert list(row) == ["p", "paper", "ours", "ivpt"]
    assert all(
        row[name]["images_per_second"] > 0 and row[name]["share_of_peak"] > 0
        for name in ("paper", "ours", "ivpt")
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_it_says_where_there_is_no_gpu():
    script = Path(gpu.__file__)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("gpu.py needs a CUDA device")


COMPARED = """
import gpu, torch
from timm.models.vision_transformer import VisionTransformer

torch.manual_seed(0)
vit = VisionTransformer(
    img_size=16, patch_size=4, embed_dim=24, depth=2, num_heads=2, num_classes=0
).cuda().eval()
images = torch.randn(2, 3, 16, 16, device="cuda")
for forward in gpu.forms_of(vit, 3).values():
    compiled = torch.compile(forward)
    torch.testing.assert_close(compiled(images), forward(images), rtol=1e-4, atol=1e-4)
"""


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_compiled_forms_give_the_same_logits():
    """In a process where signatures aren't checked: torch would compile the checks."""
    done = subprocess.run(
        [sys.executable, "-c", COMPARED],
        cwd=Path(gpu.__file__).parent,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
