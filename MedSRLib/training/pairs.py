"""Training pairs on the fly: a patch of real anatomy x, acquired by A with noise, and the base image of the formula."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from MedSRLib.acquisition.noise import add_quantum, add_rician
from MedSRLib.acquisition.operator import AcquisitionModel, Profile
from MedSRLib.errors import InputError
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.phantoms import draw_phantom, soften
from MedSRLib.volumes.intensity import CT_AIR, CT_RANGE, IntensityScaling
from MedSRLib.volumes.volume import Volume

_FOREGROUND = 0.05
_LEAST_FOREGROUND = 0.2
_DRAWS = 10
ISOTROPIC = 1.35


@dataclass(frozen=True)
class TrainingVolume:
    """One volume to cut patches from.

    Args:
        voxels: [k, j, i] in the source's dtype.
        scaling: of the whole volume, as enhancement fits it.
        modality: as in ``Volume``.
        spacing: along i, j, k in millimetres.
        planes: transpositions of (k, j, i) whose first axis may serve as the slice axis.
        is_stack: slices are unrelated images.
    """

    voxels: np.ndarray
    scaling: IntensityScaling
    modality: str
    spacing: tuple[float, float, float]
    planes: tuple[tuple[int, int, int], ...]
    is_stack: bool

    @classmethod
    def of(cls, volume: Volume, side: int, *, is_stack: bool = False) -> TrainingVolume:
        """Prepares a volume; a nearly isotropic one that is thick enough is also cut along the other two planes.

        Args:
            volume: to learn from.
            side: of a patch, in voxels of this volume.
            is_stack: slices are unrelated images.
        """
        planes: tuple[tuple[int, int, int], ...] = ((0, 1, 2),)
        isotropic = max(volume.spacing) <= ISOTROPIC * min(volume.spacing)
        if isotropic and volume.shape[0] >= side and not is_stack:
            planes = ((0, 1, 2), (1, 0, 2), (2, 0, 1))
        scaling = IntensityScaling.fit(volume.voxels, volume.modality)
        return cls(volume.voxels, scaling, volume.modality, volume.spacing, planes, is_stack)

    @property
    def is_ct(self) -> bool:
        """Voxels are HU; otherwise they are magnitudes."""
        return self.modality == "CT"


@dataclass(frozen=True)
class Measurement:
    """What the anatomy of a pair was measured as, for the consistency loss.

    Args:
        y: normalised, noise included: [1, h, w] or [1, d, h, w]; of a through-plane pair the rows are slices.
        acquisition: the A that was drawn for it.
        interior: of y, per spatial axis, where A sees no border of the patch.
    """

    y: np.ndarray
    acquisition: AcquisitionModel
    interior: tuple[slice, ...]


@dataclass(frozen=True)
class Pair:
    """One training pair, normalised float32.

    Args:
        low: what the generator sees: the slice and its neighbours, [slices, h, w], or a block [1, d, h, w].
        base: the centre slice (or block) interpolated and back-projected, [1, (D,) H, W].
        high: the anatomy, of the same shape.
        measurement: of the centre slice (or block).
    """

    low: np.ndarray
    base: np.ndarray
    high: np.ndarray
    measurement: Measurement


class PairSampler(ABC):
    """Draws pairs of one task; all randomness comes from one numpy generator, whose state makes a run resumable.

    Args:
        volumes: to draw from, with a probability proportional to the square root of their size, so that large
            volumes count more but do not drown the small ones.
        config: of the run.
        generator: source of all randomness.

    Attributes:
        takes_stacks: slices that are no volume serve, too.

    Raises:
        InputError: there are no volumes, or one is smaller than a patch.
    """

    takes_stacks: ClassVar[bool] = True

    def __init__(self, volumes: Sequence[TrainingVolume], config: TrainingConfig, generator: np.random.Generator):
        if not volumes:
            raise InputError("no volume to train on was found: check data.train in the configuration")
        self._volumes = volumes
        self._config = config
        self._generator = generator
        weight = np.sqrt([float(volume.voxels.size) for volume in volumes])
        self._share = weight / weight.sum()

    @abstractmethod
    def draw(self) -> Pair:
        """One pair."""

    @classmethod
    @abstractmethod
    def scored_part(cls, volume: Volume, name: str, config: TrainingConfig) -> Volume:
        """The middle of a held-out volume that is scored.

        Args:
            volume: held out.
            name: of the volume, for messages.
            config: of the run.

        Raises:
            InputError: the task cannot be scored on it.
        """

    @classmethod
    def fewest_slices(cls, side: int) -> int:
        """Slices that a volume needs for patches of ``side`` voxels."""
        return 1

    @classmethod
    def largest_patch(cls, volume: TrainingVolume) -> int:
        """Side of the largest patch of a volume, in its voxels; 0 when the task takes none of it."""
        return int(min(volume.voxels.shape[0 if len(volume.planes) > 1 else 1 :]))

    def _choose(self) -> TrainingVolume:
        return self._volumes[self._generator.choice(len(self._volumes), p=self._share)]

    def _draw_foreground(
        self, draw: Callable[[], np.ndarray], scored: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """A block with enough foreground, or the last one drawn where that is hard to find.

        Args:
            draw: draws one, normalised.
            scored: the part of it that has to show something.
        """
        for _ in range(_DRAWS):
            block = draw()
            if np.mean(scored(block) > _FOREGROUND) >= _LEAST_FOREGROUND:
                break
        return block

    def _vary(self, block: np.ndarray, volume: TrainingVolume, *, along: int, axes: tuple[int, ...]) -> np.ndarray:
        """What other patients and scanners might show.

        Other grey levels where they have no fixed meaning, a smoother anatomy, or a phantom in the patient's place.

        Args:
            block: of the volume, normalised.
            volume: says which grey levels have a meaning.
            along: axis along which a phantom does not change.
            axes: that softening blurs.
        """
        random, pairs = self._generator, self._config.pairs
        is_phantom = random.random() < pairs.phantom_share
        if is_phantom:
            plane = draw_phantom(tuple(np.delete(block.shape, along)), random)
            block = np.repeat(np.expand_dims(plane, along), block.shape[along], axis=along)
        if not volume.is_ct:
            block = np.sign(block) * np.abs(block) ** np.float32(random.uniform(*pairs.gamma))
            block = block * np.float32(random.uniform(0.7, 1.3))
        if is_phantom or random.random() < pairs.softening_share:
            block = soften(block, float(random.uniform(*pairs.softening)), axes)
        return block

    def _draw_width(self, volume: TrainingVolume) -> tuple[float, Profile]:
        """Width and kind of the point spread: nominal, or another width, or k-space truncation (MR)."""
        random, pairs = self._generator, self._config.pairs
        kind = random.random()
        if kind < pairs.nominal_share:
            return 1.0, "gaussian"
        fwhm = float(random.uniform(*pairs.fwhm))
        truncated = not volume.is_ct and kind >= 1.0 - pairs.kspace_share
        return fwhm, "kspace" if truncated else "gaussian"

    def _noisy(self, low: np.ndarray, volume: TrainingVolume) -> np.ndarray:
        random, pairs = self._generator, self._config.pairs
        if random.random() < pairs.noise_share:
            sigma = float(random.uniform(0.0, pairs.noise))
            if volume.is_ct:
                return (add_quantum(low * CT_RANGE + CT_AIR, sigma * CT_RANGE, random) - CT_AIR) / CT_RANGE
            return add_rician(low, sigma, random)
        return low


def centre_of(voxels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The middle of an array, of this shape or as much of it as there is; a copy."""
    starts = [max(0, (n - wanted) // 2) for n, wanted in zip(voxels.shape, shape, strict=True)]
    box = tuple(slice(start, start + wanted) for start, wanted in zip(starts, shape, strict=True))
    return np.ascontiguousarray(voxels[box])
