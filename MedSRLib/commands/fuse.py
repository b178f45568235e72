"""``medsr fuse``: several series of thick slices in, one isotropic volume out."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from MedSRLib.commands.fusion_options import add_fusion_options, read_fusion_options
from MedSRLib.commands.progress import progress_bar
from MedSRLib.commands.targets import require_target
from MedSRLib.errors import UsageError
from MedSRLib.volumes.storage import write_atomically

EXAMPLES = """examples:
  medsr fuse axial.nii.gz sagittal.nii.gz coronal.nii.gz fused.nii.gz
  medsr fuse dicom_axial/ dicom_sagittal/ fused.nrrd --spacing 0.8 --report fused.json
  medsr fuse stack1.nii.gz stack2.nii.gz stack3.nii.gz fetus.nii.gz --slice-motion --slice-profile slr
  medsr fuse t2_axial.nii.gz t2_sagittal.nii.gz t2.nii.gz --like t1_3d.nii.gz --no-registration

Every INPUT is one series of one contrast: NIfTI, NRRD, MetaImage or the folder of a DICOM series. OUTPUT is NIfTI,
NRRD or MetaImage, by its suffix. It lies where the first series does, and has its grey levels and data type.
It is not for primary diagnosis."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``medsr fuse``."""
    parser.add_argument("inputs", metavar="INPUT", nargs="+", type=Path, help="two or more series to fuse")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="where to write the result")
    grid = parser.add_mutually_exclusive_group()
    grid.add_argument("--like", type=Path, metavar="VOLUME", help="give the result the grid of this volume")
    add_fusion_options(parser, grid)
    parser.add_argument("--model", default="auto", metavar="NAME", help="an isotropic model (default: auto)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument(
        "--precision", default="auto", choices=("auto", "float32", "float16", "bfloat16"), help="of the generator"
    )
    parser.add_argument(
        "--modality", choices=("CT", "MR", "US", "XR", "other"), help="of the inputs, where their files do not say"
    )
    parser.add_argument("--coverage", metavar="FILE", type=Path, help="also write how many series measured each voxel")
    parser.add_argument("--report", metavar="FILE.json", type=Path, help="also write the fusion report")
    parser.add_argument("--json", action="store_true", help="print the fusion report as JSON")
    parser.add_argument("--overwrite", action="store_true", help="replace existing outputs (never an input)")
    parser.epilog = EXAMPLES


def run(arguments: argparse.Namespace) -> int:
    """Fuses series. Nothing is written before the whole result is there."""
    from MedSRLib.fusion.reading import read_series
    from MedSRLib.volumes.files import read_volume, require_writable, write_volume
    from MedSRLib.volumes.source import Source

    targets = [path for path in (arguments.output, arguments.coverage, arguments.report) if path is not None]
    if len({path.absolute() for path in targets}) < len(targets):
        raise UsageError("the output, the coverage map and the report need different files")
    if len(arguments.inputs) < 2:
        raise UsageError("fusing takes two or more series, and there is one: use 'medsr enhance' for a single series")
    if len({path.resolve() for path in arguments.inputs}) < len(arguments.inputs):
        raise UsageError("one series is named twice: name each input once")
    options = read_fusion_options(arguments)
    inputs = [*arguments.inputs, *([arguments.like] if arguments.like else [])]
    allowed = {"overwrite": arguments.overwrite, "protected": inputs}
    for path in (arguments.output, arguments.coverage):
        if path is not None:
            require_writable(path, **allowed)
    if arguments.report is not None:
        require_target(arguments.report, ".json", overwrite=arguments.overwrite, inputs=inputs)
    volumes = [read_series(path, modality=arguments.modality) for path in arguments.inputs]
    sources = [Source(path) for path in arguments.inputs]
    described = [source.described() for source in sources]
    like = None if arguments.like is None else read_volume(arguments.like)

    from MedSRLib.enhancement.devices import device_notes
    from MedSRLib.fusion.fuse import fuse
    from MedSRLib.fusion.grid import plan_fusion
    from MedSRLib.fusion.report import mark_of, with_inputs

    names = _names(arguments.inputs)
    plan = plan_fusion(volumes, spacing=options.spacing, like=like, field=options.field)
    print(f"medsr: fusing {len(volumes)} series to {plan.describe()}", file=sys.stderr)
    said = device_notes(options.device)
    for sentence in said:
        print(f"medsr: {sentence}", file=sys.stderr)
    with progress_bar("medsr") as progress:
        fused = fuse(volumes, names=names, like=like, model=arguments.model, progress=progress, **options.to_json())
    report = {"output": str(arguments.output), **with_inputs(fused.report, arguments.inputs, sources, described)}
    report["notes"] += write_volume(fused.volume, arguments.output, mark=mark_of(report), **allowed)
    if arguments.coverage is not None:
        write_volume(fused.coverage, arguments.coverage, **allowed)
    text = json.dumps(report, indent=2, ensure_ascii=False)
    if arguments.report is not None:
        write_atomically(arguments.report, f"{text}\n".encode("utf-8", "backslashreplace"))
    for sentence in dict.fromkeys((*report["warnings"], *report["notes"])):
        if sentence not in said:
            print(f"medsr: {sentence}", file=sys.stderr)
    print(text if arguments.json else summary(report))
    return 0


def summary(report: dict[str, Any]) -> str:
    """The fusion report in a few lines."""
    model = report["model"]
    lines = [
        report["output"],
        f"  size         {' x '.join(map(str, report['shape']))} voxels of "
        f"{' x '.join(f'{s:.3g}' for s in report['spacing_mm'])} mm",
        f"  generator    {'left out' if model is None else model['name'] + ' ' + model['version']}, "
        f"on {report['device']}, {report['seconds']:.1f} s",
    ]
    for entry in report["series"]:
        motion = entry["motion"]
        lines += [
            f"  {entry['name']}",
            f"    moved      {motion['turn_deg']:.2f} degrees, {motion['shift_mm']:.2f} mm",
            f"    agreement  {entry['consistency_rmse']:.3g} grey levels RMS "
            f"({entry['consistency_percent']:.3f} % of the range), gain {entry['gain']:.3f}",
        ]
    shares = report["coverage"]["percent"]
    covered = ", ".join(f"{100 if share > 99.95 else share:.1f} % by {n}" for n, share in shares.items() if share)
    return "\n".join([*lines, f"  measured     {covered} of {len(report['series'])} series", f"  {report['notice']}"])


def _names(paths: list[Path]) -> list[str]:
    """File names, or whole paths where two are alike."""
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]
