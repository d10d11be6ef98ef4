"""What holds for every command, whatever its files and options are; and the valid files that are damaged.

A command ends with status 0, 1 or 2. An error is one line on stderr. What it prints as JSON is JSON, and no
file of the user's changes.
"""

from __future__ import annotations

import copy
import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.conftest import TEXT, Ran, charrnn

LIMIT = 60
"""Seconds after which a command hangs: the slowest one takes less than one."""
MEMORY = 2 << 30
"""Bytes that a command may take; all of the valid files together have less than a megabyte."""
DEEP = "@deep@"
"""Stands for a value with 100,000 levels, which ``json.dumps`` cannot write."""
DOCUMENTS = "".join(
    json.dumps({"text": f"{word} {number}", "prompt": word, "who": who, "v": [number, 1]}) + "\n"
    for number, (word, who) in enumerate([("cat", "ann"), ("mat", "bob"), ("sat", "ann")] * 6)
)
STEERING = "a\x1b[31mb\u202ec\x9bd"
"""Characters that steer a terminal, or change the direction of a line."""
SIZES = ["--hidden", "4", "--layers", "1", "--embedding", "2", "--streams", "2", "--bptt", "8"]
NETWORK = [*SIZES, "--steps", "2", "-q"]
RUNS = ("--checkpoints", "runs")


