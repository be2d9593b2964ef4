"""One cell of a plan: a method variant on a task with a backbone under a protocol, and the key that
follows from all of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution

import harness.backbones
from harness.backbones import Backbone
from harness.data import normalization
from harness.data.normalization import Statistics
from harness.errors import unknown
from harness.io import flags
from harness.planning import protocols
from harness.planning.declaration import defaults
from harness.planning.known import Known, point_of, points_of
from harness.planning.protocols import Settings
from harness.planning.request import DEFAULT, Request
from harness.planning.search_space import own_arguments, search_size, search_space, settled
from harness.planning.space import size, values
from harness.planning.variant import Variant
from harness.store import Cell, cell_key
from harness.tasks.cards import TaskCard

if TYPE_CHECKING:
    from harness.training.kind import Kind
    from harness.training.recipe import Recipe


@dataclass(frozen=True)
class PlannedCell:
    """One cell and everything needed to fill it."""

    cell: Cell
    card: TaskCard
    root: Path | None
    fingerprint: str
    variant: Variant
    backbone: str
    protocol: Settings
    space: Mapping[str, BaseDistribution]
    seeds: tuple[int, ...]
    inputs: Mapping[str, str | None]
    """Where everything came from, as paths and names, for `harness reproduce`. Provenance, never
    identity."""

    @property
    def key(self) -> str:
        return self.cell.key

    @property
    def statistics(self) -> Statistics:
        """For normalising pixels."""
        return normalization.of(self.cell.identity)

    @property
    def precision(self) -> protocols.Precision:
        """The arithmetic of its runs."""
        return self.protocol.precision or "fp32"

    @property
    def constant_features(self) -> bool:
        """Whether the tokens that a head reads can be computed once."""
        return self.variant.has_constant_features(self.card)

    @property
    def trials(self) -> int:
        """Points that the search will try; 0 if there is nothing to choose."""
        return search_size(self.space, self.protocol)

    def method_arguments(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The method's own arguments: those fixed by the variant and those chosen by the search."""
        return own_arguments({**self.variant.arguments, **params}, self.protocol)

    def batch_size(self, *points: Mapping[str, Any]) -> int:
        """The largest of these points' batches."""
        return max(self.recipe(params).batch_size for params in points)

    @property
    def kind(self) -> "Kind[Any]":
        """The kind of its task: how it is trained and scored."""
        from harness.training.kinds import kind_of

        return kind_of(self.card.kind)

    def recipe(self, params: Mapping[str, Any]) -> "Recipe":
        """The protocol at a point of its search space."""
        chosen = {**self.variant.arguments, **params}
        protocol = self.protocol.at(self.method_arguments(params) | chosen)
        point = {name: chosen[name] for name in protocol.arguments if name in chosen}
        return self.kind.recipe(**{**protocol.fields_of(self.kind.recipe), **point})


def plan_cell(
    card: TaskCard,
    request: Request,
    fingerprint: str,
    variant: Variant,
    spec: str,
    backbone: Backbone,
    protocol: Settings,
    normalize: Statistics | None = None,
    overlap: int = 0,
    known: Known | None = None,
) -> PlannedCell:
    """One cell with its key: the sha256 of everything that its numbers may depend on, except the
    seed. `protocol`: that of all cells.

    `normalize` overrides the request and the protocol. `overlap`: how many test images are also in
    train or val. It follows from the data, so it isn't part of the key, but is shown with the
    score. `known`: settings that the request names.
    """
    shared, protocol = protocol, of_cell(protocol, variant, card, backbone.name, request, known)
    by = known.name if known is not None and (protocol.fixed or protocol.start) else None
    how = "hparams" if protocol.fixed else "start"
    normalize = normalize or normalized_by(request, protocol, backbone.name)
    identity = {
        "method": variant.identity,
        "task": {
            "name": card.name,
            "card": card.digest(),
            "data": fingerprint,
            "pixels": card.pixels,
            "normalize": normalize.identity(),
        },
        "backbone": {
            "name": backbone.name,
            "sha256": backbone.sha256,
            "pooling": backbone.pooling,
            "side": card.side(backbone.size, backbone.vit.patch_size[0]),
        },
        "protocol": protocol.identity(),
    }
    labels = {
        "variant": variant.label,
        "suite": card.suite,
        "group": card.group,
        "kind": card.kind,
        "metric": card.metric,
        "classes": card.classes,
        "protocol": protocol.name if by is None else f"{protocol.name}+{by}",
        "note": variant.method.note,
        "family": variant.method.family,
        "year": variant.method.year,
        "settings": {**shared.identity(), **({how: by} if by is not None else {})},
        **(
            {"overlap": {"images": overlap, "of": card.sizes["test"], "expected": card.overlap}}
            if overlap
            else {}
        ),
    }
    inputs = {
        "method": flags.method_file(variant.origin),
        "data_root": str(request.data_root.resolve()) if request.data_root else None,
        "cards": str(request.cards.resolve()) if request.cards else None,
        "backbone": spec,
        "pixels": request.pixels,
        "image_size": request.image_size,
        "normalize": request.normalize,
        "precision": request.precision,
        "protocol": request.protocol,
        "hparams": request.hparams,
        "start_from": request.start_from,
    }
    card = trained_on(card, protocol)
    space, seeds = search_space(variant, protocol), request.seeds or protocol.seeds
    whole_grid = protocol.sampler == "grid" and search_size(space, protocol) == size(space)
    if space and size(space) < math.inf and not whole_grid:
        # a store may have cells of before, whose search tried points twice, or a grid's first alone
        identity["search"] = {"points": "distinct"}
    labels |= {
        "arguments": settled(variant, protocol, space),
        "searched": {name: values(entry) for name, entry in space.items()},
    }
    return PlannedCell(
        Cell(cell_key(identity), identity, labels),
        card,
        request.data_root,
        fingerprint,
        variant,
        spec,
        protocol,
        space,
        seeds,
        inputs,
    )


def normalized_by(request: Request, protocol: Settings, backbone: str) -> Statistics:
    """The statistics named by a request's `--normalize`, or else by the protocol. Raises
    `BadInput`."""
    name = request.normalize or protocol.normalize
    if name not in normalization.NAMES:
        raise unknown("normalization", name, normalization.NAMES)
    return (
        harness.backbones.statistics_of(backbone)
        if name == normalization.BACKBONES_OWN
        else normalization.NAMED[name]
    )


def of_cell(
    protocol: Settings,
    variant: Variant,
    card: TaskCard,
    backbone: str,
    request: Request = DEFAULT,
    known: Known | None = None,
) -> Settings:
    """The part of a protocol that holds for one cell, and for points that its search may choose; of
    `known`, what the request asks for. Raises `BadInput`."""
    whole = protocol.for_cell(variant, card.suite, backbone, card.train_on)
    space = search_space(variant, whole)
    if known is not None and request.hparams is not None:
        point = point_of(known, variant, card.name, whole, space)
        if point is not None:
            arguments = {**defaults(variant.method), **whole.method_arguments, **variant.arguments}
            return whole.without_search(point, arguments)
    within = whole.within(space)
    if known is not None and request.start_from is not None and space:
        inside, _ = points_of(known, variant, card.name, whole, space)
        return within.model_copy(update={"start": tuple(inside)})
    return within


def trained_on(card: TaskCard, protocol: Settings) -> TaskCard:
    """The card, with the cell's protocol deciding what final runs train on."""
    return card.model_copy(update={"train_on": protocol.train_on or card.train_on})
