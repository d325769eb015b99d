import gzip
import json
from dataclasses import replace

import pytest

from wmlstm_jax.data.example_sets import ExampleFiles, load_examples


def write(path, pairs):
    """Both sides of a parallel text, and the settings that name it."""
    for side, lines in zip(("a", "b"), zip(*pairs, strict=True), strict=True):
        path.with_suffix(f".{side}").write_text("\n".join(lines) + "\n")
    return str(path.with_suffix(".a")), str(path.with_suffix(".b"))


PAIRS = [(f"say {i}", f"said {i}") for i in range(20)]


@pytest.fixture
def files(tmp_path):
    path, target = write(tmp_path / "train", PAIRS)
    return ExampleFiles(path=path, target_path=target)


def said(examples):
    return [(*each.source, *each.references) for each in examples]


def test_what_has_no_files_is_cut_off_the_end(files):
    sets = load_examples("parallel", files, validation_fraction=0.1, test_fraction=0.25)
    # The validation set first, then a quarter of what is left, rounded up.
    assert said(sets.validation) == PAIRS[18:]
    assert said(sets.test) == PAIRS[13:18]
    assert said(sets.train) == PAIRS[:13]
    assert sets.origin["examples"] == "train 13, validation 2, test 5"
    assert sets.origin["path"] == files.path and not sets.bad


def test_splits_with_files_are_read(files, tmp_path):
    path, target = write(tmp_path / "other", [("x", "y")])
    whole = replace(files, validation_path=path, validation_target_path=target)
    sets = load_examples("parallel", whole)
    assert (said(sets.train), said(sets.validation), sets.test) == (
        PAIRS,
        [("x", "y")],
        [],
    )
    assert "validation_fraction" not in sets.origin


def test_the_digest_is_of_every_example_and_its_split(files, tmp_path):
    def digest(**fractions):
        return load_examples("parallel", files, **fractions).origin["sha256"]

    first = digest()
    assert first == digest() != digest(validation_fraction=0.3)
    write(tmp_path / "train", [*PAIRS[:-1], ("say 19", "said 19.")])
    assert digest() != first


def babi(tmp_path, counts):
    for task, count in counts.items():
        text = "".join(
            f"1 Mary went to the hall.\n2 Where is Mary? \thall {i}\t1\n"
            for i in range(count)
        )
        (tmp_path / f"qa{task}_x.txt").write_text(text)
    return ExampleFiles(path=str(tmp_path / "qa*_x.txt"))


def test_every_kind_is_cut(tmp_path):
    sets = load_examples("babi", babi(tmp_path, {1: 10, 2: 4}), validation_fraction=0.2)
    assert [(each.kind, each.references) for each in sets.validation] == [
        ("1", ("hall 8",)), ("1", ("hall 9",)), ("2", ("hall 3",)),
    ]  # fmt: skip
    assert len(sets.train) == 11


def test_rare_kinds_keep_what_they_have_to_train_on(tmp_path):
    """In all as many as wanted, shared in proportion, and one of each kind stays."""
    counts = {kind: 1 for kind in range(1, 21)} | {21: 20, 22: 60}
    files = babi(tmp_path, counts)
    sets = load_examples("babi", files, validation_fraction=0.1, test_fraction=0.1)
    assert len(sets.validation) == 10 and len(sets.test) == 9
    assert {each.kind for each in sets.train} == {str(kind) for kind in counts}
    of_most = [each.kind for each in sets.validation].count("22")
    assert of_most in (6, 7, 8)


def test_articles_are_not_cut_through(tmp_path):
    def article(title, count):
        question = {"question": "Who?", "answers": [{"text": "He"}]}
        asked = [question | {"id": f"{title}{i}"} for i in range(count)]
        return {"title": title, "paragraphs": [{"context": "He did.", "qas": asked}]}

    path = tmp_path / "squad.json.gz"
    data = {"data": [article("a", 5), article("b", 3), article("c", 2)]}
    path.write_bytes(gzip.compress(json.dumps(data).encode()))
    files = ExampleFiles(path=str(path))
    for fraction, kinds in ((0.1, "c"), (0.2, "c"), (0.21, "bc"), (0.9, "bc")):
        sets = load_examples("squad", files, validation_fraction=fraction)
        assert "".join(dict.fromkeys(e.kind for e in sets.validation)) == kinds
        assert len(sets.train) + len(sets.validation) == 10


