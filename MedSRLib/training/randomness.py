"""All that is random in making pairs: its state makes a run resumable."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Random:
    """Random numbers on a device; nothing waits for it.

    How many images of a batch something happens to is drawn on the host, where the number is needed.

    Args:
        seed: equal seeds give equal numbers on equal devices.
        device: where they are made.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._generator = torch.Generator(self.device).manual_seed(seed)
        self._host = self._generator if self.device.type == "cpu" else torch.Generator().manual_seed(seed)

    def uniform(self, size: int | tuple[int, ...], low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform in [low, high)."""
        shape = (size,) if isinstance(size, int) else size
        return low + (high - low) * torch.rand(shape, generator=self._generator, device=self.device)

    def normal(self, size: tuple[int, ...]) -> Tensor:
        """Standard normal."""
        return torch.randn(size, generator=self._generator, device=self.device)

    def chance(self, size: int, probability: float) -> Tensor:
        """True with a probability, [size]."""
        return self.uniform(size) < probability

    def below(self, limit: Tensor) -> Tensor:
        """Whole numbers in [0, limit), one for each limit."""
        drawn = torch.rand(limit.shape, generator=self._generator, device=self.device, dtype=torch.float64)
        return torch.minimum((drawn * limit).long(), limit - 1)

    def choose(self, weights: Tensor, size: int) -> Tensor:
        """Indices with probabilities proportional to ``weights``, [size]."""
        return torch.multinomial(weights, size, replacement=True, generator=self._generator)

    def how_many(self, size: int, probability: float) -> int:
        """Of ``size`` each with a probability."""
        return int((torch.rand(size, generator=self._host) < probability).sum())

    def some(self, size: int, count: int) -> Tensor:
        """``count`` different indices below ``size``."""
        return self.uniform(size).argsort()[:count]

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"generator": self._generator.get_state(), "host": self._host.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of ``state``."""
        self._generator.set_state(state["generator"].cpu())
        self._host.set_state(state["host"].cpu())
