"""Errors the user can cause. Each message is one sentence that says what to do; each class has its exit code."""

from __future__ import annotations


class MedSRError(Exception):
    """Base of every error that MedSR raises on purpose; ``exit_code`` is what the command line returns."""

    exit_code = 3


class UsageError(MedSRError):
    """The call itself is wrong: an unknown option value, or an output that may not be written."""

    exit_code = 2


class InputError(MedSRError):
    """The input cannot be enhanced: missing, truncated, empty, not finite, a label map, colour, wrong rank."""


class ModelError(MedSRError):
    """A model is unknown, damaged, tampered with, or does not fit the input."""


class OutputError(MedSRError):
    """The result could not be written: no space, no permission."""


class OutOfMemoryError(MedSRError):
    """Not enough memory even for the smallest tile."""


class TrainingError(MedSRError):
    """Training cannot go on: its values are not finite."""


class MissingPackageError(MedSRError):
    """An optional package is needed and not installed."""


class EnhancementCancelled(MedSRError):
    """The caller's ``cancelled()`` returned true, or Ctrl-C was pressed; nothing was left behind."""

    exit_code = 130
