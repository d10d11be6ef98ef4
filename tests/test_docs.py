"""The documentation says what the program does."""

from __future__ import annotations

import json
import math
import re
import runpy
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from safetensors import safe_open

from charrnn import cells
from charrnn.cli import app
from charrnn.config import ModelConfig
from charrnn.runs import parameters
from tests.conftest import charrnn

ROOT = Path(__file__).parent.parent


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    """The text under a heading, up to the next heading of its level or above."""
    start = re.search(rf"^(#+) {re.escape(heading)}$", page, re.MULTILINE)
    assert start, heading
    return re.split(rf"^#{{1,{len(start[1])}}} ", page[start.end() :], maxsplit=1, flags=re.MULTILINE)[0]


def first_column(text: str) -> set[str]:
    """The names in the first column of a section's tables."""
    return {name for row in re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE) for name in names_in(row)}


def names_in(text: str) -> set[str]:
    return set(re.findall("`([^`\n]+)`", text))


@cache
def commands() -> Any:
    """The commands by name."""
    root: Any = typer.main.get_command(app)
    return root.commands


def options_of(command: Any) -> set[str]:
    """The names of all options of a command and of its subcommands."""
    inner = (options_of(subcommand) for subcommand in getattr(command, "commands", {}).values())
    return {option for parameter in command.params for option in parameter.opts}.union(*inner)


def generator() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "generate.py"))


# --- generated pages ---


def test_the_commands_page_is_what_the_commands_say() -> None:
    assert read("docs/commands.md") == generator()["commands_page"](), "run: python docs/generate.py"


def test_the_tables_of_tensors_are_what_the_cells_say() -> None:
    page = read("docs/checkpoint-format.md")
    assert page == generator()["format_page"](page), "run: python docs/generate.py"


@pytest.mark.parametrize("embedding", [0, 4, 6])
@pytest.mark.parametrize("cell", cells.names())
def test_the_tables_of_tensors_give_every_shape_of_a_network(cell: str, embedding: int) -> None:
    attention = 5 if embedding == 4 else 0
    config = ModelConfig(cell, layers=2, hidden=6, embedding=embedding, attention=attention)
    symbols = 9
    tables = read("docs/checkpoint-format.md").split("<!--")[1]

    def shapes(row: str, inputs: int) -> dict[str, tuple[int, ...]]:
        """The row's shapes, with numbers for letters."""
        sizes = {"H": 6, "D": inputs, "E": embedding, "V": symbols, "N": attention}
        result = {}
        for name, shape, condition in re.findall(r"`([\w.]+)`(?: \|)? \(([^)]*)\)([^`,]*)", row):
            if "where D ≠ H" in condition and inputs == 6:
                continue
            if "not with one-hot input" in condition and not embedding:
                continue
            if "only with attention" in condition and not attention:
                continue
            terms = [re.fullmatch(r"(?:(\d) )?([HDEVN])", size) for size in shape.strip(",").split(", ")]
            result[name] = tuple(int(term[1] or 1) * sizes[term[2]] for term in terms if term)
        return result

    documented: dict[str, tuple[int, ...]] = {}
    for row in re.findall(r"^\| `[\w.]+` \| \(.*$", tables, re.MULTILINE):
        documented |= shapes(row, inputs=0)
    (row,) = re.findall(rf"^\| `{cell}` \|(.*)$", tables, re.MULTILINE)
    for layer, inputs in enumerate((embedding or symbols, 6)):
        documented |= {f"layers.{layer}.{name}": shape for name, shape in shapes(row, inputs).items()}
    if attention:  # as the page says below the tables
        documented["readout.weight"] = (symbols, 6 + 6)
    assert documented == parameters.shapes(config, symbols)


# --- file formats ---


