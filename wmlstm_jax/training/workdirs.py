"""Whose a workdir is: one config, and one training at a time."""

import errno
import fcntl
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from wmlstm_jax.training.config import (
    TrainConfig,
    config_differences,
    parse_config,
    to_settings,
)
from wmlstm_jax.training.manifest import write_whole, writing


def claim_workdir(workdir: Path, config: TrainConfig) -> None:
    """Notes the config in the workdir, or checks that it is the one noted before.

    Raises:
      ValueError: another config was trained here; the message has the differences. Or
        the workdir cannot be written.
    """
    path = workdir / "config.json"
    if path.exists():
        if differences := config_differences(saved_config(workdir), config):
            raise ValueError(
                f"{workdir} holds a run with another config"
                f" ({'; '.join(differences)}); name another --workdir, or delete it."
            )
        return
    if jax.process_index() == 0:
        write_whole(path, json.dumps(to_settings(config), indent=2) + "\n")


def saved_config(workdir: Path) -> TrainConfig:
    """The config that was trained in this workdir.

    Raises:
      ValueError: there is none, or it is damaged.
    """
    path = workdir / "config.json"
    try:
        return parse_config(json.loads(path.read_bytes()))
    except FileNotFoundError as error:
        raise ValueError(
            f"{workdir} holds no run (no config.json); train one with train.py."
        ) from error
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}, line {error.lineno}: not JSON; name another --workdir, or delete"
            " this one."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise ValueError(
            f"{path} cannot be read ({reason}); name the --workdir of a run."
        ) from error


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Holds a workdir for this training; of several hosts, the first does.

    The system lets go of it when the process ends, however it ends. Where a file system
    has no locks, nothing is held.

    Raises:
      ValueError: another process trains there, or the workdir cannot be written.
    """
    if jax.process_index():
        yield
        return
    path = workdir / "lock"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise ValueError(
                f"{workdir} is being trained by {file.read().strip() or 'another run'};"
                " wait until it ends, or name another --workdir."
            ) from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                raise
        with writing(path):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}\n")
            file.flush()
        yield
