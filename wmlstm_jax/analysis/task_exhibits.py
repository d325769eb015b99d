"""What a page or a picture shows of a model and a problem whose answers are known."""

from dataclasses import dataclass

import numpy as np

from wmlstm_jax.analysis.exhibits import Exhibit, check_length, facts_of
from wmlstm_jax.analysis.task_traces import trace_task
from wmlstm_jax.models import SequenceModel
from wmlstm_jax.tasks import Batch, Form


@dataclass(frozen=True)
class Names:
    """Short labels of what goes into a model and of what it answers.

    Args:
      words: of tokens and classes; without, they are called by their numbers.
      marks: of the last channels of a vector; those before them are bits, which are
        called by their number in base 16, the first bit the highest.

    Example:
      >>> Names(marks=("begin", "answer")).of(np.array([0, 1, 0, 1, 0, 0]))
      '5'
    """

    words: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()

    def of(self, value: np.ndarray) -> str:
        """What came in: a token `[]`, or a vector `[I]`."""
        if value.ndim == 0:
            return self.words[int(value)] if self.words else str(value)
        bits, marks = np.split(value > 0, [len(value) - len(self.marks)])
        named = [name for name, on in zip(self.marks, marks, strict=True) if on]
        return named[0] if named else _in_base_16(bits)

    def of_answer(self, form: Form, answer: np.ndarray) -> str:
        """What is answered: a class `[]`, or `[O]` of which what is above 0 is 1."""
        return self.of(answer) if form.answers == "classes" else _in_base_16(answer > 0)


def _in_base_16(bits: np.ndarray) -> str:
    number = int("".join("1" if bit else "0" for bit in bits), 2)
    return f"{number:0{-(-len(bits) // 4)}x}"


def exhibit_task(
    model: SequenceModel,
    form: Form,
    problem: Batch,
    names: Names,
    *,
    title: str,
    num_steps: int,
    layer: int | None = None,
) -> Exhibit:
    """What a model does with a problem.

    A step is called what came in, `·` if that has no name. One that answers is called
    `→` and the answer, after what came in if that was not blank; and if the answer is
    wrong, `≠` and the right one.

    Args:
      model: of the task.
      form: of the task.
      problem: without the axis of the batch.
      names: what inputs and answers are called.
      title: of the exhibit.
      num_steps: updates that the model was trained for.
      layer: as in `trace_task`.

    Raises:
      ValueError: as in `trace_task`; or the problem is too long.
    """
    inputs, targets, scored = map(np.asarray, problem)
    check_length(len(inputs))
    answers, trace = trace_task(model, form, problem, layer)
    outputs = answers.outputs
    chosen = outputs.argmax(-1) if form.answers == "classes" else outputs
    tokens, said = [], []
    for t, value in enumerate(inputs):
        came = names.of(value)
        if not scored[t]:
            tokens.append(came or "·")
            said.append("")
            continue
        answer = names.of_answer(form, chosen[t])
        came = came if value.any() else ""
        wanted = names.of_answer(form, targets[t])
        missed = "" if answers.right[t] else f"≠{wanted}"
        tokens.append(f"{came}→{answer}{missed}")
        said.append(answer)
    config = model.config
    layer = config.num_layers - 1 if layer is None else layer
    facts = facts_of(config, layer, num_steps, trace)
    cell = config.cell(layer)
    return Exhibit(title, facts, trace, cell, tokens, [], True, said)
