"""What adapters share: the bottleneck and its first values, and blocks taken one by one."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from optuna.distributions import FloatDistribution, IntDistribution
from torch import Tensor, nn

from harness import FrozenViT, Method, Read

RATES = (0.004, 0.04)
"""Of OSU's search: 1e-3 and 1e-2 at batch 64."""
SCALES = (0.01, 0.1, 1.0, 10.0)
ANY_SCALE = FloatDistribution(0.0, 1000.0)
ANY_SIZE = IntDistribution(1, 1024)
ALLOWED = {"bottleneck": ANY_SIZE, "scale": ANY_SCALE}


def searched(*sizes: int) -> dict[str, Any]:
    """A search over these bottlenecks, as OSU's."""
    return {"bottleneck": sizes, "scale": SCALES, "base_lr": RATES}


class Bottleneck(nn.Module):
    """s up(dropout(act(down(x)))): `scale` is a number, or trained values, one a channel;
    `drop_path` drops it for whole images."""

    each_token = True

    def __init__(
        self,
        down: nn.Module,
        up: nn.Module,
        act: nn.Module,
        scale: float | nn.Parameter = 1.0,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ):
        super().__init__()
        self.down, self.act, self.up, self.scale = down, act, up, scale
        self.dropout, self.drop_path = nn.Dropout(dropout), nn.Dropout(drop_path)

    def forward(self, tokens: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch row dim"]:
        added = self.scale * self.up(self.dropout(self.act(self.down(tokens))))
        if not (self.training and self.drop_path.p):
            return added
        return added * self.drop_path(added.new_ones(len(added), 1, 1))


def near_zero(
    dim: int,
    bottleneck: int,
    scale: float | nn.Parameter = 1.0,
    dropout: float = 0.0,
    drop_path: float = 0.0,
) -> Bottleneck:
    """With GELU; weights from N(0, 0.01^2), cut at two standard deviations, and biases of 0."""
    down, up = nn.Linear(dim, bottleneck), nn.Linear(bottleneck, dim)
    for one in (down, up):
        nn.init.trunc_normal_(one.weight, std=0.01, a=-0.02, b=0.02)
        nn.init.zeros_(one.bias)
    return Bottleneck(down, up, nn.GELU(), scale, dropout, drop_path)


class Adapter(Method):
    """Blocks one by one, each as `block` says: with one of `nets` behind it, where there are
    any."""

    family = "peft"
    needs = ("column", "halves")
    allows = {"bottleneck": ANY_SIZE}
    optimizer = {"optimizer": "adamw"}

    def __init__(self, vit: FrozenViT):
        super().__init__(vit)
        self.nets = nn.ModuleList()

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        tokens = self.vit.embed(images)
        selected: list[Tensor] = []
        for index in range(read.blocks[-1] + 1):
            tokens = self.block(index, tokens, self.vit.rows(index, read))
            selected += self.vit.select(index, tokens, read)
        return selected

    def block(self, index: int, tokens: Tensor, rows: slice) -> Tensor:
        given = self.vit.block(index, tokens, rows=rows)
        return given + self.nets[index](given) if self.nets else given

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        super().check(arguments)
        if arguments.get("bottleneck", 1) < 1:
            raise ValueError(f"{cls.name}'s bottleneck is at least 1")


class Beside(Adapter):
    """One of `nets` beside each MLP, on the stream that the MLP's norm is given, or `normed` on
    what it makes of it."""

    normed = False

    def block(self, index: int, tokens: Tensor, rows: slice) -> Tensor:
        stream = self.vit.attend(index, tokens, rows=rows)
        block: Any = self.vit.vit.blocks[index]
        seen = block.norm2(stream) if self.normed else stream
        return self.vit.feed(index, stream) + self.nets[index](seen)
