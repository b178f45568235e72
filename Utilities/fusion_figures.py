"""Measures what "medsr fuse" reaches where the truth is known: a 3D volume acquired as three orthogonal thick stacks.

python fusion_figures.py REFERENCE... [--side 112] [--json FILE]

Every stack is turned and shifted against the first one, scaled by its own gain, and noisy. It is sampled from the
reference's own spline by SciPy, apart from the operator that the fusion inverts. Single stacks and their mean are
brought onto the result's grid with the true motion and gain, which favours them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from scipy import ndimage

from MedSRLib.acquisition.noise import add_rician
from MedSRLib.acquisition.slice_profiles import profile_reach, profile_weights
from MedSRLib.enhancement.enhancer import enhance
from MedSRLib.enhancement.result import Enhanced
from MedSRLib.evaluation.metrics import ScoringRule, psnr
from MedSRLib.fusion import generator
from MedSRLib.fusion.fuse import Fused, fuse
from MedSRLib.fusion.rigid import motion_between, rigid
from MedSRLib.fusion.spline import resample
from MedSRLib.volumes.files import read_volume
from MedSRLib.volumes.volume import Volume

NAMES = ("axial", "sagittal", "coronal")
DIRECTIONS = (np.eye(3), np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]), np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]))
"""Columns: the way of i, j and k in RAS."""
METHODS = ("B-spline", "mean", "single+net", "joint", "fused", "true place")
_LEAST_TURN, _LARGEST_TURN = 2.0, 5.0
_LEAST_SHIFT, _LARGEST_SHIFT = 1.5, 4.0
_LEAST_GAIN, _LARGEST_GAIN = 0.7, 1.4
_NOISE = 0.01
_RANGE = 1000.0
_PLANE = 0.5
"""Millimetres between the planes whose weighted sum is a slice."""


@dataclass(frozen=True)
class Stack:
    """A simulated series.

    Args:
        volume: as the scanner gives it.
        motion: its millimetres to the first stack's.
        gain: its grey levels for one of the anatomy.
    """

    volume: Volume
    motion: np.ndarray
    gain: float


@dataclass(frozen=True)
class Figures:
    """What one reference gives.

    Args:
        reference: its name.
        psnr: in dB by method, over the foreground that all three stacks measured.
        psnr_whole: the same over the whole foreground of the result, also where one or two stacks measured.
        degrees, millimetres: between the motion found and the true one, of the second and third stack.
        gains: found over true, of the second and third stack.
        consistency_percent: of each stack, in the whole fusion.
        seconds: of the whole fusion.
    """

    reference: str
    psnr: dict[str, float]
    psnr_whole: dict[str, float]
    degrees: list[float]
    millimetres: list[float]
    gains: list[float]
    consistency_percent: list[float]
    seconds: float


def random_motion(random: np.random.Generator) -> np.ndarray:
    """A turn and a shift, each about an axis of any direction, within the limits above; the centre is the origin."""
    ways = random.standard_normal((2, 3))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    sizes = random.uniform(_LEAST_TURN, _LARGEST_TURN), random.uniform(_LEAST_SHIFT, _LARGEST_SHIFT)
    return rigid(np.concatenate([ways[0] * sizes[0], ways[1] * sizes[1]]), np.zeros(3))


def spline_values(coefficients: np.ndarray, affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The reference's cubic spline at places in millimetres, 0 outside its box.

    Args:
        coefficients: of the spline, [k, j, i].
        affine: of the reference.
        points: [..., 3] in RAS.
    """
    to_index = np.linalg.inv(affine)
    index = points @ to_index[:3, :3].T + to_index[:3, 3]
    values: np.ndarray = ndimage.map_coordinates(
        coefficients, np.moveaxis(index[..., ::-1], -1, 0), order=3, mode="constant", prefilter=False
    )
    return values


