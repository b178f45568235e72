"""From a configuration to a model folder: reads the volumes, trains both stages, validates, exports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from MedSRLib.enhancement.devices import device_notes, resolve_device
from MedSRLib.errors import UsageError
from MedSRLib.models.card import write_card
from MedSRLib.models.catalogue import Model, find_model, save_model
from MedSRLib.models.manifest import FILE_NAME, Manifest
from MedSRLib.networks.build import build_generator
from MedSRLib.networks.vgg import load_trunk
from MedSRLib.progress import Cancelled, Progress, share_of
from MedSRLib.training.budget import Budget
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.data import TrainingData, read_data
from MedSRLib.training.distillation import DegridStage, load_teacher
from MedSRLib.training.distributed import any_process, own_device, rank, wait_for_all
from MedSRLib.training.fidelity_stage import FidelityStage
from MedSRLib.training.gan import GanStage, refusal
from MedSRLib.training.gan_config import PerceptualConfig
from MedSRLib.training.halo import with_measured_halo
from MedSRLib.training.losses import PerceptualLoss
from MedSRLib.training.network_rules import NO_TRUNK, needs_trunk, require_fitting_networks
from MedSRLib.training.stage import Stage, Validate
from MedSRLib.training.validation import draw_history, score_generator
from MedSRLib.volumes.files import sample_slices
from MedSRLib.volumes.intensity import dense_bone_share
from MedSRLib.volumes.storage import is_url, sha256_of

MODEL_FOLDER = "model"
SAMPLES = "samples"
_CURVE = (0.0, 0.25, 0.5, 0.75, 1.0)
_DEGRID_PART = 0.2
"""Of the second half of a run's progress."""

Weights = dict[str, Tensor]


def train(
    config: TrainingConfig,
    folder: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    warn: Callable[[str], None] | None = None,
) -> Model:
    """Trains, or goes on training, and exports the model with its card.

    Args:
        config: of the run.
        folder: that the configuration's paths are relative to; the run's own folder is ``output/name`` in the current
            folder.
        resume: go on from the run's last checkpoint.
        progress: called with a fraction and a message.
        cancelled: asked after every volume and before every iteration; a cancelled run keeps a checkpoint.
        warn: called with sentences about data that may not be what was meant.

    Returns:
        The model in the run's folder ``model``. It has perceptual weights when there was a GAN stage with a
        checkpoint that was not refused; ``scores["perceptual_refused"]`` says why there is none.

    Raises:
        InputError, UsageError, ModelError: the configuration names data or weights that do not fit.
        TrainingError: values were not finite for too long.
        EnhancementCancelled: ``cancelled()`` returned true.
    """
    device = own_device(resolve_device(config.run.device))
    budget = Budget(config, device) if config.run.minutes else None
    require_fitting_networks(config)
    run_folder = Path.cwd() / config.output / config.name
    if not resume and not config.gan.start:
        FidelityStage.require_new(run_folder)
    for stage in (GanStage, DegridStage) if not resume and config.gan.iterations else ():
        stage.require_new(run_folder)
    perceptual = load_perceptual(config, folder)
    config = _with_trunk_hash(config, folder)
    start = _starting_model(config, folder)
    fine_tuned = find_start(config.start, folder).load_generator().state_dict() if config.start else None
    teacher = load_teacher(config, find_start(config.distil.teacher, folder)) if config.distil.teacher else None
    data = read_data(config, folder, cancelled)
    if warn is not None and rank() == 0:
        for sentence in (*device_notes(config.run.device), *data.warnings):
            warn(sentence)
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    manifest = describe_model(config, data)

    def validate(generator: torch.nn.Module, name: str) -> dict[str, Any]:
        pictures = run_folder / SAMPLES
        return score_generator(generator, manifest, data.validation, str(device), pictures=pictures, name=name)

    scoring: Validate | None = validate if data.validation else None
    torch.backends.cudnn.benchmark = True  # all patches have one shape
    gan_part = _gan_part(config)
    if start is None:
        first = FidelityStage(
            config,
            data.train,
            run_folder,
            device=device,
            start=fine_tuned,
            teacher=teacher,
            validate=scoring,
            resume=resume,
        )
        if budget is not None:
            if scoring is not None:
                budget.time_validation(partial(scoring, first.averaged, "start"))
            later = 2 + len(_CURVE) + bool(config.degrid.iterations) if config.gan.iterations else 0
            first.schedule = budget.fidelity(first.done, 1 + later)
        _compile(first, warn)
        first.run(share_of(progress, 0.0, 1.0 - gan_part), cancelled)
        fidelity: Weights = dict(first.averaged.state_dict())
        scores: dict[str, Any] = next((entry for entry in reversed(first.history) if "psnr" in entry), {})
        if rank() == 0:
            draw_history(first.history, run_folder / "history.png")
        del first  # its volumes lie on the device
    else:
        fidelity, scores = dict(start.load_generator().state_dict()), start.manifest.scores
    weights = {"fidelity": fidelity}
    if config.gan.iterations:
        second = GanStage(
            config,
            data.train,
            run_folder,
            start=fidelity,
            device=device,
            perceptual=perceptual,
            validate=scoring,
            resume=resume,
        )
        degrid_part = _DEGRID_PART * gan_part if config.degrid.iterations else 0.0
        if budget is not None:
            second.schedule = budget.gan(1 + len(_CURVE) + bool(config.degrid.iterations), second.done)
        _compile(second, warn)
        second.run(share_of(progress, 1.0 - gan_part, gan_part - degrid_part), cancelled)
        if rank() == 0:
            draw_history(second.history, run_folder / "gan_history.png")
            scores = {**(second.fidelity or scores), **_perceptual_scores(second)}
        result = second.result()
        if result is not None:
            weights["perceptual"] = result[0]
        if config.degrid.iterations and any_process(result is not None, device):
            third = DegridStage(
                config,
                data.train,
                run_folder,
                start=fidelity if result is None else result[0],  # those of the first process count
                device=device,
                validate=scoring,
                resume=resume,
            )
            if budget is not None:
                third.schedule = budget.degrid(len(_CURVE))
            _compile(third, warn)
            third.run(share_of(progress, 1.0 - degrid_part, degrid_part), cancelled)
            if rank() == 0:
                _take_degridded(third, second.fidelity, weights, scores, warn)
    if rank() == 0:
        if "perceptual" in weights and data.validation:
            scores = {**scores, "fidelity_curve": _curve(config, manifest, data, weights, str(device))}
        _export(config, data, scores, weights, run_folder / MODEL_FOLDER, device)
    wait_for_all()
    return Model.read(run_folder / MODEL_FOLDER)


