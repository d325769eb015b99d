import json
import shutil
from pathlib import Path

import pytest

from tests.processes import ROOT, run_python

CONFIGS = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / "configs").glob("*.py")
    if path.name not in ("__init__.py", "default.py")
)
LIKE = (
    "question_answering",
    "summarization",
    "dialogue",
    "char_shakespeare",
    "word_ptb",
    "lm_large",
)
CONFIG = "--config=configs/lm_embedded.py:smoke"
NO_FIELD = "Error: --config has no field num_slot; did you mean num_slots?\n"


@pytest.mark.parametrize(
    "path",
    [
        # These are two models and other words; lm_large is in the tests of plans.
        pytest.param(path, marks=[pytest.mark.long] * (path.stem in LIKE), id=str(path))
        for path in CONFIGS
    ],
)
def test_every_config_trains(path, tmp_path):
    workdir = f"--workdir={tmp_path}/run"
    trained = run_python("train.py", f"--config={path}:smoke", workdir)
    assert trained.returncode == 0, trained.stderr
    assert "step 2/2 | loss " in trained.stdout
    assert "bits per byte" in trained.stdout
    assert trained.stderr == ""


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """The flag that names a finished run."""
    flag = f"--workdir={tmp_path_factory.mktemp('scripts')}/run"
    assert run_python("train.py", CONFIG, flag).returncode == 0
    return flag


def test_a_model_is_scored(workdir):
    scored = run_python("eval.py", CONFIG, workdir)
    assert scored.returncode == 0, scored.stderr
    assert "| validation" in scored.stdout and "| test" in scored.stdout
    path = Path(workdir.removeprefix("--workdir=")) / "eval.json"
    assert json.loads(path.read_text())["scores"]


def test_a_text_is_generated_as_the_flags_say(workdir):
    def generated(*flags):
        result = run_python("eval.py", workdir, "--generate=The for", *flags)
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith("The for")
        return result.stdout

    default = generated()
    assert default == generated("--seed=0", "--temperature=0.8", "--top_p=0.95")
    greedy = generated("--greedy", "--num_tokens=5")
    assert greedy == generated("--top_k=1", "--num_tokens=5", "--which=latest")
    assert not default.startswith(greedy)


def test_a_memory_is_drawn(workdir, tmp_path):
    picture = tmp_path / "memory.png"
    result = run_python("eval.py", workdir, f"--inspect={picture}", "--text=The for")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"The memory at work: {picture}\n"
    assert picture.stat().st_size


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("train.py", [CONFIG, "--config.model.num_slot=3"], NO_FIELD),
        ("train.py", [CONFIG, "--config.num_steps=x"], "config.num_steps=x"),
        ("train.py", [CONFIG, "--config.data.source=web"], "data.source is 'web'"),
        ("train.py", ["--config=configs/absent.py"], "names no file"),
        ("train.py", ["--config=configs/lm_embedded.py:smok"], "the mode is 'smok'"),
        ("eval.py", [], "holds no run"),
        ("eval.py", ["--text=a"], "--text would be ignored; add --inspect."),
        ("eval.py", ["--generate=\udcff"], "a byte that is not UTF-8, behind ''"),
        *(
            pytest.param(*case, marks=pytest.mark.long)
            for case in (
                ("train.py", [CONFIG, "--config.zzz=3"], "no field zzz; configs/def"),
                ("train.py", [CONFIG, "--config.data.batch_size=999999"], "too few"),
                ("train.py", [CONFIG, "--wokdir=x"], "workdir"),
                ("train.py", [CONFIG, "stray"], "stray is no flag"),
                ("eval.py", ["--which=newest"], "should be one of"),
                ("eval.py", ["--num_tokens=0"], "num_tokens"),
                ("eval.py", ["--seed=0"], "--seed would be ignored; add --generate"),
                ("eval.py", ["--generate=a", "--greedy", "--top_k=2"], "--greedy out"),
                ("eval.py", ["--generate=a", "--cache_slots=2"], "--cache_slots would"),
            )
        ),
    ],
)
def test_a_mistake_is_one_sentence(name, flags, message, tmp_path):
    result = run_python(name, f"--workdir={tmp_path}/run", *flags)
    assert result.returncode == 2
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        (b"", [], "text.txt is empty"),
        (b"one\ntwo \xff", [], "text.txt, line 2, byte 8 is not UTF-8"),
        (b"short", [], "too few for"),
        (b"a" * 999, ["--config.data.tokenizer=characters"], "fewer than two"),
        (b"text", ["--config.data.source=tfds"], "text.txt"),
    ],
)
def test_a_text_that_cannot_be_used_is_one_sentence(content, flags, message, tmp_path):
    text, workdir = tmp_path / "text.txt", tmp_path / "run"
    text.write_bytes(content)
    source = ["--config.data.source=file", f"--config.data.path={text}"]
    result = run_python("train.py", CONFIG, f"--workdir={workdir}", *source, *flags)
    assert result.returncode == 2
    assert result.stderr.startswith("Error: ") and message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not workdir.exists()


def test_another_config_in_the_workdir_is_refused_and_named(workdir):
    for name in ("train.py", "eval.py"):
        result = run_python(name, CONFIG, "--config.seed=5", workdir)
        assert result.returncode == 2
        assert "another config (seed: 0, now 5)" in result.stderr


def test_a_damaged_checkpoint_is_named_and_nothing_is_made_up(workdir, tmp_path):
    copy = shutil.copytree(workdir.removeprefix("--workdir="), tmp_path / "run")
    (damaged,) = (copy / "checkpoints").glob("*/state/manifest.ocdbt")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    result = run_python("eval.py", f"--workdir={copy}")
    assert result.returncode == 2
    assert "manifest.ocdbt" in result.stderr
    assert "Error: no checkpoint in" in result.stderr
    assert result.stdout == ""
