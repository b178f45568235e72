"""What the generator and the discriminator are told to make small. Images are normalised, [N, 1, (D,) H, W]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from MedSRLib.networks.vgg import VGGTrunk
from MedSRLib.training.distributed import joint_mean

Norm = Literal["l1", "l2"]
_CHARBONNIER = 1e-3
"""Below this difference the Charbonnier loss is quadratic; parts of the intensity range."""
_SQUARED = 10.0
"""Weight of the squares in "l1+l2": both parts pull alike at a difference of a twentieth of the range."""
_LEAST_CONTRAST = 0.01
"""Difference between neighbours, in parts of the range, below which images of less contrast do not count more."""


def pixel_loss(estimate: Tensor, reference: Tensor, kind: str, base: Tensor | None = None) -> Tensor:
    """How far an image is from the reference.

    Args:
        estimate, reference: of the same shape, images first.
        kind: "l1", mean |d|; "charbonnier", its smooth form sqrt(d^2 + 0.001^2) (Lai et al. 2017); "l2", mean d^2,
            whose minimum is the mean of what is possible, so the highest PSNR where much is; "l1+l2", the mean of
            |d| + 10 d^2, which also makes small differences vanish; "psnr", the mean over images of
            0.05 ln(MSE + 1e-6) + 2.5 sqrt(MSE + 1e-8): decibels, so that smooth and clean images count as much as
            others, and RMSE, so that the hard ones are not given up. It may be negative. What looks alike and may be
            sharp or smooth counts more where it was smooth, for its error is smaller then, so that the generator holds
            back; "contrast", the mean over images of MSE over (G + 0.01^2), G the mean squared difference of the base's
            neighbouring rows: images count alike by what is seen of them, whatever they turn out to be.
        base: that the generator's residual is added to, for "contrast".
    """
    if kind == "l1":
        return functional.l1_loss(estimate, reference)
    if kind == "l2":
        return functional.mse_loss(estimate, reference)
    if kind == "l1+l2":
        return functional.l1_loss(estimate, reference) + _SQUARED * functional.mse_loss(estimate, reference)
    if kind in ("contrast", "psnr"):
        mse = ((estimate - reference) ** 2).flatten(1).mean(1)
        if kind == "contrast":
            assert base is not None
            return (mse / (base.diff(dim=-2).square().flatten(1).mean(1) + _LEAST_CONTRAST**2)).mean()
        return (0.05 * torch.log(mse + 1e-6) + 2.5 * torch.sqrt(mse + 1e-8)).mean()
    return torch.sqrt((estimate - reference) ** 2 + _CHARBONNIER**2).mean()


class PerceptualLoss(nn.Module):
    """Equation 6 of the paper MedSR starts from: the squared L2 distance of VGG features, summed over layers.

    ``sum_l w_l mean |phi_l(x) - phi_l(reference)|^2`` with "l2", which is that equation up to each layer's number of
    features, and ``|.|`` with "l1", ESRGAN's choice (Wang et al. 2018, section 3.3: before the activation). Volumes
    are seen as random slices of their three planes (2.5D), which are drawn from torch's generator.

    Args:
        trunk: frozen, of the layers to compare.
        weights: one per layer.
        norm: "l1" or "l2".
        slices: slices of each plane that are drawn of a batch of volumes.
    """

    def __init__(self, trunk: VGGTrunk, weights: Sequence[float], *, norm: Norm = "l1", slices: int = 4) -> None:
        super().__init__()
        self.trunk = trunk
        self.weights = tuple(weights)
        self.norm = norm
        self.slices = slices

    def forward(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """A scalar. Computed in float32: features of 0..255 inputs overflow float16."""
        with torch.autocast(estimate.device.type, enabled=False):
            estimate, reference = estimate.float(), reference.float()
            if estimate.ndim == 4:
                return self._compare(estimate, reference)
            losses = []
            for axis in (2, 3, 4):
                index = torch.randint(estimate.shape[axis], (self.slices,)).to(estimate.device, non_blocking=True)
                planes = [
                    x.index_select(axis, index).movedim(axis, 1).flatten(0, 1) for x in (estimate, reference.detach())
                ]
                losses.append(self._compare(*planes))
            return torch.stack(losses).mean()

    def _compare(self, estimate: Tensor, reference: Tensor) -> Tensor:
        distance = functional.l1_loss if self.norm == "l1" else functional.mse_loss
        with torch.no_grad():
            wanted = self.trunk(reference)
        pairs = zip(self.weights, self.trunk(estimate), wanted, strict=True)
        return torch.stack([weight * distance(mine, theirs) for weight, mine, theirs in pairs]).sum()


class RelativisticAverageLoss:
    """Relativistic average GAN loss (Jolicoeur-Martineau 2018; ESRGAN, section 3.2), on raw outputs C of D.

    The discriminator says whether a real image looks more real than the average fake one:
    ``L_D = (BCE(C(x) - mean C(g), 1) + BCE(C(g) - mean C(x), 0)) / 2``; the generator swaps the roles. Means go over
    the batches of all processes.
    """

    def of_generator(self, real: Tensor, fake: Tensor) -> Tensor:
        """L_G; ``real`` is taken as constant.

        Args:
            real: C of the references.
            fake: C of the generator's images, with gradients.
        """
        real = real.detach()
        return (_decide(real - joint_mean(fake), 0.0) + _decide(fake - joint_mean(real), 1.0)) / 2

    def of_real(self, real: Tensor, fake: Tensor) -> Tensor:
        """The half of L_D with gradients through the real images only, so that each half has its own backward."""
        return _decide(real - joint_mean(fake.detach()), 1.0) / 2

    def of_fake(self, real: Tensor, fake: Tensor) -> Tensor:
        """The other half of L_D, with gradients through the generator's images only."""
        return _decide(fake - joint_mean(real.detach()), 0.0) / 2


def _decide(relative: Tensor, truth: float) -> Tensor:
    return functional.binary_cross_entropy_with_logits(relative, torch.full_like(relative, truth))
