"""The architecture: the package's folders are its rooms, and imports point down."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import typer

from charrnn.cli import app

PACKAGE = Path(__file__).parent.parent / "charrnn"
FLOORS = ("", "cells text", "runs", "inference", "inspection training", "cli api")
"""The rooms, lowest floor first: the folders of the package, the module api, which the package itself
exports, and "" for the other modules outside every folder."""
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms.split() or [""]}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__main__.py")


def module_of(path: Path) -> str:
    """The dotted name by which a file of the package is imported."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


NAMES = {module_of(path) for path in MODULES}


def room_of(module: str) -> str:
    """The room that a module of the package is in."""
    if module == "charrnn":
        return "api"
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOOR else ""


def imported(path: Path, at_the_top: bool = False) -> set[str]:
    """The modules a file imports, also for type checking and inside functions unless ``at_the_top``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set()
    for node in tree.body if at_the_top else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in NAMES else node.module for name in whole}
    return names


def libraries(names: set[str]) -> set[str]:
    """The top-level packages of some modules."""
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_a_room_imports_only_from_itself_and_from_lower_floors(path: Path) -> None:
    here = room_of(module_of(path))
    for name in imported(path) & NAMES:
        assert room_of(name) == here or FLOOR[room_of(name)] < FLOOR[here], f"{path} imports {name}"


def test_no_imports_form_a_circle() -> None:
    graph = {module_of(path): (imported(path) & NAMES) - {module_of(path)} for path in MODULES}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_only_training_imports_torch(path: Path) -> None:
    assert "torch" not in libraries(imported(path)) or room_of(module_of(path)) == "training"


def test_the_cells_import_no_array_library() -> None:
    for path in (PACKAGE / "cells").glob("*.py"):
        assert not libraries(imported(path)) & {"torch", "numpy"}


def test_the_command_line_imports_no_array_library_at_its_top() -> None:
    for path in (PACKAGE / "cli").glob("*.py"):
        names = imported(path, at_the_top=True)
        assert not libraries(names) & {"torch", "numpy"}
        assert {room_of(name) for name in names & NAMES} <= {"cli", ""}


def test_every_command_is_two_files_of_one_name() -> None:
    computing = {path.stem for path in MODULES if room_of(module_of(path)) != "cli"}
    for command in typer.main.get_group(app).commands:
        name = command.replace("-", "_")
        assert (PACKAGE / "cli" / f"{name}.py").exists()
        assert name in computing


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


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["ngram", "notes.txt"],
        ["sample", "tiny", "--length", "5", "--prompt", "the"],
        ["inspect-cell", "tiny", "--unit", "1", "--sample", "5"],
        ["encode", "tiny", "notes.txt", "--unknown", "skip"],
        ["info", "tiny"],
        ["corpus", "list"],
        ["runs"],
        ["cache", "--help"],
    ],
    ids=" ".join,
)
def test_no_command_but_training_needs_torch(run: Path, arguments: list[str]) -> None:
    Path("notes.txt").write_text("a short text")
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
