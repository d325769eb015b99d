"""Looking at trained models: scores, comparisons, pictures of the memory."""

from wmlstm_jax.analysis.compare import compare
from wmlstm_jax.analysis.heat_map import draw, draw_text
from wmlstm_jax.analysis.memory_use import MemoryUse, look
from wmlstm_jax.analysis.scores import Score, score, score_table, write_scores

__all__ = [
    "MemoryUse",
    "Score",
    "compare",
    "draw",
    "draw_text",
    "look",
    "score",
    "score_table",
    "write_scores",
]