@pytest.mark.slow
def test_the_format_page_names_every_tensor_and_key_for_resuming() -> None:
    row = {"text": "the cat", "who": "a", "v": [1]}
    Path("rows.jsonl").write_text("".join(json.dumps(row | {"text": f"a {n}"}) + "\n" for n in range(30)))
    options = ["--documents", "json", "--label", "who", "--vector", "v", "--hidden", "6", "--steps", "3"]
    options += ["--attention", "4"]
    done = charrnn("train", "rows.jsonl", *options, "--name", "run")
    assert done.status == 0, done.err
    page = section(read("docs/checkpoint-format.md"), "Checkpoint, formats 1 to 3")
    with safe_open("checkpoints/run/last.safetensors", "numpy") as file:
        tensors, header = set(file.keys()), json.loads(file.metadata()["charrnn"])
    parameter_names = "|".join(re.escape(name) for name in tensors if not name.startswith("resume."))
    resume_tensors = {
        re.sub(r"\.\d\.", ".K.", re.sub(rf"({parameter_names})\.", "NAME.", name))
        for name in tensors
        if name.startswith("resume.")
    }
    assert first_column(section(page, "Tensors for resuming")) == resume_tensors
    keys = section(page, "Header")
    assert first_column(keys) == set(header) | set(header["resume"])
    for part in ("model", "vocabulary", "corpus", "origin", "results", "versions"):
        assert set(header[part]) <= names_in(keys)


def test_the_format_page_names_every_tensor_and_key_of_a_state_file(run: Path) -> None:
    done = charrnn("sample", "--length", "3", "--save-state", "state")
    assert done.status == 0, done.err
    page = section(read("docs/checkpoint-format.md"), "State file, format 1")
    with safe_open("state", "numpy") as file:
        tensors, header = set(file.keys()), json.loads(file.metadata()["charrnn-state"])
    arrays = {re.sub(r"\d+\.\d+", "K.I", name) for name in tensors}
    assert first_column(page) == arrays | set(header)
    assert set(header["model"]) <= names_in(page)


# --- the README and the cells' page ---


@pytest.mark.parametrize("page", ["README.md", "docs/commands.md"])
def test_every_command_and_option_that_a_page_shows_exists(page: str) -> None:
    examples = re.findall(r"charrnn ([a-z][\w-]*)((?:(?!\$\()[^\n|;)#])*)", read(page))
    seen = set()
    for name, rest in examples:
        if name not in commands():
            continue
        seen.add(name)
        words = shlex.split(rest.replace("`", " ").replace('"', " ").replace("'", " "))
        assert {word for word in words if word.startswith("--")} <= options_of(commands()[name]) | {
            "--help"
        }, (name, rest)
    assert seen == set(commands())


def test_contributings_tree_shows_every_folder_of_the_package_and_only_paths_that_exist() -> None:
    (tree,) = re.findall(r"^```\w*\n(charrnn/\n.*?)^```$", read("CONTRIBUTING.md"), re.MULTILINE | re.DOTALL)
    folder, shown = ROOT, set()
    for indent, path in re.findall(r"^( *)([\w.]+/?)", tree, re.MULTILINE):
        folder = folder if indent else ROOT / path
        assert (folder / path if indent else folder).exists(), path
        if indent:
            shown.add(path.strip("/"))
    package = {path.name for path in (ROOT / "charrnn").iterdir() if "__" not in path.name}
    assert package - {"py.typed"} == shown


def test_every_option_the_cells_page_shows_exists_and_every_picture_is_there() -> None:
    page = read("docs/cells.md").replace("\\\n", " ")
    examples = re.findall(r"^ *charrnn ([a-z][\w-]*)(.*)$", page, re.MULTILINE)
    assert {name for name, _ in examples} == {"train", "gradient-flow"}
    for name, rest in examples:
        assert {word for word in rest.split() if word.startswith("--")} <= options_of(commands()[name]), (
            name,
            rest,
        )
    pictures = re.findall(r"\]\(([\w-]+\.svg)\)", page)
    assert pictures
    for picture in pictures:
        assert (ROOT / "docs" / picture).exists()


def test_the_cells_pages_code_prints_the_table_that_follows_it(capsys: pytest.CaptureFixture[str]) -> None:
    ((code, table),) = re.findall(
        r"^```python\n(.*?)^```\n\n\| forget bias .*?\n((?:\|.*\n)+)",
        read("docs/cells.md"),
        re.MULTILINE | re.DOTALL,
    )
    exec(code, {})
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = re.findall(r"^\| (\d).* \| ([\d.]+) \|$", table, re.MULTILINE)
    assert [(bias, f"{float(factor):.3f}") for bias, factor in printed] == rows
    assert len(rows) == 3


