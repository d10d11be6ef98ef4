"""Classification of documents: classical models on character n-grams, beside a run of charrnn.

    python benchmarks/document_texts.py FOLDER languages
    python benchmarks/classify.py FOLDER
    python benchmarks/classify.py FOLDER --run RUN          # a run trained on FOLDER/languages-train.jsonl

The classical models are scikit-learn's, on the n-grams of 1 to 5 characters: logistic regression on their
tf-idf, and naive Bayes on their counts. Their settings, C and alpha, are chosen on the last tenth of the
training file; the models then learn from all of it. The loss is the mean of -ln of the probability of the
true label. The command charrnn is taken from PATH; it may be installed in another environment.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common

NGRAMS: dict[str, Any] = {"analyzer": "char", "ngram_range": (1, 5)}
SETTINGS = {"logistic regression": (1.0, 10.0, 100.0), "naive Bayes": (0.001, 0.01, 0.1, 1.0)}
SMALLEST = 1e-12  # the least probability that counts in a loss


@dataclass(frozen=True)
class Result:
    """What a classifier says of the test documents."""

    name: str
    labels: list[str]
    truths: list[str]
    probabilities: list[float]  # of the true labels
    training_seconds: float | None
    seconds: float  # to classify

    def accuracy(self, label: str | None = None) -> str:
        """The share of documents, or of those with this true label, that get their true label."""
        pairs = [pair for pair in zip(self.labels, self.truths, strict=True) if label in (None, pair[1])]
        return f"{sum(one == other for one, other in pairs) / len(pairs):.4f}"

    def row(self) -> list[str]:
        """The figures over all documents."""
        losses = [-math.log(max(probability, SMALLEST)) for probability in self.probabilities]
        loss = f"{sum(losses) / len(losses):.4f}" if losses else "-"
        training = "-" if self.training_seconds is None else f"{self.training_seconds:.1f}"
        return [self.name, self.accuracy(), loss, training, f"{self.seconds:.1f}"]


def read(path: Path, label: str) -> tuple[list[str], list[str]]:
    """The texts of a JSON-lines file and their labels."""
    with path.open(encoding="utf-8") as file:
        documents = [json.loads(line) for line in file]
    return [document["text"] for document in documents], [document[label] for document in documents]


def build(kind: str, setting: float) -> Any:
    """A classifier of texts that has not learned yet."""
    try:
        text = importlib.import_module("sklearn.feature_extraction.text")
    except ImportError:
        raise SystemExit("scikit-learn is missing: pip install scikit-learn") from None
    make_pipeline = importlib.import_module("sklearn.pipeline").make_pipeline
    if kind == "naive Bayes":
        model = importlib.import_module("sklearn.naive_bayes").MultinomialNB(alpha=setting)
        return make_pipeline(text.CountVectorizer(**NGRAMS), model)
    model = importlib.import_module("sklearn.linear_model").LogisticRegression(C=setting, max_iter=1000)
    return make_pipeline(text.TfidfVectorizer(**NGRAMS), model)


def best_setting(kind: str, texts: Sequence[str], labels: Sequence[str]) -> float:
    """The setting with the highest accuracy on the last tenth, after learning from the other documents."""
    cut = len(texts) * 9 // 10

    def accuracy(setting: float) -> float:
        return float(build(kind, setting).fit(texts[:cut], labels[:cut]).score(texts[cut:], labels[cut:]))

    return max(SETTINGS[kind], key=accuracy)


def classical(kind: str, train: tuple[list[str], list[str]], test: tuple[list[str], list[str]]) -> Result:
    """The result of a classical model with its best setting."""
    setting = best_setting(kind, *train)
    start = time.perf_counter()
    model = build(kind, setting).fit(*train)
    trained = time.perf_counter()
    posteriors = model.predict_proba(test[0])
    seconds = time.perf_counter() - trained
    classes = list(model.classes_)
    labels = [classes[index] for index in posteriors.argmax(1)]
    probabilities = [
        float(row[classes.index(truth)]) if truth in classes else 0.0
        for row, truth in zip(posteriors, test[1], strict=True)
    ]
    return Result(f"{kind}, {setting:g}", labels, test[1], probabilities, trained - start, seconds)


def charrnn(run: str, test: Path, label: str) -> Result:
    """The result of `charrnn classify`, with the seconds of the whole command."""
    command = ["charrnn", "classify", run, str(test), "--label", label, "--unknown", "skip", "--json"]
    if shutil.which("charrnn") is None:
        raise SystemExit("the command charrnn is missing: pip install . in the folder of its source")
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"charrnn classify stopped with status {done.returncode}")
    lines = [line for line in map(json.loads, done.stdout.splitlines()) if line["label"] is not None]
    truths = [line["truth"] for line in lines]
    probabilities = [float(line["probabilities"].get(line["truth"], 0)) for line in lines]
    return Result(f"charrnn, {run}", [line["label"] for line in lines], truths, probabilities, None, seconds)


def main() -> None:
    """Print the accuracy of each classifier, over all documents and label by label."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="has NAME-train.jsonl and NAME-test.jsonl")
    parser.add_argument("--name", default="languages")
    parser.add_argument("--label", default="language")
    parser.add_argument("--run", help="a run of charrnn to compare with")
    chosen = parser.parse_args()
    train_file, test_file = (chosen.folder / f"{chosen.name}-{part}.jsonl" for part in ("train", "test"))
    train, test = read(train_file, chosen.label), read(test_file, chosen.label)
    network = [charrnn(chosen.run, test_file, chosen.label)] if chosen.run else []
    results = [*(classical(kind, train, test) for kind in SETTINGS), *network]
    print(f"{common.machine()}; {len(train[0]):,} training documents, {len(test[0]):,} test documents\n")
    common.table(
        ("classifier", "accuracy", "loss, nats", "training s", "test s"), [result.row() for result in results]
    )
    print()
    common.table(
        ("true label", "documents", *(result.name for result in results)),
        [
            (label, test[1].count(label), *(result.accuracy(label) for result in results))
            for label in sorted(set(test[1]))
        ],
    )


if __name__ == "__main__":
    main()
