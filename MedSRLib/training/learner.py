"""A network with its optimiser: mixed precision on CUDA, gradient clipping, and steps that are not finite left out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from MedSRLib.training.distributed import share_gradients


def channels_last(spatial_dims: int) -> torch.memory_format:
    """The memory format that convolutions are fastest in."""
    return torch.channels_last if spatial_dims == 2 else torch.channels_last_3d


def mixed_precision(device: torch.device) -> torch.autocast:
    """float16 where that is fast and safe, on CUDA; elsewhere nothing changes."""
    return torch.autocast(device.type, torch.float16 if device.type == "cuda" else None, enabled=device.type == "cuda")


class Learner:
    """Trains one network.

    Args:
        network: on its device.
        device: of the network.
        betas: Adam's.
        gradient_clip: largest gradient norm.

    Attributes:
        network: the network itself.
        trained: the same, whose backward pass averages gradients over processes.
    """

    def __init__(
        self, network: nn.Module, device: torch.device, *, betas: tuple[float, float], gradient_clip: float
    ) -> None:
        self.network = network
        self.trained = share_gradients(network)
        self._clip = gradient_clip
        self._optimiser = torch.optim.Adam(network.parameters(), betas=betas)
        self._scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")

    def forget_gradients(self) -> None:
        """Before the first backward pass of a step."""
        self._optimiser.zero_grad(set_to_none=True)

    def backward(self, loss: Tensor) -> None:
        """Adds a loss's gradients."""
        self._scaler.scale(loss).backward()

    def step(self, rate: float) -> bool:
        """Changes the weights.

        Args:
            rate: learning rate.

        Returns:
            False when a gradient was not finite: the weights stayed as they were. All processes agree, because
            gradients were averaged.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._scaler.unscale_(self._optimiser)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self._clip)
        finite = bool(torch.isfinite(norm))
        if finite:
            self._scaler.step(self._optimiser)
        self._scaler.update()
        return finite

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs besides the weights."""
        return {"optimiser": self._optimiser.state_dict(), "scaler": self._scaler.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of ``state``; a state without "scaler" comes from a run without mixed precision."""
        self._optimiser.load_state_dict(state["optimiser"])
        if state.get("scaler"):
            self._scaler.load_state_dict(state["scaler"])
