"""What every test runs under: eight CPU devices, float32, one cache of programs."""

import os
from pathlib import Path

# Before JAX is imported. A GPU machine names its platform: JAX_PLATFORMS=cuda,cpu.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
for _flag in (
    "--xla_force_host_platform_device_count=8",
    # Most of the time goes into compiling small programs, half of that into making
    # them fast.
    "--xla_backend_optimization_level=0",
):
    if _flag not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_flag}".strip()
# And many are compiled twice: what one worker or script compiled, no other has to, and
# neither has the next run.
_CACHE = Path(__file__).parents[1] / ".pytest_cache" / "jax"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax
import pytest
from hypothesis import settings

# Eight devices share two cores: with several programs in flight, one that waits for
# the other devices can hold the threads that they wait for.
jax.config.update("jax_cpu_enable_async_dispatch", False)

# The same examples in every run: a red test is red again.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture
def x64():
    """Enables float64 while the test runs."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.fixture(scope="module", autouse=True)
def _programs_are_let_go():
    """Every program maps memory, and Linux lets a process have 65,530 maps.

    After some thousand programs the next one would crash.
    """
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > 15_000:
        jax.clear_caches()
