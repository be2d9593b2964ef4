"""What PAE is made of: windows of an image's spectrum and what is seen through them, for the first
prompts, their dropout, and two losses that keep prompts in step from block to block."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.nn import functional as F

from harness import FrozenBackbone, Method, PromptDropout

fft: Any = torch.fft
linalg: Any = torch.linalg
Window = tuple[slice, slice]
"""Rows and columns of a shifted spectrum."""
Spectra = Sequence[tuple[Tensor, Tensor]]
"""Of a batch's parts, with their labels."""


def windows(side: int) -> list[Window]:
    """Of 16 x 16 at stride 8 for images of 224 pixels, fewer of smaller ones: 729 at most."""
    stride = -(-side // 28)
    spans = [slice(at, at + 2 * stride) for at in range(0, side - 2 * stride + 1, stride)]
    return [(rows, columns) for rows in spans for columns in spans]


def spectrum(
    images: Float[Tensor, "batch channel height width"],
) -> Complex[Tensor, "batch channel height width"]:
    """With the zero frequency in the middle."""
    return fft.fftshift(fft.fft2(images), dim=(2, 3))


def seen_through(
    window: Window, spectrum: Complex[Tensor, "batch channel height width"]
) -> Float[Tensor, "batch channel height width"]:
    """Images of what is in a window of their spectrum."""
    kept, (rows, columns) = torch.zeros_like(spectrum), window
    kept[:, :, rows, columns] = spectrum[:, :, rows, columns]
    return fft.ifft2(fft.ifftshift(kept, dim=(2, 3))).real


def loss_through(window: Window, spectra: Spectra, method: Method, head: Any) -> Float[Tensor, ""]:
    """The batch's cross-entropy through a window, as a sum."""
    losses: list[Tensor] = []
    for own, labels in spectra:
        logits = head(method(seen_through(window, own), head.read))
        known = labels.masked_fill(labels >= logits.shape[1], -100)  # masks have ignored pixels
        losses.append(F.cross_entropy(logits, known, reduction="sum"))
    return torch.stack(losses).sum()


def token_of(window: Window, spectra: Spectra, vit: FrozenBackbone) -> Float[Tensor, " dim"]:
    """The mean of the batch's patches through a window, by their squared norms."""
    sums: list[Tensor] = []
    for own, _ in spectra:
        patches = vit.embed(seen_through(window, own))[:, vit.prefix :]
        energy = patches.square().sum(2, keepdim=True)
        sums.append(torch.cat([(energy * patches).sum((0, 1)), energy.sum()[None]]))
    total = torch.stack(sums).sum(0)
    return total[:-1] / total[-1]


class KLD(nn.Module):
    """Consistency (Koopman) and stability (Lyapunov) of prompts from block to block: two losses."""

    def __init__(self, dim: int, lifted: int = 256):
        super().__init__()
        self.u = nn.Linear(dim, lifted, bias=False)
        self.k, self.l = nn.Parameter(torch.eye(lifted)), nn.Parameter(torch.eye(lifted))

    def forward(self, prompts: Float[Tensor, "block prompt dim"]) -> tuple[Tensor, Tensor]:
        z, square = self.u(prompts[1:]), self.l.T @ self.l
        q: Tensor = square / (linalg.matrix_norm(square, ord=2) + 1e-8)
        ahead = z[:-1] @ self.k

        def energy(z: Tensor) -> Tensor:
            size: Tensor = linalg.vector_norm(z, dim=-1, keepdim=True)
            z = z / (size + 1e-8).clamp(min=1)
            return (z @ q * z).sum(-1)

        rise = F.softplus(energy(ahead) - energy(z[:-1])).mean(1)
        return (ahead - z[1:]).square().mean((1, 2)).sum(), 10 * (rise / 10).tanh().sum()


class OneMask(PromptDropout):
    """Prompt dropout with the same mask for all images of a batch."""

    def forward(self, prompts: Float[Tensor, "prompt dim"], batch: int) -> Tensor:
        return F.dropout(prompts, self.rate, self.training)
