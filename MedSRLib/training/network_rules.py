"""Whether the networks that a configuration names exist and fit its patches: said before anything is loaded."""

from __future__ import annotations

import inspect

from MedSRLib.errors import ModelError, UsageError
from MedSRLib.networks.build import ARCHITECTURES, build_generator
from MedSRLib.networks.vgg import layer_names
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.gan import untrained_discriminator
from MedSRLib.training.rules import Count, require_allowed, type_hints
from MedSRLib.training.toml_tables import convert, require_known

_OF_THE_TASK = {"self", "spatial_dims", "in_channels", "out_channels", "factors"}
"""Arguments of a generator that follow from the task and its factors."""

NO_TRUNK = (
    "the GAN stage looks through a VGG, whose weights are not part of MedSR: give them with --vgg FILE "
    "(losses.perceptual.weights), or leave the stage out with --set gan.iterations=0"
)


def require_fitting_networks(config: TrainingConfig) -> None:
    """Checks what the networks say of a configuration's values; a moment's work, nothing is read.

    Raises:
        UsageError: the architecture or an argument of it is not known, or the patches do not fit the generator, the
            discriminator or the perceptual loss.
    """
    if config.architecture not in ARCHITECTURES:
        raise UsageError(f"architecture = {config.architecture!r} must be {' or '.join(ARCHITECTURES)}")
    constructor = ARCHITECTURES[config.architecture].__init__
    known = [name for name in inspect.signature(constructor).parameters if name not in _OF_THE_TASK]
    require_known(config.generator, known, "generator.{}".format)
    hints = type_hints(constructor)
    for name, value in config.generator.items():
        key = f"generator.{name}"
        hint = Count if hints[name] is int else hints[name]
        require_allowed(hint, convert(hint, value, key), key)
    try:
        generator = build_generator(config.architecture, config.generator_arguments())
    except ModelError as error:
        raise UsageError(f"the table generator does not fit: {error}") from error
    block = getattr(generator, "unshuffle", (1,))[0]
    if config.pairs.patch % block:
        raise UsageError(
            f"pairs.patch = {config.pairs.patch} must be a multiple of {block}, the side of the blocks that "
            f"generator.unshuffle makes"
        )
    if config.gan.iterations:
        untrained_discriminator(config)
    if needs_trunk(config):
        _require_fitting_layers(config)


def needs_trunk(config: TrainingConfig) -> bool:
    """Whether a stage looks through a VGG."""
    return config.gan.iterations > 0 and config.gan.perceptual > 0


def _require_fitting_layers(config: TrainingConfig) -> None:
    """Of the perceptual trunk, which halves images before each block of layers but the first."""
    settings = config.losses.perceptual
    known = layer_names(settings.trunk)
    if unknown := [layer for layer in settings.layers if layer not in known]:
        raise UsageError(f"losses.perceptual.layers: {unknown[0]!r} is none of {settings.trunk}'s: {', '.join(known)}")
    side = min((config.pairs.patch - 2 * config.pairs.margin) * factor for factor in config.scale)
    deepest = max(settings.layers, key=known.index)
    least = 2 ** (int(deepest.removeprefix("conv").partition("_")[0]) - 1)
    if side < least:
        raise UsageError(
            f"pairs.patch = {config.pairs.patch} leaves {side} voxels a side to be scored and {deepest} of "
            f"losses.perceptual.layers needs {least}: make pairs.patch larger"
        )
