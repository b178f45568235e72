"""What README, CONTRIBUTING and docs/ tell a reader to type works: every command is parsed, all but the long ones run.

A page's commands run in its order, in a folder that holds the volumes it names.
"""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from fusion_fixtures import AXIAL, CORONAL, SAGITTAL, Blobs, stack
from module_fixtures import REPOSITORY

from MedSRLib.commands.main import COMMANDS, build_parser, main
from MedSRLib.training.arguments import add_run_arguments, find_configuration
from MedSRLib.volumes.files import write_volume
from MedSRLib.volumes.volume import Volume

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("**/*.md"))]
TOOLS = {"cd", "git", "make", "pip", "pre-commit", "py", "python", "ruff", "mypy", "mkdocs", "Slicer", "torchrun"}
"""Programs besides ``medsr`` that a reader is told to call."""
OTHERS = {"--nnodes", "--rdzv-endpoint"}
"""Options of theirs that a text names alone."""


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    for path in PAGES:
        page, text = path.relative_to(REPOSITORY).as_posix(), path.read_text(encoding="utf-8")
        for found in re.finditer(r"^( *)```(\S+)[^\n]*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
            yield Block(page, text.count("\n", 0, found.start()) + 1, found[2], found[3])


class Command(NamedTuple):
    """A line of a shell block."""

    place: str
    words: tuple[str, ...]

    @property
    def page(self) -> str:
        return self.place.partition(":")[0]


def commands() -> Iterator[Command]:
    for block in blocks():
        if block.language in ("bash", "bat"):
            text = block.text.replace("\\\n", " ") if block.language == "bash" else block.text.replace("\\", "/")
            for line in text.splitlines():
                words = [] if re.match(r"\w+=\$\(", line) else shlex.split(line, comments=True)
                while words and (words[0] in ("exec", "export") or re.match(r"\w+=", words[0])):
                    words = words[1:]
                if words:
                    yield Command(block.place, (Path(words[0]).name, *words[1:]))


BLOCKS, ALL = list(blocks()), list(commands())
MEDSR = [one for one in ALL if one.words[0] == "medsr"]


def named(cases: list[Command]) -> list[object]:
    return [pytest.param(one, id=f"{one.place} {' '.join(one.words)[:60]}") for one in cases]


def parsed(words: tuple[str, ...]) -> argparse.Namespace:
    """The arguments of ``medsr`` as its own parser reads them."""
    return build_parser(words[1]).parse_args(words[1:])


def test_there_is_something_to_test() -> None:
    assert len(MEDSR) > 30
    assert {one.words[1] for one in MEDSR} == set(COMMANDS)


@pytest.mark.parametrize("command", named(ALL))
def test_a_command_is_one_that_is_there(command: Command) -> None:
    assert command.words[0] in {"medsr", *TOOLS}, f"{command.place}: {command.words[0]} is not known here"


@pytest.mark.parametrize("command", named(MEDSR))
def test_the_parser_takes_every_medsr_command(command: Command) -> None:
    assert parsed(command.words).command == command.words[1]


@pytest.mark.parametrize("command", named([one for one in ALL if one.words[0] == "make"]))
def test_the_makefile_has_the_target(command: Command) -> None:
    targets = re.search(r"^\.PHONY:(.*)$", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert targets is not None
    assert set(command.words[1:]) <= set(targets[1].split())


@pytest.mark.parametrize("command", named([one for one in ALL if one.words[0] == "Slicer"]))
def test_slicer_is_given_a_script_that_is_there_and_arguments_that_it_takes(command: Command) -> None:
    words = list(command.words)
    script = REPOSITORY / words[words.index("--python-script") + 1]
    assert script.is_file()
    if script.name == "medsr_batch.py":
        options = words[words.index("--") + 1 :]
        if "--log" in options:
            del options[options.index("--log") : options.index("--log") + 2]
        assert parsed(("medsr", "batch", *options)).command == "batch"


@pytest.mark.parametrize("command", named([one for one in ALL if one.words[0] == "torchrun"]))
def test_torchrun_starts_the_trainer_with_arguments_that_it_takes(command: Command) -> None:
    parser = argparse.ArgumentParser()
    add_run_arguments(parser)
    words = list(command.words)
    assert words[words.index("-m") + 1] == "MedSRLib.training"
    assert find_configuration(parser.parse_args(words[words.index("-m") + 2 :]).config).is_file()


@pytest.mark.parametrize("block", [one for one in BLOCKS if one.language == "toml"], ids=lambda block: block.place)
def test_toml_is_toml(block: Block) -> None:
    assert tomllib.loads(block.text)


def test_python_for_slicer_calls_what_the_logic_has() -> None:
    """Blocks with ``slicer`` in them need Slicer: their calls are held against the module's own source."""
    source = ast.parse((REPOSITORY / "MedSR" / "MedSR.py").read_text(encoding="utf-8"))
    logic = next(one for one in source.body if isinstance(one, ast.ClassDef) and one.name == "MedSRLogic")
    methods = {one.name: one.args for one in logic.body if isinstance(one, ast.FunctionDef)}
    seen = 0
    for block in BLOCKS:
        if block.language == "python" and "MedSRLogic" in block.text:
            for call in ast.walk(ast.parse(block.text)):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in methods:
                    allowed = methods[call.func.attr]
                    names = {one.arg for one in (*allowed.args, *allowed.kwonlyargs)}
                    if allowed.kwarg is None:
                        assert {one.arg for one in call.keywords} <= names, block.place
                    seen += 1
    assert seen


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                found |= options_of(inner)
    return found


def test_every_option_that_a_text_names_exists() -> None:
    """In prose and tables, such as ``--fidelity`` in backquotes; what follows another program's name is left to it."""
    known = set().union(*(options_of(build_parser(name)) for name in COMMANDS)) | OTHERS
    for path in PAGES:
        for code in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", path.read_text(encoding="utf-8")):
            if code.split()[0] not in TOOLS:
                options = set(re.findall(r"(?:^|\s)(--[a-z][a-z-]*)", code))
                assert options <= known, f"{path.name}: {code}"


def test_links_between_files_lead_somewhere() -> None:
    """As GitHub shows them; MkDocs checks those of the site when it builds, strictly, and makes the reference."""
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text) + re.findall(r'<img src="([^"]+)"', text):
            made = (path.parent / target).resolve().is_relative_to(REPOSITORY / "docs" / "reference")
            assert made or (path.parent / target).exists(), f"{path.name}: {target}"


# What the pages' commands find when they run.


@pytest.fixture
def desk(tmp_path: Path, smooth_volume: Callable[..., Volume], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with every input that a page names; models of one's own go into it too."""
    from test_dicom import write_series

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDSR_MODELS", str(tmp_path / "models"))
    head = smooth_volume((4, 64, 60))
    thick = smooth_volume((6, 40, 36))
    for folder in ("study/p01/anat", "VOLUMES", "Resources/SampleData"):
        (tmp_path / folder).mkdir(parents=True)
    for name, volume in {
        "head.nii.gz": head,
        "thick.nii.gz": thick,
        "reference.nii.gz": smooth_volume((4, 48, 44)),
        "study/p01/anat/p01_T1w.nii.gz": smooth_volume((4, 20, 18)),
        "Resources/SampleData/mr_t1_head_1.5mm.nrrd": thick,
        "VOLUMES/p01.nii.gz": smooth_volume((8, 48, 48)),
        "VOLUMES/p07.nii.gz": smooth_volume((8, 48, 48)),
    }.items():
        write_volume(volume, tmp_path / name)
    for name, directions in {"axial": AXIAL, "sagittal": SAGITTAL, "coronal": CORONAL}.items():
        write_volume(stack(Blobs(), directions, side=28.0), tmp_path / f"{name}.nii.gz")
    write_series(tmp_path / "dicom_folder")
    return tmp_path


def foreign_checkpoint(path: Path) -> None:
    """A Real-ESRGAN checkpoint of a tiny network, as torch saves it."""
    import torch
    from test_dialects import basicsr, rrdb

    torch.save({"params_ema": basicsr(rrdb().state_dict())}, path)


def runs(command: Command) -> bool:
    """Not those that only several processes, an optional package or another computer's variables can serve; batches and
    fusions, which take long, on their own pages alone."""
    words = " ".join(command.words)
    elsewhere = command.words[1] in ("batch", "fuse") and not command.page.endswith(f"{command.words[1]}.md")
    return not elsewhere and "$" not in words and "--workers" not in words and not words.endswith(".onnx")


def shortened(words: list[str]) -> list[str]:
    """The same command, but two small iterations long where it would train for minutes, and on a tiny volume where it
    would time itself for minutes."""
    short = ("optimiser.iterations=2", "optimiser.batch=1", "pairs.patch=16", "data.validation_slices=1")
    if words[0] == "benchmark":
        return [*words, "--model", "inplane-x2-lite", "--size", "16", "16", "2", "--device", "cpu"]
    if "acquisition-estimator" in words:
        short = (*short, "patches=[16, 16, 16, 16]")
    return words + [word for setting in short for word in ("--set", setting)] if words[0] == "train" else words


@pytest.mark.parametrize("page", sorted({one.page for one in MEDSR if runs(one)}))
def test_the_commands_of_a_page_run(page: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if page.endswith("weights.md"):
        foreign_checkpoint(desk / "RealESRGAN_x4plus.pth")
    for block in BLOCKS:
        if block.page != page:
            continue
        if block.language == "python" and "slicer" not in block.text:
            exec(compile(block.text, block.place, "exec"), {"__name__": "example"})
        for command in MEDSR:
            if command.place == block.place and runs(command):
                code = main(shortened(list(command.words[1:])))
                assert code == 0, f"{command.place}: {' '.join(command.words)}\n{capsys.readouterr().err}"
