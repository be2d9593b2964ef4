"""Which methods a plain Vision Transformer carries: all but those of ConvNets."""

from harness.planning.variants import registered

ON_VITS = sorted(
    name for name, entry in registered().items() if "convolutions" not in entry.load().needs
)
