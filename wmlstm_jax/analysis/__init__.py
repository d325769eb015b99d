"""Looking at trained models: scores, comparisons, pictures of the memory."""

from wmlstm_jax.analysis.alignments import Alignment, align, draw_alignment
from wmlstm_jax.analysis.compare import compare
from wmlstm_jax.analysis.heat_map import draw, draw_text
from wmlstm_jax.analysis.inspecting import inspect
from wmlstm_jax.analysis.interactive import converse
from wmlstm_jax.analysis.predictions import Predictions, predict, report
from wmlstm_jax.analysis.scores import Score, score, score_table, write_scores
from wmlstm_jax.analysis.step_pictures import draw_steps
from wmlstm_jax.analysis.task_exhibits import Names, exhibit_task
from wmlstm_jax.analysis.task_traces import trace_task
from wmlstm_jax.analysis.traces import MemoryTrace, trace_source, trace_text

__all__ = [
    "Alignment",
    "MemoryTrace",
    "Names",
    "Predictions",
    "Score",
    "align",
    "compare",
    "converse",
    "draw",
    "draw_alignment",
    "draw_steps",
    "draw_text",
    "exhibit_task",
    "inspect",
    "predict",
    "report",
    "score",
    "score_table",
    "trace_source",
    "trace_task",
    "trace_text",
    "write_scores",
]
