"""`make demo`: samples of the models that come with charrnn, then a minute of training, and what it gave.

python benchmarks/demo.py [MINUTES]
"""

from __future__ import annotations

import math
import shlex
import subprocess
import sys
import textwrap
from typing import Any

import charrnn

LINE_POSITION, QUOTES = 117, 288
"""A unit of shakespeare whose cell state rises along a line, one of python that is negative in quotes."""


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
    row = "{:<22}{:>8}{:>17}{:>16}{:>9}{:>20}"
    print(row.format("", "units", "characters read", "of the text", "minutes", "bits per character"))
    for name, info in (("this run", trained), ("the pretrained model", pretrained)):
        share, minutes = f"{info['epochs']:.0%}", f"{info['seconds'] / 60:.1f}"
        figures = (info["hidden"], f"{info['characters']:,}", share, minutes, f"{info['validation_bpc']:.2f}")
        print(row.format(name, *figures))
    speed, size = trained["characters"] / trained["seconds"], trained["vocabulary"]
    summary = (
        f"This machine read {speed:,.0f} characters per second. In a minute that is {60 * speed:,.0f};"
        " a larger network reads fewer. Bits per character are the loss on a part of the text that was not"
        f" learnt; lower is better, and {math.log2(size):.1f} is a blind guess among {size} symbols. A minute"
        " gives the look of code and its frequent words. Names that fit together need more text and time."
    )
    print("", *textwrap.wrap(summary, 100), sep="\n")


def main() -> None:
    minutes = sys.argv[1] if len(sys.argv) > 1 else "1"
    heading("Two models come with charrnn. This one has read plays by Shakespeare:")
    run("sample shakespeare --prompt ROMEO: --temperature 0.7 --length 400 --seed 2 --quiet")
    heading("This one has read the Python standard library:")
    run("sample python --prompt 'def ' --temperature 0.7 --length 400 --seed 2 --quiet")
    heading("One of the units of shakespeare measures how long a line is (red: below 0, blue: above 0):")
    run(f"inspect-cell shakespeare --unit {LINE_POSITION} --sample 400 --seed 3 --colour always --quiet")
    heading("And one of python is red inside quotes:")
    run(f"inspect-cell python --unit {QUOTES} --sample 400 --seed 12 --colour always --quiet")
    heading("Now this machine trains on the Python standard library:")
    path = run(f"train python-stdlib --minutes {minutes}", stdout=subprocess.PIPE).strip()
    heading("What this training gave:")
    model = charrnn.load(path)
    compare(model.info, charrnn.load("python").info)
    run(f"sample {model.name} --prompt 'def ' --temperature 0.7 --length 400 --seed 2 --quiet")
    print(f"More: charrnn sample {model.name}, charrnn info {model.name}, charrnn train --help")


if __name__ == "__main__":
    main()