def load_perceptual(config: TrainingConfig, folder: Path) -> PerceptualLoss | None:
    """The perceptual loss that a configuration asks for; None when its GAN stage has none.

    Args:
        config: of the run.
        folder: that a path of weights is relative to.

    Raises:
        UsageError: no weights are named.
        ModelError: as ``load_trunk``.
    """
    if not needs_trunk(config):
        return None
    settings = config.losses.perceptual
    if not settings.weights:
        raise UsageError(NO_TRUNK)
    trunk = load_trunk(
        settings.trunk,
        settings.layers,
        _trunk_weights(settings, folder),
        sha256=settings.sha256,
        before_relu=settings.before_relu,
        convention=settings.convention,
    )
    return PerceptualLoss(trunk, settings.layer_weights, norm=settings.norm, slices=settings.slices)


def _trunk_weights(settings: PerceptualConfig, folder: Path) -> str:
    """A path, or a URL as it is."""
    return settings.weights if is_url(settings.weights) else str(folder / Path(settings.weights).expanduser())


def _with_trunk_hash(config: TrainingConfig, folder: Path) -> TrainingConfig:
    """The configuration with the SHA-256 of the perceptual weights, so that the manifest says which they were."""
    settings = config.losses.perceptual
    if settings.sha256 or not needs_trunk(config):
        return config
    known = replace(settings, sha256=sha256_of(Path(_trunk_weights(settings, folder))))
    return replace(config, losses=replace(config.losses, perceptual=known))


def describe_model(config: TrainingConfig, data: TrainingData, scores: dict[str, Any] | None = None) -> Manifest:
    """The manifest of the model that a run makes; its halo is the full receptive radius until it is measured."""
    generator = build_generator(config.architecture, config.generator_arguments())
    return Manifest(
        name=config.name,
        version=config.version,
        task=config.task,
        factors=config.factors,
        spatial_dims=config.spatial_dims,
        slices=config.slices,
        conditions=config.conditions,
        predicts="residual",
        architecture=config.architecture,
        arguments=config.generator_arguments(),
        halo=generator.receptive_radius(),
        domain=_domain(data),
        licence=config.licence,
        description=config.description,
        factor_range=config.factor_range if config.kind.has_factor_range else None,
        base_iterations=config.base_iterations,
        border=config.pairs.margin,
        in_plane_fwhm=config.assumed_fwhm,
        training={
            "configuration": config.record(),
            "volumes": data.names,
            "stacks": [name for name, volume in zip(data.names, data.train, strict=True) if volume.is_stack],
            "held_out": list(data.validation),
        },
        scores=scores or {},
    )