@pytest.mark.parametrize(
    ("source", "changes", "message"),
    [
        ("paralel", {}, "data.source is 'paralel'; did you mean parallel?"),
        ("parallel", {"path": ""}, "data.source=parallel needs data.path."),
        ("parallel", {"target_path": ""}, "data.source=parallel needs data.targ"),
        ("parallel", {"data_dir": "x"}, "data.data_dir is 'x', which data.source=par"),
        ("jsonl", {"target_path": ""}, "data.source=jsonl needs data.source_fields."),
        ("babi", {}, "target_path is .* which data.source=babi does not read; leave"),
        ("parallel", {"test_path": "x"}, "test_path is given without data.test_target"),
        ("parallel", {"test_target_path": "x"}, "target_path is given without data.te"),
        ("tfds", {"target_path": "", "test_path": "x", "source_fields": ("a",),
                  "target_field": "b"}, "data.test_path is 'x', which data.source=tf"),
    ],
)  # fmt: skip
def test_a_setting_that_does_not_fit_is_refused(source, changes, message, files):
    with pytest.raises(ValueError, match=message):
        load_examples(source, replace(files, **changes))


def test_what_is_trained_on_is_no_measure(files, tmp_path):
    both = {"test_path": files.path, "test_target_path": str(tmp_path / "other")}
    with pytest.raises(ValueError, match="data.test_path and data.path both name"):
        load_examples("parallel", replace(files, **both))


def test_a_message_names_the_setting_of_its_split(files, tmp_path):
    absent = {f"validation_{n}path": str(tmp_path / "no") for n in ("", "target_")}
    with pytest.raises(ValueError, match="data.validation_path: .*cannot be read"):
        load_examples("parallel", replace(files, **absent))


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ((0.0, 0.0), "data.validation_fraction is 0.0; it must be above 0 and below"),
        ((0.1, -0.1), "data.test_fraction is -0.1; it must be at least 0 and below 1"),
        ((1.0, 0.0), "data.validation_fraction is 1.0"),
    ],
)
def test_a_fraction_out_of_range_is_refused(fractions, message, files):
    named = dict(zip(("validation_fraction", "test_fraction"), fractions, strict=True))
    with pytest.raises(ValueError, match=message):
        load_examples("parallel", files, **named)


def test_nothing_left_is_refused(tmp_path):
    path, target = write(tmp_path / "one", [("a", "b")])
    with pytest.raises(ValueError, match="there is no example left for train; change"):
        load_examples("parallel", ExampleFiles(path=path, target_path=target))


def test_what_is_bad_is_named_or_left_out(tmp_path):
    path, target = write(tmp_path / "some", [("a", "b"), (" ", "c"), ("d", "e")])
    files = ExampleFiles(path=path, target_path=target)
    with pytest.raises(ValueError, match="some.a, line 2 has an empty source"):
        load_examples("parallel", files)
    sets = load_examples("parallel", files, skip_bad=True)
    assert [each.reason for each in sets.bad] == ["has an empty source"]
    assert said(sets.train + sets.validation) == [("a", "b"), ("d", "e")]


def test_lines_are_said_backwards():
    sets = load_examples("backwards", ExampleFiles())
    assert len(sets.train) > 5_000
    for (source,), (target,), *_ in sets.train[:50]:
        assert target.split() == source.split()[::-1]


def test_what_goes_on_from_a_bad_one_begins_anew(tmp_path):
    path = tmp_path / "qa1_x.txt"
    asked = ["2 Who? \tMary\t1", "3 Who? \t \t1", "4 Who is it? \tMary\t1"]
    path.write_text("\n".join(["1 Mary is here.", *asked, "5 Who? \tMary\t1", ""]))
    sets = load_examples("babi", ExampleFiles(path=str(path)), skip_bad=True)
    found = sets.train + sets.validation
    assert len(sets.bad) == 1
    assert [each.news for each in found] == [None, None, ("Who?",)]
    assert {each.source[0] for each in found} == {"Mary is here."}


def test_a_story_is_not_cut_through(tmp_path):
    story = "1 Mary is here.\n2 Who?\tMary\t1\n3 Where?\there\t1\n4 Who?\tMary\t1\n"
    path = tmp_path / "qa1_x.txt"
    path.write_text(3 * story)
    sets = load_examples("babi", ExampleFiles(path=str(path)), validation_fraction=0.1)
    assert [each.news is None for each in sets.validation] == [True, False, False]
    assert len(sets.train) == 6
