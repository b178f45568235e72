"""x̂ = P(interp(y) + g(y)): from low-resolution volumes to sharper ones, each with its fidelity report."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from MedSRLib.acquisition.conditions import told
from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.enhancement.extent import Box, extent_of, region_of
from MedSRLib.enhancement.preparation import Preparation
from MedSRLib.enhancement.report import FidelityTally, domain_notes, domain_warnings, residual_warnings
from MedSRLib.enhancement.request import USUAL, Input, Options
from MedSRLib.enhancement.restoration import thickness_source
from MedSRLib.enhancement.restorations import RESTORATIONS
from MedSRLib.enhancement.result import Enhanced, FidelityReport, UsedModel
from MedSRLib.errors import EnhancementCancelled
from MedSRLib.models.catalogue import Model, resolve_model
from MedSRLib.models.manifest import Manifest
from MedSRLib.progress import Cancelled, Progress, part_of
from MedSRLib.volumes.checks import require_enhanceable
from MedSRLib.volumes.intensity import IntensityScaling, smallest_possible
from MedSRLib.volumes.volume import Volume

if TYPE_CHECKING:
    from MedSRLib.enhancement.estimation import Estimate
    from MedSRLib.networks.build import Generator

CONSISTENCY_ITERATIONS = 6
"""Steps of P after the generator: three bring what twenty do, and where the floor of possible values is met more are
needed: each step gives back part of what the last one cut off."""


def enhance(
    volume: Volume,
    model: str | Path | Model = "auto",
    *,
    roi: Sequence[int] | None = None,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    **options: Any,
) -> Enhanced:
    """Makes a volume sharper.

    Args:
        volume: the measurement y; it is not changed.
        model: name in the catalogue, model folder, or "auto".
        roi: voxel box (i0, i1, j0, j1, k0, k1), first voxel and one past the last. The result equals that part of
            the whole volume's result.
        progress: called with a fraction 0..1 and a message.
        cancelled: asked before every tile.
        options: of ``Options``, by name.

    Raises:
        InputError: the volume cannot be enhanced (by this model).
        ModelError: the model is unknown, damaged or gives values that are not finite.
        UsageError: an option's value is wrong.
        OutOfMemoryError: memory ran out even for the smallest tiles.
        EnhancementCancelled: ``cancelled()`` returned true.
    """
    inputs = [Input(volume, roi)]
    return next(enhance_all(inputs, model, Options(**options), progress=progress, cancelled=cancelled))


def enhance_all(
    inputs: Sequence[Input],
    model: str | Path | Model = "auto",
    options: Options = USUAL,
    *,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Iterator[Enhanced]:
    """Makes volumes of one scanner sharper, such as the frames of a sequence; the model is loaded once.

    Where nobody says the point spread it is estimated from the first volume, and the others are told: one scanner
    measured them all, and an estimate of each would make a sequence flicker.

    Args:
        inputs: in order; all are checked before the first is enhanced.
        model: as for ``enhance``.
        options: for all of them.
        progress: called with the fraction of the whole, and a message that names the frame where there are several.
        cancelled: asked before every tile.

    Yields:
        One result an input, in order.

    Raises:
        MedSRError: as ``enhance``, when the first result is asked for or later.
    """
    prepared = [Preparation.of(one, fill_nan=options.fill_nan) for one in inputs]
    for made in prepared:
        require_enhanceable(made.volume, force=options.force)
    enhancer = load_enhancer(model, options, cancelled=cancelled)
    if enhancer.by_slices:
        prepared = [made.along_slices() for made in prepared]
    ready = [made.input for made in prepared]
    for made, enhanced in zip(prepared, enhancer.enhance(ready, progress), strict=True):
        yield made.finish(enhanced)


def load_enhancer(
    model: str | Path | Model = "auto", options: Options = USUAL, *, cancelled: Cancelled | None = None
) -> Enhancer:
    """A model, ready on its device for all the volumes of one scanner.

    Args:
        model: as for ``enhance``.
        options: for all of them.
        cancelled: asked before every tile.

    Raises:
        ModelError: the model is unknown or damaged.
        UsageError: an option's value is wrong.
    """
    from MedSRLib.enhancement.devices import resolve_device

    chosen = model if isinstance(model, Model) else resolve_model(model, resolve_device(options.device).type)
    if options.fidelity is not None:
        chosen = replace(chosen, fidelity=options.fidelity)
    options.check(chosen.manifest)
    used = UsedModel.of(chosen.manifest, chosen.fidelity)
    return Enhancer(chosen.manifest, chosen.load_generator(), options, used, cancelled=cancelled)


def run_generator(
    volume: Volume,
    manifest: Manifest,
    generator: Generator,
    *,
    roi: Sequence[int] | None = None,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    **options: Any,
) -> Enhanced:
    """``enhance`` for a network in memory, as training validates it.

    Args:
        volume: the measurement.
        manifest: how the network wants its input and what its output means.
        generator: the network; moved to the device.
        roi, progress, cancelled, options: as for ``enhance``.
    """
    asked = Options(**options)
    asked.check(manifest)
    enhancer = Enhancer(manifest, generator, asked, UsedModel.of(manifest), cancelled=cancelled)
    return next(enhancer.enhance([Input(volume, roi)], progress))


class Enhancer:
    """A generator on its device, for volumes that one scanner measured.

    Args:
        manifest: how the generator wants its input and what its output means.
        generator: the network; moved to the device.
        options: checked against the manifest.
        used: what the reports say of the model.
        cancelled: asked before every tile.
    """

    def __init__(
        self,
        manifest: Manifest,
        generator: Generator,
        options: Options,
        used: UsedModel,
        *,
        cancelled: Cancelled | None = None,
    ) -> None:
        from MedSRLib.enhancement.devices import (
            device_label,
            device_notes,
            resolve_device,
            resolve_precision,
            tile_voxels,
        )
        from MedSRLib.enhancement.tiling import TiledGenerator

        target = resolve_device(options.device)
        self._manifest = manifest
        self._restoration = RESTORATIONS[manifest.task]
        self._options = options
        self._estimate: Estimate | None = None
        self._levels: tuple[np.ndarray, IntensityScaling, float | None] | None = None
        self._used = used
        self._cancelled = cancelled
        self._device = device_label(target)
        self._notes = device_notes(options.device)
        self._generator = TiledGenerator(
            generator,
            manifest.halo,
            border=manifest.border,
            device=target,
            dtype=resolve_precision(options.precision, target),
            voxels=tile_voxels(generator, target),
            check=self._check,
        )

    @property
    def by_slices(self) -> bool:
        """Whether the slices of what is enhanced have to lie along k, see ``Preparation.along_slices``."""
        return self._restoration.by_slices

    def takes_whole_rows(self, volume: Volume, progress: Progress | None = None) -> bool:
        """Whether every voxel of a result depends on whole rows and columns, as where k-space was truncated.

        Args:
            volume: as for ``enhance``.
            progress: told where that has to be estimated first.
        """
        assumed = self._restoration.acquisition(volume, self._manifest, self._options)
        scaling, _ = self._levels_of(volume)
        known = self._find_out(volume, assumed, scaling, progress or part_of(None, 0, 1))
        return known.acquisition.in_plane_profile == "kspace"

    def enhance(self, inputs: Sequence[Input], progress: Progress | None = None) -> Iterator[Enhanced]:
        """One result an input, in order.

        Args:
            inputs: that can be enhanced; what is wrong with their regions is said before the first is.
            progress: told of the whole.
        """
        work = []
        for one in inputs:
            assumed = self._restoration.acquisition(one.volume, self._manifest, self._options)
            work.append((one, region_of(one.volume, one.roi), assumed))
        for n, (one, region, assumed) in enumerate(work):
            name = f"frame {n + 1} of {len(work)}" if len(work) > 1 else ""
            yield self._enhance(one, region, assumed, part_of(progress, n, len(work), name))

    def _enhance(self, one: Input, region: Box, assumed: AcquisitionModel, progress: Progress) -> Enhanced:
        from MedSRLib.enhancement.finishing import Finishing
        from MedSRLib.enhancement.transfer import Measurement

        started = time.monotonic()
        volume, manifest, options = one.volume, self._manifest, self._options
        scaling, floor = self._levels_of(volume)
        known = self._find_out(volume, assumed, scaling, progress)
        acquisition, noise = known.acquisition, known.noise
        kept_noise = options.noise_reduction * noise / scaling.width
        extent = extent_of(volume, region, manifest, acquisition, noisy=kept_noise > 0)
        low = tuple(span.stop - span.start for span in extent.context)
        runs = self._restoration.runs if options.uncertainty else 1
        seen = runs * self._restoration.voxels_seen(low, extent.context_shape)
        self._generator.begin(told(manifest.conditions, acquisition, noise / scaling.width), seen)
        voxels = np.empty(extent.shape, volume.voxels.dtype)
        spread = np.empty(extent.shape, np.float32) if options.uncertainty else None

        iterations = CONSISTENCY_ITERATIONS if options.consistency else 0
        finishing = Finishing(scaling, acquisition, iterations, floor, kept_noise, self._check)

        def run() -> FidelityTally:
            tally = FidelityTally(acquisition, scaling, noise)
            y = Measurement(volume.voxels[extent.context], scaling, self._generator.device)
            slabs = self._restoration.slabs(
                y,
                extent.context_shape,
                extent.cut,
                manifest,
                acquisition,
                self._generator,
                uncertainty=options.uncertainty,
                done=lambda fraction: progress(fraction, f"enhancing on {self._device}"),
            )
            finishing.finish(slabs, y, extent.cut, voxels, spread, tally)
            return tally

        figures = self._generator.or_on_cpu(run).figures()
        report = FidelityReport(
            model=self._used,
            options=options,
            factors=acquisition.factors,
            point_spread=acquisition.point_spread,
            point_spread_source=known.point_spread_source,
            point_spread_deviation=known.point_spread_deviation,
            slice_thickness=acquisition.slice_thickness,
            slice_thickness_source=thickness_source(volume, options),
            noise=noise if known.noise_source else None,
            noise_source=known.noise_source,
            noise_deviation=known.noise_deviation,
            modality=volume.modality,
            roi=None if one.roi is None else tuple(one.roi),
            consistency=options.consistency,
            warnings=(
                *domain_warnings(volume, manifest),
                *self._restoration.warnings(volume, manifest, acquisition),
                *residual_warnings(figures["missing_detail"]),
            ),
            notes=(*self._notes, *domain_notes(volume, manifest), *self._generator.notes, *known.notes),
            device=self._device,
            precision=str(self._generator.dtype).removeprefix("torch."),
            tiles=self._generator.tiles,
            tiles_skipped=self._generator.skipped,
            seconds=time.monotonic() - started,
            **figures,
        )
        return Enhanced(
            volume.with_voxels(voxels, extent.affine),
            report,
            None if spread is None else volume.with_voxels(spread, extent.affine),
        )

    def _levels_of(self, volume: Volume) -> tuple[IntensityScaling, float | None]:
        """The scaling and the floor of a volume, found once where it is enhanced part by part."""
        if self._levels is None or self._levels[0] is not volume.voxels:
            scaling = IntensityScaling.fit(volume.voxels, volume.modality)
            smallest = smallest_possible(volume.voxels, volume.modality)
            floor = None if smallest is None else (smallest - scaling.offset) / scaling.width
            self._levels = volume.voxels, scaling, floor
        return self._levels[1:]

    def _find_out(
        self, volume: Volume, assumed: AcquisitionModel, scaling: IntensityScaling, progress: Progress
    ) -> _Known:
        """A and the noise, as the user says them, or the first frame shows them to itself and all later ones."""
        options, source = self._options, "given" if self._estimate else "estimated"
        told_noise = "noise" in self._manifest.conditions
        unknown_spread = options.point_spread is None and self._restoration.estimates_point_spread
        if self._estimate is None and (unknown_spread or (told_noise and options.noise is None)):
            from MedSRLib.enhancement.estimation import estimate_acquisition

            progress(0.0, "estimating point spread and noise")
            self._estimate = estimate_acquisition(volume, scaling, self._generator.device)
        found = self._estimate
        known = _Known(assumed, "assumed" if options.point_spread is None else "given")
        if unknown_spread and found is not None:
            acquisition = assumed.with_point_spread(found.point_spread)
            known = _Known(acquisition, source, _finite(found.width_deviation), notes=found.notes)
        if told_noise and options.noise is not None:
            return replace(known, noise=options.noise, noise_source="given")
        if told_noise and found is not None:
            deviation = _finite(found.noise_deviation)
            return replace(known, noise=found.noise, noise_source=source, noise_deviation=deviation, notes=found.notes)
        return known

    def _check(self) -> None:
        if self._cancelled is not None and self._cancelled():
            raise EnhancementCancelled("cancelled: nothing was written")


@dataclass(frozen=True)
class _Known:
    """What is known of how a volume was acquired, as it stands in the report.

    Args:
        acquisition: A.
        point_spread_source, point_spread_deviation, noise_source, noise_deviation: as in ``FidelityReport``.
        noise: in the volume's units; 0 for a generator that cannot be told.
        notes: for the report.
    """

    acquisition: AcquisitionModel
    point_spread_source: str
    point_spread_deviation: float | None = None
    noise: float = 0.0
    noise_source: str = ""
    noise_deviation: float | None = None
    notes: tuple[str, ...] = ()


def _finite(deviation: float) -> float | None:
    """None where nothing is known: JSON has no infinity."""
    return deviation if math.isfinite(deviation) else None
