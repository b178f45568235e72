"""The comparative study: a reference is degraded by A, restored by every method and model, and scored."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from MedSRLib.acquisition.noise import add_gaussian, add_rician
from MedSRLib.acquisition.operator import AcquisitionModel, Profile
from MedSRLib.errors import EnhancementCancelled, InputError, ModelError, UsageError
from MedSRLib.evaluation import metrics
from MedSRLib.evaluation.classical import METHODS
from MedSRLib.evaluation.metrics import ScoringRule
from MedSRLib.evaluation.scores import Score, VolumeScores
from MedSRLib.models.catalogue import Model, available_models
from MedSRLib.models.tasks import TASKS
from MedSRLib.progress import Cancelled, Progress, part_of
from MedSRLib.volumes.checks import require_enhanceable
from MedSRLib.volumes.geometry import upsampled_affine
from MedSRLib.volumes.intensity import cast_like
from MedSRLib.volumes.volume import Volume

_FEWEST_VOXELS = 2


def parse_task(text: str) -> AcquisitionModel:
    """The acquisition that a task undoes, with the nominal width of one low-resolution voxel.

    Args:
        text: "inplane-x2", "inplane-x4", "volumetric-x2" or "through-plane:K", K the slice factor above 1.

    Raises:
        UsageError: there is no such task.
    """
    for task in TASKS.values():
        factors = task.factors_of(text)
        if factors is not None:
            return AcquisitionModel(factors)
    *known, last = (task.written for task in TASKS.values())
    raise UsageError(f"there is no task {text!r}: choose {', '.join(known)} or {last}")


def truly(acquisition: AcquisitionModel, width: float, profile: Profile) -> AcquisitionModel:
    """The same sampling by another point spread, along every axis that is sampled.

    Args:
        acquisition: what is sampled.
        width: in low-resolution voxels.
        profile: of the point spread.
    """
    return replace(
        acquisition,
        in_plane_fwhm=width,
        slice_thickness=width,
        in_plane_profile=profile,
        slice_profile=profile,
    )


def fits_task(model: Model, acquisition: AcquisitionModel) -> bool:
    """Whether a model undoes an acquisition's factors."""
    return model.manifest.kind.undoes(model.manifest, acquisition.factors)


def models_for_task(acquisition: AcquisitionModel) -> list[Model]:
    """The catalogue's models for an acquisition's factors, once with each set of weights they hold.

    Those not made for medical images are measured only when they are named.
    """
    fitting = [m for m in available_models() if m.manifest.domain["modalities"] and fits_task(m, acquisition)]
    return [
        weights
        for model in fitting
        for weights in (model, replace(model, fidelity=0.0))
        if weights.fidelity is None or "perceptual" in model.manifest.weights
    ]


def crop_to_multiple(volume: Volume, acquisition: AcquisitionModel) -> Volume:
    """The volume without the voxels at the end of each axis that fill no whole low-resolution voxel.

    With a fractional factor the length kept is the multiple rounded to whole voxels.

    Raises:
        InputError: fewer than two low-resolution voxels fit along an axis, or slices are too small for SSIM.
    """
    kept = []
    for axis, size, factor in zip("kji", volume.shape, reversed(acquisition.factors), strict=True):
        low = int(size / factor)
        if factor > 1 and low < _FEWEST_VOXELS:
            raise InputError(
                f"{size} voxels along {axis} are too few for factor {factor:g}: choose a larger reference volume"
            )
        kept.append(round(low * factor))
    if min(kept[1:]) < metrics.SMALLEST_SLICE:
        side = metrics.SMALLEST_SLICE
        raise InputError(f"slices must have at least {side} x {side} voxels to be scored: choose a larger volume")
    k, j, i = kept
    return volume.with_voxels(volume.voxels[:k, :j, :i])


def acquire_low(volume: Volume, acquisition: AcquisitionModel) -> Volume:
    """y = A x, rounded to the source's dtype, over the field of view of the cropped reference.

    Args:
        volume: the reference x; cropped by ``crop_to_multiple`` first.
        acquisition: A.
    """
    reference = crop_to_multiple(volume, acquisition)
    shape = acquisition.low_shape(reference.shape)
    voxels = acquisition.apply(reference.voxels.astype(np.float32), shape)
    affine = upsampled_affine(reference.affine, reference.shape, shape)
    return _of_thickness(reference.with_voxels(cast_like(voxels, reference.voxels.dtype), affine), acquisition)


def noisy(low: Volume, sigma: float) -> Volume:
    """A measurement with noise, the same at every call: Rician for MR, else white Gaussian; rounded to its dtype.

    Args:
        low: the measurement y without noise.
        sigma: standard deviation in the volume's units.
    """
    generator = np.random.default_rng(0)
    add = add_rician if low.modality == "MR" else add_gaussian
    return low.with_voxels(cast_like(add(low.voxels.astype(np.float32), sigma, generator), low.voxels.dtype))


