"""``medsr evaluate``: measures models and classical methods on reference volumes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from MedSRLib import __version__
from MedSRLib.acquisition.operator import Profile
from MedSRLib.commands.progress import progress_bar
from MedSRLib.commands.targets import require_target
from MedSRLib.errors import EnhancementCancelled, MedSRError, UsageError

if TYPE_CHECKING:
    from MedSRLib.evaluation.scores import Score, VolumeScores
    from MedSRLib.models.catalogue import Model

SOME_FAILED = 4
_DEFAULT_METHODS = ("bspline",)
_HEADER = f"{'':<22}{'PSNR dB':>9}{'gain dB':>9}{'SSIM':>8}{'SSIM fg':>9}{'NRMSE':>9}{'HFEN':>8}{'edges':>7}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``medsr evaluate``."""
    parser.add_argument("references", nargs="+", type=Path, metavar="REFERENCE", help="high-resolution volume")
    parser.add_argument(
        "--task",
        required=True,
        metavar="T",
        help="inplane-x2, inplane-x4, volumetric-x2 or through-plane:K (K: slice factor, such as 3)",
    )
    parser.add_argument(
        "--model",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="models to measure, by name or folder, NAME@0 with the perceptual weights; by default those installed "
        "for the task",
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        default=list(_DEFAULT_METHODS),
        metavar="NAME",
        help="classical methods beside bspline-ibp, which is always measured; all: every one (default: bspline)",
    )
    parser.add_argument(
        "--point-spread",
        type=float,
        default=1.0,
        metavar="W",
        help="true width of the simulated acquisition in low-resolution voxels; methods go on assuming 1",
    )
    parser.add_argument(
        "--profile",
        choices=get_args(Profile),
        default="gaussian",
        help="true point spread of the simulated acquisition; methods go on assuming gaussian",
    )
    parser.add_argument(
        "--noise",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="standard deviation of noise added to the simulated acquisition, in parts of the scored range: 0.03 is "
        "60 HU for CT (Rician for MR, else Gaussian)",
    )
    parser.add_argument(
        "--untold",
        action="store_true",
        help="models are not told the true point spread and noise: they take what enhance takes of an unknown scanner",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps, for the models")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures here")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing FILE")
    parser.epilog = (
        "Each reference is degraded by the acquisition model, restored by every method and model, and compared.\n"
        "example: medsr evaluate head.nii.gz --task inplane-x2 --methods all --json scores.json"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints a table a volume and the mean; 0, or 4 where some volumes failed."""
    from MedSRLib.evaluation.protocol import evaluate_volume, parse_task
    from MedSRLib.evaluation.scores import mean_scores
    from MedSRLib.volumes.files import read_volume

    if arguments.json is not None:
        require_target(arguments.json, ".json", overwrite=arguments.overwrite, inputs=arguments.references)
    if not 0 < arguments.point_spread < float("inf"):
        raise UsageError("--point-spread must be a positive number: 1 is the nominal width")
    if not 0 <= arguments.noise < 1:
        raise UsageError("--noise must lie between 0 and 1: it is a part of the scored range, such as 0.03")
    title = _title(
        arguments.task, arguments.point_spread, arguments.profile, arguments.noise, told=not arguments.untold
    )
    acquisition = parse_task(arguments.task)
    methods = choose_methods(arguments.methods)
    models = choose_models(arguments.model, arguments.task)
    done: dict[str, VolumeScores] = {}
    failed: dict[str, MedSRError] = {}
    for path in arguments.references:
        try:
            with progress_bar(path.name) as progress:
                done[str(path)] = evaluate_volume(
                    read_volume(path),
                    acquisition,
                    methods=methods,
                    models=models,
                    true_width=arguments.point_spread,
                    true_profile=arguments.profile,
                    noise=arguments.noise,
                    told=not arguments.untold,
                    device=arguments.device,
                    progress=progress,
                )
        except EnhancementCancelled:
            raise
        except MedSRError as error:
            failed[str(path)] = error
            print(f"medsr: {error}" if path.name in str(error) else f"medsr: {path.name}: {error}", file=sys.stderr)
            continue
        print(volume_table(path.name, title, done[str(path)]), flush=True)
    means = mean_scores(list(done.values()))
    if len(done) > 1:
        print(mean_table(title, list(done.values()), means))
        for kind in sorted({volume.rule.modality for volume in done.values()}):
            some = [volume for volume in done.values() if volume.rule.modality == kind]
            if 1 < len(some) < len(done):
                print(mean_table(f"{title}, {kind}", some, mean_scores(some)))
    if done and arguments.json is not None:
        _write_json(arguments, acquisition.factors, done, failed, means)
    if failed:
        return SOME_FAILED if done else next(iter(failed.values())).exit_code
    return 0


def choose_methods(names: Sequence[str]) -> list[str]:
    """The classical methods to run, in the catalogue's order; the baseline is always one of them.

    Raises:
        UsageError: there is no such method.
    """
    from MedSRLib.evaluation.classical import BASELINE, METHODS, PICTURE_ONLY

    for name in names:
        if name != "all" and name not in METHODS:
            raise UsageError(f"there is no classical method {name!r}: choose all or some of {', '.join(METHODS)}")
    everything = set(METHODS) - PICTURE_ONLY if "all" in names else set()
    return [name for name in METHODS if name in {*everything, *names, BASELINE}]


def choose_models(names: Sequence[str], task: str) -> list[Model]:
    """The models to run, their weights verified; by default those the catalogue has for the task.

    Raises:
        UsageError: a model is for other factors than the task's.
        ModelError: there is no such model, or its weights are not the ones its manifest names.
    """
    from MedSRLib.evaluation.protocol import fits_task, models_for_task, parse_task
    from MedSRLib.models.catalogue import find_model

    acquisition = parse_task(task)
    models = [find_model(name) for name in names] if names else models_for_task(acquisition)
    for model in models:
        if not fits_task(model, acquisition):
            name, factors = model.manifest.name, model.manifest.factors_text
            raise UsageError(f"the model {name} is for factors {factors}, not for {task}: leave it out")
        model.manifest.verify(model.folder)
    return models


def volume_table(name: str, title: str, volume: VolumeScores) -> str:
    """The scores of one volume with the range, mask and factors they were computed with."""
    from MedSRLib.evaluation.metrics import ssim_step

    step = ssim_step(volume.shape[0])
    shape, low = (" x ".join(str(n) for n in reversed(s)) for s in (volume.shape, volume.low_shape))
    unit = "HU" if volume.rule.modality == "CT" else "grey levels"
    lines = [
        "",
        f"{name}: {title}, {low} voxels restored to {shape} ({_factors(volume)})",
        f"{volume.rule.describe()}",
        f"SSIM of whole slices ({f'1 in {step}' if step > 1 else 'all'}) and of their foreground (fg); "
        f"edge energy over the reference's; |Ax-y| and shift in {unit}",
        f"{_HEADER}{'|Ax-y|':>9}{'shift':>9}{'seconds':>9}",
        *(_row(score, volume.scores, volume.rule.range) for score in volume.scores),
    ]
    return "\n".join(lines)


def mean_table(title: str, volumes: Sequence[VolumeScores], means: Sequence[Score]) -> str:
    """The means over all volumes; |Ax-y| and shift as a share of each volume's range."""
    lines = [
        "",
        f"mean of {len(volumes)} volumes: {title} ({_factors(volumes[0])})",
        "ranges and foregrounds as above; |Ax-y| and shift in % of the range",
        f"{_HEADER}{'|Ax-y|':>9}{'shift':>9}{'seconds':>9}",
        *(_row(score, means, 100.0) for score in means),
    ]
    return "\n".join(lines)


def _row(score: Score, rows: Sequence[Score], unit: float) -> str:
    """One line; ``unit`` turns shares of the range into what the table's heading says."""
    from MedSRLib.evaluation.classical import BASELINE

    baseline = next(row.psnr for row in rows if row.name == BASELINE)
    return (
        f"{score.name:<22}{score.psnr:>9.2f}{score.psnr - baseline:>+9.2f}{score.ssim:>8.4f}"
        f"{score.ssim_foreground:>9.4f}{score.nrmse:>9.4f}{score.hfen:>8.4f}{score.edge_energy:>7.3f}"
        f"{unit * score.consistency_share:>9.3f}{unit * score.mean_shift_share:>+9.3f}{score.seconds:>9.1f}"
    )


def _title(task: str, width: float, profile: str, noise: float, *, told: bool) -> str:
    """The task, and what about the simulated acquisition the methods are not told."""
    if noise:
        task = f"{task} with noise of {100 * noise:g} % of the range"
    if not told:
        task = f"{task} (models are not told the acquisition)"
    if profile != "gaussian":
        truth = "k-space truncation" if profile == "kspace" else f"{profile} of width {width:g}"
        return f"{task}, truly a {truth} where methods assume gaussian of width 1"
    return task if width == 1 else f"{task}, true width {width:g} where methods assume 1"


def _factors(volume: VolumeScores) -> str:
    return "factors " + " x ".join(f"{factor:.4g}" for factor in volume.factors)


def _write_json(
    arguments: argparse.Namespace,
    factors: Sequence[float],
    done: dict[str, VolumeScores],
    failed: dict[str, MedSRError],
    means: Sequence[Score],
) -> None:
    from MedSRLib.evaluation.classical import BASELINE
    from MedSRLib.volumes.storage import write_atomically

    content: dict[str, Any] = {
        "medsr": __version__,
        "task": arguments.task,
        "factors": list(factors),
        "point_spread": arguments.point_spread,
        "profile": arguments.profile,
        "noise": arguments.noise,
        "untold": arguments.untold,
        "baseline": BASELINE,
        "volumes": [{"reference": name, **volume.to_json()} for name, volume in done.items()],
        "mean": [score.to_json() for score in means],
        "failed": [{"reference": name, "error": str(error)} for name, error in failed.items()],
    }
    text = json.dumps(content, indent=2, allow_nan=False)
    write_atomically(arguments.json, f"{text}\n".encode())
