import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / "configs").glob("*.py")
    if path.name not in ("__init__.py", "default.py")
)


def script(name, *flags):
    """Runs a script as people do, on one device."""
    return subprocess.run(
        [sys.executable, name, *map(str, flags)],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("path", CONFIGS, ids=str)
def test_every_config_trains_and_generates(path, tmp_path):
    config, workdir = f"--config={path}:smoke", f"--workdir={tmp_path}/run"
    trained = script("train.py", config, workdir)
    assert trained.returncode == 0, trained.stderr
    assert "step 2/2 | loss " in trained.stdout
    assert "bits per byte" in trained.stdout
    assert trained.stderr == ""
    scored = script("eval.py", config, workdir)
    assert scored.returncode == 0, scored.stderr
    assert "| validation" in scored.stdout
    generated = script("eval.py", workdir, "--generate=The for")
    assert generated.returncode == 0, generated.stderr
    assert generated.stdout.startswith("The for")


CONFIG = "--config=configs/lm_embedded.py:smoke"


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("train.py", [CONFIG, "--config.model.num_slot=3"], "num_slots"),
        ("train.py", [CONFIG, "--config.num_steps=x"], "config.num_steps=x"),
        ("train.py", [CONFIG, "--config.data.source=web"], "data.source is 'web'"),
        ("train.py", [CONFIG, "--config.data.batch_size=999999"], "too few for"),
        ("train.py", [CONFIG, "--wokdir=x"], "workdir"),
        ("train.py", ["--config=configs/absent.py"], "names no file"),
        ("train.py", [CONFIG, "stray"], "stray is no flag"),
        ("eval.py", [], "holds no run"),
    ],
)
def test_a_mistake_is_one_sentence(name, flags, message, tmp_path):
    result = script(name, f"--workdir={tmp_path}/run", *flags)
    assert result.returncode == 2
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
