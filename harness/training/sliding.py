"""What a segmentation model says of a whole image of any size: windows side by side, overlapping by
a third, scores averaged.

As MMSegmentation does it for SETR: the image is resized so that its shorter side is the crop's; a
window of the crop's side moves by two thirds of it (512 and 341) and ends flush with the border;
where windows overlap their scores are averaged; the scores are resized to the label's own size.
With several views (scales, mirrored or not) their softmax is averaged. An image that is smaller
than the window is padded with the mean, as in training (MMSegmentation passes it as it is).

Memory has a bound whatever the image's size: the label is filled in bands of rows, each with the
windows that it needs. Ordinary images are one band.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from PIL import Image
from torch import Tensor, nn

from harness.data.augment import resized, scaled
from harness.data.batch import normalised
from harness.data.normalization import IMAGENET, Statistics
from harness.data.scenes import Scenes
from harness.training.forward import Diverged, precision
from harness.training.metrics import confusion

FLOATS = 2**27
"""Scores that a band holds at most at a time, in either resolution: 512 MB. At least one row of the
label is filled."""
TOGETHER = 8
"""Windows that are passed forward together, where memory isn't short."""


@dataclass(frozen=True)
class View:
    """One way to look at an image."""

    scale: float = 1.0
    mirrored: bool = False


SINGLE_SCALE = (View(),)
MULTI_SCALE = tuple(
    View(scale, mirrored)
    for scale in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    for mirrored in (False, True)
)


@dataclass(frozen=True)
class Measured:
    """A split's maps of classes, beside its masks."""

    confusion: Int64[np.ndarray, "classes classes"]
    sha256: str
    """Of the maps in record order, a byte a pixel: equal hashes mean equal predictions, pixel for
    pixel."""
    windows: int
    """Passed forward: forward-image units."""


def measure(
    model: nn.Module,
    scenes: Scenes,
    classes: int,
    device: torch.device,
    views: Sequence[View] = SINGLE_SCALE,
    at_once: int = TOGETHER,
) -> Measured:
    """Scores every image of a split at its label's own size; `at_once` windows are passed together.
    Raises `Diverged`."""
    counts, digest, windows = np.zeros((classes, classes), np.int64), hashlib.sha256(), 0
    for row in range(len(scenes)):
        image, mask = scenes.scene(row)
        sliding = Sliding(
            model,
            image,
            scenes.crop,
            scenes.size,
            classes,
            device,
            views,
            at_once,
            scenes.statistics,
        )
        found = sliding.classes_of_pixels()
        counts += confusion(found, mask, classes)
        digest.update(found.tobytes())
        windows += sliding.windows
    return Measured(counts, digest.hexdigest(), windows)


