import json
import re
from pathlib import Path

from tests.processes import ROOT
from wmlstm_jax.training.provenance import provenance


def test_provenance_names_what_a_number_depends_on():
    about = provenance()
    assert about["versions"]["jaxlib"]
    assert about["hardware"]["processor"] and about["hardware"]["num_cores"] >= 1
    known = Path("/proc/cpuinfo")
    if known.exists() and "model name" in known.read_text():
        assert f": {about['hardware']['processor']}\n" in known.read_text()
    if (ROOT / ".git").exists():
        assert re.fullmatch("[0-9a-f]{40}(-dirty)?", about["commit"])
    json.dumps(about)
