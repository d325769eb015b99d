"""What the recurrence is measured at: shapes, and what is varied in each sweep."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from wmlstm_jax.core import CellConfig, SlotMemory
from wmlstm_jax.models import POLICIES

ROLLBACK, SCAN = "ours, rollback", "ours, scan"
TORCH, NNX = "torch.nn.LSTM", "nnx.LSTMCell"
OURS = (ROLLBACK, SCAN, "ours, remat")
PEERS = (
    TORCH,
    NNX,
    "nnx.OptimizedLSTMCell",
    "haiku.LSTM",
    "equinox.nn.LSTMCell",
    "keras.layers.LSTM",
    "dnc.DNC",
    "xlstm sLSTM",
)
MEMORIES = (*OURS, "dnc.DNC")
"""Those with slots; the others are the same for every N."""
READ_MODES = ("content", 0, 1, -1)
"""Of the policy "ordered": a Fifo whose reads may step along the written order."""


@dataclass(frozen=True)
class Shape:
    """What is computed.

    Args:
      batch: B.
      length: T.
      input_dim: D.
      hidden_dim: H.
      num_heads: R, where there are heads.
      head_dim: K and W.
      num_slots: N; 0 is a plain LSTM.
      policy: of our memory: a name in `POLICIES`, or "ordered".
      unroll: steps in one turn of our compiled loop.
    """

    batch: int = 32
    length: int = 128
    input_dim: int = 256
    hidden_dim: int = 512
    num_heads: int = 8
    head_dim: int = 64
    num_slots: int = 0
    policy: str = "fifo"
    unroll: int = 1

    @property
    def config(self) -> CellConfig:
        """The settings of our cell."""
        ordered = self.policy == "ordered" and self.num_slots > 0
        policy = POLICIES["fifo" if self.policy == "ordered" else self.policy]
        return CellConfig(
            input_dim=self.input_dim,
            hidden_dim=self.hidden_dim,
            num_heads=self.num_heads,
            key_dim=self.head_dim,
            value_dim=self.head_dim,
            memory=SlotMemory(self.num_slots, policy()),
            read_modes=READ_MODES if ordered else ("content",),
        )


FEW = (*OURS, TORCH, NNX)
SMALL = Shape(8, 64, input_dim=32, hidden_dim=64, num_heads=4, head_dim=16)
LONG = Shape(8, num_slots=32)
TINY = Shape(2, 8, input_dim=8, hidden_dim=16, num_heads=2, head_dim=4)


@dataclass(frozen=True)
class Sweep:
    """What is varied, and who takes part.

    Args:
      axis: a field of `Shape`.
      values: of it. Who has no slots takes part once where N is varied.
      names: of the contestants.
      shape: everything else.
      rounds: how often each runs.
      shortest: seconds; what is faster is run several times in a row, for the mean.
    """

    axis: str
    values: tuple
    names: tuple[str, ...]
    shape: Shape = Shape()
    rounds: int = 7
    shortest: float = 0.05


SLOTS = (0, 8, 32, 128, 512)
WAYS = ("fifo", "salience", "ordered")
SWEEPS = {
    "main": Sweep("num_slots", SLOTS, (ROLLBACK, SCAN, *PEERS)),
    "capacity": Sweep("num_slots", (0, 8, 16, 32, 64, 128, 256, 512), OURS),
    "unroll": Sweep("unroll", (1, 2, 4, 8, 16), OURS[:2], Shape(num_slots=32)),
    "length": Sweep("length", (128, 512, 2048, 4096), (ROLLBACK, TORCH), LONG),
    "batch": Sweep("batch", (1, 8, 32, 128), FEW, Shape(num_slots=32)),
    "policy": Sweep("policy", WAYS, OURS, Shape(num_slots=128)),
    "small": Sweep("num_slots", (0, 8, 32), (*OURS, *PEERS), SMALL),
    "small-unroll": Sweep("unroll", (1, 2, 4, 8, 16), (ROLLBACK, NNX), SMALL),
}  # fmt: skip


def quick(sweep: Sweep) -> Sweep:
    """The same at a tiny shape, with two values and two rounds."""
    shape = replace(TINY, num_slots=min(sweep.shape.num_slots, 8))
    short = replace(sweep, values=sweep.values[:2], shape=shape, rounds=2)
    return replace(short, shortest=0.0)


def plain(shape: Shape) -> Shape:
    """The same without a memory."""
    return replace(shape, num_slots=0, policy="fifo", unroll=1)


class Case(NamedTuple):
    """One contestant at one shape."""

    name: str
    shape: Shape


def cases(sweep: Sweep) -> list[Case]:
    """Who runs at which shape."""
    found = []
    for value in sweep.values:
        shape = replace(sweep.shape, **{sweep.axis: value})
        for name in sweep.names:
            mine = shape if name in MEMORIES else plain(shape)
            needless = name == "dnc.DNC" and not mine.num_slots
            if not needless and Case(name, mine) not in found:
                found.append(Case(name, mine))
    return found
