import re
from dataclasses import replace

import pytest

from tests.analysis.test_task_exhibits import exhibit_of
from tests.processes import run_python
from wmlstm_jax.benchmarks import gallery
from wmlstm_jax.benchmarks.gallery_exhibits import BORROWED, describe_copy
from wmlstm_jax.models import ModelConfig

TINY = replace(
    gallery.QUICK,
    model=ModelConfig(
        8, 6, num_heads=1, key_dim=4, num_slots=4, read_modes=("content", 1)
    ),
)
STORY = "A question about a story"
NO_SOURCES = "A translation: left out; --translation=WORKDIR names a model for it."


def make(out, **settings):
    gallery.main(TINY, out, settings.pop("workdirs", {}), "make it", **settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, trained, answering):
    """The gallery with two models of tests."""
    out = tmp_path_factory.mktemp("gallery") / "new"
    workdirs = {"language_model": str(trained), "story": str(answering)}
    make(out, workdirs=workdirs | {"translation": None}, seed=3, pages=True)
    return out


@pytest.mark.long
def test_every_exhibit_has_a_picture_a_page_and_two_sentences(finished):
    text = (finished / "gallery.md").read_text()
    for name in ("copy", "language_model", "story"):
        assert (finished / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<script" in (finished / f"{name}.html").read_text("utf-8")
        assert f"]({name}.png)" in text and f"[Step by step]({name}.html)" in text
    for shown in (each.shown for each in BORROWED if each.shown.name != "translation"):
        assert "\n".join(shown.sentences) in text and f"## {shown.title}" in text
    assert "translation" not in text and not (finished / "translation.png").exists()
    assert re.search(r"A list of 3 bytes .* after 4 updates", text)
    assert "\n    make it\n" in text
    assert re.search(r"Seed 3, .* JAX \S+, commit \S+\.\n$", text)


@pytest.mark.long
def test_what_models_are_given_is_in_the_pages(finished):
    page = (finished / "story.html").read_text("utf-8")
    for word in BORROWED[2].texts[1].strip("?").split():
        assert f'"{word}"' in page


def test_without_models_there_is_copying(tmp_path, capsys):
    make(tmp_path)
    said = capsys.readouterr().out
    assert NO_SOURCES in said and f"{STORY}: left out; --story=WORKDIR" in said
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["copy.png", "gallery.md"]
    assert "Step by step" not in (tmp_path / "gallery.md").read_text()


@pytest.mark.long
def test_the_seed_is_that_of_list_and_model(finished, tmp_path, monkeypatch):
    plain, seeds = gallery.train, []

    def train(model, course, rate, seed, tell):
        seeds.append(seed)
        return plain(model, course, rate, seed, tell)

    monkeypatch.setattr(gallery, "train", train)
    make(tmp_path / "same", seed=3)
    make(tmp_path / "other", seed=4)
    assert seeds == [3, 4]
    same, other = (tmp_path / name / "copy.png" for name in ("same", "other"))
    assert same.read_bytes() == (finished / "copy.png").read_bytes()
    assert other.read_bytes() != same.read_bytes()


def test_the_sentences_of_copying_have_the_numbers_of_the_run():
    exhibit = exhibit_of("vectors")
    asked = [t for t, said in enumerate(exhibit.said) if said]
    reads = exhibit.trace.reads
    modes = reads.modes.copy()
    modes[:] = 0
    modes[asked, 1, 2] = 0.5
    trace = exhibit.trace._replace(reads=reads._replace(modes=modes))
    tokens = [*exhibit.tokens]
    for t, token in zip(asked, ("→00", "→01", "→00≠01", "→01"), strict=True):
        tokens[t] = token
    first, second = describe_copy(exhibit._replace(trace=trace, tokens=tokens), 61.4)
    assert "A list of 4 bytes" in first and "3 of 4 are right" in first
    assert first.endswith("after 7 updates (61 seconds).")
    assert "`next slot`, in head 2, with a probability of 0.50." in second


def test_a_model_of_another_task_is_refused_before_anything_is_trained(
    trained, tmp_path, monkeypatch
):
    monkeypatch.setattr(gallery, "train", None)
    with pytest.raises(
        ValueError, match="was trained for language_modeling; name a workdir of transl"
    ):
        make(tmp_path, workdirs={"translation": str(trained)})


def test_a_workdir_that_is_none_is_one_sentence(tmp_path):
    module = "wmlstm_jax.benchmarks.gallery"
    absent, out = tmp_path / "absent", tmp_path / "out"
    found = run_python("-m", module, "--quick", f"--story={absent}", f"--out={out}")
    assert found.returncode == 2
    assert found.stderr == (
        f"Error: {absent} holds no run (no config.json); train one with train.py.\n"
    )
