"""Which methods a plain Vision Transformer carries, all but those of ConvNets; and whose steps make
a GPU wait."""

from harness.planning.registry import registered

ON_VITS = sorted(
    name for name, entry in registered().items() if "convolutions" not in entry.load().needs
)

WAITING = {
    "pae": {"_linalg_svd"},
    "boft": {"_linalg_check_errors"},
    "fourierft": {"a copy from cpu to cuda"},
}
"""What the CPU waits for the device for, by method: a singular value decomposition, and in peft's
layers whether a system could be solved, and indices that are kept on the CPU."""
