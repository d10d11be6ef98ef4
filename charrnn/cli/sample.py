"""``charrnn sample``: write characters to stdout as they are drawn."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli.common import (
    CheckpointArgument,
    CheckpointsOption,
    checkpoints_folder,
    read_ids,
    terminal,
)

if TYPE_CHECKING:
    from charrnn.inference import Ids


def sample(
    context: typer.Context,
    checkpoint: CheckpointArgument = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Text to go on from, taken literally.")
    ] = None,
    prompt_file: Annotated[
        str | None, typer.Option(metavar="PATH|-", help="The prompt from a file, or from stdin.")
    ] = None,
    no_echo: Annotated[bool, typer.Option("--no-echo", help="Leave the prompt out of the output.")] = False,
    length: Annotated[
        int, typer.Option(min=0, help="Characters to draw, the prompt not counted; 0 is endless.")
    ] = 1000,
    temperature: Annotated[
        float, typer.Option(help="Below 1 bolder, above 1 wilder; 0 always takes the most probable.")
    ] = 1.0,
    top_k: Annotated[int, typer.Option(help="Only the K most probable characters; 0 is all.")] = 0,
    top_p: Annotated[
        float, typer.Option(help="Only the most probable characters that make up P together.")
    ] = 1.0,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="The same seed draws the same text. Default: drawn, and told."),
    ] = None,
    checkpoints: CheckpointsOption = None,
) -> None:
    """Write text, character by character, as it is drawn.

    Examples:

      charrnn sample shakespeare --prompt 'ROMEO:' --length 2000 > out.txt

      charrnn sample --temperature 0.7 --length 0 | head -n 20

      echo -n 'def main(' | charrnn sample code --prompt-file - --no-echo
    """
    import numpy as np

    from charrnn import sample as sampling
    from charrnn.checkpoint import find, load
    from charrnn.errors import ConfigError
    from charrnn.inference import Inference

    out = terminal(context)
    choice = sampling.Choice(temperature, top_k, top_p)
    if prompt is not None and prompt_file is not None:
        raise ConfigError("--prompt and --prompt-file: give one of the two")
    loaded = load(find(checkpoint, checkpoints_folder(checkpoints)))
    vocabulary = loaded.header.vocabulary
    if prompt_file is None:
        # The command line is UTF-8 whatever the locale says.
        text = os.fsencode(prompt or "").decode("utf-8", "surrogateescape")
        ids: Ids = vocabulary.encode(text)
    else:
        ids = np.concatenate([np.empty(0, np.int64), *read_ids(out, vocabulary, prompt_file)])
    generator, seed = sampling.seeded(seed)
    if temperature:
        out.note(f"seed {seed}")

    if not no_echo:
        out.write(vocabulary.decode_bytes(ids))
    if not len(ids):
        ids = sampling.opening(vocabulary)
    predictor = Inference(loaded.header.model, loaded.weights)
    for drawn in sampling.sample(predictor, ids, choice, length, generator):
        out.write(vocabulary.decode_bytes([drawn]))
