"""Fuzzing of what reads examples, guided by the lines that an input reaches.

    pip install -e '.[fuzz]'
    python -m tests.fuzz.guided babi -max_total_time=600

Inputs that reach new lines are changed further (libFuzzer, of which further flags are);
one that takes more than 10 seconds or 2 GiB, or ends in anything but success or one
sentence of ours, is printed and ends it with a code that is not 0.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["wmlstm_jax.data"]):
    from tests.fuzz.test_fuzz import EXAMPLES, assert_ours, read_examples

LIMITS = ["-timeout=10", "-rss_limit_mb=2048"]


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    if len(sys.argv) < 2 or sys.argv[1] not in EXAMPLES:
        sys.exit(f"Name what is read: {' '.join(EXAMPLES)}.")
    source = sys.argv[1]
    place = Path(tempfile.mkdtemp(prefix="fuzz"))
    (place / "inputs").mkdir()
    (place / "inputs" / "whole").write_text(EXAMPLES[source])

    def run(content: bytes) -> None:
        try:
            read_examples(source, place / "file", content)
        except ValueError as error:
            assert_ours(error)

    flags = [*LIMITS, *sys.argv[2:], str(place / "inputs")]
    atheris.Setup([sys.argv[0], *flags], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
