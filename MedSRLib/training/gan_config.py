"""The tables ``[losses]`` and ``[gan]`` of a training configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from MedSRLib.errors import UsageError
from MedSRLib.training.rules import (
    Betas,
    Count,
    Decay,
    Hash,
    Layers,
    Number,
    Parts,
    Positive,
    Settings,
    Share,
    Weight,
    Weights,
    Whole,
)


@dataclass(frozen=True)
class PerceptualConfig(Settings):
    """The trunk that the perceptual loss looks through.

    Args:
        trunk: "vgg16" or "vgg19".
        weights: file (relative to the configuration's folder) or URL, torchvision's key names.
        sha256: of that file; required for a URL.
        convention: "torchvision", or "caffe" for weights that want BGR 0..255 minus means.
        layers: names such as "conv5_4".
        layer_weights: one a layer.
        norm: "l1" (ESRGAN) or "l2" (squared, equation 6 of the paper MedSR starts from).
        before_relu: features before the activation (ESRGAN) or after it.
        slices: slices drawn of each plane of a batch of volumes, for 3D generators.
    """

    table: ClassVar[str] = "losses.perceptual"

    trunk: Literal["vgg16", "vgg19"] = "vgg19"
    weights: str = ""
    sha256: Hash = ""
    convention: Literal["torchvision", "caffe"] = "torchvision"
    layers: Layers = ("conv5_4",)
    layer_weights: Weights = (1.0,)
    norm: Literal["l1", "l2"] = "l1"
    before_relu: bool = True
    slices: Count = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.layers) != len(self.layer_weights):
            raise UsageError(
                "losses.perceptual.layer_weights must hold one weight for each of losses.perceptual.layers"
            )


@dataclass(frozen=True)
class LossesConfig(Settings):
    """Losses of the fidelity stage, and the perceptual loss of the GAN stage.

    Args:
        pixel: "l1", "charbonnier", "l2" (squared), "l1+l2", "psnr" or "contrast", in the fidelity stage; see
            ``losses.pixel_loss``.
        consistency: weight of mean |A x - y| in the fidelity stage.
        perceptual: the table above.
    """

    table: ClassVar[str] = "losses"

    pixel: Literal["l1", "charbonnier", "l2", "l1+l2", "psnr", "contrast"] = "l1"
    consistency: Weight = 0.0
    perceptual: PerceptualConfig = field(default_factory=PerceptualConfig)


@dataclass(frozen=True)
class GanConfig(Settings):
    """The second stage: it starts from the fidelity weights and ends with the perceptual ones.

    Args:
        iterations: of the stage; 0 leaves it out.
        share: of the time of a run that is given minutes; then the iterations say only whether there is such a stage.
        start: a model whose fidelity weights it starts from, its folder, relative to the configuration's, or its
            name; then the fidelity stage is left out. "" takes this run's own.
        discriminator: "unet" or "vgg".
        features: of the discriminator at full resolution.
        sees: what the discriminator is shown: "image" (ESRGAN) or "detail", ten times the difference from the base
            image. Detail is all that the generator adds, so a short stage learns to judge it (frequency separation:
            Fritsche et al. 2019).
        batch: pairs a step; 0 takes ``optimiser.batch``.
        pixel, perceptual, adversarial, consistency: weights of the generator's losses; the pixel loss of this stage
            is L1 (ESRGAN).
        learning_rate: of the generator at the start.
        discriminator_learning_rate: of the discriminator, which spectral normalisation slows down and which has to
            keep ahead (two time scales: Heusel et al. 2017).
        milestones: parts of the stage after which both are halved.
        betas: Adam's.
        ema: decay of the moving average of the generator's weights.
        gradient_clip: largest gradient norm of either network.
        largest_consistency: a checkpoint is refused when its LR-consistency error, after projection, is more than
            this many times that of the fidelity weights.
        largest_shift: a checkpoint is refused when the mean intensity in any held-out volume differs from the
            reference's by more than this part of the range.
        largest_loss: a checkpoint is refused when it loses more dB than this against the fidelity weights.
    """

    table: ClassVar[str] = "gan"

    iterations: Whole = 0
    share: Share = 0.3
    start: str = ""
    discriminator: Literal["unet", "vgg"] = "unet"
    features: Count = 32
    sees: Literal["image", "detail"] = "image"
    batch: Whole = 0
    pixel: Weight = 1.0
    perceptual: Weight = 0.08
    adversarial: Weight = 0.003
    consistency: Weight = 0.0
    learning_rate: Weight = 1e-4
    discriminator_learning_rate: Weight = 4e-4
    milestones: Parts = (0.125, 0.25, 0.5, 0.75)
    betas: Betas = (0.9, 0.99)
    ema: Decay = 0.999
    gradient_clip: Positive = 1.0
    largest_consistency: Positive = 1.2
    largest_shift: Positive = 0.001
    largest_loss: Number = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start and not self.iterations:
            raise UsageError("gan.start needs a GAN stage: set gan.iterations")

    def rates(self, part: float) -> tuple[float, float]:
        """Learning rates of generator and discriminator: halved at every milestone that a part of the stage passed."""
        left: float = 0.5 ** sum(part >= milestone for milestone in self.milestones)
        return self.learning_rate * left, self.discriminator_learning_rate * left
