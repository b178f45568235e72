"""Makes the pages of the site that are said elsewhere already: MkDocs calls ``on_files`` before it builds.

The command line comes from the parser of ``medsr``, the Python page from the names that MedSRLib exports, the
configuration from the classes that check it, the models from their manifests and cards. So none of them can go stale.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from griffe import Docstring, DocstringSectionKind
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import MedSRLib
from MedSRLib.commands.main import COMMANDS, build_parser
from MedSRLib.training.config import TrainingConfig
from MedSRLib.training.estimator_config import EstimatorConfig
from MedSRLib.training.rules import Rule

ROOT = Path(__file__).resolve().parents[1]
RESOURCES = ROOT / "Resources"
MOVED = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changes.md", "Resources/Screenshots/": "images/"}
"""Where on the site lies what lies outside docs/."""
PICTURES = (*sorted((RESOURCES / "Screenshots").glob("*.png")), ROOT / "MedSR" / "Resources" / "Icons" / "MedSR.png")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages and the repository's pictures."""
    pages = {
        "reference/cli.md": cli_page(),
        "reference/python.md": python_page(),
        "reference/configuration.md": configuration_page(),
        "reference/models.md": models_page(),
        "contributing.md": from_root("CONTRIBUTING.md", config.extra["repository"]),
        "changes.md": from_root("CHANGELOG.md", config.extra["repository"]),
        **{f"reference/models/{card.parent.name}.md": card.read_text(encoding="utf-8") for card in cards()},
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    for picture in PICTURES:
        files.append(File.generated(config, f"images/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links that leave docs/, as they have to be on GitHub, into the site's own."""
    up = "../" * page.file.src_uri.count("/")
    for outside, inside in MOVED.items():
        markdown = re.sub(rf"\]\((?:\.\./)+{re.escape(outside)}", f"]({up}{inside}", markdown)
    return markdown


def on_post_build(config: MkDocsConfig) -> None:
    """Fails the build where a page would load something over the network when it is read."""
    for page in Path(config.site_dir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe|source)\b[^>]*\ssrc="(https?://[^"]+)"', text)
        loaded += re.findall(r'<link\b[^>]*\srel="(?:stylesheet|icon|preload)"[^>]*\shref="(https?://[^"]+)"', text)
        loaded += re.findall(r'<link\b[^>]*\shref="(https?://[^"]+)"[^>]*\srel="(?:stylesheet|icon|preload)"', text)
        if loaded:
            raise PluginError(f"{page.name} loads {loaded[0]}: a site that needs no network keeps its own copy")


def from_root(name: str, repository: str) -> str:
    """A page of the repository's root: its links into docs/ become the site's, all others the repository's."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = re.sub(r"\]\(docs/([^)]+)\)", r"](\1)", text)
    return re.sub(
        r"\]\((?!https?:|#)([^)]+)\)",
        lambda link: (
            link[0] if (ROOT / "docs" / link[1].partition("#")[0]).exists() else f"]({repository}/blob/main/{link[1]})"
        ),
        text,
    )


def cli_page() -> str:
    """Every command with its options, from the parser itself."""
    parts = [
        "# The command line",
        "What `medsr COMMAND --help` prints. Results go to stdout, messages to stderr. Exit codes: 0 done, 2 wrong "
        "usage, 3 bad input, 4 some of several failed, 130 cancelled.",
        "| command | |\n|---|---|\n"
        + "\n".join(f"| [`medsr {n}`](#medsr-{n}) | {said} |" for n, said in COMMANDS.items()),
    ]
    for name in COMMANDS:
        parts += command_section(subparsers(build_parser(name))[name], COMMANDS[name], level=2)
    return "\n\n".join(parts) + "\n"


def command_section(parser: argparse.ArgumentParser, summary: str, level: int) -> Iterator[str]:
    """One command, and below it the actions it has."""
    yield f"{'#' * level} `{parser.prog}` {{: #{parser.prog.replace(' ', '-')} }}"
    description = (parser.description or summary).strip()
    yield description[0].upper() + description[1:].rstrip(".") + "."
    formatter = argparse.HelpFormatter(parser.prog, width=100)
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups)
    yield f"```text\n{formatter.format_help().strip()}\n```"
    rows = [
        f"| {invocation(action)} | {cell(formatter._expand_help(action) if action.help else '')} |"
        for action in parser._actions
        if not isinstance(action, argparse._SubParsersAction | argparse._HelpAction)
    ]
    if rows:
        yield "| argument | meaning |\n|---|---|\n" + "\n".join(rows)
    if parser.epilog:
        yield f"```text\n{parser.epilog.strip()}\n```"
    for name, inner in subparsers(parser).items():
        yield from command_section(inner, f"{parser.prog} {name}", level + 1)


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a parser's sub-commands by name."""
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def invocation(action: argparse.Action) -> str:
    """How an argument is written, such as ``--roi I0 I1``."""
    formatter = argparse.HelpFormatter("", width=1000)
    values = formatter._format_args(action, action.metavar if isinstance(action.metavar, str) else action.dest.upper())
    words = [" ".join([one, values]).strip() for one in action.option_strings] or [values]
    return ", ".join(f"`{word.replace('|', chr(92) + '|')}`" for word in words)


def python_page() -> str:
    """What ``import MedSRLib`` offers, and the logic of the Slicer module."""
    errors = [name for name, kind in vars(MedSRLib.errors).items() if isinstance(kind, type)]
    names = [f"{module}.{name}" for name, module in MedSRLib._EXPORTS.items() if module != "MedSRLib.errors"]
    parts = [
        "# Python",
        "Everything below comes from `import MedSRLib`, which is light: torch and MONAI are imported by the first call "
        "that needs them.",
        "## The library",
        *(f"::: {name}" for name in names),
        "## Errors",
        "Every error that a caller can cause derives from `MedSRError`; its message is one sentence that says what "
        "to do.",
        *(f"::: MedSRLib.errors.{name}" for name in errors),
        "## In 3D Slicer",
        "`from MedSR import MedSRLogic` in Slicer's Python console.",
        "::: MedSR.MedSR.MedSRLogic\n    options:\n      docstring_style: sphinx\n      members: "
        f"{json.dumps(public_methods(ROOT / 'MedSR' / 'MedSR.py', 'MedSRLogic'))}",
    ]
    return "\n\n".join(parts) + "\n"


def public_methods(path: Path, name: str) -> list[str]:
    """The methods of a class that a caller may use, read without importing its file."""
    import ast

    tree = ast.parse(path.read_text(encoding="utf-8"))
    owner = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return [node.name for node in owner.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]


def configuration_page() -> str:
    """Every key of a training configuration with type, default and meaning; then the shipped ones."""
    shipped = sorted((RESOURCES / "Training").glob("*.toml"))
    parts = [
        "# The training configuration",
        "A TOML file that `medsr train` reads: a shipped one by its name, or one of your own. `--set key=value` "
        "changes a setting for one run, with the key as it stands here: `--set optimiser.iterations=2000`. Every value "
        "is checked before anything is loaded. [How to train](../howto/training.md) has examples.",
        *tables(TrainingConfig, ""),
        "## The acquisition estimator",
        "A configuration whose `task` is `acquisition` trains the network that tells how blurred and how noisy a "
        "volume is. It has the tables `data`, `pairs`, `optimiser` and `run` as above, and:",
        estimator_table(),
        "## The shipped configurations",
        *(f"### {path.stem}\n\n```toml\n{path.read_text(encoding='utf-8').strip()}\n```" for path in shipped),
    ]
    return "\n\n".join(parts) + "\n"


def tables(config: Any, prefix: str) -> Iterator[str]:
    """One TOML table, then those inside it."""
    hints = typing.get_type_hints(config, include_extras=True)
    summary, meanings = described(config)
    yield f"## `[{prefix}]` {{: #{prefix.replace('.', '-')} }}" if prefix else "## The top of the file"
    yield summary
    inner = {f.name: hints[f.name] for f in dataclasses.fields(config) if dataclasses.is_dataclass(hints[f.name])}
    rows = [
        f"| `{f.name}` | {cell(kind(hints[f.name]))} | {cell(default(f))} | {cell(meanings.get(f.name, ''))} |"
        for f in dataclasses.fields(config)
        if f.name not in inner
    ]
    if rows:
        yield "| key | may be | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows)
    for name, one in inner.items():
        yield from tables(one, f"{prefix}.{name}".lstrip("."))


def estimator_table() -> str:
    """The top of an estimator's configuration."""
    return list(tables(EstimatorConfig, ""))[2]


def described(config: Any) -> tuple[str, dict[str, str]]:
    """The text before a class's ``Args``, and what they say of each key; one entry may speak of several."""
    text, meanings = [], {}
    for section in Docstring(config.__doc__ or "").parse("google", warnings=False):
        if section.kind is DocstringSectionKind.text:
            text.append(section.value)
        elif section.kind is DocstringSectionKind.parameters:
            for parameter in section.value:
                for name in parameter.name.split(","):
                    meanings[name.strip()] = parameter.description
    return "\n\n".join(text), meanings


def kind(hint: Any) -> str:
    """What a key may hold: its rule's words, or its type in those of TOML."""
    plain = {str: "string", int: "integer", float: "number", bool: "boolean"}
    if hint in plain:
        return plain[hint]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        words = [kind(one) for one in inner if one is not Ellipsis]
        return f"array of {words[0]}s" if Ellipsis in inner else f"array of {len(words)} {words[0]}s"
    if origin is dict or hint is dict:
        return "table"
    if origin is typing.Literal:
        return ", ".join(f"`{json.dumps(one)}`" for one in inner)
    if origin is typing.Annotated:  # the rule that the value is held to, in its own words
        return next((one.wanted for one in inner[1:] if isinstance(one, Rule)), kind(inner[0]))
    words = [kind(one) for one in inner if one is not type(None)]
    return " or ".join(words) or str(getattr(hint, "__name__", hint))


def default(field: Any) -> str:
    """A field's default as TOML has it."""
    if field.default_factory is not dataclasses.MISSING:
        return f"`{json.dumps(field.default_factory())}`"
    return "required" if field.default is dataclasses.MISSING else f"`{json.dumps(field.default)}`"


def cell(text: str) -> str:
    """Text that may stand in a cell of a table."""
    return " ".join(text.replace("``", "`").split()).replace("|", "\\|")


def cards() -> Iterable[Path]:
    """The cards of the shipped models."""
    return sorted((RESOURCES / "Models").glob("*/MODEL_CARD.md"))


def gains() -> str:
    """What the shipped models gain by kind of image, side by side, from their manifests."""
    names, kinds = [], {}
    for card in cards():
        manifest = json.loads((card.parent / "manifest.json").read_text(encoding="utf-8"))
        names.append(manifest["name"])
        for row in manifest["scores"].get("kinds", ()):
            kinds.setdefault(row["kind"], {})[manifest["name"]] = f"{row['gain']:+.2f}"
    rows = [f"| {kind} | " + " | ".join(found.get(name, "") for name in names) + " |" for kind, found in kinds.items()]
    return (
        "## What they gain\n\n"
        "dB of PSNR over B-spline with 20 back-projections, in the mean of the subjects of a kind, none of them "
        "trained on; clean, at a point spread of one voxel, of which the models are told. Near 0 there is no use in a "
        "model.\n\n"
        f"| kind | {' | '.join(names)} |\n|---|{'---|' * len(names)}\n" + "\n".join(rows)
    )


def models_page() -> str:
    """The shipped models, from their manifests; each links to its card."""
    rows = []
    for card in cards():
        manifest = json.loads((card.parent / "manifest.json").read_text(encoding="utf-8"))
        factors = " x ".join(f"{factor:g}" for factor in manifest["factors"])
        if span := manifest.get("factor_range"):
            factors = f"slices {span[0]:g} to {span[1]:g} times"
        rows.append(
            f"| [{manifest['name']}](models/{manifest['name']}.md) | {manifest['version']} | {factors} | "
            f"{', '.join(manifest['domain']['modalities'])} | {' and '.join(manifest['weights'])} | "
            f"{cell(manifest['description'])} |"
        )
    untrained = sorted(
        {path.stem for path in (RESOURCES / "Training").glob("*.toml")}
        - {card.parent.name for card in cards()}
        - {"acquisition-estimator"}
    )
    return (
        "# The models\n\nWhat is shipped. Each card has what the model was trained on, its figures volume by volume, "
        "and what it must not be used for; `medsr models list` names those that are installed.\n\n"
        "| model | version | factors | for | weights | |\n|---|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n\n"
        + gains()
        + "\n\n"
        "Ready to be trained, with [configurations](configuration.md#the-shipped-configurations): "
        + ", ".join(f"`{name}`" for name in untrained)
        + ".\n"
    )