def acquire(
    coefficients: np.ndarray,
    reference: Volume,
    directions: np.ndarray,
    motion: np.ndarray,
    *,
    centre: np.ndarray,
    side: float,
    pixel: float,
    thickness: float,
) -> Volume:
    """One stack without gain and noise, of Gaussian slices; it says that it lies unmoved about the centre.

    Args:
        coefficients: of the reference's spline.
        reference: the anatomy.
        directions: of the stack's i, j, k, as columns.
        motion: 4x4, the stack's millimetres to the anatomy's, about the centre.
        centre: RAS millimetres.
        side: millimetres of the stack's cube.
        pixel: millimetres.
        thickness: of a slice, full width at half maximum; as far apart as thick.
    """
    shape = (round(side / thickness), round(side / pixel), round(side / pixel))
    affine = np.eye(4)
    affine[:3, :3] = directions * (pixel, pixel, thickness)
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    reach = profile_reach("gaussian", thickness)
    planes = np.arange(-reach, (shape[0] - 1) * thickness + reach, _PLANE)
    weights = np.stack(
        [profile_weights(planes - k * thickness, _PLANE, "gaussian", thickness) for k in range(shape[0])]
    )
    weights /= weights.sum(axis=1, keepdims=True)
    j, i = np.indices(shape[1:])
    voxels = np.zeros(shape)
    for place, weight in zip(planes, weights.T, strict=True):
        index = np.stack([i, j, np.full(i.shape, place / thickness), np.ones(i.shape)], axis=-1)
        points = (index @ (about(centre, motion) @ affine).T)[..., :3]
        plane = spline_values(coefficients, reference.affine, points)
        for k in np.flatnonzero(weight):
            voxels[k] += weight[k] * plane
    return Volume(voxels.astype(np.float32), affine, "MR", thickness)


