"""Summarisation: texts and their summaries, in JSON lines or a set of TFDS.

    python train.py --config=configs/summarization.py --workdir=runs/subjects \
        --config.data.path=train.jsonl --config.data.validation_path=dev.jsonl \
        --config.data.source_fields="('body',)" --config.data.target_field=subject
    python train.py --config=configs/summarization.py:gpu --workdir=runs/news \
        --config.data.source=tfds --config.data.path=cnn_dailymail \
        --config.data.source_fields="('article',)" --config.data.target_field=highlights

configs/summarization.py          an hour on two CPU cores, for 14,000 e-mails
configs/summarization.py:lstm     a plain LSTM of as many parameters, in one stream
configs/summarization.py:gpu      for a GPU and long articles
configs/summarization.py:smoke    two steps of a tiny model, lines said backwards
"""

from ml_collections import ConfigDict

from configs import default

MODES = ("", "lstm", "gpu", "smoke")


def get_config(mode: str = "") -> ConfigDict:
    """The settings of one of `MODES`."""
    config = default.begin(mode, MODES)
    config.task = "summarization"
    config.data.source = "jsonl"
    # Names are copied from the text, so the vocabulary need not have them.
    config.data.tokenizer = "punctuated"
    config.data.vocab_size = 10_000
    config.data.batch_size = 32
    config.data.max_source = 200
    config.data.max_target = 30
    config.data.too_long = "truncate"
    config.num_steps = 4500
    config.eval_every = 450
    model, encoder, optimizer = config.model, config.encoder, config.optimizer
    model.embed_dim = encoder.hidden_dim = 128
    model.hidden_dim = 256
    model.num_heads = 4
    model.key_dim = model.value_dim = 64
    model.num_slots = 32
    model.read = True
    model.dropout = 0.3
    encoder.coverage = 1.0
    optimizer.learning_rate = 2e-3
    optimizer.warmup_steps = 200
    config.search.max_length = 30
    # Nobody says the same thing twice in a summary.
    config.search.block_ngram = 2
    if mode == "lstm":
        # Nothing to look back at: what it knows of a source is in its state.
        config.encoder.num_layers = 0
        default.make_plain(config, 572)
    if mode == "gpu":
        config.data.vocab_size = 50_000
        config.data.batch_size = 128
        config.data.max_source, config.data.max_target = 800, 120
        config.data.num_buckets = 8
        config.num_steps = 60_000
        config.eval_every = 2000
        model.embed_dim = encoder.hidden_dim = 256
        model.hidden_dim = 512
        model.num_slots = 128
        optimizer.learning_rate = 1e-3
        optimizer.warmup_steps = 1000
        config.search.max_length = 120
        config.search.block_ngram = 3
    if mode == "smoke":
        default.make_tiny(config)
        config.data.vocab_size = 300
    return config
