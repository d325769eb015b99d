"""Every setting once, with its reason. The other configs change a few of these."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """A byte-level WM-LSTM language model on the text inside Python."""
    config = ConfigDict()

    # Or "translation", "question_answering", "summarization" or "dialogue", which have
    # sources and targets.
    config.task = "language_modeling"
    # Parameters, dropout and samples all follow from it: same seed, same numbers.
    config.seed = 0
    # About three passes over the embedded text.
    config.num_steps = 1200
    # Often enough to see it live; reading a metric waits for the device.
    config.log_every = 50
    # Each validation ends in a checkpoint: a kill costs at most this many steps.
    config.eval_every = 300
    # The part of the loss that the vocabulary has for itself, as if there were no copy
    # head. Without, what can be copied is not learned by the LSTM: 500 steps on the
    # embedded text, 512 slots that are only pointed at, seed 0, gave 1.68 bits per byte
    # instead of 1.56.
    config.vocab_share = 0.5
    # Costs likelihood, which is what is reported here.
    config.label_smoothing = 0.0
    # Costs a forward pass for each validation, and one more program to compile.
    config.watch_memory = True
    # One batch in thousands may be wild; the run need not end with it.
    config.nonfinite = "skip"
    # Whoever starts a long run wants to know that it will not be kept.
    config.unsaved = "stop"
    # What is said is the start of what is said next.
    config.hear_targets = True
    # As ROUGE is usually published, for English.
    config.stem = True
    # Trains only the model itself, not a plain LSTM beside it.
    config.compare = False

    config.data = data = ConfigDict()
    # English documentation inside every CPython: nothing to download.
    data.source = "embedded"
    # For "file": a UTF-8 text or a glob, gzipped if it ends in .gz; for "tfds": a name.
    data.path = ""
    # For "file": texts of their own to validate and test on; "" cuts them off the end.
    data.validation_path = ""
    data.test_path = ""
    # For examples: the other side of a "parallel" text.
    data.target_path = ""
    data.validation_target_path = ""
    data.test_target_path = ""
    # For examples in "jsonl", "table" or "tfds": the fields that make a source, the one
    # to be said, and the one by which examples are counted, if any.
    data.source_fields = ()
    data.target_field = ""
    data.kind_field = ""
    # For "tfds": which feature is the text, and where sets are prepared ("": TFDS's).
    data.text_field = "text"
    data.data_dir = ""
    # What is cut off: enough to tell two models apart, and most is left to train on.
    data.validation_fraction = 0.05
    data.test_fraction = 0.05
    # For examples: refuses what is none, rather than leave it out.
    data.skip_bad = False
    # For examples: no limit of tokens.
    data.max_source = 0
    data.max_target = 0
    # For training examples beyond the limits; the cut ones end amid a sentence.
    data.too_long = "drop"
    # For examples: as many programs to compile, for less padding the more there are.
    data.num_buckets = 4
    # Nothing to train, nothing unknown, and bits per byte are bits per token.
    data.tokenizer = "bytes"
    # The most tokens that "words", "punctuated" and "characters" may have, 0 for no
    # limit; "bpe" must have one.
    data.vocab_size = 0
    # Streams read side by side; must divide by the devices. Few, for many updates: in
    # as many seconds, 32 rows and windows of 128 gave 1.74 bits per byte, these 1.59.
    data.batch_size = 16
    # How far gradients reach back; the carry reaches further.
    data.window = 64

    config.model = model = ConfigDict()
    # Small enough for two CPU cores.
    model.embed_dim = 256
    model.hidden_dim = 256
    model.num_layers = 1
    # A gated MLP in every block, as deep stacks have it; one layer needs none.
    model.mlp_dim = 0
    # One head, with an address that is large enough for every context.
    model.num_heads = 1
    model.key_dim = 128
    # Of what is read; where nothing is, it is not stored either.
    model.value_dim = 64
    # Memory of the last N tokens, under the policy below; 0 is a plain LSTM.
    model.num_slots = 512
    # What a full memory discards: the oldest.
    model.policy = "fifo"
    # Steps read the memory into gates and output; False leaves it to the copy head, at
    # little more than the time of an LSTM for any capacity. On text, reading has not
    # been found to pay: 350 steps of 32 rows took 213 s with it and 92 s without, for
    # 1.77 and 1.74 bits per byte.
    model.read = False
    # Addressing by content alone; offsets would add reading in written order.
    model.read_modes = ("content",)
    # Keys from h_{t-1}, the context before the token: then the pointer finds what
    # followed when the context was last like this.
    model.key_from = ("previous",)
    # The start of the learned scale on what is read; 0 starts as an LSTM.
    model.read_scale = 1.0
    # Copying is what pays on text, more than reading into the gates.
    model.copy = True
    # One mask per row and window. The text is small, so this matters.
    model.dropout = 0.1
    # Less reliance on single reads, where there are any.
    model.read_dropout = 0.0
    # Of the recurrent weights: for many passes over little text.
    model.weight_dropout = 0.0
    # Of what makes addresses: against a pointer that knows its text by heart.
    model.address_dropout = 0.0
    # One block: every unit sees every other. More are for a mesh with a model axis.
    model.num_blocks = 1
    # CPUs are slow in bfloat16; accelerators are fast in it.
    model.dtype = model.memory_dtype = "float32"
    # To save memory, at the cost of a second forward pass.
    model.remat = False

    # Only for examples: what reads the sources.
    config.encoder = encoder = ConfigDict()
    # 0 would leave it to the model: source and target as one stream.
    encoder.num_layers = 1
    # With 0 layers: one-word answers, read out of the memory after the whole source.
    encoder.readout = False
    # Of each direction.
    encoder.hidden_dim = 256
    # The source bank remembers every word; the encoder needs no memory of its own.
    encoder.num_slots = 0
    # A word is known by what follows it too.
    encoder.bidirectional = True
    # Of a loss that keeps the copy head from saying one thing twice; 0 has none.
    encoder.coverage = 0.0

    # Only for examples: how targets are searched.
    config.search = search = ConfigDict()
    # A wider beam has not been found to say better things.
    search.size = 5
    # Between no normalisation, which favours short ones, and the mean per token.
    search.length_penalty = 0.6
    # Forbids nothing.
    search.block_ngram = 0
    # When as many have ended as were followed: later ones are rarely better.
    search.early_stop = True
    # Enough for a sentence.
    search.max_length = 100

    config.optimizer = optimizer = ConfigDict()
    # High for a short run; the clipped gradient and the warm-up make it safe.
    optimizer.learning_rate = 4e-3
    optimizer.warmup_steps = 30
    # The cosine ends at this part of the peak.
    optimizer.final_fraction = 0.05
    # Of kernels only.
    optimizer.weight_decay = 0.01
    optimizer.beta1 = 0.9
    # Shorter than the usual 0.999: a run has few steps.
    optimizer.beta2 = 0.99
    # Recurrences have rare large gradients; one must not undo a run.
    optimizer.clip_norm = 1.0
    optimizer.schedule = "cosine"
    # More makes room for a larger batch, in proportion to the time.
    optimizer.accumulate = 1
    # Of no use in a run whose rate falls to nearly nothing.
    optimizer.average = 0.0

    config.mesh = mesh = ConfigDict()
    # Devices that share a batch; 0 is all that the other axes leave.
    mesh.data = 0
    # And the parameters too: for models that one device cannot hold.
    mesh.fsdp = 1
    # Devices that share the heads; the recurrence then has model.num_blocks.
    mesh.model = 1

    config.sample = sample = ConfigDict()
    # What `compare` continues at its end, for a look at the model.
    sample.prompt = 'The "for" statement'
    sample.num_tokens = 400
    # Slightly below 1 and without the tail: a small model's tail is noise.
    sample.temperature = 0.8
    sample.top_p = 0.95

    return config


def begin(mode: str, modes: tuple[str, ...]) -> ConfigDict:
    """The default, for a config that has these modes.

    Raises:
      ValueError: the mode is none of them.
    """
    if mode not in modes:
        raise ValueError(f"the mode is {mode!r}; it must be one of {modes}.")
    return get_config()


def make_plain(config: ConfigDict, hidden_dim: int) -> None:
    """Leaves an LSTM of this width."""
    config.model.hidden_dim = hidden_dim
    config.model.num_slots = 0
    config.model.copy = False
    config.encoder.coverage = 0.0


def make_tiny(config: ConfigDict) -> None:
    """Leaves two steps of a tiny model on the embedded text."""
    config.num_steps = config.eval_every = 2
    config.watch_memory = False
    config.data.source = "embedded"
    if config.task != "language_modeling":
        # Sources with targets, made of the same text.
        config.data.source = "backwards"
        config.encoder.hidden_dim = 16
        config.search.size, config.search.max_length = 2, 12
    config.data.batch_size = 8
    config.data.window = 16
    config.model.embed_dim = config.model.hidden_dim = 16
    config.model.num_slots = 8
    config.model.read = True
    config.model.num_heads = 4
    config.model.key_dim = config.model.value_dim = 32
    config.optimizer.warmup_steps = 1
    config.sample.num_tokens = 8
