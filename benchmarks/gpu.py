"""Claim: on a GPU too, in bf16, our training step keeps less memory than the paper's form, and is
faster where the device, and not the queueing of its kernels, takes the time.

    python benchmarks/gpu.py [--json] [--batch 64] [--repeats 20] [--prompts 10 50] [--eager]

The forms of train_step.py under bf16 autocast, as runs on CUDA train, each as it is and through
torch.compile (a minute each; not with `--eager`): ViT-B/16 at 224, prompts p in {1, 10, 50, 100,
200}, interleaved repeats, medians.
`images_per_second`; `share_of_peak`: the step's FLOPs (closed form, docs/speed.md) over what a
large bf16 matrix product reaches on this device; `peak_memory`: bytes a step allocates above the
weights. `kernels` and `device_ms` are the profiler's: what a step launches, and how long the device
works on it; `graph_ms` is the same step replayed as one CUDA graph, which queues nothing.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from train_step import PROMPTS, flops, forms_of, step

from harness.training.forward import precision


def seconds(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def peak(device: torch.device, side: int) -> float:
    """FLOP/s of a square bf16 matrix product: the best of ten."""
    one, other = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / min(seconds(lambda: one @ other, device) for _ in range(10))


def memory(work: Callable[[], object], device: torch.device) -> int | None:
    """Bytes that `work` allocates at its peak; None where the device doesn't count them."""
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    return torch.cuda.max_memory_allocated(device) - before


def on_device(work: Callable[[], object]) -> dict[str, float]:
    """Of a step on CUDA: its kernels, their time, and the step's as one CUDA graph."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize()
    kernels = [
        event
        for event in profile.events() or ()
        if event.device_type == torch.autograd.DeviceType.CUDA  # type: ignore[attr-defined]
    ]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    device = torch.device("cuda")
    return {
        "kernels": len(kernels),
        "device_ms": sum(event.self_device_time_total for event in kernels) / 1e3,
        "graph_ms": 1e3 * statistics.median(seconds(graph.replay, device) for _ in range(15)),
    }


def measure(
    vit: VisionTransformer, p: int, batch: int, repeats: int, matmul: float, compiled: bool = True
) -> dict:
    """One row: for each form, plain and compiled, images a second, share of the device's peak, and
    memory."""
    device = next(vit.parameters()).device
    patches = vit.patch_embed
    images = torch.randn(batch, 3, *patches.img_size, device=device)  # type: ignore[misc]
    labels = torch.randint(100, (batch,), device=device)
    forms = forms_of(vit, p)  # without prompt dropout
    if compiled:
        forms |= {f"{name}, compiled": torch.compile(forward) for name, forward in forms.items()}

    def work(forward: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        def one() -> None:
            with precision(device):
                step(forward, images, labels)

        return one

    steps = {name: work(forward) for name, forward in forms.items()}
    for one in steps.values():
        for _ in range(3):
            one()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, one in steps.items():
            times[name].append(seconds(one, device))
    shape = {"dim": vit.embed_dim, "depth": len(vit.blocks), "image": patches.num_patches}  # type: ignore[arg-type]
    row: dict = {"p": p}
    for name, one in steps.items():
        median = statistics.median(times[name])
        needed = flops(p, batch, ours=not name.startswith("paper"), **shape) * batch
        row[name] = {
            "images_per_second": batch / median,
            "share_of_peak": needed / median / matmul,
            "peak_memory": memory(one, device),
        }
        if device.type == "cuda" and not name.endswith("compiled"):
            row[name] |= on_device(one)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--prompts", type=int, nargs="*", default=PROMPTS)
    parser.add_argument("--eager", action="store_true", help="without the compiled forms")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit(
            "gpu.py needs a CUDA device, and torch sees none here. benchmarks/train_step.py"
            " measures the CPU."
        )
    device = torch.device("cuda")
    torch.manual_seed(0)
    vit = VisionTransformer(num_classes=0).to(device)
    matmul = peak(device, 8192)
    rows = []
    for p in arguments.prompts:
        rows.append(
            measure(vit, p, arguments.batch, arguments.repeats, matmul, not arguments.eager)
        )
        if not arguments.json:
            for name, found in rows[-1].items():
                print(f"p {p}  {name}: {found}" if name != "p" else "", flush=True)
    if arguments.json:
        print(
            json.dumps(
                {
                    "rows": rows,
                    "device": torch.cuda.get_device_name(),
                    "matmul_flops": matmul,
                    "torch": torch.__version__,
                }
            )
        )


if __name__ == "__main__":
    main()
