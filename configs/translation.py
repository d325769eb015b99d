"""Translation: parallel text files, or any source of examples.

Two files with a sentence and its translation in lines of the same number, and two more
to validate on:

    python train.py --config=configs/translation.py --workdir=runs/translation \
        --config.data.path=train.de --config.data.target_path=train.en \
        --config.data.validation_path=val.de --config.data.validation_target_path=val.en

A set that TFDS has prepared:

    python train.py --config=configs/translation.py --workdir=runs/ted \
        --config.data.source=tfds --config.data.path=ted_hrlr_translate/pt_to_en \
        --config.data.source_fields="('pt',)" --config.data.target_field=en

configs/translation.py          an hour on two CPU cores, for 30,000 short sentences
configs/translation.py:lstm     without a working memory, of as many parameters
configs/translation.py:stream   no encoder: source and target are one stream
configs/translation.py:gpu      for a GPU and millions of sentences
configs/translation.py:smoke    two steps of a tiny model, on lines said backwards
"""

from ml_collections import ConfigDict

from configs import default

MODES = ("", "lstm", "stream", "gpu", "smoke")


def get_config(mode: str = "") -> ConfigDict:
    """The settings of one of `MODES`."""
    config = default.begin(mode, MODES)
    config.task = "translation"
    config.data.source = "parallel"
    # Pieces of words, which both languages share.
    config.data.tokenizer = "bpe"
    config.data.vocab_size = 8000
    config.data.batch_size = 64
    config.data.max_source = config.data.max_target = 60
    # Fourteen passes over 29,000 sentences.
    config.num_steps = 14 * 456
    config.eval_every = 456
    model, encoder, optimizer = config.model, config.encoder, config.optimizer
    model.embed_dim = 256
    model.hidden_dim = 512
    model.num_heads = 4
    model.key_dim = model.value_dim = 64
    # All that has been said.
    model.num_slots = 64
    model.read = True
    model.dropout = 0.3
    encoder.hidden_dim = 256
    optimizer.learning_rate = 2e-3
    optimizer.warmup_steps = 400
    optimizer.beta2 = 0.999
    config.search.max_length = 80
    if mode == "lstm":
        # It reads and copies the source, and remembers nothing of what it has said.
        model.num_slots = 0
        model.hidden_dim = 540
    if mode == "stream":
        encoder.num_layers = 0
        # The words of the source too.
        model.num_slots = 128
    if mode == "gpu":
        config.data.vocab_size = 32_000
        config.data.batch_size = 512
        config.data.max_source = config.data.max_target = 128
        config.data.num_buckets = 8
        config.num_steps = 100_000
        config.eval_every = 2000
        model.embed_dim = encoder.hidden_dim = 512
        model.hidden_dim = 1024
        model.num_layers = encoder.num_layers = 2
        model.num_slots = 128
        model.dropout = 0.1
        optimizer.learning_rate = 1e-3
        optimizer.warmup_steps = 4000
    if mode == "smoke":
        default.make_tiny(config)
        config.data.vocab_size = 300
    return config
