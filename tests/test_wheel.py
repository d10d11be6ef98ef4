"""The wheel: what is in it, and that it works in an environment that has nothing else of charrnn."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import numpy as np
import pytest

import charrnn
from charrnn.runs.find import pretrained
from tests.conftest import charrnn as command

ROOT = Path(__file__).parent.parent
LARGEST = 5_000_000
"""Bytes of the wheel, at most."""

pytestmark = pytest.mark.slow


def quietly(*arguments: object, cwd: Path = ROOT) -> None:
    """Run Python with these arguments, and fail with what it printed."""
    process = [sys.executable, *map(str, arguments)]
    done = subprocess.run(process, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel; no network is used."""
    folder = tmp_path_factory.mktemp("dist")
    quietly("-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``charrnn`` of an environment that holds the wheel alone, and sees the libraries of this one."""
    folder = tmp_path_factory.mktemp("environment")
    quietly("-m", "venv", "--without-pip", folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    # A folder in a .pth file is searched after the environment's own. The .pth files in that folder, such as
    # that of an editable install, are not read.
    (packages / "libraries.pth").write_text(str(Path(np.__file__).parents[1]))
    python = folder / "bin" / "python"
    quietly("-m", "pip", "--python", python, "install", "--no-index", "--no-deps", "--no-compile", wheel)
    return folder / "bin" / "charrnn"


def run(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command in an empty folder, with nothing of this environment's."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "CHARRNN", "VIRTUAL_ENV"))
    }
    empty = Path("empty")
    empty.mkdir(exist_ok=True)
    return subprocess.run(
        [installed, *arguments], cwd=empty, env=environment, capture_output=True, text=True, check=False
    )


def test_the_wheel_holds_the_package_the_catalogue_and_the_pretrained_models(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (archive.read(name) for name in names if name.endswith(".dist-info/METADATA"))
    assert {f"charrnn/pretrained/{name}.safetensors" for name in pretrained()} <= names
    assert {"charrnn/text/catalog.toml", "charrnn/py.typed", "charrnn/api.py"} <= names
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"charrnn"}
    assert wheel.stat().st_size < LARGEST
    fields = message_from_bytes(metadata)
    assert fields["Version"] == charrnn.__version__
    assert fields["License-Expression"] == "MIT"


def test_an_installed_wheel_samples_at_once(installed: Path) -> None:
    done = run(installed, "sample", "-n", "50", "-s", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == command("sample", "shakespeare", "-n", "50", "-s", "1").text
    assert "shakespeare, a model that comes with charrnn" in done.stderr
    assert not list(Path("empty").iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--version"], f"charrnn {charrnn.__version__}"),
        (["info", "shakespeare"], str(Path("charrnn", "pretrained", "shakespeare.safetensors"))),
        (["corpus", "list"], "tinyshakespeare"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_installed_wheel_knows_its_files(installed: Path, arguments: list[str], says: str) -> None:
    done = run(installed, *arguments)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
    assert str(ROOT / "charrnn") not in done.stdout


def test_an_installed_wheel_is_imported_from_its_own_environment(installed: Path) -> None:
    code = "import charrnn; print(charrnn.__file__, charrnn.load('shakespeare').name)"
    done = subprocess.run(
        [installed.with_name("python"), "-I", "-c", code], capture_output=True, text=True, check=True
    )
    file, name = done.stdout.split()
    assert Path(file).is_relative_to(installed.parents[1])
    assert name == "shakespeare"


def test_the_manual_page_is_installed(installed: Path) -> None:
    page = installed.parent.parent / "share" / "man" / "man1" / "charrnn.1"
    assert page.read_bytes() == (ROOT / "docs" / "charrnn.1").read_bytes()
