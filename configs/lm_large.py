"""Language models for accelerators, on any text: 125M, 350M and 1.3B parameters.

    python train.py --config=configs/lm_large.py --workdir=runs/large \
        --config.data.source=tfds --config.data.path=lm1b
    python -m wmlstm_jax.training.plan --config=configs/lm_large.py:1b3 \
        --mesh=data=32,fsdp=8

configs/lm_large.py         125M, parameters on every device
configs/lm_large.py:350m    parameters over 8 devices
configs/lm_large.py:1b3     parameters over 8 devices, heads over 2
configs/lm_large.py:smoke   two steps of a tiny model with the same parts
"""

from ml_collections import ConfigDict

from configs import default

MODES = ("", "350m", "1b3", "smoke")


def get_config(mode: str = "") -> ConfigDict:
    """The settings of one of `MODES`."""
    config = default.begin(mode, MODES)
    config.data.source = "file"
    config.data.tokenizer = "bpe"
    config.data.vocab_size = 32_000
    config.data.batch_size = 256
    config.data.window = 1024
    config.num_steps = 50_000
    config.eval_every = 1000
    config.log_every = 100
    model, optimizer = config.model, config.optimizer
    # Heads of 64 with a recurrence of their own: what a fused kernel holds on chip.
    model.embed_dim = model.hidden_dim = 768
    model.num_layers = 12
    model.num_heads = model.num_blocks = 12
    model.key_dim = model.value_dim = 32
    model.num_slots = 64
    model.read = True
    model.read_dropout = 0.0
    model.mlp_dim = 2048
    model.dtype = "bfloat16"
    model.remat = True
    optimizer.learning_rate = 1e-3
    optimizer.warmup_steps = 2000
    optimizer.beta2 = 0.95
    optimizer.weight_decay = 0.1
    if mode == "350m":
        model.embed_dim = model.hidden_dim = 1024
        model.num_layers = 22
        model.num_heads = model.num_blocks = 16
        model.mlp_dim = 2752
        config.mesh.fsdp = 8
        optimizer.learning_rate = 6e-4
    if mode == "1b3":
        model.embed_dim = model.hidden_dim = 2048
        model.num_layers = 22
        model.num_heads = model.num_blocks = 32
        model.mlp_dim = 5504
        config.mesh.fsdp, config.mesh.model = 8, 2
        config.data.batch_size = 512
        optimizer.learning_rate = 3e-4
    if mode == "smoke":
        default.make_tiny(config)
        config.data.vocab_size = 300
        model.num_blocks = 4
        model.num_layers, model.mlp_dim = 2, 16
    return config
