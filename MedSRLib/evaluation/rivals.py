"""The same result the other ways: whole slices one by one, MONAI's sliding window, and plain B-spline resampling.

Run as a module in a process of its own, with the computer's defaults for threads and memory, as anybody would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from MedSRLib.enhancement.request import Options
from MedSRLib.errors import MedSRError
from MedSRLib.models.manifest import Manifest
from MedSRLib.process import environment_before
from MedSRLib.volumes.volume import Volume

WINDOW = (96, 96)
"""Pixels, as in MONAI's examples; its inferer's own defaults are one window at a time, a quarter of overlap and equal
weights."""
FIDELITY = "weights.pt"


@dataclass(frozen=True)
class Rivals:
    """Seconds that the other ways took.

    Args:
        plain: every whole slice for itself, NCHW, float32, eager.
        monai: ``SlidingWindowInferer``.
        bspline: SimpleITK's cubic B-spline, which is no super-resolution.
        plain_voxels, monai_voxels: what came out, float32.
    """

    plain: float
    monai: float
    bspline: float
    plain_voxels: np.ndarray
    monai_voxels: np.ndarray


def run_rivals(volume: Volume, manifest: Manifest, state: dict[str, Any], device: str, options: Options) -> Rivals:
    """Runs the other ways with everything about the acquisition given.

    Args:
        volume: float32 voxels.
        manifest: of the model.
        state: of its generator.
        device: a torch device.
        options: point spread, noise and, through-plane, the factor.

    Raises:
        MedSRError: the process failed; the sentence has its last words.
    """
    import torch

    with tempfile.TemporaryDirectory(prefix="medsr-benchmark-") as folder:
        there = Path(folder)
        manifest.write(there)
        torch.save(state, there / FIDELITY)
        np.savez(there / "volume.npz", voxels=volume.voxels, affine=volume.affine)
        told = {"device": device, "options": options.to_json(), "modality": volume.modality}
        (there / "job.json").write_text(json.dumps(told), encoding="utf-8")
        environment = {**environment_before(), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [sys.executable, "-m", __name__, folder]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise MedSRError(f"the other ways could not be timed: {(done.stderr.strip() or 'killed').splitlines()[-1]}")
        seconds = json.loads((there / "seconds.json").read_text(encoding="utf-8"))
        with np.load(there / "results.npz") as results:
            return Rivals(**seconds, plain_voxels=results["plain"], monai_voxels=results["monai"])


def main(folder: Path) -> None:
    """Reads the job from a folder, runs it, leaves seconds and results there."""
    import torch

    from MedSRLib.acquisition.conditions import told
    from MedSRLib.acquisition.interpolation import back_project
    from MedSRLib.enhancement.devices import now
    from MedSRLib.enhancement.enhancer import CONSISTENCY_ITERATIONS
    from MedSRLib.enhancement.restorations import RESTORATIONS
    from MedSRLib.enhancement.slabs import add_base, base_image, neighbourhoods
    from MedSRLib.enhancement.tiling import mirrored, tile_multiple
    from MedSRLib.networks.build import build_generator
    from MedSRLib.volumes.intensity import IntensityScaling, smallest_possible

    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    manifest, options = Manifest.read(folder), Options.from_json(job["options"])
    with np.load(folder / "volume.npz") as stored:
        volume = Volume(stored["voxels"], stored["affine"], job["modality"])
    device = torch.device(job["device"])
    generator = build_generator(manifest.architecture, manifest.arguments).eval()
    generator.load_state_dict(torch.load(folder / FIDELITY, weights_only=True))
    generator.to(device)
    scaling = IntensityScaling.fit(volume.voxels, volume.modality)
    acquisition = RESTORATIONS[manifest.task].acquisition(volume, manifest, options)
    noise = (options.noise or 0.0) / scaling.width
    maps = told(manifest.conditions, acquisition, noise)
    smallest = smallest_possible(volume.voxels, volume.modality)
    floor = None if smallest is None else (smallest - scaling.offset) / scaling.width
    border = -(-manifest.border // tile_multiple(generator)) * tile_multiple(generator)

    def with_maps(planes: torch.Tensor) -> torch.Tensor:
        wide = torch.tensor(maps, device=device).view(1, -1, 1, 1).expand(len(planes), -1, *planes.shape[2:])
        return torch.cat([planes, wide], 1)

    def whole(run: Callable[[torch.Tensor], torch.Tensor]) -> tuple[float, np.ndarray]:
        """The formula for the whole volume at once, the generator one slice at a time."""
        started = now(device)
        y = torch.from_numpy(scaling.normalise(volume.voxels)).to(device)
        shape = acquisition.high_shape(y.shape)
        base = base_image(y, shape, acquisition, manifest.base_iterations)
        by_kind = [(y, 0)] if manifest.task == "inplane" else [(base.movedim(axis, 0), axis) for axis in (1, 2)]
        output = torch.zeros(shape, device=device)
        with torch.inference_mode():
            for planes, axis in by_kind:
                for n in range(len(planes)):
                    first = max(0, n - manifest.slices // 2)
                    near = planes[first : n + manifest.slices // 2 + 1]
                    seen = neighbourhoods(near, slice(n, n + 1), len(planes), manifest.slices)
                    wide = run(with_maps(mirrored(seen, border)))[0, 0]
                    for side, factor in enumerate(generator.factors):
                        wide = wide.narrow(side, border * factor, seen.shape[2 + side] * factor)
                    output.select(axis, n).add_(wide / len(by_kind))
        x = back_project(
            add_base(output, base, manifest),
            y,
            acquisition,
            CONSISTENCY_ITERATIONS if options.consistency else 0,
            floor=floor,
            noise=options.noise_reduction * noise,
        )
        voxels = scaling.restore(x.cpu().numpy())
        return now(device) - started, voxels

    from monai.inferers import SlidingWindowInferer

    inferer = SlidingWindowInferer(roi_size=WINDOW)

    def by_windows(seen: torch.Tensor) -> torch.Tensor:
        joined = inferer(seen, generator)
        assert isinstance(joined, torch.Tensor)
        return joined

    seconds = {"bspline": _bspline(volume, acquisition.high_shape(volume.shape))}
    seconds["plain"], plain = whole(generator)
    seconds["monai"], monai = whole(by_windows)
    np.savez(folder / "results.npz", plain=plain, monai=monai)
    (folder / "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")


def _bspline(volume: Volume, shape: tuple[int, ...]) -> float:
    """Seconds of SimpleITK's cubic B-spline to a shape over the same field of view."""
    import time

    import SimpleITK as sitk

    image = sitk.GetImageFromArray(volume.voxels)
    size = [int(n) for n in reversed(shape)]
    spacing = [n / m for n, m in zip(image.GetSize(), size, strict=True)]
    origin = [0.5 * step - 0.5 for step in spacing]
    direction = image.GetDirection()
    started = time.perf_counter()
    sitk.Resample(image, size, sitk.Transform(), sitk.sitkBSpline, origin, spacing, direction, 0.0, sitk.sitkFloat32)
    return time.perf_counter() - started


if __name__ == "__main__":
    main(Path(sys.argv[1]))
