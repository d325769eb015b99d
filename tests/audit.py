"""Asks pip-audit for known vulnerabilities of what the package needs to run.

    make audit

What the requirements bring in is looked up at the versions that are installed. Exits
with 1 unless every package was looked up and is clean or explained in `EXPLAINED`.
"""

import json
import subprocess
import sys
import tempfile
from typing import Any

from tests.dependencies import needed

EXPLAINED: dict[str, str] = {}
"""By the name of a vulnerability: why it does not reach who uses this package."""


def judge(
    packages: list[dict[str, Any]], explained: dict[str, str]
) -> tuple[list[str], bool]:
    """What is to be said of the packages, and whether they are clean or explained.

    Args:
      packages: as pip-audit lists them in JSON.
      explained: as `EXPLAINED`.
    """
    skipped = [each for each in packages if "skip_reason" in each]
    if len(skipped) == len(packages):
        reason = f" ({skipped[0]['skip_reason']})" if skipped else ""
        return [
            "nothing was audited: the database of vulnerabilities answers for none of"
            f" the {len(packages)} packages{reason}."
        ], False
    said = [
        f"{each['name']} was not audited: {each['skip_reason']}" for each in skipped
    ]
    clean = not skipped
    for each in packages:
        for found in each.get("vulns", ()):
            which = f"{each['name']} {each['version']} has {found['id']}"
            if why := explained.get(found["id"]):
                said.append(f"{which}, explained: {why}")
            else:
                fixed = " or ".join(found["fix_versions"]) or "no version yet"
                said.append(f"{which}, fixed in {fixed}")
                clean = False
    number = len(packages) - len(skipped)
    said.append(
        f"{number} of {len(packages)} packages audited:"
        f" {'clean or explained' if clean else 'not clean'}."
    )
    return said, clean


def ask(requirements: str) -> list[dict[str, Any]]:
    """What pip-audit finds of lines `name==version`.

    Raises:
      ValueError: it does not run, or does not reach its database.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirements)
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--requirement", file.name]
        command += ["--no-deps", "--disable-pip", "--format", "json"]
        command += ["--progress-spinner", "off"]
        done = subprocess.run(command, capture_output=True, text=True)
    try:
        return json.loads(done.stdout)["dependencies"]
    except ValueError as error:
        said = done.stderr.strip().splitlines() or [f"it exits with {done.returncode}"]
        raise ValueError(f"nothing was audited: {said[-1]}") from error


def main() -> int:
    """The exit code."""
    lines = [f"{name}=={found.version}\n" for name, found in needed().items()]
    try:
        said, clean = judge(ask("".join(lines)), EXPLAINED)
    except ValueError as error:
        said, clean = [str(error)], False
    print("\n".join(said), file=sys.stdout if clean else sys.stderr)
    return not clean


if __name__ == "__main__":
    sys.exit(main())
