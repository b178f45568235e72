"""Voxel types that every file format here can hold."""

from __future__ import annotations

import numpy as np

from MedSRLib.errors import InputError


def exact_for_files(voxels: np.ndarray) -> np.ndarray:
    """The same values in a dtype that every format here can hold, in the byte order of this machine.

    Raises:
        InputError: the values would change: complex numbers, or integers beyond 32 bits.
    """
    dtype = voxels.dtype.newbyteorder("=")
    if dtype.kind == "b":
        dtype = np.dtype(np.uint8)
    elif dtype == np.float16:
        dtype = np.dtype(np.float32)
    elif dtype.kind in "iu" and dtype.itemsize == 8 and voxels.size:
        low, high = int(voxels.min()), int(voxels.max())
        fits = [kind for kind in (np.int32, np.uint32) if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max]
        if not fits:
            raise InputError("the volume holds integers beyond 32 bits, which no filter keeps exactly: rescale it")
        dtype = np.dtype(fits[0])
    elif dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError(f"voxels of type {voxels.dtype} are not grey levels: convert them to integers or floats")
    return voxels.astype(dtype, copy=False)
