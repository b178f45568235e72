"""Training pairs on the fly: a patch of real anatomy x, acquired by A with noise, and the base image of the formula."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from MedSRLib.acquisition.interpolation import back_project, interpolate
from MedSRLib.acquisition.noise import add_quantum, add_rician
from MedSRLib.acquisition.operator import AcquisitionModel, Profile
from MedSRLib.errors import InputError
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.phantoms import draw_phantom, soften
from MedSRLib.volumes.intensity import CT_AIR, CT_RANGE, IntensityScaling
from MedSRLib.volumes.volume import Volume

SURROUND = 8
"""Low-resolution voxels acquired around a patch and cut away, so that a patch's border is not an image border."""
FOREGROUND = 0.05
LEAST_FOREGROUND = 0.2
DRAWS = 10
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


class PairSampler:
    """Draws pairs; all randomness comes from one numpy generator, whose state makes a run resumable.

    Args:
        volumes: to draw from, with a probability proportional to the square root of their size, so that large
            volumes count more but do not drown the small ones.
        config: of the run.
        generator: source of all randomness.

    Raises:
        InputError: there are no volumes, or one is smaller than a patch.
    """

    def __init__(self, volumes: Sequence[TrainingVolume], config: TrainingConfig, generator: np.random.Generator):
        if not volumes:
            raise InputError("no volume to train on was found: check data.train in the configuration")
        self._volumes = volumes
        self._config = config
        self._generator = generator
        weight = np.sqrt([float(volume.voxels.size) for volume in volumes])
        self._share = weight / weight.sum()

    def draw(self) -> Pair:
        """One pair."""
        volume = self._choose()
        high = self._anatomy(volume)
        low, acquisition = self._acquire(high, volume)
        base = self._base(low)
        surround = SURROUND * self._config.factors[0]
        cut, low_cut = slice(surround, -surround), slice(SURROUND, -SURROUND)
        centre = self._config.slices // 2
        low = np.ascontiguousarray(low[:, low_cut, low_cut], np.float32)
        margin = self._config.pairs.margin
        interior = slice(margin, -margin or None)
        return Pair(
            low,
            np.ascontiguousarray(base[None, cut, cut], np.float32),
            np.ascontiguousarray(high[centre : centre + 1, cut, cut], np.float32),
            Measurement(low[centre : centre + 1], acquisition, (interior, interior)),
        )

    def _choose(self) -> TrainingVolume:
        return self._volumes[self._generator.choice(len(self._volumes), p=self._share)]

    def _anatomy(self, volume: TrainingVolume) -> np.ndarray:
        """A normalised, augmented block [slices, P + 2 surround, P + 2 surround] with enough foreground."""
        random, pairs = self._generator, self._config.pairs
        array = volume.voxels.transpose(volume.planes[random.integers(len(volume.planes))])
        factor = self._config.factors[0]
        side, surround = pairs.patch * factor, SURROUND * factor
        reach = self._config.slices // 2
        for _ in range(DRAWS):
            k = random.integers(array.shape[0])
            j, i = (random.integers(max(1, n - side + 1)) for n in array.shape[1:])
            neighbours = np.full(2 * reach + 1, k) if volume.is_stack else np.arange(k - reach, k + reach + 1)
            index = [neighbours, *(np.arange(start - surround, start + side + surround) for start in (j, i))]
            block = array[np.ix_(*(np.clip(n, 0, size - 1) for n, size in zip(index, array.shape, strict=True)))]
            block = volume.scaling.normalise(block)
            if np.mean(block[reach] > FOREGROUND) >= LEAST_FOREGROUND:
                break
        if random.random() < pairs.neighbour_dropout:
            block = np.repeat(block[reach : reach + 1], len(block), axis=0)
        elif random.random() < 0.5:
            block = block[::-1]
        if random.random() < 0.5:
            block = block.swapaxes(1, 2)
        block = block[:, :: random.choice((-1, 1)), :: random.choice((-1, 1))]
        return self._vary(block, volume, along=0, axes=(1, 2))

    def _vary(self, block: np.ndarray, volume: TrainingVolume, *, along: int, axes: tuple[int, ...]) -> np.ndarray:
        """What other patients and scanners might show: other grey levels where they have no fixed meaning, a smoother
        anatomy, or a phantom in the patient's place.

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

    def _acquire(self, high: np.ndarray, volume: TrainingVolume) -> tuple[np.ndarray, AcquisitionModel]:
        fwhm, profile = self._draw_width(volume)
        acquisition = AcquisitionModel(self._config.factors, in_plane_fwhm=fwhm, in_plane_profile=profile)
        return self._noisy(acquisition.apply(np.ascontiguousarray(high)), volume), acquisition

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

    def _base(self, low: np.ndarray) -> np.ndarray:
        """What enhancement will add the residual to: it knows the nominal A only, not the one that was drawn."""
        nominal = AcquisitionModel(self._config.factors)
        centre = low[self._config.slices // 2]
        start = interpolate(centre, nominal.high_shape((1, *centre.shape))[1:])
        return back_project(start, centre, nominal, self._config.base_iterations)


def find_volumes(patterns: Sequence[str], folder: Path) -> list[Path]:
    """Files and DICOM folders that match, sorted, each once.

    Args:
        patterns: paths or glob patterns, relative to ``folder`` or absolute.
        folder: of the configuration.

    Raises:
        InputError: a pattern matches nothing.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        start, rest = (Path(path.anchor), path.relative_to(path.anchor)) if path.is_absolute() else (folder, path)
        matches = sorted(start.glob(str(rest)))
        if not matches:
            raise InputError(f"no volume matches {pattern!r} in {folder}: check the data table of the configuration")
        found.update((match.resolve(), None) for match in matches)
    return list(found)
