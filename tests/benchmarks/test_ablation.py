import json
from dataclasses import replace

import pytest

from configs import lm_embedded
from wmlstm_jax.benchmarks import ablation
from wmlstm_jax.training import parse_config
from wmlstm_jax.training.config import MeshConfig
from wmlstm_jax.training.objectives import LanguageModeling, num_params


@pytest.fixture
def config(tmp_path):
    """Two steps on a small text."""
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{n} and {n + 1}.\n" for n in range(200)))
    smoke = parse_config(lm_embedded.get_config("smoke"))
    data = replace(smoke.data, source="file", path=str(path))
    model = replace(smoke.model, embed_dim=64, hidden_dim=64, read=True)
    return replace(smoke, data=data, model=model, mesh=MeshConfig(data=1))


def test_variants_differ_in_their_names_only_and_are_as_large(config):
    names = ["LSTM", "copying", "copying, 16 slots", "reading and copying"]
    found = ablation.configure(config, names)
    sizes = [num_params(LanguageModeling(each.model, 256)) for each in found.values()]
    assert max(sizes) < 1.01 * min(sizes)
    same = {"hidden_dim": 8}
    for name, each in found.items():
        changes = {**ablation.VARIANTS[name], **same}
        assert replace(each.model, **same) == replace(config.model, **changes)
        assert replace(each, model=config.model) == config
    assert len({each.model for each in found.values()}) == len(found)
    every = [tuple(sorted(each.items())) for each in ablation.VARIANTS.values()]
    assert len(set(every)) == len(every)


def test_it_measures_and_resumes(config, tmp_path, monkeypatch, capsys):
    out, chosen = tmp_path / "out", ["LSTM", "reading and copying"]
    ablation.main(config, chosen, out)
    said = capsys.readouterr().out
    assert "2/2 runs | reading and copying | validation perplexity" in said
    saved = json.loads((out / "ablation.json").read_text())
    plain, both = saved["results"]
    ways = [[w.partition(" (")[0] for w in r["perplexity"]] for r in (plain, both)]
    cache = "neural cache of 8"
    assert ways[0] == ["", cache]
    assert ways[1] == ["", "copying disabled", "reading disabled", cache]
    rows = [line for line in said.splitlines() if line.startswith("| ")][-2:]
    for row, result in zip(rows, saved["results"], strict=True):
        cells = [cell.strip() for cell in row.split("|")[1:-1]]
        assert cells[0] == result["variant"]
        assert cells[3] == f"{result['perplexity']['']:.2f}"
        cache = next(p for w, p in result["perplexity"].items() if "cache" in w)
        assert cells[-1] == f"{cache:.2f}"
    assert (out / "ablation.png").read_bytes().startswith(b"\x89PNG")

    def again(variant, *_):
        raise AssertionError(f"{variant} is measured again")

    monkeypatch.setattr(ablation, "measure", again)
    ablation.main(config, chosen[1:], out)
    assert json.loads((out / "ablation.json").read_text())["results"] == [plain, both]
    with pytest.raises(AssertionError, match="LSTM is measured again"):
        ablation.main(replace(config, seed=1), chosen, out)


def test_an_unknown_variant_is_refused(config, tmp_path):
    with pytest.raises(ValueError, match="--only=copyng is no variant; there are"):
        ablation.main(config, ["copyng"], tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"results": [{"variant": "LSTM"}]}'])
def test_another_file_is_refused(content, config, tmp_path):
    (tmp_path / "ablation.json").write_text(content)
    with pytest.raises(ValueError, match="ablation.json holds no results of this ver"):
        ablation.main(config, ["LSTM"], tmp_path)
