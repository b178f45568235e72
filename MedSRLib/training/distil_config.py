"""The tables ``[distil]`` and ``[degrid]`` of a training configuration: what is learnt from a generator's images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from MedSRLib.training.rules import Positive, Settings, Share, Weight, Whole


@dataclass(frozen=True)
class DistilConfig(Settings):
    """The fidelity stage learns from another generator's images too (knowledge distillation: Hinton et al. 2015).

    Args:
        teacher: a model, mostly a larger one, that is fed the same: its folder, relative to the configuration's, or its
            name. Its fidelity weights are asked. "" leaves it out.
        share: of the pixel loss, against the teacher's image; the rest is against the anatomy.
    """

    table: ClassVar[str] = "distil"

    teacher: str = ""
    share: Share = 0.5


@dataclass(frozen=True)
class DegridConfig(Settings):
    """The last stage: the perceptual weights learn their own images without the grid that upsampling draws.

    An adversarial loss leaves a pattern of the upsampling's period in flat areas. The teacher is what the GAN stage
    made; of its images the frequencies of that period are taken out.

    Args:
        iterations: of the stage; 0 leaves it out, and so does a run without a GAN stage.
        share: of the time of a run that is given minutes.
        batch: pairs a step, each shown as it is and smoothed, where a grid is seen best; 0 takes ``optimiser.batch``.
        learning_rate: at the start; it falls along half a cosine.
        weight: of the energy at the grid's frequencies, beside the squared error.
    """

    table: ClassVar[str] = "degrid"

    iterations: Whole = 0
    share: Share = 0.1
    batch: Whole = 0
    learning_rate: Positive = 3e-4
    weight: Weight = 20.0