def _domain(data: TrainingData) -> dict[str, Any]:
    """What the volumes hold, as the manifest states it."""
    domain = {"modalities": list(data.modalities), "spacing_mm": [round(size, 3) for size in data.spacing_mm]}
    shares = [dense_bone_share(sample_slices(volume.voxels)) for volume in data.train if volume.is_ct]
    return {**domain, "dense_bone": round(max(shares), 3)} if shares else domain


def find_start(name_or_folder: str, folder: Path) -> Model:
    """The model that a stage starts from: a folder beside the configuration, or a name in the catalogue.

    Raises:
        ModelError: there is none.
    """
    beside = folder / name_or_folder
    return Model.read(beside) if (beside / FILE_NAME).is_file() else find_model(name_or_folder)


def _starting_model(config: TrainingConfig, folder: Path) -> Model | None:
    """The model of ``gan.start``.

    Raises:
        ModelError: there is none.
        UsageError: its network is not the configuration's.
    """
    if not config.gan.start:
        return None
    model = find_start(config.gan.start, folder)
    theirs, ours = model.manifest, config.generator_arguments()
    if (theirs.architecture, theirs.arguments) != (config.architecture, ours):
        raise UsageError(
            f"gan.start {config.gan.start} is a {theirs.architecture} with {theirs.arguments}, not the configuration's "
            f"{config.architecture} with {ours}: make them equal"
        )
    return model


def _export(
    config: TrainingConfig,
    data: TrainingData,
    scores: dict[str, Any],
    weights: dict[str, Weights],
    folder: Path,
    device: torch.device,
) -> None:
    model = Model(folder, describe_model(config, data, scores))
    for kind, state in weights.items():
        model = save_model(folder, model.manifest, state, kind, config.half)  # type: ignore[arg-type]
    write_card(with_measured_halo(model, config, data.train, device).manifest, folder)


def _take_degridded(
    stage: DegridStage,
    fidelity: dict[str, Any],
    weights: dict[str, Weights],
    scores: dict[str, Any],
    warn: Callable[[str], None] | None,
) -> None:
    """Puts the last stage's weights in the place of the perceptual ones, unless they drifted."""
    figures: dict[str, Any] = next((entry for entry in reversed(stage.history) if "psnr" in entry), {})
    reason = refusal(figures, fidelity, stage.config.gan) if figures else ""
    if not reason:
        weights["perceptual"] = dict(stage.averaged.state_dict())
        scores.update({"perceptual": figures} if figures else {})
    elif warn is not None:
        warn(f"the perceptual weights keep what grid they draw, for without it {reason}")


def _perceptual_scores(stage: GanStage) -> dict[str, Any]:
    result = stage.result()
    if result is not None:
        return {"perceptual": result[1]}
    reasons = [entry["refused"] for entry in stage.history if entry.get("refused")]
    return {"perceptual_refused": reasons[-1] if reasons else "it was never validated"}


def _curve(
    config: TrainingConfig, manifest: Manifest, data: TrainingData, weights: dict[str, Weights], device: str
) -> list[dict[str, float]]:
    """PSNR against sharpness over the interpolation of weights."""
    points = []
    for alpha in _CURVE:
        generator = build_generator(config.architecture, config.generator_arguments())
        mixed = {
            name: alpha * value.cpu() + (1 - alpha) * weights["perceptual"][name].cpu()
            for name, value in weights["fidelity"].items()
        }
        generator.load_state_dict(mixed)
        figures = score_generator(generator, manifest, data.validation, device)
        figures.pop("volumes")
        points.append({"fidelity": alpha, **figures})
    return points


def _gan_part(config: TrainingConfig) -> float:
    """Of the whole run, for its progress."""
    if config.gan.start or not config.gan.iterations:
        return 1.0 if config.gan.start else 0.0
    if config.run.minutes:
        return config.gan.share
    return config.gan.iterations / (config.optimiser.iterations + config.gan.iterations)


def _compile(stage: Stage, warn: Callable[[str], None] | None) -> None:
    reason = stage.compile()
    if reason and warn is not None and rank() == 0:
        warn(f"the {stage.label} stage trains without torch.compile, more slowly ({reason})")
