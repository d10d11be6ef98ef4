"""`make demo`: samples of the models that come with charrnn, then a minute of training, and what it gave.

python benchmarks/demo.py [MINUTES]
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import Any

import charrnn

LINE_POSITION = 117
"""A unit of the model shakespeare: its cell state rises from -1 to 1 along a line."""


def run(command: str, **settings: Any) -> str:
    """Print a command and run it; its stdout if it is captured. SystemExit if it fails."""
    print(f"\n$ charrnn {command}", flush=True)
    process = [sys.executable, "-m", "charrnn", *shlex.split(command)]
    done = subprocess.run(process, check=False, text=True, **settings)
    if done.returncode:
        raise SystemExit(done.returncode)
    print(flush=True)
    return done.stdout or ""


def heading(text: str) -> None:
    print(f"\n--- {text} {'-' * max(3, 90 - len(text))}", flush=True)


def compare(trained: dict[str, Any], pretrained: dict[str, Any]) -> None:
    """Say what the training read and reached, beside the pretrained model."""
    row = "{:<24}{:>16}{:>19}{:>10}{:>20}"
    print(row.format("", "characters read", "times the text", "minutes", "bits per character"))
    for name, info in (("this run", trained), ("the pretrained model", pretrained)):
        figures = (f"{info['characters']:,}", f"{info['epochs']:.2f}", f"{info['seconds'] / 60:.1f}")
        print(row.format(name, *figures, f"{info['validation_bpc']:.2f}"))
    minutes = pretrained["characters"] / trained["characters"] * trained["seconds"] / 60
    print(
        f"\nThis machine read {trained['characters'] / trained['seconds']:,.0f} characters per second, with"
        f" {trained['hidden']} units. At this speed it needs {minutes:.0f} minutes to read as\nmuch as the"
        " pretrained model did. Bits per character are the loss on the part of the text that is kept for"
        " validation:\nlower is better. A minute is enough for the look of code and its frequent words;"
        " names that fit together need longer."
    )


def main() -> None:
    minutes = sys.argv[1] if len(sys.argv) > 1 else "1"
    heading("Two models come with charrnn. This one has read plays by Shakespeare:")
    run("sample shakespeare --prompt ROMEO: --temperature 0.7 --length 400 --seed 2 --quiet")
    heading("This one has read the Python standard library:")
    run("sample python --prompt 'def ' --temperature 0.7 --length 400 --seed 2 --quiet")
    heading("One of the units of shakespeare measures how long a line is (red: below 0, blue: above 0):")
    run(f"inspect-cell shakespeare --unit {LINE_POSITION} --sample 400 --seed 3 --colour always --quiet")
    heading(f"Now this machine trains on the standard library, for {minutes} minute(s):")
    path = run(f"train python-stdlib --minutes {minutes}", stdout=subprocess.PIPE).strip()
    heading("What this training gave:")
    model = charrnn.load(path)
    compare(model.info, charrnn.load("python").info)
    run(f"sample {model.name} --temperature 0.7 --length 400 --seed 2 --quiet")
    print(f"More: charrnn sample {model.name}, charrnn info {model.name}, charrnn train --help")


if __name__ == "__main__":
    main()
