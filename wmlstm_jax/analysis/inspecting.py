"""Looking into a memory: a page or a picture, by the ending of the file."""

from collections.abc import Sequence
from pathlib import Path

from wmlstm_jax.analysis.alignments import draw_alignment
from wmlstm_jax.analysis.exhibits import Exhibit, exhibit_source, exhibit_text
from wmlstm_jax.analysis.heat_map import draw_text
from wmlstm_jax.analysis.page import write_page
from wmlstm_jax.training.datasets import ExampleData
from wmlstm_jax.training.trained import Trained, text_of

PAGE = ".html"
SHOWN = 400
"""Tokens of the validation text that a page shows by default."""


def inspect(
    models: Sequence[Trained],
    path: str | Path,
    texts: tuple[str, ...] | None = None,
    layer: int | None = None,
) -> None:
    """Shows what memories do with a text.

    Args:
      models: one; or several of one task, for a page where they stand side by side.
      path: a page, `.html`, or a picture, `.png` or what else matplotlib writes.
      texts: the text; where there are sources, those of which one is made. By default
        what comes first in the validation data of the first model.
      layer: of the stack, from 0; by default the last.

    Raises:
      ValueError: a picture cannot show what was asked for, the models or the layer have
        no memory to look at, the text is empty or too long, or the file cannot be
        written.
    """
    first, path = models[0], Path(path)
    if path.suffix == PAGE:
        write_page(path, [_exhibit(each, first, texts, layer) for each in models])
        return
    if len(models) > 1 or layer is not None:
        raise ValueError(
            f"{path} is a picture, which shows the last layer of one model; name a page"
            f" that ends in {PAGE}."
        )
    if isinstance(first.run.data, ExampleData):
        draw_alignment(first, path, texts)
    else:
        draw_text(first, path, None if texts is None else "\n".join(texts))


def _exhibit(trained, first, texts, layer) -> Exhibit:
    if isinstance(first.run.data, ExampleData):
        if texts is None:
            texts = first.run.data.sets.validation[0].source
        return exhibit_source(trained, texts, layer)
    if texts is None:
        corpus, tokenizer = text_of(first).corpus, first.run.tokenizer
        tokens = tokenizer.encode(corpus.validation[: 40 * SHOWN])[:SHOWN]
        texts = (tokenizer.decode(tokens),)
    return exhibit_text(trained, "\n".join(texts), layer)
