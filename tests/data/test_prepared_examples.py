"""Sets of examples that TFDS's own machinery prepares from a file."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from wmlstm_jax.data.examples import BadExample
from wmlstm_jax.data.prepared_sets import read_prepared_examples

LINES = {
    "train": [("Ein Hund.", "A dog.", []), ("Zwei →", "Two →", ["one", "two", "one"])],
    "validation": [("Drei", "Three", ["three"])],
}


class ToyPairs(tfds.core.GeneratorBasedBuilder):
    """Laid out as translations and as questions with several answers."""

    VERSION = tfds.core.Version("1.0.0")
    file = ""

    def _info(self):
        translation = tfds.features.Translation(languages=["de", "en"])
        answers = {"text": tfds.features.Text(), "answer_start": np.int32}
        features = {
            "pair": translation,
            "title": tfds.features.Text(),
            "number": np.int64,
            "answers": tfds.features.Sequence(answers),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        records = json.loads(Path(self.file).read_text())
        return {split: self._generate_examples(records[split]) for split in records}

    def _generate_examples(self, records):
        for number, (german, english, answers) in enumerate(records):
            yield (
                number,
                {
                    "pair": {"de": german, "en": english},
                    "title": german[:4],
                    "number": number,
                    "answers": {"text": answers, "answer_start": [0] * len(answers)},
                },
            )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("prepared")
    file = directory / "pairs.json"
    file.write_text(json.dumps(LINES))
    tfds.disable_progress_bar()
    ToyPairs.file = str(file)
    builder = tfds.builder(
        "toy_pairs", data_dir=str(directory), file_format="array_record"
    )
    builder.download_and_prepare()
    return str(directory)


def read(data_dir, sources=("pair/de",), target="pair/en", kind=""):
    return read_prepared_examples("toy_pairs", sources, target, kind, data_dir)


def test_fields_are_mapped(data_dir):
    found, origin = read(data_dir)
    assert origin == {"name": "toy_pairs/1.0.0"}
    for split, lines in LINES.items():
        assert [(*each.source, *each.references) for each in found[split]] == [
            (german, english) for german, english, _ in lines
        ]
    assert found["train"][1].where == "toy_pairs, split train, example 1"


def test_several_answers_are_several_references(data_dir):
    found, _ = read(data_dir, ("pair/en", "title"), "answers/text", "number")
    none, some = found["train"]
    assert none == BadExample("toy_pairs, split train, example 0", "has no target")
    assert some.source == ("Two →", "Zwei")
    assert some.references == ("one", "two") and some.kind == "1"


@pytest.mark.parametrize(
    ("sources", "target", "message"),
    [
        (("pair",), "pair/en", "source_fields is 'pair', which is no text field"),
        (("answers/text",), "pair/en", "set it to pair/de or pair/en or title."),
        (("pair/de",), "pair/fr", "target_field is 'pair/fr', which is no text"),
        (("pair/de",), "number", "set it to answers/text or pair/de or pair/en"),
    ],
)
def test_what_is_no_text_is_refused(data_dir, sources, target, message):
    with pytest.raises(ValueError, match=message):
        read(data_dir, sources, target)


def test_a_kind_that_is_no_field_is_refused(data_dir):
    """And nobody is told to prepare again what is whole."""
    with pytest.raises(ValueError, match="kind_field is 'tite', .*number.*title.$"):
        read(data_dir, ("title",), "pair/en", "tite")
