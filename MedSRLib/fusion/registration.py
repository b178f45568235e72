"""Where each series lies against the first: SimpleITK on images that are equally blurred along every axis.

A thick slice is blurred along its normal and sharp in its plane, so two orthogonal stacks look alike nowhere. Blurred
in-plane to the thickness of their slices they do, and the best match is not pulled towards either grid.
``refinement`` then looks at the full resolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from MedSRLib.errors import InputError
from MedSRLib.fusion.series import Series
from MedSRLib.volumes.geometry import LPS_TO_RAS
from MedSRLib.volumes.itk import itk_without_warnings

_STEP = 0.6
"""Voxels of the images that are compared, in the thickest slices' thickness."""
_BINS = 40
_LEVELS = ((2, 1.0), (1, 0.0))
"""Shrink factor and smoothing (in those voxels) of each level."""
_ITERATIONS = 100
_LEAST_POINTS = 1000


def register(series: Series, reference: Series, *, step: Callable[[], None] = lambda: None) -> np.ndarray:
    """T of a series: its millimetres to the reference's, rigid, 4x4.

    Mattes mutual information (Mattes et al. 2003), all voxels that hold anything, regular steps down the gradient.

    Args:
        series: starts from its own motion.
        reference: stays where it is.
        step: called after every iteration; raises to cancel.

    Raises:
        InputError: the two do not overlap enough to be compared.
    """
    import SimpleITK as sitk

    width = max(series.thickness, reference.thickness)
    moving, fixed = _blurred(reference, width), _blurred(series, width)
    start = sitk.Euler3DTransform()
    lps = LPS_TO_RAS @ series.motion @ LPS_TO_RAS
    centre = fixed.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in fixed.GetSize()])
    start.SetCenter(centre)
    start.SetMatrix(lps[:3, :3].ravel().tolist())
    start.SetTranslation((lps[:3, :3] @ centre + lps[:3, 3] - centre).tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 0.005, _ITERATIONS, relaxationFactor=0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([shrink for shrink, _ in _LEVELS])
    method.SetSmoothingSigmasPerLevel([sigma * _STEP * width for _, sigma in _LEVELS])
    method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(True)
    method.SetInitialTransform(start, inPlace=True)
    failed: list[BaseException] = []

    def iterated() -> None:
        # ITK turns what is raised here into an error of its own: keep it, and stop.
        try:
            step()
        except BaseException as error:
            failed.append(error)
            method.StopRegistration()

    method.AddCommand(sitk.sitkIterationEvent, iterated)
    try:
        with itk_without_warnings():
            method.Execute(fixed, moving)
    except RuntimeError as error:
        if failed:
            raise failed[0] from error
        raise InputError("two series hardly overlap: choose series of one place in the body") from error
    if failed:
        raise failed[0]
    found = np.eye(4)
    found[:3, :3] = np.reshape(start.GetMatrix(), (3, 3))
    found[:3, 3] = np.asarray(start.GetTranslation()) + centre - found[:3, :3] @ centre
    return LPS_TO_RAS @ found @ LPS_TO_RAS


def _blurred(series: Series, width: float) -> Any:
    """The series as an image with voxels of one size, blurred to ``width`` millimetres along every axis."""
    import SimpleITK as sitk

    image = _image(series.volume.voxels.astype(np.float32), series.volume.affine)
    known = (0.0, 0.0, series.thickness)
    for axis, own in enumerate(known):
        sigma = np.sqrt(max(0.0, width**2 - own**2) / (8 * np.log(2)))
        if sigma > 0.3 * image.GetSpacing()[axis]:
            image = sitk.RecursiveGaussian(image, sigma, direction=axis)
    size = [max(2, round(n * s / (_STEP * width))) for n, s in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    spacing = [n * s / m for n, s, m in zip(image.GetSize(), image.GetSpacing(), size, strict=True)]
    origin = image.TransformContinuousIndexToPhysicalPoint(
        [0.5 * m / s - 0.5 for m, s in zip(spacing, image.GetSpacing(), strict=True)]
    )
    direction = image.GetDirection()
    return sitk.Resample(image, size, sitk.Transform(), sitk.sitkBSpline, origin, spacing, direction)


def _image(voxels: np.ndarray, affine: np.ndarray) -> Any:
    """Voxels [k, j, i] with an IJK to RAS affine as an image of SimpleITK, in LPS."""
    import SimpleITK as sitk

    lps = LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image
