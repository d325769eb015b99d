"""Characters of Tiny Shakespeare.

The text is `input.txt` of karpathy/char-rnn, which is named by a flag. Its last tenth
is for validation, as others have it, and there is no test text:

    python train.py --config=configs/char_shakespeare.py --workdir=runs/shakespeare \
        --config.data.path=input.txt

configs/char_shakespeare.py          an LSTM with a memory that is pointed at
configs/char_shakespeare.py:lstm     a plain LSTM of as many parameters
configs/char_shakespeare.py:smoke    two steps of a tiny model, on the embedded text
"""

from ml_collections import ConfigDict

from configs import default

MODES = ("", "lstm", "smoke")


def get_config(mode: str = "") -> ConfigDict:
    """The settings of one of `MODES`."""
    config = default.begin(mode, MODES)
    config.data.source = "file"
    config.data.tokenizer = "characters"
    config.data.validation_fraction = 0.1
    config.data.test_fraction = 0.0
    config.data.batch_size = 16
    config.data.window = 128
    # Ten passes, nearly: one has 491 steps.
    config.num_steps = 10 * 490
    config.eval_every = 490
    config.log_every = 100
    model, optimizer = config.model, config.optimizer
    model.hidden_dim = 512
    model.num_slots = 1024
    # Many passes over one megabyte.
    model.dropout = 0.35
    model.weight_dropout = 0.2
    optimizer.learning_rate = 2e-3
    optimizer.warmup_steps = 200
    optimizer.beta2 = 0.999
    config.sample.prompt = "ROMEO:"
    if mode == "lstm":
        default.make_plain(config, 536)
    if mode == "smoke":
        default.make_tiny(config)
    return config
