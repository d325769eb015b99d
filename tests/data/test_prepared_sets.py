import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from wmlstm_jax.data import load_corpus
from wmlstm_jax.data.prepared_sets import read_prepared

SPLITS = {
    "train": ["né →", "a line\n", "", "🐍"],
    "dev": ["dev one", "dev two"],
    "test": ["test"],
}


class ToyVerses(tfds.core.GeneratorBasedBuilder):
    """Two verses and a half, and what is no text."""

    VERSION = tfds.core.Version("1.2.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name, version="1.2.0")
        for name in ("plain", "train_only", "test_only", "empty")
    ]

    def _info(self):
        features = {
            "text": tfds.features.Text(),
            "raw": np.bytes_,
            "label": np.int64,
            "lines": tfds.features.Sequence(tfds.features.Text()),
            "both": {"text": tfds.features.Text()},
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        names = {"train_only": ["train"], "test_only": ["test"], "empty": ["train"]}
        chosen = names.get(self.builder_config.name, SPLITS)
        return {name: self._generate_examples(name) for name in chosen}

    def _generate_examples(self, split):
        for number, text in enumerate(SPLITS[split]):
            yield (
                number,
                {
                    "text": "" if self.builder_config.name == "empty" else text,
                    "raw": b"a\xff" if number else b"a",
                    "label": number,
                    "lines": [text],
                    "both": {"text": text},
                },
            )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Where every configuration but one is prepared, without TensorFlow."""
    directory = str(tmp_path_factory.mktemp("prepared"))
    tfds.disable_progress_bar()
    for config in ("plain", "train_only", "test_only"):
        prepare(f"toy_verses/{config}", directory)
    assert "tensorflow" not in sys.modules
    return directory


def prepare(name, directory):
    tfds.builder(
        name, data_dir=directory, file_format="array_record"
    ).download_and_prepare()


def read(path, data_dir, text_field="text"):
    return read_prepared(path=path, text_field=text_field, data_dir=str(data_dir))


@pytest.fixture
def damaged(tmp_path):
    """A set of its own to damage: its directory and that of its files."""
    prepare("toy_verses/plain", tmp_path)
    return tmp_path, tmp_path / "toy_verses" / "plain" / "1.2.0"


@pytest.mark.parametrize(
    "name", ["toy_verses", "toy_verses/plain", "toy_verses/plain/1.2.0"]
)
def test_every_split_is_read(data_dir, name):
    texts, origin = read(name, data_dir)
    assert texts == {
        "train": "né →\na line\n\n🐍",
        "validation": "dev one\ndev two",
        "test": "test",
    }
    assert origin == {"name": "toy_verses/plain/1.2.0", "text_field": "text"}


def test_what_a_set_does_not_have_is_cut_off(data_dir):
    name = "toy_verses/train_only"
    corpus = load_corpus(
        "tfds",
        path=name,
        data_dir=data_dir,
        validation_fraction=0.25,
        test_fraction=0.0,
    )
    assert corpus[:3] == ("né →\na line\n", "\n🐍", "")
    assert corpus.origin["name"] == "toy_verses/train_only/1.2.0"
    assert corpus.origin["text_field"] == "text"
    assert corpus.origin["validation_fraction"] == "0.25"
    assert corpus.origin["bytes"] == "train 15, validation 5, test 0"


def test_a_set_that_is_not_prepared_says_how_to(tmp_path, monkeypatch):
    name = "toy_verses/train_only:1.2.0"
    with pytest.raises(ValueError) as error:
        read("toy_verses/train_only/1.2.0", tmp_path)
    message = str(error.value)
    start = f"data.path=toy_verses/train_only/1.2.0 is not prepared in {tmp_path}; "
    assert message.startswith(f"{start}prepare it with python -c")
    program = re.search(r'python -c "([^"]+)"', message)[1]
    assert name in program
    assert not list(tmp_path.iterdir())
    exec(program, {})
    assert read(name, tmp_path)[0] == {"train": "né →\na line\n\n🐍"}
    assert "tensorflow" not in sys.modules


def test_without_a_directory_tfds_decides(data_dir, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", data_dir)
    assert read("toy_verses", "")[0]["test"] == "test"
    with pytest.raises(
        ValueError, match=f"not prepared in {data_dir}; .* tfds.builder"
    ):
        read("tiny_shakespeare", "")


def test_nothing_is_downloaded(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    with pytest.raises(ValueError, match="is not prepared in .*'tiny_shakespeare'"):
        read("tiny_shakespeare", tmp_path)
    with pytest.raises(ValueError, match="is not prepared in .*'glue/cola:2.0.0'"):
        read("glue/cola:2.0.0", tmp_path)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tinyshakespeare", r"did you mean tiny_shakespeare\?$"),
        ("toy_verse/plain", r"did you mean toy_verses\?$"),
        ("zzzzzz", r"correct it or data\.data_dir\.$"),
    ],
)
def test_an_unknown_set_is_refused(tmp_path, name, hint):
    message = f"{name} is not prepared in .* and no data set that TFDS knows; {hint}"
    with pytest.raises(ValueError, match=message) as error:
        read(name, tmp_path)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    "name", ["", "a b", "huggingface:x", "x/a=1", "lm1b:1.1", "/x"]
)
def test_what_is_no_name_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="needs the name of a data set, such as"):
        read(name, tmp_path)


@pytest.mark.parametrize("field", ["line", "label", "lines", "both"])
def test_what_is_no_text_field_is_refused(data_dir, field):
    message = f"data.text_field is '{field}', which is no text field of toy_verses"
    with pytest.raises(ValueError, match=f"{message}; set it to both/text or raw or t"):
        read("toy_verses", data_dir, field)


def test_a_set_without_text_is_refused(damaged):
    directory, files = damaged
    features = json.loads((files / "features.json").read_text())
    entries = features["featuresDict"]["features"]
    del entries["text"], entries["raw"], entries["both"]
    (files / "features.json").write_text(json.dumps(features))
    with pytest.raises(ValueError, match="there is none; name another data set"):
        read("toy_verses", directory)


def test_text_that_is_no_utf8_is_refused(data_dir):
    message = "split train, example 1, byte 1 is not UTF-8; use another data.text_field"
    with pytest.raises(ValueError, match=message):
        read("toy_verses", data_dir, "raw")


def test_a_set_without_training_text_is_refused(data_dir, tmp_path):
    with pytest.raises(ValueError, match="no split train but test; name another"):
        read("toy_verses/test_only", data_dir)


def test_a_set_of_empty_texts_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(SPLITS, "train", SPLITS["train"][:1])
    prepare("toy_verses/empty", tmp_path)
    with pytest.raises(ValueError, match="has no text in text; name another data set"):
        read("toy_verses/empty", tmp_path)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("content", ["", '{"a": '])
def test_a_damaged_description_is_refused(damaged, name, content):
    directory, files = damaged
    (files / name).write_text(content)
    with pytest.raises(
        ValueError, match="is prepared but cannot be read .*; delete it"
    ):
        read("toy_verses", directory)


def test_damaged_records_are_refused(damaged):
    directory, files = damaged
    (records,) = files.glob("*train*")
    records.write_bytes(records.read_bytes()[:1000])
    with pytest.raises(
        ValueError, match="is prepared but cannot be read .*; delete it"
    ):
        read("toy_verses", directory)
    records.unlink()
    with pytest.raises(ValueError, match="cannot be read .*No such file"):
        read("toy_verses", directory)


def test_what_only_tensorflow_reads_is_refused(damaged):
    directory, files = damaged
    info = json.loads((files / "dataset_info.json").read_text())
    info["fileFormat"] = "tfrecord"
    (files / "dataset_info.json").write_text(json.dumps(info))
    message = "is prepared as tfrecord, which only TensorFlow reads; .*'another/direc"
    with pytest.raises(ValueError, match=message):
        read("toy_verses", directory)


def test_only_this_source_waits_for_tfds():
    program = (
        "import sys; from wmlstm_jax.data import load_corpus; load_corpus('embedded');"
        " sys.exit('tensorflow_datasets' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_mock_data_is_read(data_dir):
    with tfds.testing.mock_data(num_examples=3, data_dir=data_dir):
        texts, _ = read("toy_verses", data_dir)
    assert len(io.StringIO(texts["train"]).readlines()) == 3
