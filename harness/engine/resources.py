"""Where a run's jobs are, and how many at once."""

from dataclasses import dataclass

from harness.errors import BadInput


@dataclass(frozen=True)
class Resources:
    """Where to run: how many jobs at once, on what."""

    workers: int | None = None
    """Jobs at once on this machine; None: one per CPU core, or as many as fit on the GPUs."""
    gpus_per_trial: float | None = None
    """None: 1 if there is a GPU, else 0."""
    address: str | None = None
    """Address of a running Ray cluster, of which this machine is a node; None or `local`: a private
    one on this machine, which ends with the run."""
    trial_timeout: float = 3600.0
    """Seconds without a batch after which a job is considered hung; 0: never. Decoding a task's
    images for the first time has no batches."""
    compile: bool = False
    """Whether workers on GPUs compile what blocks do in training."""
    max_hours: float | None = None
    """Hours after which no job is started any more; None: no limit."""

    def __post_init__(self) -> None:
        if self.address and "://" in self.address:
            raise BadInput(
                f"--address (or RAY_ADDRESS) {self.address} would put the driver outside the"
                " cluster, or isn't a node's HOST:PORT: run `ray job submit -- harness run ...` on"
                " it instead."
            )

    @property
    def cluster(self) -> str | None:
        """The address, if it is an existing cluster."""
        return None if self.address in (None, "", "local") else self.address
