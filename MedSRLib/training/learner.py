"""A network with its optimiser: mixed precision on CUDA, gradient clipping, and steps that are not finite left out.

On CUDA nothing here waits for the device.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from MedSRLib.training.distributed import any_process, share_gradients
from MedSRLib.volumes.itk import one_line

_FIRST_SCALE = 2.0**12
"""Of losses before their float16 gradients; it grows by itself, and larger ones cost the first steps."""


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
        trained: the same, whose backward pass averages gradients over processes, compiled where that was asked for.
    """

    def __init__(
        self, network: nn.Module, device: torch.device, *, betas: tuple[float, float], gradient_clip: float
    ) -> None:
        self.network = network
        self.trained = share_gradients(network)
        self._clip = gradient_clip
        self._device = device
        on_gpu = device.type == "cuda"
        # The fused optimiser is told on the device whether a gradient was not finite, and leaves the step out there.
        self._optimiser = torch.optim.Adam(network.parameters(), betas=betas, fused=on_gpu)
        self._scaler = torch.amp.GradScaler(device.type, enabled=on_gpu, init_scale=_FIRST_SCALE)

    def compile(self, x: Tensor) -> str:
        """Compiles the network, and tries it forwards and backwards.

        Args:
            x: such as it will be trained on; the compiled network is for this shape.

        Returns:
            Why it could not be compiled, and stays as it was; "" where it could.
        """
        compiled: Any = torch.compile(self.trained, dynamic=False)
        reason = ""
        try:
            with mixed_precision(self._device):
                compiled(x).float().mean().backward()
        except Exception as error:  # of many kinds: no C compiler, no Triton, a graph that breaks
            reason = one_line(error) or type(error).__name__
        self.forget_gradients()
        if any_process(bool(reason), self._device):
            return reason or "another process could not"
        self.trained = compiled
        return ""

    def forget_gradients(self) -> None:
        """Before the first backward pass of a step."""
        self._optimiser.zero_grad(set_to_none=True)

    def backward(self, loss: Tensor) -> None:
        """Adds a loss's gradients."""
        self._scaler.scale(loss).backward()

    def step(self, rate: float) -> Tensor:
        """Changes the weights.

        Args:
            rate: learning rate.

        Returns:
            False, on the device, when a gradient was not finite: the weights stayed as they were. All processes agree,
            because gradients were averaged.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._scaler.unscale_(self._optimiser)
        finite = torch.isfinite(nn.utils.clip_grad_norm_(self.network.parameters(), self._clip))
        if self._scaler.is_enabled() or finite:
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
