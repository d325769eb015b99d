"""Memories at work, for people: pictures, pages, and what one sees in them.

    python -m wmlstm_jax.benchmarks.gallery --out=docs/gallery [--pages] [--seed=0] \
        [--language_model=WORKDIR] [--translation=WORKDIR] [--story=WORKDIR]

The copy task of Graves et al. 2014 is learned by the command itself, in a minute or
two; the others are shown by models that were trained before, and left out where none is
named. What they are given is written for this gallery: no text of a corpus is in it.
`gallery.md` has all of it, and with `--pages` there is a page of each, to go through
step by step.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from sys import argv

import jax
import jax.numpy as jnp
from absl import flags
from flax import nnx

from wmlstm_jax.analysis import Names, draw_steps, exhibit_task, inspect
from wmlstm_jax.analysis.page import write_page
from wmlstm_jax.benchmarks import Progress, results_dir
from wmlstm_jax.benchmarks.challenges import CORE, ORDERED, TINY
from wmlstm_jax.benchmarks.gallery_exhibits import (
    BORROWED,
    Borrowed,
    Shown,
    describe,
    describe_copy,
)
from wmlstm_jax.benchmarks.learning import Course, sequence_model, train
from wmlstm_jax.models import ModelConfig
from wmlstm_jax.tasks import Copy
from wmlstm_jax.training.command_line import run_script
from wmlstm_jax.training.manifest import write_whole
from wmlstm_jax.training.trained import Trained, load


@dataclass(frozen=True)
class Settings:
    """How copying is learned and shown.

    Args:
      course: the training.
      model: what is trained.
      size: bytes of the list that is shown.
      rate: the peak learning rate.
    """

    course: Course
    model: ModelConfig
    size: int = 12
    rate: float = 0.01


MEMORY = ModelConfig(
    embed_dim=64,
    hidden_dim=96,
    num_heads=2,
    key_dim=16,
    value_dim=16,
    num_slots=64,
    read_modes=ORDERED,
)
FULL = Settings(CORE["copy"].course, MEMORY)
QUICK = Settings(TINY["copy"].course, MEMORY, size=3)


def show_copy(settings: Settings, seed: int, out: Path, pages: bool) -> Shown:
    """Learns to copy, and shows a list that was not trained on.

    Args:
      settings: how.
      seed: of parameters, samples and the list.
      out: where picture and page go.
      pages: whether there is a page.
    """
    form = settings.course.task.form
    run, params = train(
        settings.model, settings.course, settings.rate, seed, Progress(1).glimpse
    )
    graph, _ = sequence_model(settings.model, form)
    exhibit = exhibit_task(
        nnx.merge(graph, params),
        form,
        Copy(settings.size).one(jax.random.key(seed), jnp.int32(settings.size)),
        Names(marks=("begin", "answer")),
        title="Copy: a list of bytes is told, then it is said again",
        num_steps=run.steps[-1],
    )
    draw_steps(exhibit, out / "copy.png")
    if pages:
        write_page(out / "copy.html", [exhibit])
    return Shown("copy", "Copying a list", describe_copy(exhibit, run.seconds))


def borrow(wanted: Borrowed, workdir: str) -> Trained:
    """The model of a workdir.

    Raises:
      ValueError: there is none, or it was trained for something else.
    """
    trained = load(workdir)
    if (task := trained.run.config.task) != wanted.task:
        raise ValueError(
            f"--{wanted.shown.name}={workdir} was trained for {task}; name a workdir of"
            f" {wanted.task}."
        )
    return trained


def main(
    settings: Settings,
    out: str | Path,
    workdirs: Mapping[str, str | None],
    command: str,
    seed: int = 0,
    pages: bool = False,
) -> None:
    """Makes the gallery.

    Args:
      settings: of the copy task.
      out: where it goes.
      workdirs: of trained models, by the names of `BORROWED`; None is left out.
      command: that makes it, for who wants to make it again.
      seed: of the copy task.
      pages: whether there are pages too.

    Raises:
      ValueError: a workdir has no model or that of another task, or `out` cannot be
        written.
    """
    out = results_dir(out)
    found = []
    # Before the training, which takes longer.
    for wanted in BORROWED:
        if workdir := workdirs.get(wanted.shown.name):
            found.append((wanted, borrow(wanted, workdir)))
        else:
            title, flag = wanted.shown.title, wanted.shown.name
            print(f"{title}: left out; --{flag}=WORKDIR names a model for it.")
    shown = [show_copy(settings, seed, out, pages)]
    for wanted, trained in found:
        for ending in (".png", ".html")[: 1 + pages]:
            inspect([trained], out / f"{wanted.shown.name}{ending}", wanted.texts)
        shown.append(wanted.shown)
    text = describe(shown, command, seed, pages)
    write_whole(out / "gallery.md", text)
    print(f"\nThe gallery: {out}/gallery.md")


if __name__ == "__main__":
    _QUICK = flags.DEFINE_bool("quick", False, "Only show that it runs.")
    _OUT = flags.DEFINE_string("out", "runs/gallery", "Where the gallery goes.")
    _PAGES = flags.DEFINE_bool("pages", False, "Also make a page of each exhibit.")
    _SEED = flags.DEFINE_integer("seed", 0, "Of the copy task.", lower_bound=0)
    _WORKDIRS = {
        each.shown.name: flags.DEFINE_string(
            each.shown.name, None, f"The workdir of a model for: {each.shown.title}."
        )
        for each in BORROWED
    }
    run_script(
        lambda: main(
            QUICK if _QUICK.value else FULL,
            _OUT.value,
            {name: holder.value for name, holder in _WORKDIRS.items()},
            shlex.join(["python", "-m", "wmlstm_jax.benchmarks.gallery", *argv[1:]]),
            _SEED.value,
            _PAGES.value,
        ),
        keep=True,
    )
