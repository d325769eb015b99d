"""A checkpoint damaged anywhere is not used: the one before is, or nothing."""

import shutil
import warnings
from dataclasses import replace

import chex
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.test_checkpoints import fill, state_at
from wmlstm_jax.training import parse_config, train
from wmlstm_jax.training.checkpoints import Checkpoints
from wmlstm_jax.training.config import to_settings
from wmlstm_jax.training.trained import load

often = pytest.mark.parametrize(
    "count", [40, pytest.param(10_000, marks=pytest.mark.long)]
)


@st.composite
def damages(draw, sizes):
    """A file and what becomes of its content: None where it is deleted."""
    name = draw(st.sampled_from(sorted(sizes)))
    act = draw(st.sampled_from(["flip", "truncate", "delete", "append"]))
    place, bit = draw(st.integers(0, max(sizes[name] - 1, 0))), draw(st.integers(0, 7))

    def act_on(whole: bytes) -> bytes | None:
        if act == "delete":
            return None
        if act == "append" or not whole:
            return whole + bytes([bit])
        if act == "truncate":
            return whole[:place]
        return whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]

    return name, act_on


@often
def test_damage_anywhere_is_named_and_never_half_loaded(count, tmp_path):
    fill(tmp_path, [3, 2]).__exit__()
    steps = tmp_path / "checkpoints"
    whole = {
        path.relative_to(steps).as_posix(): path.read_bytes()
        for path in steps.rglob("*")
        if path.is_file()
    }
    sizes = {
        step: {name: len(data) for name, data in whole.items() if name[0] == step}
        for step in "12"
    }

    @settings(max_examples=count, deadline=None, database=None)
    @given(damages(sizes["2"]), st.none() | damages(sizes["1"]), st.booleans())
    def one(newer, older, best):
        which = "best" if best else "latest"
        damaged = [each for each in (newer, older) if each is not None]
        for name, act_on in damaged:
            changed = act_on(whole[name])
            if changed is None:
                (steps / name).unlink()
            else:
                (steps / name).write_bytes(changed)
        try:
            with (
                warnings.catch_warnings(record=True, action="always") as told,
                Checkpoints(tmp_path, read_only=True) as checkpoints,
            ):
                if older is None:
                    restored = checkpoints.restore(state_at(0), which)
                    chex.assert_trees_all_equal(restored.state, state_at(1))
                    assert restored.about == checkpoints.about() == {"data_position": 1}
                else:
                    with pytest.raises(ValueError, match="no checkpoint in .* can be"):
                        checkpoints.restore(state_at(0), which)
                    assert checkpoints.about() is None
            said = "\n".join(str(each.message) for each in told)
            assert all(name in said for name, _ in damaged), said
        finally:
            for name, _ in damaged:
                (steps / name).write_bytes(whole[name])

    one()
    with Checkpoints(tmp_path) as checkpoints:
        chex.assert_trees_all_equal(checkpoints.restore(state_at(0)).state, state_at(2))


def test_a_checkpoint_of_another_config_is_refused_with_the_difference(
    config, trained, workdir
):
    """As if the checkpoints of one run had been copied among those of another."""
    other = replace(config, seed=config.seed + 1)
    (workdir / "config.json").unlink()
    said = f"another config \\(seed: {config.seed}, now {other.seed}\\); take it out"
    with pytest.raises(ValueError, match=said):
        train(other, workdir)
    shutil.copytree(trained, workdir, dirs_exist_ok=True)
    text = (workdir / "config.json").read_text()
    (workdir / "config.json").write_text(text.replace('"seed": 0', '"seed": 1'))
    with pytest.raises(ValueError, match=said):
        load(workdir)


def test_settings_of_another_version_are_refused_with_the_difference(config):
    """A field that this version has not, and one that it lacks."""
    older = to_settings(config)
    with pytest.raises(ValueError, match="^config has no field warmth; it has "):
        parse_config(older | {"warmth": 1})
    del older["nonfinite"]
    with pytest.raises(ValueError, match=r"^config\.nonfinite is absent; configs/def"):
        parse_config(older)
