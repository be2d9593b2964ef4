"""Linear probe: the backbone stays as it is, and nothing but the head is tuned."""

from harness import Method


class Linear(Method):
    name = "linear"
    family = "references"
    summary = "linear probe: only the head is tuned, on the frozen backbone's features"
    needs = ()
    constant_features = True
