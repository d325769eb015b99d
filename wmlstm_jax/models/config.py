"""The settings of a model: widths, memory, dropout."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from wmlstm_jax.core import (
    CellConfig,
    Fifo,
    Gated,
    LeastRecentlyRead,
    LeastUsed,
    MatrixMemory,
    Policy,
    Salience,
    SelectiveFifo,
    SlotMemory,
    TopK,
)

DROPOUTS = ("dropout", "read_dropout", "weight_dropout", "address_dropout")
"""The fields that are rates, in [0, 1)."""

MATRIX = "matrix"
"""Among the policies: fast weights instead of slots."""

POLICIES: dict[str, Callable[[], Policy]] = {
    "fifo": Fifo,
    "selective": SelectiveFifo,
    "salience": Salience,
    "least_recently_read": LeastRecentlyRead,
    "least_used": LeastUsed,
    "top_k": TopK,
    "gated": Gated,
}
"""The policies of slots by the name that a config gives."""


@dataclass(frozen=True)
class ModelConfig:
    """A stack of WM-LSTM blocks between an embedding and the same embedding.

    Args:
      embed_dim: D, the width of embedding and residual stream.
      hidden_dim: H, the width of each cell; projected back to D where it differs.
      num_layers: how many blocks.
      num_heads: R, reads per step and layer.
      key_dim: K, the width of an address.
      value_dim: W, the width of what is stored.
      num_slots: N, per layer; 0 is a plain LSTM.
      mlp_dim: the width of a gated MLP in every block, after the recurrence; 0 is none.
      policy: a name in `POLICIES`: what a full memory discards; or `MATRIX`, fast
        weights, of which `num_slots` only says that there are some.
      read: whether steps read the memory; False leaves it to the copy head, and only
        the last layer has one.
      read_modes: as in `CellConfig`.
      key_from: as in `CellConfig`.
      read_scale: as in `CellConfig`.
      copy: whether the last layer has a copy head.
      num_blocks: G, as in `CellConfig`: groups of heads that see each other only
        through the residual stream; a mesh spreads them over its `model` axis.
      dtype: of the large products, "float32" or "bfloat16"; parameters, states and sums
        stay in float32.
      memory_dtype: of stored keys and values.
      remat: whether a backward pass computes the inside of each block again, instead of
        keeping it (Chen et al. 2016).
      dropout: of the embedding, of what every block adds to it, and of the features
        that meet the output embedding; one mask per row and window.
      read_dropout: of what is read, likewise.
      weight_dropout: of the recurrent kernel of the gates, one mask for all rows and
        the whole window (Merity et al. 2018, "AWD-LSTM").
      address_dropout: of the kernels that make keys and the queries of reads and the
        copy head, likewise: so that a pointer does not learn its text by heart.

    Raises:
      ValueError: a setting is out of range or does not go with another.
    """

    source: ClassVar[bool] = False
    """Whether every layer also reads a source bank."""
    readout: ClassVar[bool] = False
    """Whether the last layer has a query of the final memory."""
    coverage = False
    """Whether the copy head is told where it has pointed."""
    embed_dim: int
    hidden_dim: int
    num_layers: int = 1
    num_heads: int = 4
    key_dim: int = 32
    value_dim: int = 64
    num_slots: int = 0
    mlp_dim: int = 0
    policy: str = "fifo"
    read: bool = True
    read_modes: tuple[str | int, ...] = ("content",)
    key_from: tuple[str, ...] = ("previous",)
    read_scale: float = 1.0
    copy: bool = False
    num_blocks: int = 1
    dtype: str = "float32"
    memory_dtype: str = "float32"
    remat: bool = False
    dropout: float = 0.0
    read_dropout: float = 0.0
    weight_dropout: float = 0.0
    address_dropout: float = 0.0

    def __post_init__(self):
        for field in ("embed_dim", "hidden_dim", "num_layers"):
            if getattr(self, field) < 1:
                _refuse(field, getattr(self, field), "at least 1")
        if self.mlp_dim < 0:
            _refuse("mlp_dim", self.mlp_dim, "at least 0")
        if self.policy not in (*POLICIES, MATRIX):
            _refuse("policy", self.policy, f"one of {sorted([*POLICIES, MATRIX])}")
        for field in DROPOUTS:
            if not 0 <= getattr(self, field) < 1:
                _refuse(field, getattr(self, field), "in [0, 1)")
        # What copies from a source alone is checked where there is one: in the model.
        if self.num_slots or not self.copy:
            for layer in range(self.num_layers):
                self.cell(layer)

    def cell(self, layer: int) -> CellConfig:
        """The cell of one layer; only the last copies."""
        return CellConfig(
            input_dim=self.embed_dim,
            hidden_dim=self.hidden_dim,
            num_heads=self.num_heads,
            key_dim=self.key_dim,
            value_dim=self.value_dim,
            memory=self._memory(layer),
            read=self.read or layer != self.num_layers - 1,
            read_modes=self.read_modes,
            key_from=self.key_from,
            read_scale=self.read_scale,
            copy=self.copy and layer == self.num_layers - 1,
            num_blocks=self.num_blocks,
            dtype=self.dtype,
            memory_dtype=self.memory_dtype,
            source=self.source,
            coverage=self.coverage and layer == self.num_layers - 1,
            readout=self._reads_out(layer),
        )

    def _reads_out(self, layer: int) -> bool:
        return self.readout and self.num_slots > 0 and layer == self.num_layers - 1

    def _memory(self, layer: int) -> SlotMemory | MatrixMemory:
        """What nobody reads, only the last layer has: to point at."""
        if not self.read and layer != self.num_layers - 1:
            return SlotMemory(0)
        if self.policy == MATRIX and self.num_slots:
            return MatrixMemory()
        policy = POLICIES.get(self.policy, Fifo)
        return SlotMemory(self.num_slots, policy())


@dataclass(frozen=True)
class DecoderConfig(ModelConfig):
    """A stack that also reads a source bank: read-only slots that an encoder fills.

    The copy head points there too.

    Args:
      coverage: whether it is told where it has pointed, as in `CellConfig`.
    """

    source: ClassVar[bool] = True
    coverage: bool = False


@dataclass(frozen=True)
class ReadoutConfig(ModelConfig):
    """A stack whose final memory is asked for one answer; nothing is copied."""

    readout: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        if self.copy:
            _refuse("copy", True, "False where an answer is read out")


def _refuse(field, was, should):
    raise ValueError(f"model.{field} is {was!r}; it must be {should}.")