def evaluate_volume(
    reference: Volume,
    acquisition: AcquisitionModel,
    *,
    methods: Sequence[str],
    models: Sequence[Model] = (),
    true_width: float = 1.0,
    true_profile: Profile = "gaussian",
    noise: float = 0.0,
    told: bool = True,
    device: str = "auto",
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> VolumeScores:
    """Acquires the reference, restores it by every method and model, and scores each as a user would receive it.

    Args:
        reference: the truth; rounded estimates are compared with it in its own dtype.
        acquisition: what methods assume about the acquisition.
        methods: names in ``classical.METHODS``.
        models: run through ``enhance``.
        true_width: point-spread width and slice thickness of the simulated acquisition in low-resolution voxels.
            Methods go on assuming 1; consistency uses the truth.
        true_profile: its profile; "kspace" is a truncated MR acquisition, which has no width.
        noise: standard deviation that is added to the measurement, in parts of the scored range.
        told: models are told the true acquisition and, where they can be, the noise; otherwise they take what
            ``enhance`` takes of an unknown scanner.
        device: for the models.
        progress: called with the fraction done and what is done now.
        cancelled: asked before every method and at every tile.

    Raises:
        InputError: the reference cannot be scored.
        ModelError: a model does not give the reference's shape.
        EnhancementCancelled: ``cancelled()`` returned true.
    """
    require_enhanceable(reference)
    reference = crop_to_multiple(reference, acquisition)
    rule = ScoringRule.of(reference)
    truth = truly(acquisition, true_width, true_profile)
    low = _of_thickness(acquire_low(reference, truth), truth)
    if noise:
        low = noisy(low, noise * rule.range)
    given = low if told else replace(low, slice_thickness=None)
    restorers = [*((name, None) for name in methods), *((model.title, model) for model in models)]
    scores = []
    for index, (name, model) in enumerate(restorers):
        if cancelled is not None and cancelled():
            raise EnhancementCancelled("cancelled")
        report = part_of(progress, index, len(restorers), name)
        report(0.0, "")
        start = time.perf_counter()
        if model is None:
            voxels = METHODS[name](low.voxels, reference.shape, acquisition)
            estimate = cast_like(voxels, low.voxels.dtype)
        else:
            from MedSRLib.enhancement.enhancer import enhance

            enhanced = enhance(
                given,
                model,
                device=device,
                factor=acquisition.factors[2] if model.manifest.kind.has_factor_range else None,
                **_known(truth, noise * rule.range, model, told=told),
                progress=report,
                cancelled=cancelled,
            )
            estimate = enhanced.volume.voxels
        seconds = time.perf_counter() - start
        if estimate.shape != reference.shape:
            raise ModelError(f"the model {name} gave shape {estimate.shape}, not {reference.shape}: leave it out")
        sha256 = None if model is None else model.hashes_in_use
        scores.append(_score(name, reference, estimate, low, truth, rule, seconds, sha256))
    if progress is not None:
        progress(1.0, "")
    k, j, i = (high / small for high, small in zip(reference.shape, low.shape, strict=True))
    return VolumeScores(rule, (i, j, k), reference.shape, low.shape, scores)


def _known(truth: AcquisitionModel, sigma: float, model: Model, *, told: bool) -> dict[str, Any]:
    """Options that tell a model the true acquisition, or nothing of it."""
    if not told:
        return {"point_spread": None}
    width = truth.point_spread if model.manifest.kind.blurs_pixels else truth.slice_thickness
    return {"point_spread": width, **({"noise": sigma} if "noise" in model.manifest.conditions else {})}


def _of_thickness(low: Volume, acquisition: AcquisitionModel) -> Volume:
    """The measurement with the slice thickness that an acquisition says; untouched where it leaves k alone."""
    if acquisition.factors[2] == 1:
        return low
    return replace(low, slice_thickness=acquisition.slice_thickness * low.spacing[2])


def _score(
    name: str,
    reference: Volume,
    estimate: np.ndarray,
    low: Volume,
    acquisition: AcquisitionModel,
    rule: ScoringRule,
    seconds: float,
    sha256: dict[str, str] | None,
) -> Score:
    similarity = metrics.ssim(reference.voxels, estimate, rule)
    consistency = metrics.consistency_rmse(estimate, low.voxels, acquisition)
    shift = metrics.mean_shift(reference.voxels, estimate, rule)
    return Score(
        name=name,
        psnr=metrics.psnr(reference.voxels, estimate, rule),
        ssim=similarity.whole,
        ssim_foreground=similarity.foreground,
        nrmse=metrics.nrmse(reference.voxels, estimate, rule),
        hfen=metrics.hfen(reference.voxels, estimate, rule),
        edge_energy=metrics.sharpness(reference.voxels, estimate),
        consistency=consistency,
        consistency_share=consistency / rule.range,
        mean_shift=shift,
        mean_shift_share=shift / rule.range,
        volume_shift_share=metrics.volume_shift(reference.voxels, estimate, rule),
        seconds=seconds,
        model_sha256=sha256,
    )