def about(centre: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """A motion about the origin as the same about another centre."""
    there = np.eye(4)
    there[:3, 3] = centre
    moved: np.ndarray = there @ motion @ np.linalg.inv(there)
    return moved


def simulate(
    reference: Volume, random: np.random.Generator, *, side: float, pixel: float, thickness: float
) -> tuple[list[Stack], np.ndarray, np.ndarray, np.ndarray]:
    """Three stacks; the first one's motion and their centre; and the reference's spline coefficients.

    Args:
        reference: grey levels 0 to about 1000.
        random: of motions, gains and noise.
        side, pixel, thickness: as for ``acquire``.
    """
    coefficients = ndimage.spline_filter(reference.voxels, order=3, output=np.float32, mode="mirror")
    body = np.argwhere(ScoringRule.of(reference).foreground(reference.voxels))
    middle = (body.min(axis=0) + body.max(axis=0)) / 2
    centre = (reference.affine @ [*middle[::-1], 1.0])[:3]
    whole = random_motion(random)
    stacks = []
    for n, directions in enumerate(DIRECTIONS):
        motion = random_motion(random) if n else np.eye(4)
        gain = random.uniform(_LEAST_GAIN, _LARGEST_GAIN)
        clean = acquire(
            coefficients,
            reference,
            directions,
            whole @ motion,
            centre=centre,
            side=side,
            pixel=pixel,
            thickness=thickness,
        )
        noisy = gain * add_rician(clean.voxels.clip(min=0), _NOISE * _RANGE, random)
        stacks.append(Stack(clean.with_voxels(np.rint(noisy).astype(np.int16)), about(centre, motion), gain))
    return stacks, about(centre, whole), centre, coefficients


def measure(path: Path, *, side: float, pixel: float, thickness: float, model: str, seed: int) -> Figures:
    """All methods on one reference."""
    volume = read_volume(path, modality="MR")
    low, high = np.percentile(volume.voxels, [0.1, 99.9])
    reference = volume.with_voxels((volume.voxels.astype(np.float32) - low) * np.float32(_RANGE / (high - low)))
    random = np.random.default_rng(seed)
    stacks, whole, centre, coefficients = simulate(reference, random, side=side, pixel=pixel, thickness=thickness)
    series = [stack.volume for stack in stacks]
    placed = [stack.volume.with_voxels(stack.volume.voxels, stack.motion @ stack.volume.affine) for stack in stacks]

    started = time.monotonic()
    networks = [enhance(stack.volume, model) for stack in stacks]
    with mock.patch.object(generator, "enhance", lambda volume, *_, **__: _once(volume, series, networks)):
        fused = fuse(series, names=NAMES, model=model)
        seconds = time.monotonic() - started
        results = {
            "joint": fuse(series, names=NAMES, generator=False),
            "fused": fused,
            "true place": fuse(placed, names=NAMES, model=model, registration=False),
        }
    grid = fused.volume
    index = np.stack([*np.indices(grid.shape)[::-1], np.ones(grid.shape)], axis=-1)
    anatomy = spline_values(coefficients, reference.affine, (index @ (whole @ grid.affine).T)[..., :3])
    estimates = {name: result.volume.voxels / stacks[0].gain for name, result in results.items()}
    plain = [_on_grid(stack.volume.voxels, stack.volume.affine, stack, grid) for stack in stacks]
    inside = [_on_grid(np.ones(stack.volume.shape), stack.volume.affine, stack, grid) > 0 for stack in stacks]
    sharp = [_on_grid(n.volume.voxels, n.volume.affine, s, grid) for n, s in zip(networks, stacks, strict=True)]
    estimates["mean"] = sum(plain) / np.maximum(1, sum(one.astype(int) for one in inside))
    common = np.logical_and.reduce(inside)
    rule = ScoringRule.of(replace(grid, voxels=anatomy))
    scores = {}
    for kind, mask in (("psnr", common), ("psnr_whole", np.ones(grid.shape, bool))):
        # What is not scored is no foreground.
        truth = np.where(mask, anatomy, rule.threshold)
        values = {name: psnr(truth, estimate, rule) for name, estimate in estimates.items()}
        values["B-spline"] = max(psnr(truth, one, rule) for one in plain)
        values["single+net"] = max(psnr(truth, one, rule) for one in sharp)
        scores[kind] = {name: values[name] for name in METHODS}
    errors = [motion_between(_found(fused, n, series[n]), stacks[n].motion, centre) for n in (1, 2)]
    entries = fused.report["series"]
    return Figures(
        path.name,
        scores["psnr"],
        scores["psnr_whole"],
        [turn for turn, _ in errors],
        [shift for _, shift in errors],
        [entries[n]["gain"] * stacks[0].gain / stacks[n].gain for n in (1, 2)],
        [entry["consistency_percent"] for entry in entries],
        seconds,
    )


def _once(volume: Volume, series: list[Volume], networks: list[Enhanced]) -> Enhanced:
    """What the network makes of a series, which it has seen already with another gain, offset and place.

    Enhancing commutes with these; so a series need not go through the network three times.
    """
    n = next(n for n, one in enumerate(series) if np.corrcoef(one.voxels.ravel(), volume.voxels.ravel())[0, 1] > 0.9999)
    gain, offset = np.polyfit(series[n].voxels.ravel(), volume.voxels.ravel(), 1)
    made = networks[n].volume
    affine = volume.affine @ np.linalg.inv(series[n].affine) @ made.affine
    return replace(networks[n], volume=replace(made, voxels=gain * made.voxels + offset, affine=affine))


def _on_grid(voxels: np.ndarray, affine: np.ndarray, stack: Stack, grid: Volume) -> np.ndarray:
    """A stack, or what was made of it, on the result's grid with its true motion and gain."""
    to_index = np.linalg.inv(stack.motion @ affine) @ grid.affine
    values = torch.from_numpy(np.ascontiguousarray(voxels, dtype=np.float32) / np.float32(stack.gain))
    return resample(values, to_index, grid.shape)[0].numpy()


def _found(fused: Fused, n: int, volume: Volume) -> np.ndarray:
    motion = fused.report["series"][n]["motion"]
    centre = (volume.affine @ [*[(m - 1) / 2 for m in reversed(volume.shape)], 1.0])[:3]
    return rigid(np.array([*motion["rotation_deg"], *motion["translation_mm"]]), centre)


def table(figures: list[Figures]) -> str:
    """Everything in one row a reference; PSNR in dB."""
    lines = [f"{'PSNR dB':<34}" + "".join(f"{name:>12}" for name in METHODS) + f"{'deg':>7}{'mm':>7}{'s':>6}"]
    for one in figures:
        row = "".join(f"{one.psnr[name]:>12.2f}" for name in METHODS)
        lines.append(
            f"{one.reference[:33]:<34}{row}{max(one.degrees):>7.3f}{max(one.millimetres):>7.3f}{one.seconds:>6.0f}"
        )
        lines.append(f"{'  whole field':<34}" + "".join(f"{one.psnr_whole[name]:>12.2f}" for name in METHODS))
    return "\n".join(lines)


def main() -> int:
    """Prints the table, line by line as it comes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("references", nargs="+", type=Path, metavar="REFERENCE", help="3D volume, 1 mm or finer")
    parser.add_argument("--side", type=float, default=112.0, help="millimetres of the stacks' cube (default: 112)")
    parser.add_argument("--pixel", type=float, default=0.7, help="millimetres (default: 0.7)")
    parser.add_argument("--thickness", type=float, default=3.5, help="of the slices, millimetres (default: 3.5)")
    parser.add_argument("--model", default="isotropic-lite", help="an isotropic model (default: isotropic-lite)")
    parser.add_argument("--seed", type=int, default=16, help="of motions, gains and noise (default: 16)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures here")
    arguments = parser.parse_args()
    figures = []
    for n, path in enumerate(arguments.references):
        one = measure(
            path,
            side=arguments.side,
            pixel=arguments.pixel,
            thickness=arguments.thickness,
            model=arguments.model,
            seed=arguments.seed + n,
        )
        figures.append(one)
        print(table([one]), flush=True)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps([asdict(f) for f in figures], indent=2) + "\n", encoding="utf-8")
    if len(figures) > 1:
        means = {name: float(np.mean([one.psnr[name] for one in figures])) for name in METHODS}
        print(f"{'mean':<34}" + "".join(f"{means[name]:>12.2f}" for name in METHODS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
