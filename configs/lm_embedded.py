"""Language modelling on the text inside Python: about two minutes on two CPU cores.

configs/lm_embedded.py            trains the WM-LSTM
configs/lm_embedded.py:compare    and a plain LSTM of as many parameters
configs/lm_embedded.py:smoke      two steps of a tiny model
"""

from ml_collections import ConfigDict

from configs import default

MODES = ("", "compare", "smoke")


def get_config(mode: str = "") -> ConfigDict:
    """The settings of one of `MODES`."""
    if mode not in MODES:
        raise ValueError(f"the mode is {mode!r}; it must be one of {MODES}.")
    config = default.get_config()
    config.compare = mode == "compare"
    if mode == "smoke":
        config.num_steps = 2
        config.eval_every = 2
        config.data.batch_size = 8
        config.data.window = 16
        config.model.embed_dim = 16
        config.model.hidden_dim = 16
        config.model.num_slots = 8
        config.optimizer.warmup_steps = 1
        config.sample.num_tokens = 8
    return config
