"""Tiles: the image is cut into balanced cores, each run with a halo that is cropped away again; nothing is blended.

With a halo of the receptive radius an output voxel sees the same input in a tile as in the whole image, and at the
image's border the same padding, so tiled and untiled results are equal up to float rounding.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from MedSRLib.enhancement.compiling import Compiling
from MedSRLib.enhancement.devices import tile_voxels
from MedSRLib.errors import ModelError, OutOfMemoryError
from MedSRLib.networks.build import Generator

_SMALLEST_TILE = 16
_REMEMBERED_CONSTANTS = 8
_WORTH_CUTTING = 0.9
"""Of a tile's voxels, those that have to be run all the same: above, the air around them is run too."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class Tile:
    """One tile in low-resolution voxels: the ``core`` it answers for, and the ``padded`` box it sees."""

    core: tuple[slice, ...]
    padded: tuple[slice, ...]


def tile_multiple(generator: Generator) -> int:
    """Tiles start at multiples of this: 1, or the factor of the pixel-unshuffle that a generator begins with."""
    return max(getattr(generator, "unshuffle", (1,)))


def plan_tiles(size: Sequence[int], voxels: int, halo: int, multiple: int = 1) -> list[Tile]:
    """Covers an image with balanced tiles: cores partition it, padded boxes hold at most ``voxels`` where they can.

    Args:
        size: of the image, in tensor order.
        voxels: most voxels in a padded box; a core never becomes smaller than 16 along an axis to keep to it.
        halo: voxels around a core, clipped at the image's border.
        multiple: boxes start at multiples of this, for generators that begin with a pixel-unshuffle.
    """
    counts = [1] * len(size)

    def padded_side(axis: int) -> int:
        core = -(-size[axis] // counts[axis])
        return min(size[axis], core + (2 * halo if counts[axis] > 1 else 0))

    while math.prod(padded_side(axis) for axis in range(len(size))) > voxels:
        divisible = [axis for axis in range(len(size)) if size[axis] // (counts[axis] + 1) >= _SMALLEST_TILE]
        if not divisible:
            break
        counts[max(divisible, key=lambda axis: size[axis] / counts[axis])] += 1

    spans = []
    for n, count in zip(size, counts, strict=True):
        edges = [n * part // count // multiple * multiple for part in range(count)] + [n]
        spans.append(
            [
                (
                    slice(a, b),
                    slice(max(0, a - halo) // multiple * multiple, min(n, -(-(b + halo) // multiple) * multiple)),
                )
                for a, b in itertools.pairwise(edges)
            ]
        )
    return [Tile(tuple(s[0] for s in box), tuple(s[1] for s in box)) for box in itertools.product(*spans)]


class TiledGenerator:
    """Runs a generator over images of any size.

    Args:
        generator: float32, in evaluation mode.
        halo: low-resolution voxels that a tile needs around it.
        device: where to run.
        dtype: precision of the run; the result is float32.
        voxels: most low-resolution voxels a tile (with halo) may have; halved when memory runs out.
        border: low-resolution voxels that are mirrored around each image first and cut away again, for generators
            that learned nothing so near to their own zero padding. The mirror is the image's edge, half a voxel
            beyond the outer centres.
        check: called before every tile; raises to cancel.

    Attributes:
        tiles: tiles answered so far.
        skipped: tiles of one constant value (air) that were answered from memory.
        notes: what had to be changed on the way, for the report.
    """

    def __init__(
        self,
        generator: Generator,
        halo: int,
        *,
        device: torch.device,
        dtype: torch.dtype,
        voxels: int,
        border: int = 0,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.device = device
        self.dtype = dtype
        self.voxels = voxels
        self.tiles = 0
        self.skipped = 0
        self.notes: list[str] = []
        self._lasting: list[str] = []
        self._halo = halo
        self._check = check
        self._multiple = tile_multiple(generator)
        self._border = -(-border // self._multiple) * self._multiple
        self._factors = generator.factors
        self._generator = generator
        self._told: tuple[float, ...] = ()
        self._maps: torch.Tensor | None = None
        self._constants: dict[tuple[float, tuple[int, ...]], torch.Tensor] = {}
        self._load()

    def begin(self, told: Sequence[float] = (), voxels: int = 0) -> None:
        """Counts anew, for the next volume; what was changed for good stays among the notes.

        Args:
            told: values of the maps that follow the image channels, see ``acquisition.conditions``.
            voxels: that the volume has for the generator; many make it worth compiling.
        """
        self._network.expect(voxels)
        self.tiles = self.skipped = 0
        self.notes = list(self._lasting)
        if tuple(told) != self._told:
            self._told, self._maps = tuple(told), None
            self._constants.clear()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Runs [N, C, (D,) H, W] float32; returns [N, (D f,) H f, W f] float32, the first output channel.

        The result is where x is, also when the generator had to move to the CPU.

        Raises:
            OutOfMemoryError: memory ran out even for the smallest tiles.
            ModelError: the generator's output is not finite in float32 either.
        """
        size, border = x.shape[2:], self._border
        inner = self._scaled([slice(border, border + n) for n in size])
        while True:
            try:
                return self._run(mirrored(x, border).to(self.device))[(slice(None), *inner)].to(x.device)
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
            # Outside the except block, so that the failed tile's tensors are free.
            self._shrink([n + 2 * border for n in size])

    def _load(self) -> None:
        layout = torch.channels_last if len(self._factors) == 2 else torch.contiguous_format
        self._full = self._generator.to(device=self.device, dtype=torch.float32).to(memory_format=layout)  # type: ignore[call-overload]
        network = self._full
        if self.dtype != torch.float32:
            import copy

            network = copy.deepcopy(self._full).to(self.dtype)
        self._network = Compiling(network, self.device, self._note)
        self._constants.clear()
        self._maps = None

    def _run(self, x: torch.Tensor) -> torch.Tensor:
        size = x.shape[2:]
        plan = plan_tiles(size, self.voxels, self._halo, self._multiple)
        out = torch.empty(x.shape[0], *(n * f for n, f in zip(size, self._factors, strict=True)), device=x.device)
        tiles = skipped = 0
        for tile in plan:
            piece = x[(slice(None), slice(None), *tile.padded)]
            together = max(1, self.voxels // math.prod(piece.shape[2:]))
            target = out[(slice(None), *self._scaled(tile.core))]
            core = self._scaled(
                [slice(c.start - p.start, c.stop - p.start) for c, p in zip(tile.core, tile.padded, strict=True)]
            )
            extremes = torch.stack(piece.flatten(1).aminmax(dim=1), 1).tolist()
            constant = {n: low for n, (low, high) in enumerate(extremes) if low == high}
            for n, value in constant.items():
                self._check()
                key = (value, tuple(piece.shape[1:]))
                skipped += key in self._constants
                target[n] = self._constant(piece[n : n + 1], key)[0][core]
            varied = [n for n in range(len(piece)) if n not in constant]
            for start in range(0, len(varied), together):
                self._check()
                # A list of numbers would have to be brought to the device, and the images to be gathered.
                chosen = varied[start : start + together] if constant else slice(start, start + together)
                target[chosen] = self._answer(piece[chosen])[(slice(None), *core)]
            tiles += len(piece)
        self.tiles += tiles
        self.skipped += skipped
        return out

    def _scaled(self, box: Sequence[slice]) -> tuple[slice, ...]:
        return tuple(slice(s.start * f, s.stop * f) for s, f in zip(box, self._factors, strict=True))

    def _answer(self, piece: torch.Tensor) -> torch.Tensor:
        """The generator's output; two halos away from everything but air it is that of nothing but air.

        A halo further in than that the generator sees air alone, and the tile's own border: there its output is the
        constant tile's, as exactly as tiles are. So the box of all else is run with two halos around it.
        """
        size = piece.shape[2:]
        air = float(piece[(0,) * piece.ndim])
        anything = (piece != air).flatten(0, 1).any(0)
        wanted, seen = [], []
        for axis, n in enumerate(size):
            found = anything.movedim(axis, 0).flatten(1).any(1).nonzero()
            start, stop = (int(end) for end in torch.stack([found[0, 0], found[-1, 0] + 1]).tolist())
            start, stop = max(0, start - self._halo), min(n, stop + self._halo)
            wanted.append(slice(start, stop))
            first = max(0, start - self._halo) // self._multiple * self._multiple
            seen.append(slice(first, min(n, -(-(stop + self._halo) // self._multiple) * self._multiple)))
        share = math.prod(s.stop - s.start for s in seen) / math.prod(size)
        key = (air, tuple(piece.shape[1:]))
        if share * len(piece) + (key not in self._constants) > _WORTH_CUTTING * len(piece):
            return self._infer(piece)
        whole = self._constant(torch.full_like(piece[:1], air), key).repeat(len(piece), *[1] * len(size))
        inner = [slice(w.start - s.start, w.stop - s.start) for w, s in zip(wanted, seen, strict=True)]
        part = self._infer(piece[(slice(None), slice(None), *seen)])
        whole[(slice(None), *self._scaled(wanted))] = part[(slice(None), *self._scaled(inner))]
        return whole

    def _constant(self, piece: torch.Tensor, key: tuple[float, tuple[int, ...]]) -> torch.Tensor:
        """The generator's answer to a constant tile. Equal tiles have equal answers, so it is worked out once."""
        if key not in self._constants:
            while len(self._constants) >= _REMEMBERED_CONSTANTS:
                self._constants.pop(next(iter(self._constants)))
            self._constants[key] = self._infer(piece)
        return self._constants[key]

    def _infer(self, low: torch.Tensor) -> torch.Tensor:
        if self._told:
            if self._maps is None:
                self._maps = torch.tensor(self._told, device=self.device).view(1, -1, *[1] * (low.ndim - 2))
            low = torch.cat([low, self._maps.expand(len(low), -1, *low.shape[2:])], 1)
        if low.ndim == 4:
            low = low.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            result = self._network(low.to(self.dtype))[:, 0].float()
            if self.dtype != torch.float32 and not bool(torch.isfinite(result).all()):
                self._note(f"tiles that overflowed in {self.dtype} were repeated in float32")
                result = self._full(low)[:, 0]
            if not bool(torch.isfinite(result).all()):
                raise ModelError("the model's output is not finite: check its weights with 'medsr models verify'")
        return result

    def _shrink(self, size: Sequence[int]) -> None:
        """Halves the tiles; when they cannot get smaller, goes on on the CPU or gives up."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        before = plan_tiles(size, self.voxels, self._halo, self._multiple)
        while self.voxels > 1:
            self.voxels = self.voxels // 2
            if plan_tiles(size, self.voxels, self._halo, self._multiple) != before or self.voxels == 1:
                self._note("memory ran out, smaller tiles were used", lasting=True)
                return
        self._give_up_device()

    def or_on_cpu(self, work: Callable[[], Result]) -> Result:
        """What a piece of work around the generator gives; it is begun anew on the CPU where the device's memory ends.

        Args:
            work: takes ``device`` for its own tensors.

        Raises:
            OutOfMemoryError: the CPU's memory ended.
        """
        try:
            return work()
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        self._give_up_device()
        return work()

    def _give_up_device(self) -> None:
        """Goes on on the CPU, in float32 and with its tiles, and notes it.

        Raises:
            OutOfMemoryError: it is there already.
        """
        if self.device.type == "cpu":
            raise OutOfMemoryError("memory ran out even for the smallest tiles: close programs, or enhance a --roi")
        self._note(f"memory of {self.device} ran out, the CPU was used", lasting=True)
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.voxels = tile_voxels(self._generator, self.device)
        self._load()

    def _note(self, text: str, *, lasting: bool = False) -> None:
        for notes in (self.notes, self._lasting) if lasting else (self.notes,):
            if text not in notes:
                notes.append(text)


def mirrored(x: torch.Tensor, border: int) -> torch.Tensor:
    """Images with a mirrored border along every axis, about their edges, half a voxel beyond the outer centres."""
    for axis, n in enumerate(x.shape[2:], start=2) if border else ():
        index = np.pad(np.arange(n), border, mode="symmetric")
        x = x.index_select(axis, torch.from_numpy(index).to(x.device))
    return x


def _is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA has its own error class; torch's CPU allocator raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
