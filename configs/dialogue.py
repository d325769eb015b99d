"""Dialogue: responses to all that was said before, in one stream.

    python train.py --config=configs/dialogue.py --workdir=runs/dialogue \
        --config.data.path=dialogues_train.txt \
        --config.data.validation_path=dialogues_validation.txt
    python train.py --config=configs/dialogue.py:babi --workdir=runs/restaurants \
        --config.data.path='dialog-babi-task*trn.txt' \
        --config.data.validation_path='dialog-babi-task*dev.txt' \
        --config.data.test_path='dialog-babi-task*tst.txt'

configs/dialogue.py          a dialogue in every line, as DailyDialog has them
configs/dialogue.py:lstm     a plain LSTM of as many parameters, in one stream
configs/dialogue.py:babi     tasks with a knowledge base, as dialog bAbI has them
configs/dialogue.py:gpu      the first, for a GPU
configs/dialogue.py:smoke    two steps of a tiny model, lines said backwards
"""

from ml_collections import ConfigDict

from configs import default

MODES = ("", "lstm", "babi", "gpu", "smoke")


def get_config(mode: str = "") -> ConfigDict:
    """The settings of one of `MODES`."""
    config = default.begin(mode, MODES)
    config.task = "dialogue"
    config.data.source = "dailydialog"
    config.data.tokenizer = "punctuated"
    config.data.vocab_size = 10_000
    config.data.batch_size = 32
    config.data.max_source = 0
    config.encoder.num_layers = 0
    # Eight passes over 11,000 dialogues.
    config.num_steps = 2800
    config.eval_every = 350
    model, optimizer = config.model, config.optimizer
    model.hidden_dim = 512
    model.dropout = 0.25
    optimizer.learning_rate = 2e-3
    optimizer.warmup_steps = 200
    optimizer.beta2 = 0.999
    config.search.size = 1
    config.search.max_length = 40
    if mode == "babi":
        config.data.source = "dialog_babi"
        config.data.vocab_size = 0
        # Names of restaurants are words.
        config.data.tokenizer = "words"
        config.model.hidden_dim = 256
        model.dropout = 0.1
        # What came in is looked for, not only copied.
        model.read = True
        model.num_heads = 2
        model.key_dim = model.value_dim = 64
    if mode == "lstm":
        # Nothing to look back at: what it knows of a source is in its state.
        config.encoder.num_layers = 0
        default.make_plain(config, 536)
    if mode == "gpu":
        config.data.vocab_size = 30_000
        config.data.batch_size = 256
        config.num_steps = 20_000
        config.eval_every = 500
        model.embed_dim = 512
        model.hidden_dim = 1024
        model.num_layers = 2
        model.num_slots = 1024
    if mode == "smoke":
        default.make_tiny(config)
        config.data.vocab_size = 300
    return config
