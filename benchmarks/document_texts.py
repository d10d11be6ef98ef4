"""Write JSON-lines documents with labels, for experiments with conditional models.

names: first names with language and gender, from the package faker.
languages: sentences with their language, from translated programs. Training and test file have no message
in common. Lines are ordered by message, so that the translations of one message are neighbours.
tunes: tunes in ABC notation with key, meter and, where known, type, from the package music21. "X:1", a line
"M:" with the meter, and the text make a whole ABC file.
dates: dates in English ("prompt") and in ISO 8601 ("text").
captions: two coloured shapes in words, and measured with noise as 12 numbers ("features").
The same seed and the same versions of the packages give the same files.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import importlib
import importlib.util
import itertools
import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import common

Record = dict[str, object]
Files = dict[str, list[Record]]  # by the name of the file, without its suffix

# fmt: off
NAMES = {  # the locales of faker, by language
    "danish": "da_DK", "dutch": "nl_NL", "english": "en_GB en_US", "finnish": "fi_FI",
    "french": "fr_FR fr_CH fr_QC", "german": "de_DE", "italian": "it_IT", "portuguese": "pt_PT pt_BR",
    "romanian": "ro_RO", "spanish": "es_ES", "swedish": "sv_SE", "turkish": "tr_TR",
}
LANGUAGES = {  # the locales of translated programs
    "catalan": "ca", "danish": "da", "dutch": "nl", "french": "fr", "german": "de", "italian": "it",
    "norwegian": "nb", "portuguese": "pt pt_BR pt_PT", "spanish": "es", "swedish": "sv",
}
NUMBERS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
NUMBERS += [f"{ten}-{unit}".removesuffix("-zero") for ten in TENS for unit in NUMBERS[:10]]
ORDINALS = [
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
    "twelfth", *(f"{number}th" for number in NUMBERS[13:20]),
]
ORDINALS += ["twentieth", *(f"twenty-{unit}" for unit in ORDINALS[:9]), "thirtieth", "thirty-first"]
COLOURS = {
    "red": (0.9, 0.1, 0.1), "green": (0.1, 0.7, 0.2), "blue": (0.1, 0.2, 0.9), "yellow": (0.9, 0.9, 0.1),
    "purple": (0.6, 0.1, 0.7), "white": (0.9, 0.9, 0.9), "grey": (0.5, 0.5, 0.5), "black": (0.1, 0.1, 0.1),
}
# fmt: on
SHAPES = {"circle": 0, "triangle": 3, "square": 4, "hexagon": 6}
SIZES = {"small": 0.2, "medium": 0.5, "large": 1.0}
POSITIONS = {"above": (0, 1), "below": (0, -1), "to the left of": (-1, 0), "to the right of": (1, 0)}
CATALOGUES = ("django", "wagtail", "oscar", "cms", "allauth")
COLLECTIONS = ("oneills1850", "ryansMammoth", "airdsAirs")
PER_LANGUAGE = {"names": 600, "languages": 2000}
TEST_SHARE = 1 / 6
NAME = re.compile(r"[^\W\d_]+([ '-][^\W\d_]+)*")
MARKUP = re.compile(r"[<>&%{}\\`|*_=#@/\u200b]")
METERS = {"C": "4/4", "C|": "2/2"}
MODES = {"maj": "", "ion": "", "min": "m", "aeo": "m"}
KEY = r"([A-G][#b]?) *((?i:maj|min|mix|ion|aeo|dor|phr|lyd|loc|m)?)"
TUNE = re.compile(rf"(.*?)\nK: *{KEY}[^\n]*\n(.+?)(\n\s*\n.*)?", re.DOTALL)
IGNORED = re.compile(r'"[^"]*"|![^!\n]*!|%.*|^[NPQTWw]:.*|\\$|[`~.!H-Wuvk]', re.MULTILINE)  # all but notes
CHANGE = re.compile(r"^[IKLMV]:|\[.?:|:\]", re.MULTILINE)  # of key, meter or voice
NOTES = re.compile(r"([A-Ga-gxz0-9 |:\[\](){}<>/^_,'\n-]|=(?=[A-Ga-g]))+")


def package_folder(package: str, install: str) -> Path:
    """The folder of an installed package; the package is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"the package {package} is missing: pip install {install}")
    return Path(spec.origin).parent


