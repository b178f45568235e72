"""``torch.compile`` for a network on a GPU, once a job turns out to be long enough to repay it.

Measured with the network of inplane-x2-lite on an H200: compiling took 12 s once and made it 1.74 times as fast. On a
CPU the network is at 0.92 to 0.96 of the limit without it, so that there is nothing to gain.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from MedSRLib.enhancement.devices import now

GAIN = 1.74
SECONDS_PER_CONVOLUTION = 12 / 37
MARGIN = 2.0
"""Times the cost that has to be saved: another network or GPU gains less."""


class Compiling:
    """A network that is compiled when that is worth it; until then, and where it cannot be, it runs as it is.

    Args:
        network: to run.
        device: it is on.
        note: told a sentence where compiling failed.
    """

    def __init__(self, network: nn.Module, device: torch.device, note: Callable[[str], None]) -> None:
        self._network = network
        self._device = device
        self._note = note
        self._run: Callable[[Tensor], Tensor] = network
        convolutions = sum(isinstance(one, nn.Conv2d | nn.Conv3d) for one in network.modules())
        self._cost = SECONDS_PER_CONVOLUTION * convolutions
        self._undecided = device.type == "cuda"
        self._to_come = 0
        self._calls = 0

    def expect(self, voxels: int) -> None:
        """Begins a job.

        Args:
            voxels: that the network will be given.
        """
        self._to_come, self._calls = voxels, 0

    def __call__(self, x: Tensor) -> Tensor:
        """What the network gives."""
        self._to_come -= x.numel() // x.shape[1]
        if not self._undecided or self._calls > 1:
            return self._run(x)
        # The first call of a job warms caches up; the second tells how long the rest would take.
        self._calls += 1
        started = now(self._device)
        result = self._run(x)
        seconds = (now(self._device) - started) * self._to_come * x.shape[1] / x.numel()
        if self._calls == 2 and seconds * (1 - 1 / GAIN) > MARGIN * self._cost:
            self._undecided = False
            self._compile(x)
        return result

    def _compile(self, x: Tensor) -> None:
        try:
            compiled = torch.compile(self._network)
            compiled(x)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a compiler, or its absence, comes up with
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            self._note(f"the network could not be compiled and runs as it is, which takes longer ({reason})")
        else:
            self._run = compiled
