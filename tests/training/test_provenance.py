import json
import re
from importlib import metadata
from pathlib import Path

from tests.processes import ROOT
from wmlstm_jax.training.provenance import provenance


def test_provenance_names_what_a_number_depends_on():
    about = provenance()
    assert about["versions"]["jaxlib"]
    assert about["versions"]["wmlstm_jax"] == metadata.version("wmlstm_jax")
    assert about["hardware"]["processor"] and about["hardware"]["num_cores"] >= 1
    known = Path("/proc/cpuinfo")
    if known.exists() and "model name" in known.read_text():
        assert f": {about['hardware']['processor']}\n" in known.read_text()
    if (ROOT / ".git").exists():
        assert re.fullmatch("[0-9a-f]{40}(-dirty)?", about["commit"])
    json.dumps(about)


def test_a_source_that_was_not_installed_has_no_version(monkeypatch):
    found = metadata.version

    def version(package):
        if package == "wmlstm_jax":
            raise metadata.PackageNotFoundError(package)
        return found(package)

    monkeypatch.setattr(metadata, "version", version)
    assert provenance()["versions"]["wmlstm_jax"] is None