def examples(count: int) -> Callable[[Any], Any]:
    """Settings of a test: so many examples, and more with ``--hypothesis-profile=fuzz`` (``make fuzz``)."""
    factor = max(1, settings.default.max_examples // 100) if settings.default else 1
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(max_examples=count * factor, suppress_health_check=checks, deadline=None)


@cache
def original_folder() -> TemporaryDirectory[str]:
    """The folder of ``originals``, which is deleted when the process ends."""
    return TemporaryDirectory(prefix="charrnn-fuzz-")


@cache
def originals() -> Path:
    """A folder of valid files: two texts, three runs in ./runs and a saved state."""
    folder = Path(original_folder().name)
    with inside(folder):
        Path("text.txt").write_text(TEXT[:300] + STEERING * 9, encoding="utf-8")
        Path("documents.jsonl").write_text(DOCUMENTS, encoding="utf-8")
        labels = ("--documents", "json", "--label", "who", "--vector", "v")
        for arguments in (
            ("train", "text.txt", *RUNS, "--name", "net", *NETWORK),
            ("train", "documents.jsonl", *RUNS, "--name", "docs", *labels, *NETWORK),
            ("ngram", "text.txt", *RUNS, "--name", "grams", "--order", "3", "-q"),
            ("sample", "net", *RUNS, "--length", "5", "--seed", "1", "--save-state", "state"),
        ):
            ran = charrnn(*arguments)
            assert ran.status == 0, ran.err
        shutil.rmtree("cache", ignore_errors=True)
    return folder


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Context manager: the folder is the current one, and has the cache of the encoded texts."""
    before, cached = Path.cwd(), os.environ.get("CHARRNN_CACHE")
    os.chdir(folder)
    os.environ["CHARRNN_CACHE"] = str(folder / "cache")
    try:
        yield
    finally:
        os.chdir(before)
        os.environ.pop("CHARRNN_CACHE")
        if cached is not None:
            os.environ["CHARRNN_CACHE"] = cached


@contextmanager
def copies() -> Iterator[Path]:
    """Context manager: a folder with copies of the original files, the current one inside the block."""
    with TemporaryDirectory(prefix="charrnn-fuzz-") as name:
        folder = Path(name) / "work"
        shutil.copytree(originals(), folder)
        with inside(folder):
            yield folder


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of the user's files below a folder, by path; not those of the cache, nor locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "cache" not in path.relative_to(folder).parts and "lock" not in path.name
    }


@contextmanager
def time_limit() -> Iterator[None]:
    """Context manager: fails where the block takes longer than LIMIT."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"not ended after {LIMIT} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def memory_limit() -> Iterator[None]:
    """Context manager: the block can take MEMORY bytes more than the process has; on Linux only."""
    if sys.platform != "linux":
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def check(*arguments: str, stdin: bytes | None = None, may_change: tuple[str, ...] = ()) -> Ran:
    """Run a command in the current folder and check the laws: the result.

    ``may_change`` has the beginnings of the paths that it may change when it succeeds.
    """
    before = contents(Path.cwd())
    with time_limit(), memory_limit():
        ran = charrnn(*arguments, stdin=stdin)
    errors = [line for line in ran.err.splitlines() if line.startswith("charrnn: ")]
    assert ran.status in (0, 1, 2), ran
    assert "Traceback" not in ran.err, ran.err
    assert "not enough memory" not in ran.err, ran.err
    assert len(errors) == (1 if ran.status else 0), ran
    assert all(line.isprintable() for line in errors), ran
    if ran.status and "charrnn: " in ran.err:
        assert ran.err.splitlines()[-1] == errors[-1], ran.err  # nothing follows it, not even its second line
    if ran.status == 0 and "--json" in arguments:
        for line in ran.out.decode("utf-8").removesuffix("\n").split("\n"):
            assert line.isprintable(), line
            assert not line or json.loads(line, parse_constant=_refuse) is not None
    after = contents(Path.cwd())
    assert not [path for path in after if Path(path).name.startswith(".")], "a temporary file is left"
    free = may_change if ran.status == 0 or "rollbacks" in ran.err else ()
    for path, data in before.items():
        if not path.startswith(free):
            assert after.get(path) == data, f"{path} has changed: {arguments} {ran}"
    return ran


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


NUMBERS = [0, -1, 1, 2, 1.5, -0.0, 5e-324, 1e300, 1e308, 2**31, 2**53, 2**63, 10**30, 10**400]
STRANGE = [None, True, False, float("nan"), float("inf"), float("-inf"), DEEP]
TEXTS = [
    "",
    "x",
    "lf",
    "a\nb",
    "\x1b[31m",
    "\0",
    "\ud800",
    "\u202e",
    "é" * 300,
    "x" * 100_000,
    "../..",
    "NaN",
]
TREES: list[Any] = [[], {}, [None], [[]], {"": None}, {"a": {}}, [1, 2], ["a", "a"], [1e300, 1e300]]
hostile: st.SearchStrategy[Any] = st.sampled_from([*NUMBERS, *STRANGE, *TEXTS, *TREES])


def paths(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to each value of a JSON tree, long lists only in part."""
    yield path
    items: list[tuple[Any, Any]] = []
    if isinstance(tree, dict):
        items = list(tree.items())
    elif isinstance(tree, list):
        items = list(enumerate(tree[:5]))
    for key, value in items:
        yield from paths(value, (*path, key))


def as_json(tree: Any) -> str:
    """The JSON text of a tree."""
    return with_deep_values(json.dumps(tree))


def with_deep_values(text: str) -> str:
    """A JSON text with the values for which DEEP stands."""
    return text.replace(json.dumps(DEEP), "[" * 100_000 + "]" * 100_000)


@st.composite
def mutated(draw: st.DrawFn, tree: Any) -> str:
    """The JSON text of a tree with one to three values deleted, replaced, renamed or doubled."""
    tree = json.loads(json.dumps(tree))
    doubled = ""
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(paths(tree))))
        value = copy.deepcopy(draw(hostile))  # a later mutation may change it
        if not path:
            if draw(st.integers(0, 20)) == 0:
                tree = value
            continue
        inner = tree
        for key in path[:-1]:
            inner = inner[key]
        match draw(st.sampled_from(["replace", "replace", "replace", "delete", "rename", "wrap", "double"])):
            case "replace":
                inner[path[-1]] = value
            case "delete":
                del inner[path[-1]]
            case "rename" if isinstance(inner, dict):
                inner[draw(st.sampled_from(["x", "a\nb", "", "é"]))] = inner.pop(path[-1])
            case "wrap":
                inner[path[-1]] = [inner[path[-1]]]
            case _:
                doubled = f"{json.dumps(str(path[-1]))}: {json.dumps(value)}, "
    text = json.dumps(tree)
    if doubled and text.startswith("{") and len(text) > 2:
        text = text.replace("{", "{" + doubled, 1)
    return with_deep_values(text)
