"""Small sets in place of those that benchmarks/document_texts.py takes from packages: ``... FOLDER``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

NAMES = {"finnish": "Juhani Aino Tuula Matti Eeva", "italian": "Luca Maria Rosa Marco Anna", "french": "Luc"}
SENTENCES = {
    "danish": ["Ingen ændringer er gjort.", "Siden findes ikke.", "Vælg et sprog."],
    "norwegian": ["Ingen endringer er gjort.", "Siden finnes ikke.", "Velg et språk."],
    "spanish": ["No hay cambios.", "La página no existe.", "Elija un idioma."],
}
TUNES = {("G", "6/8"): "L:1/8\nK:G\nGBd gdB | AFD D3 |]", ("Dm", "3/4"): "L:1/8\nK:Dm\nd2 e>d cA | d6 |]"}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def main(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    genders = ("female", "male")
    names = [
        {"text": name + end, "language": language, "gender": genders[len(name) % 2]}
        for language, all_names in NAMES.items()
        for name in all_names.split()
        for end in ("", "na", "tto", "kka")
    ]
    sentences = [
        {"text": f"{number} {sentence}", "language": language}
        for language, each in SENTENCES.items()
        for sentence in each
        for number in range(9)
    ]
    tunes = [{"text": text, "key": key, "meter": meter} for (key, meter), text in TUNES.items()]
    write(folder / "names.jsonl", names)
    write(folder / "languages-train.jsonl", sentences)
    write(folder / "languages-test.jsonl", sentences[::4])
    write(
        folder / "tunes.jsonl", [tune | {"text": tune["text"] + "d" * n} for tune in tunes for n in range(20)]
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