def fraction(seed: int, text: str) -> float:
    """A number from 0 to 1 that depends on the seed and the text alone."""
    return int.from_bytes(hashlib.sha256(f"{seed} {text}".encode()).digest()[:8], "big") / 2**64


def letters(text: str) -> str:
    """The letters of a text in lower case: two texts that differ in other characters count as one."""
    return "".join(filter(str.isalpha, text.casefold()))


def names(seed: int) -> Files:
    """First names. One that is both a woman's and a man's has no gender."""
    package_folder("faker", "faker")
    records: list[Record] = []
    for language, locales in NAMES.items():
        genders: dict[str, set[str]] = {}
        for locale, gender in itertools.product(locales.split(), ("female", "male")):
            provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
            for name in filter(NAME.fullmatch, getattr(provider, f"first_names_{gender}")):
                genders.setdefault(name, set()).add(gender)
        for name in sorted(genders, key=lambda name: fraction(seed, name))[: PER_LANGUAGE["names"]]:
            known = {"gender": min(genders[name])} if len(genders[name]) == 1 else {}
            records.append({"text": name, "language": language, **known})
    return {"names": records}


def messages(codes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields the messages of the catalogues of some locales and their translations."""
    install = "--no-deps polib django wagtail django-oscar django-cms django-allauth"
    _, *folders = (package_folder(package, install) for package in ("polib", *CATALOGUES))
    polib = importlib.import_module("polib")
    for folder, code in itertools.product(folders, codes):
        for path in sorted(folder.glob(f"**/locale/{code}/LC_MESSAGES/*.po")):
            for entry in filter(polib.POEntry.translated, polib.pofile(str(path))):
                for text in (entry.msgstr, *entry.msgstr_plural.values()):
                    yield entry.msgid, " ".join(text.split())


def languages(seed: int) -> Files:
    """Sentences, each in one language only, because a text that two languages share is left out."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for language, codes in LANGUAGES.items():
        for message, text in messages(codes.split()):
            key, source = letters(text), letters(message)
            if 20 <= len(text) <= 200 and not MARKUP.search(text) and key != source:
                found.setdefault(key, {}).setdefault(language, (source, text))
    single = (next(iter(texts.items())) for texts in found.values() if len(texts) == 1)
    unique = [(fraction(seed, source), language, text) for language, (source, text) in single]
    random.Random(seed).shuffle(unique)
    groups = ([row for row in unique if row[1] == language] for language in LANGUAGES)
    kept = sorted(row for group in groups for row in group[: PER_LANGUAGE["languages"]])
    records: list[Record] = [{"text": text, "language": language} for _, language, text in kept]
    test = sum(place < TEST_SHARE for place, _, _ in kept)
    return {"languages": records, "languages-train": records[test:], "languages-test": records[:test]}


def tune(source: str) -> Record | None:
    """A tune of a file; None if it is long or incomplete, has several voices, or changes its key or meter."""
    if not (parts := TUNE.fullmatch(source)):
        return None
    head, tonic, mode, body, _ = parts.groups()
    fields = {line[0]: line[2:].split("%")[0].strip() for line in head.splitlines() if line[1:2] == ":"}
    length, meter = fields.get("L", ""), METERS.get(fields.get("M", ""), fields.get("M", ""))
    notes = IGNORED.sub("", body)
    if CHANGE.search(body) or not NOTES.fullmatch(notes) or "/" not in meter or not length:
        return None
    key = tonic + MODES.get(mode.lower(), mode.lower())
    lines = (" ".join(line.split()) for line in notes.splitlines())
    text = "\n".join([f"L:{length}", f"K:{key}", *filter(None, lines)])
    kind = fields.get("R", "").lower().replace("slipjig", "slip jig").removeprefix("double ")
    record: Record = {"text": text, "key": key, "meter": meter} | ({"type": kind} if kind else {})
    return record if len(text) <= 600 and text.count("|") > 3 else None


def tunes(seed: int) -> Files:
    """Tunes of Irish, American and Scottish collections, each once."""
    corpus = package_folder("music21", "--no-deps music21") / "corpus"
    records: dict[str, Record] = {}
    for path in (path for name in COLLECTIONS for path in sorted((corpus / name).glob("*.abc"))):
        for source in re.split(r"^X:", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            if record := tune(f"X:{source}"):
                records.setdefault(str(record["text"]), record)
    return {"tunes": list(records.values())}


def year_in_words(year: int) -> str:
    """A year from 1900 to 2099 as it is read aloud."""
    century, rest = divmod(year, 100)
    if century == 20 and rest < 10:
        return "two thousand" + (f" and {NUMBERS[rest]}" if rest else "")
    end = NUMBERS[rest] if rest > 9 else f"oh {NUMBERS[rest]}" if rest else "hundred"
    return f"{NUMBERS[century]} {end}"


def date_in_english(date: datetime.date, generator: random.Random) -> str:
    """A date in one of several phrasings."""
    day, month, year, words = date.day, date.strftime("%B"), date.year, ORDINALS[date.day - 1]
    phrasings = [
        f"the {words} of {month}, {year_in_words(year)}",
        f"{month} the {words}, {year_in_words(year)}",
        f"the {words} of {month} {year}",
        f"{date.strftime('%A')}, {day} {month} {year}",
        f"{month} {day}, {year}",
        f"{day} {month[:3]} {year}",
        f"{day}{words[-2:]} of {month}, {year}",
        f"{day}.{date.month}.{year}",
    ]
    return generator.choice(phrasings)


def dates(seed: int) -> Files:
    """Dates from 1900 to 2099, each once, in one phrasing."""
    generator = random.Random(seed)
    records: list[Record] = []
    for number in generator.sample(range(73_049), 22_000):
        date = datetime.date(1900, 1, 1) + datetime.timedelta(days=number)
        records.append({"prompt": f"{date_in_english(date, generator)} = ", "text": date.isoformat()})
    return {"dates": records[:20_000], "dates-test": records[20_000:]}


def captions(seed: int) -> Files:
    """Captions, each once. Features: red, green, blue, area and corners of both objects; position x, y."""
    generator = random.Random(seed)
    records: dict[str, Record] = {}
    while len(records) < 5_000:
        phrases, features = [], []
        for _ in range(2):
            size, colour, shape = (generator.choice(list(words)) for words in (SIZES, COLOURS, SHAPES))
            phrases.append(f"a {size} {colour} {shape}")
            features += [channel + generator.gauss(0, 0.05) for channel in COLOURS[colour]]
            features += [SIZES[size] * generator.uniform(0.8, 1.2), SHAPES[shape] + generator.gauss(0, 0.2)]
        position = generator.choice(list(POSITIONS))
        features += [
            side * generator.uniform(0.7, 1.3) + generator.gauss(0, 0.1) for side in POSITIONS[position]
        ]
        text = f" {position} ".join(phrases)
        records.setdefault(text, {"text": text, "features": [round(value, 3) for value in features]})
    return {"captions": list(records.values())}


def main() -> None:
    """Write the files, and print their sizes."""
    sets = {make.__name__: make for make in (names, languages, tunes, dates, captions)}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"{', '.join(sets)}; default: all")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    if unknown := set(chosen.sets) - set(sets):
        parser.error(f"unknown set {min(unknown)}: choose from {', '.join(sets)}")
    chosen.folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in chosen.sets or sets:
        for file, records in sets[name](chosen.seed).items():
            lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
            (chosen.folder / f"{file}.jsonl").write_text(lines, encoding="utf-8")
            characters = sum(len(f"{record.get('prompt', '')}{record['text']}") for record in records)
            rows.append((f"{file}.jsonl", f"{len(records):,}", f"{characters:,}"))
    common.table(("file", "documents", "characters"), rows)


if __name__ == "__main__":
    main()
