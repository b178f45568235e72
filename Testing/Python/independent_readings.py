"""NIfTI by nibabel, NRRD and MetaImage by ITK, DICOM by pydicom: what to compare MedSR's own reading with.

Each returns the voxels in the order of the file's slowest axis first, and the affines (IJK to RAS) that would be right.
"""

from __future__ import annotations

import gzip
import re
import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk

from MedSRLib.volumes.geometry import LPS_TO_RAS


def by_nibabel(path: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    nibabel.imageglobals.logger.setLevel("CRITICAL")
    raw = path.read_bytes()
    raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    make: Any = nibabel.Nifti2Image if raw[4:7] == b"n+2" else nibabel.Nifti1Image
    # Unchecked: nibabel mends pixdim[0], codes and offsets as it sees fit.
    header = make.header_class(raw[: make.header_class.template_dtype.itemsize], check=False)
    millimetres = {1: 1000.0, 3: 0.001}.get(int(header["xyzt_units"]) & 7, 1.0)
    to_millimetres = np.diag([millimetres] * 3 + [1.0])
    affines = []
    if header["sform_code"] > 0:
        affines.append(to_millimetres @ header.get_sform())
    if header["qform_code"] > 0 and np.isfinite(header["pixdim"][1:4]).all():
        affines.append(to_millimetres @ _qform(header))
    if not affines:
        steps = [abs(float(step)) * millimetres or 1.0 for step in header["pixdim"][1:4]]
        affines = [LPS_TO_RAS @ np.diag([*steps, 1.0])]
    assert header["vox_offset"] or header["magic"].item() == b"ni1", "nibabel takes the header for voxels"
    image = make.from_bytes(raw)
    return np.asarray(image.dataobj).T, affines


def _qform(header: Any) -> np.ndarray:
    """As nifti1_io.c makes it: any quaternion is normalised, and pixdim[0] counts by its sign."""
    b, c, d = (float(header[name]) for name in ("quatern_b", "quatern_c", "quatern_d"))
    rest = 1 - (b * b + c * c + d * d)
    quaternion = np.array([np.sqrt(max(0, rest)), b, c, d])
    steps = np.abs(header["pixdim"][1:4].astype(float))
    steps[~(steps > 0)] = 1
    steps[2] *= -1 if header["pixdim"][0] < 0 else 1
    affine = np.eye(4)
    affine[:3, :3] = nibabel.quaternions.quat2mat(quaternion / np.linalg.norm(quaternion)) * steps
    affine[:3, 3] = [float(header[f"qoffset_{axis}"]) for axis in "xyz"]
    return affine


def by_itk(path: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    image = sitk.ReadImage(str(path))
    if path.suffix in (".mha", ".mhd"):
        text = path.read_bytes().split(b"ElementDataFile")[0]
        packed = re.search(rb"^CompressedData *= *[Tt1]", text, re.MULTILINE)
        sizes = re.findall(rb"^CompressedDataSize = (.*)$", text, re.MULTILINE)
        data = path.with_suffix(".raw") if path.suffix == ".mhd" else path
        rest = data.read_bytes().partition(b"ElementDataFile = LOCAL\n")[2] if data == path else data.read_bytes()
        right = bool(sizes) and sizes[-1] == b"%d" % len(rest)
        assert right or not packed, "ITK reads rubbish where the compressed size is not right"
    rank = image.GetDimension()
    affine = np.eye(4)
    affine[:rank, :rank] = np.reshape(image.GetDirection(), (rank, rank)) * np.asarray(image.GetSpacing())
    affine[:rank, 3] = image.GetOrigin()
    start = path.read_bytes()[:1500]
    if start.startswith(b"NRRD") and b"\nspace: " in start:
        assert b"\nspace directions: " in start, "where axes run in a space is a guess"
    # ITK passes over the units of NRRD.
    units = re.search(rb"^space units:.*\"(um|m)\"", start, re.MULTILINE)
    if units:
        affine[:3] *= {b"um": 1e-3, b"m": 1e3}[units[1]]
    return sitk.GetArrayFromImage(image), [LPS_TO_RAS @ affine]


def by_pydicom(path: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    """Plain single-frame slices with places, or a picture without; anything else is not read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        read = [pydicom.dcmread(one, force=True) for one in files]
        slices = [one for one in read if "PixelData" in one]
        if "PerFrameFunctionalGroupsSequence" in slices[0]:
            return _by_pydicom_frames(slices[0])
        if len(slices) > 1 or "ImagePositionPatient" in slices[0]:
            axes = np.reshape(np.array(slices[0].ImageOrientationPatient, float), (2, 3))
            axes /= np.linalg.norm(axes, axis=1, keepdims=True)
            normal = np.cross(*axes)
            slices.sort(key=lambda one: float(normal @ np.array(one.ImagePositionPatient, float)))
            first, last = (np.array(slices[index].ImagePositionPatient, float) for index in (0, -1))
            affine = np.eye(4)
            rows, columns = (float(size) for size in slices[0].PixelSpacing)
            step = (last - first) / (len(slices) - 1) if len(slices) > 1 else None
            affine[:3, :2] = np.column_stack([axes[0] * columns, axes[1] * rows])
            if step is not None:
                affine[:3, 2] = step
            affine[:3, 3] = first
            affines = [LPS_TO_RAS @ affine] if step is not None else []
        else:
            affines = []
        values = [
            one.pixel_array * float(one.get("RescaleSlope", 1)) + float(one.get("RescaleIntercept", 0))
            for one in slices
        ]
    return np.stack(values), affines


def _by_pydicom_frames(one: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    shared = one.SharedFunctionalGroupsSequence[0]
    axes = np.reshape(np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float), (2, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    rows, columns = (float(size) for size in shared.PixelMeasuresSequence[0].PixelSpacing)
    places = np.array(
        [item.PlanePositionSequence[0].ImagePositionPatient for item in one.PerFrameFunctionalGroupsSequence], float
    )
    order = np.argsort(places @ np.cross(*axes), kind="stable")
    affine = np.eye(4)
    step = (places[order[-1]] - places[order[0]]) / (len(places) - 1)
    affine[:3, :3] = np.column_stack([axes[0] * columns, axes[1] * rows, step])
    affine[:3, 3] = places[order[0]]
    return one.pixel_array[order], [LPS_TO_RAS @ affine]
