"""What a model folder says about itself: ``manifest.json``, read strictly and checked against its files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

from MedSRLib.errors import ModelError, UsageError
from MedSRLib.models.manifest_rules import RULES, is_whole
from MedSRLib.models.task import Task
from MedSRLib.models.tasks import TASKS
from MedSRLib.volumes.storage import hash_mismatch, sha256_of, write_atomically

FILE_NAME = "manifest.json"
FORMAT = 1
"""Version of the manifest's own layout; a reader refuses a later one."""


@dataclass(frozen=True)
class Manifest:
    """One model: what it does, what it was made for, and the hashes of its weights. JSON keys equal field names.

    Args:
        name: letters, digits, ``.``, ``_`` and ``-``; also the name of its folder in the catalogue.
        version: the model's own version.
        task: a name in ``MedSRLib.models.tasks.TASKS``.
        factors: upsampling along i, j, k; for "through-plane" the k entry is the nominal factor.
        spatial_dims: 2 or 3, of the network.
        slices: odd number of neighbouring slices fed as channels; 1 for none.
        predicts: "residual" (added to the interpolated input) or "image".
        architecture: a name in ``MedSRLib.networks.build.ARCHITECTURES``.
        arguments: keyword arguments of its constructor.
        halo: low-resolution voxels a tile needs around it.
        conditions: what the generator is told, in the order of its input maps, which follow the slices: names in
            ``MedSRLib.acquisition.conditions.CONDITIONS``.
        domain: ``{"modalities": [...], "spacing_mm": [min, max] or None}``: what it was trained for; without
            modalities it was not trained for medical images and is never chosen by itself. Where CT is among them also
            "dense_bone": the largest share of dense bone in the tissue of a CT that it was trained on, see
            ``dense_bone_share``.
        licence: of the weights.
        description: for people.
        factor_range: [min, max] factors allowed along k, "through-plane" only.
        base_iterations: back-projection steps of the base the residual is added to; 0 is plain B-spline.
        border: voxels that are mirrored around an image before the generator sees it: so far from its own padding it
            was not scored in training.
        in_plane_fwhm: point-spread width, in low-resolution voxels, that is assumed where nobody says it and it is not
            estimated: along k, and in blank images. Narrower than one voxel it costs a little where the truth is
            wider, and spares ringing where it is narrower.
        intensity: rule that normalises the input; "per-volume" is ``IntensityScaling``.
        tile_tolerance: largest change of the generator's output that tiling may cause, in parts of the range, for
            which the halo was measured; 0 means float rounding (the halo is the full receptive radius).
        weights: "fidelity" and optionally "perceptual", each ``{"file": name in the folder, "sha256": hex}``.
        training: configuration and data the weights came from.
        scores: measured results.
    """

    name: str
    version: str
    task: str
    factors: tuple[float, float, float]
    spatial_dims: int
    slices: int
    predicts: str
    architecture: str
    arguments: dict[str, Any]
    halo: int
    domain: dict[str, Any]
    licence: str
    description: str
    conditions: tuple[str, ...] = ()
    factor_range: tuple[float, float] | None = None
    base_iterations: int = 0
    border: int = 0
    in_plane_fwhm: float = 1.0
    intensity: str = "per-volume"
    tile_tolerance: float = 0.0
    weights: dict[str, dict[str, str]] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (is_right, wanted) in RULES.items():
            if not is_right(getattr(self, name)):
                raise ModelError(f"the manifest's {name!r} must be {wanted}, not {getattr(self, name)!r}")
        object.__setattr__(self, "factors", tuple(self.factors))
        object.__setattr__(self, "conditions", tuple(self.conditions))
        if self.factor_range is not None:
            object.__setattr__(self, "factor_range", tuple(self.factor_range))
        if self.factor_range is not None and not self.kind.has_factor_range:
            ranged = ", ".join(name for name, task in TASKS.items() if task.has_factor_range)
            raise ModelError(f"the manifest may only state a factor_range for the task {ranged}")
        if objection := self.kind.objection(self):
            raise ModelError(objection)

    @property
    def kind(self) -> Task:
        """What its task is."""
        return TASKS[self.task]

    def require_fidelity(self, fidelity: float | None) -> None:
        """Check that the weights can be interpolated so; None asks for nothing.

        Raises:
            UsageError: it is not within 0..1.
            ModelError: there are no perceptual weights to take part.
        """
        if fidelity is not None and not 0 <= fidelity <= 1:
            raise UsageError(f"fidelity must lie between 0 and 1, not {fidelity}")
        if fidelity is not None and fidelity < 1 and "perceptual" not in self.weights:
            raise ModelError(f"the model {self.name} has no perceptual weights: use fidelity 1")

    def hashes_in_use(self, fidelity: float | None) -> dict[str, str]:
        """SHA-256 of each set of weights that takes part at a fidelity: both between 0 and 1, else one."""
        unused = {None: "perceptual", 1.0: "perceptual", 0.0: "fidelity"}.get(fidelity, "")
        return {name: entry["sha256"] for name, entry in self.weights.items() if name != unused}

    @property
    def factors_text(self) -> str:
        """The factors along i, j, k for people, such as "1 x 1 x 1.5 to 8"."""
        i, j, k = (f"{factor:g}" for factor in self.factors)
        if self.factor_range is not None:
            k = "{:g} to {:g}".format(*self.factor_range)
        return f"{i} x {j} x {k}"

    @classmethod
    def from_json(cls, content: Any, *, source: str = FILE_NAME) -> Manifest:
        """A manifest from parsed JSON; keys that only other tools read are ignored.

        Args:
            content: what ``json.load`` returned.
            source: named in errors.

        Raises:
            ModelError: a key is missing, a value is wrong, or the layout is of a later MedSR.
        """
        if not isinstance(content, dict):
            raise ModelError(f"{source} must hold one JSON object: import or train the model again")
        layout = content.get("format")
        if not is_whole(layout, least=1):
            raise ModelError(f"{source} lacks its 'format' number: import or train the model again")
        if layout > FORMAT:
            raise ModelError(f"{source} has layout {layout} and this MedSR reads up to {FORMAT}: update MedSR")
        missing = [f.name for f in fields(cls) if f.name not in content]
        if missing:
            raise ModelError(f"{source} lacks {', '.join(map(repr, missing))}: import or train the model again")
        try:
            return cls(**{f.name: content[f.name] for f in fields(cls)})
        except ModelError as error:
            raise ModelError(f"{source}: {error}") from None

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest in a model folder.

        Raises:
            ModelError: there is none, it is not JSON, or ``from_json`` refuses it.
        """
        path = Path(folder) / FILE_NAME
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ModelError(f"{path} cannot be read ({error.strerror}): give the folder of a model") from error
        except ValueError as error:
            raise ModelError(f"{path} is not valid JSON ({error}): install the model again") from error
        return cls.from_json(content, source=str(path))

    def to_json(self) -> dict[str, Any]:
        """The content of ``manifest.json``: the fields, and the keys that MONAI's bundle tools ask for."""
        return {"format": FORMAT, **{f.name: getattr(self, f.name) for f in fields(self)}, **self._bundle_metadata()}

    def write(self, folder: Path) -> None:
        """Writes ``manifest.json`` in one step: a reader sees the old file or the new one, never half a file."""
        text = json.dumps(self.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(Path(folder) / FILE_NAME, f"{text}\n".encode())

    def verify(self, folder: Path) -> None:
        """Compares every weights file with its SHA-256.

        Raises:
            ModelError: a file is missing or differs; it is named.
        """
        if "fidelity" not in self.weights:
            raise ModelError(f"the model {self.name} in {folder} has no weights: train it or install it again")
        for entry in self.weights.values():
            path = Path(folder) / entry["file"]
            if not path.is_file():
                raise ModelError(f"{path} is missing: install the model again")
            if sha256_of(path) != entry["sha256"]:
                raise ModelError(hash_mismatch(path))

    def _bundle_metadata(self) -> dict[str, Any]:
        """Keys of MONAI's bundle specification that the fields do not already have."""
        dims = self.spatial_dims
        tensor = {
            "type": "image",
            "format": "magnitude",
            "modality": ", ".join(self.domain["modalities"]) or "n/a",
            "spatial_shape": ["*"] * dims,
            "dtype": "float32",
            "is_patch_data": True,
        }
        channels = {
            "image": (self.arguments.get("in_channels", 1), [0, 1], "normalised slice, or a condition"),
            "pred": (self.arguments.get("out_channels", 1), [], self.predicts),
        }
        formats = {
            key: {**tensor, "num_channels": n, "value_range": span, "channel_def": {str(c): what for c in range(n)}}
            for key, (n, span, what) in channels.items()
        }
        return {
            "monai_version": package_version("monai"),
            "pytorch_version": package_version("torch"),
            "numpy_version": package_version("numpy"),
            "required_packages_version": {},
            "authors": "see description",
            "copyright": f"licence: {self.licence}",
            "network_data_format": {
                "inputs": {"image": formats["image"]},
                "outputs": {"pred": formats["pred"]},
            },
        }
