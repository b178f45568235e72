"""x̂ = P(interp(y) + g(y)): one call from a low-resolution volume to a sharper one and its fidelity report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from MedSRLib import __version__
from MedSRLib.acquisition.interpolation import back_project, interpolate
from MedSRLib.acquisition.operator import PointSpread
from MedSRLib.enhancement.extent import Box, assume_acquisition, plan_enhancement
from MedSRLib.enhancement.preparation import Preparation
from MedSRLib.enhancement.report import NOTICE, FidelityTally, domain_warnings
from MedSRLib.errors import EnhancementCancelled
from MedSRLib.models.catalogue import Model, resolve_model
from MedSRLib.models.manifest import Manifest
from MedSRLib.volumes.checks import require_enhanceable
from MedSRLib.volumes.intensity import IntensityScaling, cast_like, smallest_possible
from MedSRLib.volumes.volume import Volume

if TYPE_CHECKING:
    from MedSRLib.networks.build import Generator

CONSISTENCY_ITERATIONS = 6
"""Steps of P after the generator: three bring what twenty do, and where the floor of possible values is met more are
needed: each step gives back part of what the last one cut off."""

Progress = Callable[[float, str], None]
Cancelled = Callable[[], bool]


@dataclass(frozen=True)
class Enhanced:
    """What ``enhance`` returns.

    Args:
        volume: the sharper volume; dtype, modality and field of view are the input's (or the region's).
        report: the fidelity report, plain values that ``json`` can write.
        uncertainty: standard deviation of the generator over flips (and transpositions in-plane) in the volume's units,
            float32, on the same grid; None unless asked for.
    """

    volume: Volume
    report: dict[str, Any]
    uncertainty: Volume | None = None


def enhance(
    volume: Volume,
    model: str | Path | Model = "auto",
    *,
    device: str = "auto",
    precision: str = "auto",
    fidelity: float | None = None,
    consistency: bool = True,
    uncertainty: bool = False,
    roi: Sequence[int] | None = None,
    psf_fwhm: PointSpread | None = None,
    factor: float | None = None,
    force: bool = False,
    fill_nan: bool = False,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Enhanced:
    """Makes a volume sharper.

    Args:
        volume: the measurement y; it is not changed.
        model: name in the catalogue, model folder, or "auto".
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: "auto", "float32", "float16" or "bfloat16", of the generator only.
        fidelity: 1 for the faithful weights, 0 for the pleasing ones, between them an interpolation; None for what
            the model says ("NAME@0.5"), else 1.
        consistency: project onto volumes that agree with the measurement (P).
        uncertainty: run the generator on flips too, and in-plane on transpositions: their mean is used, their spread
            returned. Takes eight times as long in-plane and in 3D, four times through-plane.
        roi: voxel box (i0, i1, j0, j1, k0, k1), first voxel and one past the last. The result equals that part of
            the whole volume's result.
        psf_fwhm: point-spread width in voxels of the input, or "kspace" for a truncated MR acquisition, when it is
            known. None: in-plane models estimate it from the volume, see ``point_spread``; for other models it is
            the manifest's. Along k the slice thickness counts, where the volume says it.
        factor: slices of the result for each slice of the input, "through-plane" models only; None makes slices as
            far apart as the pixels.
        force: also take volumes that look like label maps.
        fill_nan: also take volumes with voxels that are NaN or infinite: these are filled for the work and put back.
        progress: called with a fraction 0..1 and a message.
        cancelled: asked before every tile.

    Raises:
        InputError: the volume cannot be enhanced (by this model).
        ModelError: the model is unknown, damaged or gives values that are not finite.
        UsageError: an option's value is wrong.
        OutOfMemoryError: memory ran out even for the smallest tiles.
        EnhancementCancelled: ``cancelled()`` returned true.
    """
    from MedSRLib.enhancement.devices import resolve_device

    prepared = Preparation.of(volume, fill_nan=fill_nan)
    require_enhanceable(prepared.volume, force=force)
    chosen = model if isinstance(model, Model) else resolve_model(model, resolve_device(device).type)
    if fidelity is not None:
        chosen = replace(chosen, fidelity=fidelity)
    enhanced = run_generator(
        prepared.volume,
        chosen.manifest,
        chosen.load_generator(),
        device=device,
        precision=precision,
        consistency=consistency,
        uncertainty=uncertainty,
        roi=roi,
        psf_fwhm=psf_fwhm,
        factor=factor,
        progress=progress,
        cancelled=cancelled,
    )
    enhanced.report["model"]["fidelity"] = 1.0 if chosen.fidelity is None else chosen.fidelity
    return prepared.finish(enhanced)


def run_generator(
    volume: Volume,
    manifest: Manifest,
    generator: Generator,
    *,
    device: str = "auto",
    precision: str = "auto",
    consistency: bool = True,
    uncertainty: bool = False,
    roi: Sequence[int] | None = None,
    psf_fwhm: PointSpread | None = None,
    factor: float | None = None,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Enhanced:
    """``enhance`` for a network in memory, as training validates it.

    Args:
        volume: the measurement.
        manifest: how the network wants its input and what its output means.
        generator: the network; moved to the device.
        device, precision, consistency, uncertainty, roi, psf_fwhm, factor, progress, cancelled: as for ``enhance``.
    """
    import torch

    from MedSRLib.enhancement.devices import device_label, resolve_device, resolve_precision, tile_voxels
    from MedSRLib.enhancement.point_spread import find_acquisition
    from MedSRLib.enhancement.residual import base_image, residual_slabs
    from MedSRLib.enhancement.tiling import TiledGenerator

    def check() -> None:
        if cancelled is not None and cancelled():
            raise EnhancementCancelled("cancelled: nothing was written")

    def done(fraction: float) -> None:
        if progress is not None:
            progress(fraction, f"enhancing on {label}")

    started = time.monotonic()
    assumed = assume_acquisition(volume, manifest, psf_fwhm=psf_fwhm, factor=factor)
    plan_enhancement(volume, manifest, assumed, roi=roi)  # what is wrong with the region is said at once
    scaling = IntensityScaling.fit(volume.voxels, volume.modality)
    smallest = smallest_possible(volume.voxels, volume.modality)
    floor = None if smallest is None else (smallest - scaling.offset) / scaling.width
    target = resolve_device(device)
    label = device_label(target)
    tiled = TiledGenerator(
        generator,
        manifest.halo,
        border=manifest.border,
        device=target,
        dtype=resolve_precision(precision, target),
        voxels=tile_voxels(generator, target),
        check=check,
    )
    acquisition, source = find_acquisition(volume, manifest, assumed, tiled, given=psf_fwhm is not None)
    plan = plan_enhancement(volume, manifest, acquisition, roi=roi)
    y = scaling.normalise(volume.voxels[plan.context])
    voxels = np.empty(plan.shape, volume.voxels.dtype)
    spread = np.empty(plan.shape, np.float32) if uncertainty else None
    tally = FidelityTally(acquisition, scaling.width)
    iterations = CONSISTENCY_ITERATIONS if consistency else 0

    for slab in residual_slabs(y, plan.context_shape, manifest, acquisition, tiled, uncertainty=uncertainty, done=done):
        check()
        measured = torch.from_numpy(y[slab.low])
        shape = tuple(slab.output.shape)
        x = slab.output
        if manifest.predicts == "residual":
            x = x + base_image(measured, shape, acquisition, manifest.base_iterations)
        x = back_project(x, measured, acquisition, iterations, floor=floor)
        result = cast_like(scaling.restore(x.numpy()), volume.voxels.dtype)
        deviation = None if slab.spread is None else slab.spread * scaling.width
        part, kept = _overlap(slab.high, plan.cut)
        voxels[kept] = result[part]
        if spread is not None and deviation is not None:
            spread[kept] = deviation.numpy()[part]
        low = torch.from_numpy(volume.voxels[plan.context][slab.low].astype(np.float32))
        tally.add(low, interpolate(low, shape), torch.from_numpy(result.astype(np.float32)), deviation)

    report = {
        "notice": NOTICE,
        "version": __version__,
        "model": {
            "name": manifest.name,
            "version": manifest.version,
            "sha256": {name: entry["sha256"] for name, entry in manifest.weights.items()},
        },
        "factors": list(acquisition.factors),
        "psf_fwhm": acquisition.point_spread,
        "psf_fwhm_source": source,
        "slice_thickness": acquisition.slice_thickness,
        "modality": volume.modality,
        "roi": None if roi is None else list(roi),
        "consistency": consistency,
        **tally.figures(),
        "warnings": domain_warnings(volume, manifest),
        "notes": tiled.notes,
        "device": label,
        "precision": str(tiled.dtype).removeprefix("torch."),
        "tiles": tiled.tiles,
        "tiles_skipped": tiled.skipped,
        "seconds": time.monotonic() - started,
    }
    return Enhanced(
        volume.with_voxels(voxels, plan.affine),
        report,
        None if spread is None else volume.with_voxels(spread, plan.affine),
    )


def _overlap(slab: Box, cut: Box) -> tuple[Box, Box]:
    """Where a slab meets the part that is returned: as a box of the slab and as a box of the result."""
    starts = [max(s.start, c.start) for s, c in zip(slab, cut, strict=True)]
    stops = [max(start, min(s.stop, c.stop)) for start, s, c in zip(starts, slab, cut, strict=True)]

    def relative(origin: Box) -> Box:
        k, j, i = (slice(a - o.start, b - o.start) for a, b, o in zip(starts, stops, origin, strict=True))
        return k, j, i

    return relative(slab), relative(cut)
