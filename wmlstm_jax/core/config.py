"""The settings of a cell: hashable, compared by value, refused at the door when wrong.

A `CellConfig` is no pytree; it is a static argument, so equal settings compile once.
"""

from dataclasses import dataclass

import jax.numpy as jnp

from wmlstm_jax.core.matrix_memory import MatrixMemory
from wmlstm_jax.core.memories import SlotMemory
from wmlstm_jax.core.reading import ENDS

KEY_SOURCES = ("input", "previous", "current")
_DTYPES = ("float32", "float64", "bfloat16", "float16")


@dataclass(frozen=True)
class CellConfig:
    """An LSTM cell and its working memory.

    Args:
      input_dim: D, the width of `x_t`.
      hidden_dim: H, the width of `h_t`.
      num_heads: R, reads per step, each with its own keys and values.
      key_dim: K, the width of an address.
      value_dim: W, the width of what is stored.
      memory: the memory and, in it, the policy.
      read: a step reads what it holds; False leaves it to the pointer alone, and the
        loop is then that of an LSTM.
      read_modes: "content", and for ring-ordered policies integer offsets along the
        written order: 1 steps to the next newer slot, 0 stays, -1 steps back; and its
        ends, "newest" and "oldest".
      num_blocks: G, groups of hidden units and heads that see each other only through
        `x_t`; 1 is a dense recurrence.
      key_from: what a key is made of: any of "input" (`x_t`), "previous" (`h_{t-1}`)
        and "current" (`h_t`).
      copy: the cell has a pointer for a copy head.
      readout: the cell has a query for reading the final memory.
      source: the cell also reads a source bank.
      coverage: the pointer is told how much of its weight each source token had before
        (See et al. 2017, "Get to the point", section 2.3).
      forget_bias: added to the forget gate at the start.
      read_scale: the start of the learned scale on each head's read; 0 starts as an
        LSTM.
      cap_input_gate: uses `min(i, 1 - f)`, which keeps `|c_t|` below 1.
      gradient_clip: bounds the cotangent of each gate before its squashing (Graves
        2013, section 2); None for no limit.
      dtype: of the large products: "float32", "bfloat16", "float16" or "float64".
      memory_dtype: of stored keys and values.

    Raises:
      ValueError: a setting is out of range or does not go with another.
    """

    input_dim: int
    hidden_dim: int
    num_heads: int = 1
    key_dim: int = 32
    value_dim: int = 32
    memory: SlotMemory | MatrixMemory = SlotMemory(0)
    read: bool = True
    read_modes: tuple[str | int, ...] = ("content",)
    num_blocks: int = 1
    key_from: tuple[str, ...] = ("previous",)
    copy: bool = False
    readout: bool = False
    source: bool = False
    coverage: bool = False
    forget_bias: float = 1.0
    read_scale: float = 1.0
    cap_input_gate: bool = False
    gradient_clip: float | None = None
    dtype: str = "float32"
    memory_dtype: str = "float32"

    def __post_init__(self):
        for field in ("input_dim", "hidden_dim", "num_heads", "key_dim", "value_dim"):
            _require_positive(field, getattr(self, field))
        _require_positive("num_blocks", self.num_blocks)
        if not isinstance(self.memory, SlotMemory | MatrixMemory):
            _refuse("memory", self.memory, "a memory such as SlotMemory(64)")
        if isinstance(self.memory, MatrixMemory):
            for field in ("copy", "source"):
                if getattr(self, field):
                    _refuse(field, True, "False, since a MatrixMemory has no slots")
        for field in ("hidden_dim", "num_heads"):
            if getattr(self, field) % self.num_blocks:
                _refuse(
                    "num_blocks",
                    self.num_blocks,
                    f"a divisor of {field} = {getattr(self, field)}",
                )
        self._check_read_modes()
        if not self.key_from or set(self.key_from) - set(KEY_SOURCES):
            _refuse("key_from", self.key_from, f"one or more of {KEY_SOURCES}")
        for field in ("copy", "readout"):
            if getattr(self, field) and not self.holds:
                _refuse(field, True, "False where there are no slots and no source")
        if self.coverage and not (self.copy and self.source):
            _refuse("coverage", True, "False unless a pointer (copy) sees a source")
        if self.holds and not (self.read or self.copy):
            _refuse("read", False, "True unless there is a pointer (copy)")
        ranked = self.memory.num_slots > 0 and self.memory.policy.ranks_by_reads
        if ranked and not self.read:
            _refuse("read", False, f"True, since {self.memory.policy!r} ranks reads")
        if self.readout and not self.read:
            _refuse("readout", True, "False where nothing is read (read)")
        if self.gradient_clip is not None and not self.gradient_clip > 0:
            _refuse("gradient_clip", self.gradient_clip, "positive, or None")
        for field in ("dtype", "memory_dtype"):
            if getattr(self, field) not in _DTYPES:
                _refuse(field, getattr(self, field), f"one of {_DTYPES}")

    def _check_read_modes(self):
        modes = self.read_modes
        if not isinstance(modes, tuple) or modes.count("content") != 1:
            _refuse("read_modes", modes, 'a tuple with "content" in it once')
        others = [mode for mode in modes if mode != "content"]
        known = all(mode in ENDS or type(mode) is int for mode in others)
        if not known or len(set(others)) != len(others):
            _refuse(
                "read_modes", modes, f'"content", distinct integer offsets, and {ENDS}'
            )
        has_slots = self.memory.num_slots > 0 and self.read
        if others and not (has_slots and self.memory.policy.ordered):
            _refuse(
                "read_modes",
                modes,
                '("content",) unless the memory has slots that are read and its policy'
                " keeps a written order, as Fifo does",
            )

    @property
    def slots(self) -> SlotMemory:
        """The memory, for those who are asked only where it has slots."""
        assert isinstance(self.memory, SlotMemory)
        return self.memory

    @property
    def holds(self) -> bool:
        """Whether there is anything to read or to point at."""
        return self.memory.num_slots > 0 or self.source

    @property
    def reads(self) -> bool:
        """Whether a step reads anything at all."""
        return self.read and self.holds

    @property
    def state_dtype(self):
        """The dtype of hidden, cell, softmax and bookkeeping: at least float32."""
        return jnp.dtype("float64" if self.dtype == "float64" else "float32")


def _require_positive(field, number):
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        _refuse(field, number, "an integer of at least 1")


def _refuse(field, was, should):
    raise ValueError(f"CellConfig.{field} is {was!r}; it must be {should}.")
