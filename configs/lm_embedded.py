"""Language modelling on the text inside Python: some minutes on two CPU cores.

configs/lm_embedded.py            trains the WM-LSTM
configs/lm_embedded.py:compare    and a plain LSTM of as many parameters
configs/lm_embedded.py:smoke      two steps of a tiny model
"""

from ml_collections import ConfigDict

from configs import default

MODES = ("", "compare", "smoke")


def get_config(mode: str = "") -> ConfigDict:
    """The settings of one of `MODES`."""
    config = default.begin(mode, MODES)
    config.compare = mode == "compare"
    if mode == "smoke":
        default.make_tiny(config)
    return config
