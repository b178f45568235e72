"""The tables ``[losses]`` and ``[gan]`` of a training configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from MedSRLib.errors import UsageError


@dataclass(frozen=True)
class PerceptualConfig:
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

    trunk: str = "vgg19"
    weights: str = ""
    sha256: str = ""
    convention: str = "torchvision"
    layers: tuple[str, ...] = ("conv5_4",)
    layer_weights: tuple[float, ...] = (1.0,)
    norm: str = "l1"
    before_relu: bool = True
    slices: int = 4

    def __post_init__(self) -> None:
        if self.norm not in ("l1", "l2"):
            raise UsageError(f"losses.perceptual.norm = {self.norm!r} must be 'l1' or 'l2'")
        if len(self.layers) != len(self.layer_weights):
            raise UsageError(
                "losses.perceptual.layer_weights must hold one weight for each of losses.perceptual.layers"
            )


@dataclass(frozen=True)
class LossesConfig:
    """Losses of the fidelity stage, and the perceptual loss of the GAN stage.

    Args:
        pixel: "l1", "charbonnier", "l2" (squared) or "l1+l2", in the fidelity stage; see ``losses.pixel_loss``.
        consistency: weight of mean |A x - y| in the fidelity stage.
        perceptual: the table above.
    """

    pixel: str = "l1"
    consistency: float = 0.0
    perceptual: PerceptualConfig = field(default_factory=PerceptualConfig)

    def __post_init__(self) -> None:
        if self.pixel not in ("l1", "charbonnier", "l2", "l1+l2"):
            raise UsageError(f"losses.pixel = {self.pixel!r} must be 'l1', 'charbonnier', 'l2' or 'l1+l2'")


@dataclass(frozen=True)
class GanConfig:
    """The second stage: it starts from the fidelity weights and ends with the perceptual ones.

    Args:
        iterations: of the stage; 0 leaves it out.
        start: folder of a model whose fidelity weights it starts from, relative to the configuration's folder;
            then the fidelity stage is left out. "" takes this run's own.
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

    iterations: int = 0
    start: str = ""
    discriminator: str = "unet"
    features: int = 32
    sees: str = "image"
    batch: int = 0
    pixel: float = 1.0
    perceptual: float = 0.08
    adversarial: float = 0.003
    consistency: float = 0.0
    learning_rate: float = 1e-4
    discriminator_learning_rate: float = 4e-4
    milestones: tuple[float, ...] = (0.125, 0.25, 0.5, 0.75)
    betas: tuple[float, float] = (0.9, 0.99)
    ema: float = 0.999
    gradient_clip: float = 1.0
    largest_consistency: float = 1.2
    largest_shift: float = 0.001
    largest_loss: float = 3.0

    def __post_init__(self) -> None:
        if self.sees not in ("image", "detail"):
            raise UsageError(f"gan.sees = {self.sees!r} must be 'image' or 'detail'")
        if any(not 0 < part < 1 for part in self.milestones):
            raise UsageError("gan.milestones must be parts of the stage, between 0 and 1")
        if self.start and not self.iterations:
            raise UsageError("gan.start needs a GAN stage: set gan.iterations")

    def rates(self, iteration: int) -> tuple[float, float]:
        """Learning rates of generator and discriminator in an iteration: halved at every milestone passed."""
        left: float = 0.5 ** sum(iteration >= part * self.iterations for part in self.milestones)
        return self.learning_rate * left, self.discriminator_learning_rate * left
