"""What a run is asked for: the flags of `harness run` that say what to measure."""

from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInput
from harness.io import flags


@dataclass(frozen=True)
class Request:
    """What the user requested, as typed, except for paths."""

    methods: str = flags.DEFAULT_METHODS
    suite: str | None = None
    tasks: str | None = None
    backbone: str | None = None
    protocol: str | None = None
    data_root: Path | None = None
    cards: Path | None = None
    pixels: str | None = None
    image_size: int | None = None
    normalize: str | None = None
    precision: str | None = None
    allow_overlap: bool = False
    """Run even though test images are also in train or val."""
    trials: int | None = None
    seeds: tuple[int, ...] | None = None
    hparams: str | None = None
    """A table of settings that are run instead of searches."""
    start_from: str | None = None
    """A table or a store whose settings searches begin with."""
    cpu: bool = False
    """Whether jobs get no GPU, even if this machine has one."""

    def __post_init__(self) -> None:
        """Paths become absolute: a worker is in another folder. Raises `BadInput`."""
        absolute: dict[str, object] = {
            name: flags.path(value).absolute()
            for name in ("data_root", "cards")
            if (value := getattr(self, name)) is not None
        }
        if self.protocol is not None and self.protocol.endswith(".toml"):
            absolute["protocol"] = str(flags.path(self.protocol).absolute())
        if self.hparams is not None and self.start_from is not None:
            raise BadInput(
                "--hparams runs settings without a search, --start-from begins a search with them:"
                " leave one out."
            )
        if self.backbone is not None:
            absolute["backbone"] = flags.backbone(self.backbone)
        for name, value in absolute.items():
            object.__setattr__(self, name, value)


DEFAULT = Request()
"""Nothing but defaults."""
