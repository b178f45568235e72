"""The options of a fusion on a command line, as ``FusionOptions`` states them."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from MedSRLib.errors import UsageError

if TYPE_CHECKING:
    from MedSRLib.fusion.request import FusionOptions


def add_fusion_options(parser: Any, grid: Any = None) -> None:
    """Adds what a fusion is asked beside ``--model``, ``--device`` and ``--precision``.

    Args:
        parser: of a sub-command, or a group of its arguments.
        grid: the group that ``--spacing`` belongs to; None for the parser itself.
    """
    (grid or parser).add_argument(
        "--spacing", type=float, metavar="MM", help="of the result along every axis (default: the finest pixels)"
    )
    parser.add_argument(
        "--field",
        default="first",
        choices=("first", "union", "intersection"),
        help="of view: the first series' box, or the union or the intersection of all (default: first)",
    )
    parser.add_argument(
        "--slice-profile",
        dest="profile",
        default="gaussian",
        choices=("gaussian", "box", "slr"),
        help="how slices weigh what lies across them; slr: 2D spin echo (default: gaussian)",
    )
    parser.add_argument(
        "--no-registration",
        dest="registration",
        action="store_false",
        help="the series lie where the scanner says: look for no motion between them",
    )
    parser.add_argument(
        "--slice-motion", action="store_true", help="look for the motion of every slice too (moving subjects)"
    )
    parser.add_argument(
        "--no-generator",
        dest="generator",
        action="store_false",
        help="leave out the model that fills what no series measured",
    )


def read_fusion_options(arguments: argparse.Namespace) -> FusionOptions:
    """The options that were asked for.

    Raises:
        UsageError: a value is wrong.
    """
    from MedSRLib.fusion.request import FusionOptions

    options = FusionOptions(**{one.name: getattr(arguments, one.name) for one in fields(FusionOptions)})
    options.check()
    return options


def require_options_of_work(arguments: argparse.Namespace) -> None:
    """Refuse, in a batch, what is asked of an enhancement where series are fused, and the other way round.

    Raises:
        UsageError: an option would be ignored.
    """
    from MedSRLib.enhancement.request import Options
    from MedSRLib.fusion.request import FusionOptions

    fusing = arguments.fuse
    shared = {one.name for one in fields(Options)} & {one.name for one in fields(FusionOptions)}
    ignored: type[Any] = Options if fusing else FusionOptions
    for one in fields(ignored):
        if one.name not in shared and getattr(arguments, one.name) != one.default:
            words = {"profile": "slice-profile"}.get(one.name, one.name.replace("_", "-"))
            flag = f"--no-{words}" if one.default is True else f"--{words}"
            if fusing:
                raise UsageError(f"{flag} is for enhancing volumes one by one: leave it out, or leave --fuse out")
            raise UsageError(f"{flag} is for fusing series: add --fuse, or leave it out")
    if fusing and arguments.format == "dicom":
        raise UsageError("a fused volume is written as NIfTI, NRRD or MetaImage: choose another --format")
