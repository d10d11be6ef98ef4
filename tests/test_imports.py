"""The architecture's picture: imports point down, and torch lives where learning does."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "charrnn"
LEVELS = [
    {"errors", "files"},
    {"config", "vocab", "history"},
    {"cells", "network", "corpus", "batches", "catalog", "checkpoint", "sizing"},
    {"inference", "model", "devices", "muon", "rules", "pattern", "unknown"},
    {"choice", "states", "mixture", "streams"},
    {"sample", "beam", "inspect_cell", "novel", "evaluate", "gradient_flow"},
    {"learner"},
    {"budget"},
    {"train"},
    {"cli"},
]
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}
LEARNS = {"budget", "model", "devices", "evaluate", "gradient_flow", "learner", "muon", "train"}
QUESTIONS = {"sample", "inspect_cell", "novel"}


def modules() -> dict[Path, str]:
    """Every file of the package, and the wall it stands behind."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] not in ("__init__", "__main__"):
            found[path] = parts[0]
    return found


def imports(path: Path, everywhere: bool = True) -> set[str]:
    """Dotted names a file imports; with ``everywhere`` also inside functions, never for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    names = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own(names: set[str]) -> set[str]:
    return {
        name.split(".")[1] for name in names if name.startswith("charrnn.") and name.split(".")[1] in LEVEL
    }


@pytest.mark.parametrize("path", modules(), ids=str)
def test_imports_point_down(path: Path) -> None:
    here = modules()[path]
    assert here in LEVEL, f"{here} has no place in the picture"
    for name in own(imports(path)) - {here}:
        assert LEVEL[name] <= LEVEL[here], f"{here} imports {name}, which stands above it"


def test_no_question_asks_another_but_by_sampling() -> None:
    for name in QUESTIONS:
        assert not own(imports(PACKAGE / f"{name}.py")) & QUESTIONS


def test_only_what_learns_imports_torch() -> None:
    users = {
        wall
        for path, wall in modules().items()
        if any(n.split(".")[0] == "torch" for n in imports(path)) and path.name != "watch.py"
    }  # cli/watch.py asks torch for TensorBoard, within the one function that writes to it
    assert users == LEARNS


def test_the_cells_import_no_array_library() -> None:
    for path in (PACKAGE / "cells").glob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & {"torch", "numpy"}


def test_the_command_line_imports_no_array_library_at_its_top() -> None:
    for path in (PACKAGE / "cli").glob("*.py"):
        assert not {name.split(".")[0] for name in imports(path, everywhere=False)} & {"torch", "numpy"}
        assert own(imports(path, everywhere=False)) <= {"cli", "config", "errors"}


def test_every_command_is_two_files_of_one_name() -> None:
    commands = {path.stem for path in (PACKAGE / "cli").glob("*.py")} - {
        "__init__",
        "terminal",
        "common",
        "prompts",
        "samples",
        "settings",
        "shades",
        "texts",
        "watch",
    }
    without = {"info": "checkpoint"}
    for name in commands:
        assert (PACKAGE / f"{without.get(name, name)}.py").exists()


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("torch is blocked")
sys.meta_path.insert(0, Block())
from charrnn.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["sample", "tiny", "--length", "5", "--prompt", "the"],
        ["inspect-cell", "tiny", "--unit", "1", "--sample", "5"],
        ["info", "tiny"],
        ["corpus", "list"],
    ],
    ids=" ".join,
)
def test_no_command_but_training_needs_torch(run: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