def places(length: int, window: int) -> list[int]:
    """Where windows begin along a side: by steps of two thirds of a window, the last one flush with
    the end."""
    stride = max(1, 2 * window // 3)
    steps = max(0, length - window + stride - 1) // stride
    return [max(0, min(step * stride, length - window)) for step in range(steps + 1)]


class Sliding:
    """One image under a model in eval mode."""

    def __init__(
        self,
        model: nn.Module,
        image: UInt8[np.ndarray, "height width 3"],
        crop: int,
        window: int,
        classes: int,
        device: torch.device,
        views: Sequence[View] = SINGLE_SCALE,
        at_once: int = TOGETHER,
        statistics: Statistics = IMAGENET,
    ):
        """`crop`: the shorter side at scale 1. `window`: the side of the squares that the model
        takes, `at_once` of them together. `statistics`: what is taken out of the pixels."""
        self.statistics = statistics
        self.at_once = at_once
        self.model, self.window, self.classes, self.device, self.views = (
            model.eval(),
            window,
            classes,
            device,
            views,
        )
        self.height, self.width = image.shape[:2]
        self.images = [self._seen(image, crop, view) for view in views]
        self.windows = 0
        """Passed forward so far."""

    @torch.inference_mode()
    def classes_of_pixels(self) -> UInt8[np.ndarray, "height width"]:
        """The class of highest score at each pixel of the label. Raises `Diverged` where a score is
        no number."""
        bands: list[UInt8[np.ndarray, "row width"]] = []
        for top, bottom in self._bands():
            scores = self.scores(top, bottom)
            if not torch.isfinite(scores).all():
                raise Diverged("the model's outputs are no finite numbers")
            bands.append(scores.argmax(0).to(torch.uint8).cpu().numpy())
        return np.concatenate(bands)

    @torch.inference_mode()
    def scores(self, top: int, bottom: int) -> Float[Tensor, "class row width"]:
        """Of the label's rows from `top` to `bottom`: logits where there is one view, else the mean
        of the views' softmax."""
        total = torch.zeros(())
        for view, image in zip(self.views, self.images, strict=True):
            height = image.shape[0]
            first = max(0, int((top + 0.5) * height / self.height - 0.5))
            last = min(height, int((bottom - 0.5) * height / self.height - 0.5) + 2)
            seen = self._averaged(image, first, last)
            seen = self._resized(
                seen.flip(2) if view.mirrored else seen, first, height, top, bottom
            )
            total = (
                seen
                if len(self.views) == 1
                else total.to(seen.device) + seen.softmax(0) / len(self.views)
            )
        return total

    def _seen(
        self, image: UInt8[np.ndarray, "height width 3"], crop: int, view: View
    ) -> UInt8[np.ndarray, "..."]:
        height, width = scaled(self.height, self.width, crop, view.scale)
        image = resized(image, height, width, Image.Resampling.BILINEAR)
        return image[:, ::-1] if view.mirrored else image

    def _bands(self) -> Iterator[tuple[int, int]]:
        """Rows of the label, as many at a time as `FLOATS` allows in the label's resolution and in
        the largest view's."""
        row = self.classes * max(
            self.width, *(image.shape[0] * image.shape[1] / self.height for image in self.images)
        )
        step = max(1, int(FLOATS / row))
        for top in range(0, self.height, step):
            yield top, min(self.height, top + step)

    def _averaged(
        self, image: UInt8[np.ndarray, "height width 3"], first: int, last: int
    ) -> Float[Tensor, "class row width"]:
        """The mean of the windows' scores at the image's rows from `first` to `last`."""
        height, width = image.shape[:2]
        rows, columns = min(self.window, height), min(self.window, width)
        sums = torch.zeros(self.classes, last - first, width, device=self.device)
        counts = torch.zeros(last - first, width, device=self.device)
        corners = [
            (y, x)
            for y in places(height, self.window)
            if y < last and y + rows > first
            for x in places(width, self.window)
        ]
        for start in range(0, len(corners), self.at_once):
            some = corners[start : start + self.at_once]
            tiles = torch.as_tensor(
                np.stack([image[y : y + rows, x : x + columns] for y, x in some])
            ).to(self.device)
            padded = F.pad(
                normalised(tiles, self.statistics),
                (0, self.window - columns, 0, self.window - rows),
            )
            with precision(self.device):
                found = self.model(padded).float()
            self.windows += len(some)
            for (y, x), own in zip(some, found, strict=True):
                begin, end = max(y, first), min(y + rows, last)
                sums[:, begin - first : end - first, x : x + columns] += own[
                    :, begin - y : end - y, :columns
                ]
                counts[begin - first : end - first, x : x + columns] += 1
        return sums / counts

    def _resized(
        self,
        scores: Float[Tensor, "class row width"],
        first: int,
        height: int,
        top: int,
        bottom: int,
    ) -> Tensor:
        """Bilinear, to the label's rows from `top` to `bottom`: what resizing the whole map of
        `height` rows would give there."""
        if (height, scores.shape[2]) == (self.height, self.width):
            return scores[:, top - first : bottom - first]
        place = (
            (torch.arange(top, bottom, dtype=torch.float64) + 0.5) * height / self.height - 0.5
        ).clamp(min=0)
        above = place.floor().long()
        below = (above + 1).clamp(max=height - 1)
        part = (place - above).float().to(scores.device)[:, None]
        scores = torch.lerp(
            scores[:, (above - first).to(scores.device)],
            scores[:, (below - first).to(scores.device)],
            part,
        )
        return F.interpolate(
            scores[None], size=(bottom - top, self.width), mode="bilinear", align_corners=False
        )[0]
