"""The engine: what is left to do (ledger), in what order (search), where (worker), and the run that joins them.

A worker imports it before all else."""

from harness import own

own.pin()