def norms_of(page: str, form: str) -> dict[tuple[Any, ...], float]:
    """The norms that the gradient-flow command of this form prints: by cell, state, value, distance."""
    (command,) = re.findall(rf"^charrnn (gradient-flow {form})$", page.replace("\\\n", " "), re.MULTILINE)
    done = charrnn(*command.replace("docs/", "").split())
    assert done.status == 0, done.err
    lines = [json.loads(line) for line in done.text.splitlines()]
    for line in lines:
        line["state"] = {"memory": "cell"}.get(line["state"], line["state"])
        line["value"] = round(line["gate_singular_value"] or 0, 3)
    return {
        tuple(line[key] for key in ("cell", "state", "value", "distance")): line["norm"] for line in lines
    }


def agree(figure: str, value: float) -> bool:
    """Whether a figure of a table is the value, rounded to its digits."""
    digits = len(figure.split("e")[0].replace(".", "").lstrip("0"))
    return float(f"{value:.{digits - 1}e}") == float(figure)


@pytest.mark.slow
def test_the_cells_pages_table_of_untrained_networks_is_what_the_command_says() -> None:
    page = read("docs/cells.md")
    norms = {
        (cell, state, back): norm for (cell, state, _, back), norm in norms_of(page, "--length.*").items()
    }
    table = page.partition("| factor per step |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `([\w-]+)` (hidden|cell) state \| (.*) \|$", table, re.MULTILINE)
    assert len(rows) == 5
    for cell, state, figures in rows:
        values = [norms[cell, state, distance] for distance in (1, 10, 50, 100)]
        values.append((values[3] / values[2]) ** (1 / 50))
        for figure, value in zip(figures.split(" | "), values, strict=True):
            assert agree(figure, value), (cell, value)


@pytest.mark.slow
def test_the_cells_pages_table_of_scaled_matrices_is_what_the_command_says() -> None:
    page = read("docs/cells.md")
    norms = norms_of(page, ".*--singular.*")
    (table,) = re.findall(r"^\| largest singular value of each .*\n((?:\|.*\n)+)", page, re.MULTILINE)
    rows = re.findall(
        r"^\| `(\w+)` (\w+) state, 100 back \| (.*) \|\n\| factor per step \| (.*) \|$", table, re.MULTILINE
    )
    assert [row[:2] for row in rows] == [("rnn", "hidden"), ("lstm", "cell")]
    for cell, state, *figures in rows:
        ends, factors = (row.split(" | ") for row in figures)
        for value, end, factor in zip((0.9, 1, 1.2, 1.5, 2), ends, factors, strict=True):
            near, far = (norms[cell, state, value, distance] for distance in (50, 100))
            assert agree(end, far), (cell, value)
            # Where gradients explode, the network is chaotic, and the rounding of each CPU grows.
            assert math.isclose(float(factor), (far / near) ** (1 / 50), rel_tol=0.02), (cell, value)


@pytest.mark.parametrize("name", cells.names())
def test_every_cell_is_documented_with_its_state_gates_and_parameters(name: str) -> None:
    rows = re.findall(rf"^\| `{name}` \|(.*) \|$", read("docs/cells.md"), re.MULTILINE)
    assert len(rows) == 2  # its equations, and its measurements
    _, state, gates, count = rows[0].split(" | ")
    cell = cells.get(name)
    assert state.split(", ") == list(cell.state_names)
    assert gates.split(", ") == list(cell.gates)
    formula, _, projection = count.partition(", and ")
    for inputs, hidden in ((3, 5), (5, 5)):
        product = re.sub(r"(?<=[\w)]) (?=[\w(])", " * ", formula)
        expected = eval(product, {"D": inputs, "H": hidden})
        if inputs != hidden and projection == "H D for P":
            expected += hidden * inputs
        assert expected == sum(math.prod(shape) for shape in cell.shapes(inputs, hidden).values())


def test_the_commands_line_lists_the_cells_there_are() -> None:
    (option,) = [parameter for parameter in commands()["train"].params if parameter.name == "cell"]
    assert option.help.rstrip(".").split(": ")[-1].split(", ") == list(cells.names())
