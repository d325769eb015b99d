"""Flags to settings, and errors to one sentence: what the scripts share."""

import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from wmlstm_jax.training.config import TrainConfig, parse_config
from wmlstm_jax.training.hosts import LOST, is_lost_process, join
from wmlstm_jax.training.stopping import EXIT_CODE, Stopped


def define_config(required: bool) -> flags.FlagHolder:
    """The flags `--config=FILE.py[:mode]` and `--config.field=value`."""
    holder = config_flags.DEFINE_config_file(
        "config", help_string="Settings, such as configs/lm_embedded.py:smoke."
    )
    if required:
        flags.mark_flag_as_required("config")
    return holder


def given_config(holder: flags.FlagHolder) -> TrainConfig:
    """The settings behind `--config`.

    Raises:
      ValueError: the file cannot be loaded, or a setting is wrong.
    """
    if not isinstance(holder.value, ConfigDict):
        raise ValueError(
            "--config names no file that can be read; give one such as"
            " --config=configs/lm_embedded.py."
        )
    return parse_config(holder.value.to_dict())


def refuse(holders: tuple[flags.FlagHolder, ...], remedy: str) -> None:
    """Refuses flags that were given and would be ignored.

    Raises:
      ValueError: one of them was given.
    """
    for holder in holders:
        if holder.present:
            raise ValueError(f"--{holder.name} would be ignored; {remedy}.")


def require_utf8(*texts: str) -> None:
    """Refuses texts of the command line that are none.

    Raises:
      ValueError: one has a byte that is not UTF-8.
    """
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                "a text on the command line has a byte that is not UTF-8, behind"
                f" {text[: error.start]!r}; write it without."
            ) from error


def define_hosts() -> Callable[[], None]:
    """The flags of a run on several hosts, and what starts it: before anything else.

    With `--distributed` alone JAX asks SLURM, Kubernetes, MPI or the TPU who there is.
    """
    distributed = flags.DEFINE_bool(
        "distributed", False, "Run with the other processes of this job."
    )
    coordinator = flags.DEFINE_string(
        "coordinator", None, "HOST:PORT of the first process, if nobody else tells it."
    )
    processes = flags.DEFINE_integer(
        "num_processes", None, "How many there are, likewise.", lower_bound=1
    )
    number = flags.DEFINE_integer(
        "process_id", None, "Which one this is, from 0, likewise.", lower_bound=0
    )

    def start() -> None:
        given = coordinator.value, processes.value, number.value
        if not distributed.value:
            if any(value is not None for value in given):
                raise ValueError(
                    "--coordinator, --num_processes and --process_id are of a run on"
                    " several hosts; add --distributed."
                )
            return
        join(*given)

    return start


def keep_programs() -> None:
    """Keeps compiled programs on disk: the next start reads what this one compiled.

    Where `JAX_COMPILATION_CACHE_DIR` says, which JAX itself heeds, or else with the
    other caches of the user; nowhere if nothing can be written there, or if the
    variable is empty. A program is the same from disk, to the last bit.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        directory = Path(caches) / "wmlstm_jax"
        directory.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    except (OSError, RuntimeError):  # Of a user without a home.
        return
    jax.config.update("jax_compilation_cache_dir", str(directory))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        # JAX's one second leaves out much of what a start on a fast machine waits for.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def run_script(
    main: Callable[[], None], stopped: str = "stopped.", *, keep: bool = False
) -> None:
    """Parses the flags and runs `main`; a mistake of the user becomes one sentence.

    Such a mistake is a flag that does not parse, or a `ValueError` that this package
    itself raised; anything else is a fault and keeps its traceback. Exits with 2 after
    a mistake, with 75 when another process of the run has died, with 130 when
    interrupted, which `stopped` says, and with 143 when a training was asked to end and
    has saved its state. With `keep`, what is compiled is kept: see `keep_programs`; not
    for a script that times compilation.
    """
    # What the libraries tell of their own doings; --verbosity=0 shows it.
    logging.set_verbosity(logging.WARNING)
    logging.get_absl_handler().addFilter(_is_news)
    if keep:
        keep_programs()
    try:
        app.run(lambda _: _guarded(main), flags_parser=_parse_flags)
    except KeyboardInterrupt:
        _leave(stopped, 130)


def _is_news(record) -> bool:
    """False for an exception that Orbax or asyncio also raises, as most do twice."""
    told = "orbax" in record.pathname or record.name == "asyncio"
    return not (told and record.exc_info) or logging.get_verbosity() >= logging.INFO


def _guarded(main):
    try:
        main()
    except Stopped as stopped:
        _leave(str(stopped), EXIT_CODE)
    except BrokenPipeError:
        # Whoever read the output has gone; what is left of it goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if is_lost_process(error):
            reason = str(error).strip().partition("\n")[0]
            _leave(
                "what the processes of this run compute together has failed"
                f" ({reason}): most likely one of them has died; start all again, and"
                " they resume from the last checkpoint.",
                LOST,
            )
        last, _ = list(traceback.walk_tb(error.__traceback__))[-1]
        # Under `python -m` a module is named __main__; its specification knows better.
        module = last.f_globals.get("__spec__")
        ours = module is not None and module.name.startswith("wmlstm_jax")
        if isinstance(error, jax.errors.JaxRuntimeError) or not ours:
            raise
        _leave(str(error), 2)


def _parse_flags(argv):
    try:
        left = flags.FLAGS(argv)
    except flags.Error as error:
        # Of a config that refuses its mode, the library tells the whole traceback.
        _leave(" ".join(str(error).rpartition("ValueError: ")[2].split()), 2)
    except (AttributeError, KeyError) as error:
        # An unknown field behind --config; the library has the name and a guess at it.
        said = str(error.args[0])
        name = re.search(r"'(\w+)", said)
        guess = re.search(r'Did you mean "(\w+)"', said)
        hint = f"did you mean {guess[1]}?" if guess else "configs/default.py has all."
        _leave(f"--config has no field {name[1] if name else said}; {hint}", 2)
    if len(left) > 1:
        _leave(f"{left[1]} is no flag; settings are given as --config.field=value.", 2)
    return left


def _leave(message: str, code: int):
    failed = code in (2, LOST)
    print(f"Error: {message}" if failed else message, file=sys.stderr, flush=True)
    if failed and jax.distributed.is_initialized():
        # To exit as usual is to wait for the others, and they wait for this one.
        sys.stdout.flush()
        os._exit(code)
    raise SystemExit(code)
