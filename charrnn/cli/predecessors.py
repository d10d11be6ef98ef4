"""The flags of char-rnn, torch-rnn, textgenrnn and nanoGPT, and what they are called here.

The error boundary answers with it, and docs/from-other-tools.md shows it. The flags are those of
train.lua and sample.lua (char-rnn; torch-rnn, with preprocess.py), of the Python methods of textgenrnn
and of train.py and sample.py (nanoGPT).
"""

from __future__ import annotations

from typing import NamedTuple

CHAR, TORCH, TEXTGEN, NANO = "char-rnn", "torch-rnn", "textgenrnn", "nanoGPT"
TRAIN, SAMPLE = "train", "sample"


class Flag(NamedTuple):
    """A flag of other programs.

    command  the command of charrnn whose part the flag has
    ours     the option or argument of charrnn that does the same; "" for a flag without a counterpart
    note     how the two differ, or what to do instead
    """

    command: str
    name: str
    programs: tuple[str, ...]
    ours: str
    note: str = ""

    def answer(self) -> str:
        """What follows the flag in a message: "(char-rnn) is --hidden here"."""
        note = f": {self.note}" if self.note else ""
        if self.ours:
            return f"({', '.join(self.programs)}) is {self.ours} here{note}"
        return f"({', '.join(self.programs)}) has no counterpart here{note}"


COSINE = "the learning rate rises over the first 5 % of a run, then falls along a cosine"
SPLIT = "training, validation and test shares, e.g. --split 90,5,5"
NO_FILES = "a text needs no preparation: charrnn train FILE"
CPU = "the CPU generates, only train has --device"
ALL_FROM_FILE = "a checkpoint holds its vocabulary and settings"

