"""Damaged checkpoints, states, logs and documents: a command reads them or refuses them in one line."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from charrnn.runs.checkpoint import BEST, LAST, load, weights_sha256
from charrnn.runs.history import LOG
from charrnn.runs.tensor_file import TensorFormat
from tests.fuzz.laws import RUNS, check, copies, examples, hostile, mutated, originals

READERS = {
    "net": [
        ["info", "net", *RUNS],
        ["info", "net", "--json", *RUNS],
        ["runs", *RUNS],
        ["runs", "--json", *RUNS],
        ["runs", "diff", "net", "docs", "--json", *RUNS],
        ["sample", "net", "--length", "5", "--seed", "1", *RUNS],
        ["sample", "net", "--length", "5", "--seed", "1", "--json", *RUNS],
        ["sample", "net", "grams", "--length", "5", "--seed", "1", *RUNS],
        ["score", "net", "text.txt", "--json", *RUNS],
        ["score", "net", "--part", "test", *RUNS],
        ["encode", "net", "text.txt", *RUNS],
        ["inspect-cell", "net", "text.txt", *RUNS],
        ["fill", "the [...] sat", "--forward", "runs/net", "--beam", "2", "--length", "5"],
    ],
    "docs": [
        ["info", "docs", *RUNS],
        ["info", "docs", "--json", *RUNS],
        ["runs", "--json", *RUNS],
        ["sample", "docs", "--label", "who=ann", "--length", "5", "--seed", "1", *RUNS],
        ["classify", "docs", "documents.jsonl", "--label", "who", *RUNS],
        ["score", "docs", "documents.jsonl", *RUNS],
    ],
    "grams": [
        ["info", "grams", "--json", *RUNS],
        ["sample", "grams", "--length", "5", "--seed", "1", *RUNS],
        ["score", "grams", "text.txt", *RUNS],
        ["score", "grams", "--part", "test", *RUNS],
    ],
}
FORMAT = TensorFormat("checkpoint", "charrnn", 3)
KINDS = [("net", BEST), ("net", LAST), ("docs", BEST), ("docs", LAST), ("grams", BEST)]


def parts(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the tensors of a checkpoint."""
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["charrnn"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def rebuild(path: Path, text: str, key: str = FORMAT.key) -> None:
    """Replace the header in a checkpoint by any text."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    entries = json.loads(data[8 : 8 + length])
    entries["__metadata__"] = {key: text}
    head = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + data[8 + length :])


def read_or_resume(data: st.DataObject, run: str, kind: str) -> None:
    """Let a command read a run, or continue it; a run that was continued can be loaded."""
    if kind == LAST:
        check("train", "--resume", f"runs/{run}", "--steps", "1", "-q", may_change=(f"runs/{run}/",))
        return
    check(*data.draw(st.sampled_from(READERS[run])))


@pytest.mark.slow
@pytest.mark.parametrize(("run", "kind"), KINDS)
@examples(25)
@given(st.data())
def test_a_damaged_header_is_refused_or_read(run: str, kind: str, data: st.DataObject) -> None:
    header, _ = parts(originals() / "runs" / run / kind)
    with copies() as folder:
        path = folder / "runs" / run / kind
        rebuild(path, data.draw(mutated(header)))
        read_or_resume(data, run, kind)


@pytest.mark.slow
@pytest.mark.parametrize(("run", "kind"), KINDS)
@examples(15)
@given(st.data())
def test_damaged_tensors_are_refused_or_read(run: str, kind: str, data: st.DataObject) -> None:
    header, tensors = parts(originals() / "runs" / run / kind)
    name = data.draw(st.sampled_from(sorted(tensors)))
    tensor = tensors[name].copy()
    match data.draw(st.sampled_from(["value", "value", "type", "shape", "delete", "add"])):
        case "value":
            values = (
                [0, 1, 2**31, 2**62]
                if tensor.dtype.kind in "ui"
                else [np.nan, np.inf, -1, 1e8, 1e12, 1e38, 0]
            )
            value = data.draw(st.sampled_from(values))
            flat = tensor.reshape(-1)
            where = data.draw(st.sampled_from([slice(None), slice(0, 1), slice(-1, None)]))
            flat[where] = np.array(value).astype(tensor.dtype)
        case "type":
            kinds = ["f2", "f4", "f8", "u1", "i8", "?", "u8"]
            with np.errstate(all="ignore"):
                tensor = tensor.astype(data.draw(st.sampled_from(kinds)))
        case "shape":
            shape: Any = data.draw(st.sampled_from([(-1,), (1, -1), (-1, 1, 1), "none", "half"]))
            if shape in ("none", "half"):
                tensor = tensor.reshape(-1)[: tensor.size // 2 if shape == "half" else 0]
            else:
                tensor = tensor.reshape(shape)
        case "add":
            tensors["resume.more" if kind == LAST else "more"] = tensor
    tensors[name] = tensor
    if data.draw(st.integers(0, 5)) == 0:
        del tensors[name]
    with copies() as folder:
        FORMAT.write(
            folder / "runs" / run / kind, {**header, "weights_sha256": weights_sha256(tensors)}, tensors
        )
        read_or_resume(data, run, kind)


@pytest.mark.slow
@examples(60)
@given(st.data())
def test_damaged_bytes_are_refused_or_read(data: st.DataObject) -> None:
    run, kind = data.draw(st.sampled_from(KINDS))
    with copies() as folder:
        file = data.draw(st.sampled_from([folder / "runs" / run / kind, folder / "state"]))
        content = bytearray(file.read_bytes())
        (length,) = struct.unpack("<Q", content[:8])
        match data.draw(st.sampled_from(["flip", "flip header", "cut", "length", "offsets", "more"])):
            case "flip":
                content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
            case "flip header":
                content[data.draw(st.integers(0, 8 + length - 1))] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del content[data.draw(st.integers(0, len(content) - 1)) :]
            case "length":
                sizes = st.sampled_from([0, 1, length - 1, length + 1, len(content), 2**31, 2**63, 2**64 - 1])
                content[:8] = struct.pack("<Q", data.draw(sizes))
            case "offsets":
                entries = json.loads(content[8 : 8 + length])
                text = data.draw(mutated({name: entry for name, entry in entries.items() if name[0] != "_"}))
                if text.startswith("{"):
                    text = text[:-1] + f', "__metadata__": {json.dumps(entries["__metadata__"])}}}'
                head = text.replace("{,", "{").encode()
                content[: 8 + length] = struct.pack("<Q", len(head)) + head
            case "more":
                content += bytes(8)
        file.write_bytes(content)
        if file.name == "state":
            check("sample", "net", "--load-state", "state", "--length", "5", "--seed", "1", *RUNS)
        else:
            read_or_resume(data, run, kind)


@pytest.mark.slow
@examples(20)
@given(st.data())
def test_a_damaged_header_of_a_state_is_refused_or_read(data: st.DataObject) -> None:
    with copies() as folder:
        with safe_open(folder / "state", framework="numpy") as file:
            header = json.loads(file.metadata()["charrnn-state"])
        rebuild(folder / "state", data.draw(mutated(header)), "charrnn-state")
        check("sample", "net", "--load-state", "state", "--length", "5", "--seed", "1", *RUNS)


@pytest.mark.slow
@examples(30)
@given(st.data())
def test_a_damaged_log_is_read_in_part_and_foreign_lines_stay(data: st.DataObject) -> None:
    with copies() as folder:
        log = folder / "runs" / "net" / LOG
        lines = log.read_bytes().splitlines(keepends=True)
        report = json.loads(lines[-1])
        new: list[bytes] = data.draw(
            st.lists(
                mutated(report).map(str.encode)
                | st.sampled_from([b"a note", b"\xff\xfe", b"", b"5", b"{}", b'{"step": 10']),
                min_size=1,
                max_size=3,
            )
        )
        log.write_bytes(b"".join(line + b"\n" for line in new) + b"".join(lines))
        arguments = st.sampled_from(
            [["info", "net", *RUNS], ["runs", *RUNS], ["runs", "diff", "net", "docs", *RUNS]]
        )
        check(*data.draw(arguments))
        check("train", "--resume", "runs/net", "--steps", "1", "-q", may_change=("runs/net/",))
        kept = log.read_bytes()
        assert all(line in kept for line in set(new) & {b"a note", b"\xff\xfe"})
        load(folder / "runs" / "net" / LAST, resume=True)


@pytest.mark.slow
@examples(60)
@given(st.data())
def test_damaged_documents_are_refused_or_read(data: st.DataObject) -> None:
    with copies() as folder:
        row = json.loads((folder / "documents.jsonl").read_text(encoding="utf-8").splitlines()[0])
        texts = st.lists(mutated(row), min_size=1, max_size=2)
        bad = "\n".join(data.draw(texts)).encode("utf-8", "surrogatepass")
        bad = data.draw(
            st.sampled_from([bad, bad + b"\xff", bad[: len(bad) // 2], b"\xef\xbb\xbf" + bad, b""])
        )
        good = (folder / "documents.jsonl").read_bytes()
        (folder / "bad.jsonl").write_bytes(data.draw(st.sampled_from([bad, good + bad, bad + b"\n" + good])))
        network = ("--steps", "1", "--hidden", "2", "--embedding", "1", "--streams", "2", "--bptt", "4", "-q")
        labels = ("--documents", "json", "--label", "who", "--vector", "v")
        arguments = st.sampled_from(
            [
                ["train", "bad.jsonl", *labels, *network, *RUNS],
                ["classify", "docs", "bad.jsonl", "--label", "who", "--json", *RUNS],
                ["classify", "docs", "bad.jsonl", "--label", "who", *RUNS],
                ["score", "net", "bad.jsonl", "--lines", *RUNS],
                ["score", "net", "bad.jsonl", "--lines", "--json", *RUNS],
                ["score", "docs", "bad.jsonl", "--lines", "--json", *RUNS],
                ["score", "docs", "bad.jsonl", "--json", *RUNS],
                ["sample", "net", "--prompts", "bad.jsonl", "--json", "--length", "3", *RUNS],
                ["sample", "docs", "--prompts", "bad.jsonl", "--json", "--length", "3", *RUNS],
                ["encode", "net", "bad.jsonl", "--lines", *RUNS],
                ["ngram", "bad.jsonl", "--documents", "json", "--order", "2", *RUNS],
            ]
        )
        check(*data.draw(arguments))


@pytest.mark.slow
@examples(20)
@given(st.data())
def test_damaged_weights_of_a_mixture_in_the_cache_are_found_again(data: st.DataObject) -> None:
    with copies() as folder:
        arguments = ["score", "net", "grams", "--part", "test", *RUNS]
        expected = check(*arguments)
        found = [path for path in (folder / "cache").rglob("*.json") if path.is_file()]
        for path in found:
            text = data.draw(st.sampled_from(["", "null", "[]", "{}", "\xff", "[" * 100_000]))
            try:
                text = data.draw(st.just(text) | mutated(json.loads(path.read_bytes())))
            except ValueError:
                continue
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
        assert check(*arguments).out == expected.out or not found


def test_the_hostile_values_can_be_drawn() -> None:
    assert hostile.is_empty is False
