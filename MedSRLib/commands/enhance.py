"""``medsr enhance``: one volume in, one sharper volume out."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from MedSRLib.commands.cost import keep_cost, say_cost
from MedSRLib.commands.options import add_options, read_options
from MedSRLib.commands.progress import progress_bar
from MedSRLib.commands.targets import require_target
from MedSRLib.enhancement.request import Input
from MedSRLib.enhancement.result import FidelityReport
from MedSRLib.errors import UsageError
from MedSRLib.volumes.storage import write_atomically

EXAMPLES = """examples:
  medsr enhance head.nii.gz head_x2.nii.gz
  medsr enhance dicom_folder/ chest_x2.nrrd --report chest_x2.json
  medsr enhance dicom_folder/ derived_series/ --uncertainty derived_spread/
  medsr enhance head.nii.gz corner.nii.gz --roi 40 104 60 124 0 48 --uncertainty corner_spread.nii.gz

INPUT is NIfTI, NRRD, MetaImage or the folder of a DICOM series; OUTPUT is NIfTI, NRRD or MetaImage, by its suffix.
Of a DICOM series, an OUTPUT without a suffix becomes a folder with a derived series in the same study (one slice may
also be a .dcm file), and so does that of --uncertainty. An existing folder is only replaced, with --overwrite, where it
holds nothing but a series that MedSR made.
The result keeps the input's grey levels, data type and field of view. It is not for primary diagnosis."""


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """What ``medsr enhance`` and ``medsr batch`` say of inputs and outputs alike."""
    parser.add_argument(
        "--modality", choices=("CT", "MR", "US", "XR", "other"), help="of the input, where its file does not say"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing outputs (never the input)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``medsr enhance``."""
    parser.add_argument("input", metavar="INPUT", type=Path, help="the volume to enhance")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="where to write the result")
    add_options(parser, without=("uncertainty",))
    add_input_options(parser)
    parser.add_argument("--series", metavar="UID", help="which series of a DICOM folder: its UID or the end of it")
    parser.add_argument(
        "--frame",
        type=int,
        metavar="N",
        help="one frame of a 4D file or series, counted from 1, or one of several views (default: every frame)",
    )
    parser.add_argument(
        "--uncertainty",
        metavar="FILE",
        type=Path,
        help="also write the uncertainty (takes 8 times as long, 4 times through-plane)",
    )
    parser.add_argument("--report", metavar="FILE.json", type=Path, help="also write the fidelity report")
    parser.add_argument(
        "--roi",
        nargs=6,
        type=int,
        metavar=("I0", "I1", "J0", "J1", "K0", "K1"),
        help="enhance these voxels only: first and one past the last along i, j, k",
    )
    parser.add_argument("--json", action="store_true", help="print the fidelity report as JSON")
    parser.epilog = EXAMPLES


def run(arguments: argparse.Namespace) -> int:
    """Enhances one volume. Nothing is written before the whole result is there."""
    from MedSRLib.volumes.dicom_target import is_dicom_target
    from MedSRLib.volumes.files import read_sequence, require_writable, write_volume
    from MedSRLib.volumes.mark import UNCERTAINTY, Mark
    from MedSRLib.volumes.source import Source

    targets = [path for path in (arguments.output, arguments.uncertainty, arguments.report) if path is not None]
    if len({path.absolute() for path in targets}) < len(targets):
        raise UsageError("the output, the uncertainty and the report need different files")
    allowed = {"overwrite": arguments.overwrite, "protected": [arguments.input]}
    source = Source(arguments.input, arguments.series, arguments.frame)
    with progress_bar("medsr") as progress:
        progress(0.0, "reading")
        sequence = read_sequence(arguments.input, modality=arguments.modality, series=arguments.series)
    sequence = sequence.chosen(arguments.frame, arguments.input)
    described = source.described()
    volumes = [path for path in (arguments.output, arguments.uncertainty) if path is not None]
    to_dicom = source.is_dicom and any(is_dicom_target(path) for path in volumes)
    if to_dicom and len(sequence) > 1:
        raise UsageError(
            f"a DICOM series is written of one of the {len(sequence)} frames: choose --frame, or a .nii.gz"
        )
    for path in volumes:
        require_writable(path, volume=sequence.volumes[0], dicom=source.is_dicom, **allowed)
    if arguments.report is not None:
        require_target(arguments.report, ".json", overwrite=arguments.overwrite, inputs=[arguments.input])

    from MedSRLib.enhancement.devices import device_notes, resolve_device
    from MedSRLib.enhancement.enhancer import enhance_all
    from MedSRLib.enhancement.frames import join_frames
    from MedSRLib.models.catalogue import resolve_model

    options = read_options(arguments, uncertainty=arguments.uncertainty is not None)
    with progress_bar("medsr") as progress:
        progress(0.0, "loading PyTorch")
        model = resolve_model(arguments.model, resolve_device(options.device).type)
    said = device_notes(options.device)
    for sentence in said:
        print(f"medsr: {sentence}", file=sys.stderr)
    expected = say_cost(sequence, model, options, arguments.roi)
    inputs = [Input(volume, arguments.roi) for volume in sequence.volumes]
    with progress_bar("medsr") as progress:
        enhanced = join_frames(sequence, enhance_all(inputs, model, options, progress=progress))
        keep_cost(expected, enhanced.report)
        fidelity = replace(enhanced.report, warnings=(*source.warnings(), *enhanced.report.warnings))
        report = {"input": str(arguments.input), "output": str(arguments.output), **described, **fidelity.to_json()}
        wanted = [(enhanced.sequence, arguments.output, Mark.of(report))]
        if enhanced.uncertainty is not None:
            wanted.append((enhanced.uncertainty, arguments.uncertainty, Mark.of(report, UNCERTAINTY)))
        template = source.template() if to_dicom else None
        progress(1.0, "writing")
        for result, path, mark in wanted:
            report["notes"] += write_volume(result, path, mark=mark, template=template, **allowed)
    text = json.dumps(report, indent=2, ensure_ascii=False)
    if arguments.report is not None:
        # A name that is no UTF-8 stands in JSON as the escape that JSON has for it.
        write_atomically(arguments.report, f"{text}\n".encode("utf-8", "backslashreplace"))
    for sentence in dict.fromkeys((*report["warnings"], *report["notes"])):
        if sentence not in said:
            print(f"medsr: {sentence}", file=sys.stderr)
    print(text if arguments.json else summary(arguments.output, fidelity))
    return 0


def summary(output: Path, report: FidelityReport) -> str:
    """The fidelity report in a few lines, below the path of the result."""
    return (
        f"{output}\n"
        f"  model        {report.model.name} {report.model.version} on {report.device}, {report.seconds:.1f} s\n"
        f"  acquisition  {report.acquisition_text}\n"
        f"  agreement    {report.lr_consistency_rmse:.3g} grey levels RMS with the input "
        f"({report.lr_consistency_percent:.3f} % of the range)\n"
        f"  taken off    {report.residual_text}\n"
        f"  mean shift   {report.mean_shift:+.3g} grey levels\n"
        f"  sharpness    {report.edge_sharpness_gain:.2f} times the edge strength of interpolation\n"
        f"  {report.notice}"
    )