FLAGS = (
    # The text.
    Flag(TRAIN, "data_dir", (CHAR,), "TEXT", "charrnn train FILE_OR_FOLDER"),
    Flag(TRAIN, "input_txt", (TORCH,), "TEXT", NO_FILES),
    Flag(TRAIN, "input_h5", (TORCH,), "TEXT", NO_FILES),
    Flag(TRAIN, "input_json", (TORCH,), "TEXT", NO_FILES),
    Flag(TRAIN, "output_h5", (TORCH,), "", NO_FILES),
    Flag(TRAIN, "output_json", (TORCH,), "", NO_FILES),
    Flag(TRAIN, "file_path", (TEXTGEN,), "TEXT", "charrnn train FILE"),
    Flag(TRAIN, "dataset", (NANO,), "TEXT", "charrnn train FILE"),
    Flag(TRAIN, "train_frac", (CHAR,), "--split", SPLIT),
    Flag(TRAIN, "val_frac", (CHAR, TORCH), "--split", SPLIT),
    Flag(TRAIN, "test_frac", (TORCH,), "--split", SPLIT),
    Flag(TRAIN, "train_size", (TEXTGEN,), "--split", SPLIT),
    Flag(TRAIN, "validation", (TEXTGEN,), "--split", SPLIT),
    Flag(TRAIN, "word_level", (TEXTGEN,), "", "models read characters or, with --bytes, bytes"),
    Flag(TRAIN, "max_words", (TEXTGEN,), "", "models read characters or, with --bytes, bytes"),
    Flag(TRAIN, "delim", (TEXTGEN,), "--documents", "--documents line, or the text between documents"),
    Flag(
        TRAIN, "is_csv", (TEXTGEN,), "--documents", "--documents json reads JSON lines; jq makes them of CSV"
    ),
    Flag(TRAIN, "header", (TEXTGEN,), "", "give the text alone, for example with tail -n +2"),
    Flag(TRAIN, "context", (TEXTGEN,), "--label", "a field of JSON lines (--documents json)"),
    # The model.
    Flag(TRAIN, "model", (CHAR,), "--cell", "lstm, gru, rnn and others"),
    Flag(TRAIN, "model_type", (TORCH,), "--cell", "lstm, gru, rnn and others"),
    Flag(TRAIN, "rnn_size", (CHAR, TORCH, TEXTGEN), "--hidden"),
    Flag(TRAIN, "n_embd", (NANO,), "--hidden"),
    Flag(TRAIN, "num_layers", (CHAR, TORCH), "--layers"),
    Flag(TRAIN, "rnn_layers", (TEXTGEN,), "--layers"),
    Flag(TRAIN, "n_layer", (NANO,), "--layers"),
    Flag(TRAIN, "wordvec_size", (TORCH,), "--embedding"),
    Flag(TRAIN, "dim_embeddings", (TEXTGEN,), "--embedding"),
    Flag(TRAIN, "n_head", (NANO,), "", "--attention has one head"),
    Flag(TRAIN, "bias", (NANO,), "", "every cell has its biases"),
    Flag(TRAIN, "batchnorm", (TORCH,), "", "--dropout and --weight-drop regularise"),
    Flag(
        TRAIN,
        "rnn_bidirectional",
        (TEXTGEN,),
        "",
        "a model reads in one direction: --backward trains the other",
    ),
    # Training.
    Flag(TRAIN, "seq_length", (CHAR, TORCH), "--bptt"),
    Flag(TRAIN, "max_length", (TEXTGEN,), "--bptt", "the state keeps what was read before the window"),
    Flag(TRAIN, "block_size", (NANO,), "--bptt", "the state keeps what was read before the window"),
    Flag(TRAIN, "batch_size", (CHAR, TORCH, TEXTGEN, NANO), "--streams"),
    Flag(TRAIN, "max_epochs", (CHAR, TORCH), "--epochs"),
    Flag(TRAIN, "num_epochs", (TEXTGEN,), "--epochs"),
    Flag(TRAIN, "max_iters", (NANO,), "--steps"),
    Flag(
        TRAIN,
        "learning_rate",
        (CHAR, TORCH, NANO),
        "--lr",
        "--muon is Muon's, of the layers' weight matrices",
    ),
    Flag(TRAIN, "learning_rate_decay", (CHAR,), "", COSINE),
    Flag(TRAIN, "learning_rate_decay_after", (CHAR,), "", COSINE),
    Flag(TRAIN, "lr_decay_every", (TORCH,), "", COSINE),
    Flag(TRAIN, "lr_decay_factor", (TORCH,), "", COSINE),
    Flag(TRAIN, "decay_lr", (NANO,), "", COSINE),
    Flag(TRAIN, "warmup_iters", (NANO,), "", COSINE),
    Flag(TRAIN, "lr_decay_iters", (NANO,), "", COSINE),
    Flag(TRAIN, "min_lr", (NANO,), "", COSINE),
    Flag(TRAIN, "decay_rate", (CHAR,), "", "--optimizer muon, adamw or sgd, not RMSprop"),
    Flag(TRAIN, "weight_decay", (NANO,), "", "AdamW's is 0.01, fixed"),
    Flag(TRAIN, "beta1", (NANO,), "", "AdamW's is 0.9, fixed"),
    Flag(TRAIN, "beta2", (NANO,), "", "AdamW's is 0.99, fixed"),
    Flag(TRAIN, "grad_clip", (CHAR, TORCH, NANO), "--clip", "the limit of the gradient's global norm"),
    Flag(TRAIN, "gradient_accumulation_steps", (NANO,), "", "give more --streams"),
    Flag(TRAIN, "dropout", (CHAR, TORCH, TEXTGEN, NANO), "--dropout"),
    Flag(TRAIN, "seed", (CHAR, NANO), "--seed"),
    Flag(TRAIN, "gpuid", (CHAR,), "--device", "cpu, cuda, cuda:1 ..."),
    Flag(TRAIN, "gpu", (TORCH,), "--device", "cpu, cuda, cuda:1 ..."),
    Flag(TRAIN, "opencl", (CHAR,), "", "the devices are cpu, cuda and mps (--device)"),
    Flag(TRAIN, "gpu_backend", (TORCH,), "--device", "cpu, cuda or mps"),
    Flag(TRAIN, "multi_gpu", (TEXTGEN,), "", "torchrun --nproc-per-node N -m charrnn train"),
    Flag(TRAIN, "backend", (NANO,), "", "torchrun --nproc-per-node N -m charrnn train"),
    Flag(TRAIN, "device", (NANO,), "--device"),
    Flag(TRAIN, "dtype", (NANO,), "--precision"),
    Flag(TRAIN, "compile", (NANO,), "", "the cells have kernels of their own"),
    # Checkpoints and reports.
    Flag(TRAIN, "init_from", (CHAR, TORCH, NANO), "--from", "or, to continue a stopped run, --resume"),
    Flag(TRAIN, "new_model", (TEXTGEN,), "", "every run is a new model, --from starts with a checkpoint"),
    Flag(TRAIN, "reset_iterations", (TORCH,), "", "--resume goes on counting, --from starts at 0"),
    Flag(TRAIN, "checkpoint_dir", (CHAR,), "--checkpoints"),
    Flag(TRAIN, "savefile", (CHAR,), "--name"),
    Flag(TRAIN, "checkpoint_name", (TORCH,), "--name"),
    Flag(TRAIN, "name", (TEXTGEN,), "--name"),
    Flag(TRAIN, "out_dir", (NANO,), "--name", "a run's folder is checkpoints/NAME"),
    Flag(TRAIN, "eval_val_every", (CHAR,), "--save-every"),
    Flag(TRAIN, "checkpoint_every", (TORCH,), "--save-every"),
    Flag(TRAIN, "save_epochs", (TEXTGEN,), "--save-every", "in steps"),
    Flag(TRAIN, "gen_epochs", (TEXTGEN,), "--save-every", "in steps, each report has a sample"),
    Flag(TRAIN, "eval_interval", (NANO,), "--save-every"),
    Flag(TRAIN, "eval_iters", (NANO,), "", "each report reads the whole validation part"),
    Flag(TRAIN, "eval_only", (NANO,), "", "charrnn info prints a checkpoint's losses"),
    Flag(TRAIN, "always_save_checkpoint", (NANO,), "", "the best and the last checkpoint are kept"),
    Flag(TRAIN, "print_every", (CHAR, TORCH), "", "a progress bar shows the loss"),
    Flag(TRAIN, "log_interval", (NANO,), "", "a progress bar shows the loss"),
    Flag(TRAIN, "verbose", (TEXTGEN,), "", "--quiet prints only errors"),
    Flag(TRAIN, "wandb_log", (NANO,), "--tensorboard"),
    Flag(TRAIN, "wandb_project", (NANO,), "--tensorboard"),
    Flag(TRAIN, "wandb_run_name", (NANO,), "--name"),
    Flag(TRAIN, "speed_benchmark", (TORCH,), "", "each report says the characters per second"),
    Flag(TRAIN, "memory_benchmark", (TORCH,), "", "the memory is not measured"),
    Flag(TRAIN, "accurate_gpu_timing", (CHAR,), "", "each report says the characters per second"),
    # Sampling.
    Flag(SAMPLE, "model", (CHAR,), "CHECKPOINT", "charrnn sample CHECKPOINT"),
    Flag(SAMPLE, "checkpoint", (TORCH,), "CHECKPOINT", "charrnn sample CHECKPOINT"),
    Flag(SAMPLE, "weights_path", (TEXTGEN,), "CHECKPOINT", "charrnn sample CHECKPOINT"),
    Flag(SAMPLE, "vocab_path", (TEXTGEN,), "", ALL_FROM_FILE),
    Flag(SAMPLE, "config_path", (TEXTGEN,), "", ALL_FROM_FILE),
    Flag(SAMPLE, "out_dir", (NANO,), "CHECKPOINT", "charrnn sample CHECKPOINT"),
    Flag(SAMPLE, "init_from", (NANO,), "CHECKPOINT", "charrnn sample CHECKPOINT"),
    Flag(SAMPLE, "primetext", (CHAR,), "--prompt"),
    Flag(SAMPLE, "start_text", (TORCH,), "--prompt"),
    Flag(SAMPLE, "prefix", (TEXTGEN,), "--prompt"),
    Flag(SAMPLE, "start", (NANO,), "--prompt", "or --prompt-file for FILE:NAME"),
    Flag(SAMPLE, "length", (CHAR, TORCH), "--length"),
    Flag(SAMPLE, "max_gen_length", (TEXTGEN,), "--length"),
    Flag(SAMPLE, "max_new_tokens", (NANO,), "--length"),
    Flag(SAMPLE, "n", (TEXTGEN,), "--count"),
    Flag(SAMPLE, "num_samples", (NANO,), "--count"),
    Flag(SAMPLE, "temperature", (CHAR, TORCH, TEXTGEN, NANO), "--temperature"),
    Flag(SAMPLE, "sample", (CHAR, TORCH), "--temperature", "0 always takes the most probable character"),
    Flag(SAMPLE, "top_k", (NANO,), "--top-k"),
    Flag(SAMPLE, "seed", (CHAR, NANO), "--seed"),
    Flag(SAMPLE, "destination_path", (TEXTGEN,), "--output"),
    Flag(SAMPLE, "return_as_list", (TEXTGEN,), "--json", "one JSON line for each sample"),
    Flag(SAMPLE, "progress", (TEXTGEN,), "", "--quiet prints only errors"),
    Flag(SAMPLE, "verbose", (CHAR, TORCH), "", "stdout gets the text alone, --quiet prints only errors"),
    Flag(SAMPLE, "gpuid", (CHAR,), "", CPU),
    Flag(SAMPLE, "opencl", (CHAR,), "", CPU),
    Flag(SAMPLE, "gpu", (TORCH,), "", CPU),
    Flag(SAMPLE, "gpu_backend", (TORCH,), "", CPU),
    Flag(SAMPLE, "device", (NANO,), "", CPU),
    Flag(SAMPLE, "dtype", (NANO,), "", "weights are read as float32"),
    Flag(SAMPLE, "compile", (NANO,), "", CPU),
)


def find(command: str, name: str) -> Flag | None:
    """The flag called ``name`` (without dashes) of "train" or "sample"; None for a name not in FLAGS."""
    return next((flag for flag in FLAGS if (flag.command, flag.name) == (command, name)), None)
