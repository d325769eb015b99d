"""Questions about texts: SQuAD, bAbI, or any source of examples with two texts.

    python train.py --config=configs/question_answering.py:babi --workdir=runs/babi \
        --config.data.path='en-10k/qa*_train.txt' \
        --config.data.test_path='en-10k/qa*_test.txt'
    python train.py --config=configs/question_answering.py --workdir=runs/squad \
        --config.data.path=train-v1.1.json

configs/question_answering.py            articles and questions, as SQuAD has them
configs/question_answering.py:lstm       an LSTM of as many parameters, in one stream
configs/question_answering.py:babi       stories and questions, as bAbI has them
configs/question_answering.py:babi_lstm  the same for an LSTM of as many parameters
configs/question_answering.py:gpu        the first, for a GPU
configs/question_answering.py:smoke      two steps of a tiny model, lines said backwards
"""

from ml_collections import ConfigDict

from configs import default

MODES = ("", "lstm", "babi", "babi_lstm", "gpu", "smoke")


def get_config(mode: str = "") -> ConfigDict:
    """The settings of one of `MODES`."""
    config = default.begin(mode, MODES)
    config.task = "question_answering"
    config.data.source = "squad"
    # Names are copied from the text, so the vocabulary need not have them.
    config.data.tokenizer = "punctuated"
    config.data.vocab_size = 8000
    config.data.batch_size = 32
    config.data.max_source = 300
    config.data.too_long = "truncate"
    config.data.validation_fraction = 0.1
    config.num_steps = 4000
    config.eval_every = 200
    model, encoder, optimizer = config.model, config.encoder, config.optimizer
    model.embed_dim = encoder.hidden_dim = 128
    model.hidden_dim = 256
    model.num_heads = 4
    model.key_dim = model.value_dim = 64
    model.num_slots = 32
    model.read = True
    model.dropout = 0.3
    optimizer.learning_rate = 2e-3
    optimizer.warmup_steps = 200
    config.search.max_length = 30
    if mode in ("babi", "babi_lstm"):
        config.data.source = "babi"
        config.data.vocab_size = 0
        config.data.max_source = 0
        # A story and its questions are one stream, and no answer gives away a later one
        # (the protocol of Graves et al. 2016).
        config.encoder.num_layers = 0
        config.hear_targets = False
        # Stories have 25 to 800 words.
        config.data.num_buckets = 8
        # Who is where is told anew again and again: the last word counts.
        model.policy = "matrix"
        model.copy = False
        model.num_layers = 2
        model.key_dim = model.value_dim = 32
        model.dropout = 0.1
        config.search.size = 1
        config.search.max_length = 8
    if mode == "babi_lstm":
        default.make_plain(config, 348)
    if mode == "lstm":
        # Nothing to look back at: what it knows of a source is in its state.
        config.encoder.num_layers = 0
        default.make_plain(config, 572)
    if mode == "gpu":
        config.data.vocab_size = 50_000
        config.data.batch_size = 256
        config.data.max_source = 500
        config.data.num_buckets = 8
        config.num_steps = 40_000
        config.eval_every = 1000
        model.embed_dim = encoder.hidden_dim = 256
        model.hidden_dim = 512
        optimizer.learning_rate = 1e-3
        optimizer.warmup_steps = 1000
    if mode == "smoke":
        default.make_tiny(config)
        config.data.vocab_size = 300
        config.data.max_source = 0
    return config
