"""A page that shows what a memory did: one file that needs no server and no network."""

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from wmlstm_jax.analysis.exhibits import Exhibit, to_json
from wmlstm_jax.training.manifest import write_whole

_SCRIPTS = ("text.js", "charts.js", "main.js")


def write_page(path: str | Path, exhibits: Sequence[Exhibit]) -> None:
    """Writes a page; a browser opens it from the file.

    Only its own script runs: texts are data in it, and the page forbids everything
    else, whatever the texts hold.

    Args:
      path: the file, `.html`.
      exhibits: one, or several to stand side by side.

    Raises:
      ValueError: the file cannot be written.
    """
    page = _asset("page.html")
    script = "\n".join(_asset(name).removeprefix('"use strict";') for name in _SCRIPTS)
    script, style = f'"use strict";\n{script}', _asset("page.css")
    data = json.dumps(
        {"exhibits": [to_json(exhibit) for exhibit in exhibits]}, separators=(",", ":")
    )
    # No text can end the element that it is in.
    data = data.replace("<", "\\u003c")
    parts = {
        "%SCRIPT_HASH%": _hash(script),
        "%STYLE_HASH%": _hash(style),
        "%STYLE%": style,
        "%SCRIPT%": script,
        "%DATA%": data,
    }
    for name, part in parts.items():
        before, _, behind = page.partition(name)
        page = before + part + behind
    write_whole(Path(path), page)


def _asset(name: str) -> str:
    return (resources.files("wmlstm_jax.analysis") / "assets" / name).read_text("utf-8")


def _hash(text: str) -> str:
    """As a content security policy names what it allows."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
