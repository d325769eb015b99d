import csv
import io
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wmlstm_jax.data.examples import (
    BadExample,
    Example,
    collect,
    read_jsonl,
    read_parallel,
    read_table,
)
from wmlstm_jax.data.questions import read_babi, read_squad

# Text as people have it, also with what ends lines elsewhere, but no lone surrogates.
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0"), min_size=1
).filter(lambda text: text.strip() and not text.startswith("\ufeff"))
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=5)
any_file = settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def said(found):
    return [
        (*each.source, *each.references) for each in collect(found, skip_bad=False)[0]
    ]


@given(pairs)
@any_file
def test_lines_of_the_same_number_belong_together(tmp_path, pairs):
    for name, lines in zip(("a", "b"), zip(*pairs, strict=True), strict=True):
        (tmp_path / name).write_text("\n".join(lines) + "\n", newline="")
    found = read_parallel(str(tmp_path / "a"), str(tmp_path / "b"))
    assert said(found) == pairs


@given(pairs)
@any_file
def test_json_comes_back(tmp_path, pairs):
    path = tmp_path / "pairs.jsonl"
    lines = [json.dumps({"q": a, "r": [b, a], "k": 3}) for a, b in pairs]
    path.write_text("\n".join(lines))
    found = collect(read_jsonl(str(path), ("q",), "r", "k"), skip_bad=False).kept
    assert [each.references for each in found] == [(b, a) for a, b in pairs]
    assert [each.source for each in found] == [(a,) for a, _ in pairs]
    assert {each.kind for each in found} == {"3"}
    assert found[-1].where == f"{path}, line {len(pairs)}"


@given(pairs)
@any_file
def test_tables_come_back(tmp_path, pairs):
    path, table = tmp_path / "pairs.csv", io.StringIO()
    csv.writer(table).writerows([("from", "to"), *pairs])
    path.write_text(table.getvalue(), newline="")
    assert said(read_table(str(path), ("from",), "to")) == pairs


def test_quotes_and_line_ends_of_tables(tmp_path):
    (tmp_path / "a.csv").write_text('to,from\n"x\ny","say ""no"""\n\nlast,one\n')
    found = collect(read_table(f"{tmp_path}/a.csv", ("from",), "to"), skip_bad=False)
    assert [(e.source, e.references) for e in found.kept] == [
        (('say "no"',), ("x\ny",)),
        (("one",), ("last",)),
    ]
    assert [e.where.split(", ")[1] for e in found.kept] == ["line 3", "line 5"]
    # Between tabs a quote is a quote.
    (tmp_path / "a.tsv").write_text('from\tto\n"x\ty, z\n')
    assert said(read_table(f"{tmp_path}/a.tsv", ("from",), "to")) == [('"x', "y, z")]


def squad(**changes):
    question = {"id": "7", "question": "Who?", "answers": [{"text": "Ann"}]} | changes
    paragraph = {"context": "Ann came. The Annex stayed.", "qas": [question]}
    return {"data": [{"title": "T", "paragraphs": [paragraph]}]}


def test_squad(tmp_path):
    path = tmp_path / "squad.json"
    answers = [{"text": "Ann"}, {"text": "Annex"}, {"text": "Ann"}]
    path.write_text(json.dumps(squad(answers=answers)))
    (example,) = collect(read_squad(str(path)), skip_bad=False).kept
    assert example.source == ("Ann came. The Annex stayed.", "Who?")
    assert example.references == ("Ann", "Annex")
    assert example.kind == "T" and example.where == f"{path}, question 7"


def test_babi(tmp_path):
    lines = [
        "1 Ann is here.", "2 Bob left.", "3 Where is Ann? \there\t1", "4 Ann left.",
        "5 Who left?\tBob,Ann\t2 4", "1 New story.", "2 What?\tstory",
    ]  # fmt: skip
    path = tmp_path / "qa12_x_train.txt"
    path.write_text("\n".join(lines) + "\n")
    found = collect(read_babi(f"{tmp_path}/qa*.txt"), skip_bad=False).kept
    assert [(e.source, e.references) for e in found] == [
        (("Ann is here. Bob left.", "Where is Ann?"), ("here",)),
        (("Ann is here. Bob left. Ann left.", "Who left?"), ("Bob,Ann",)),
        (("New story.", "What?"), ("story",)),
    ]
    assert {e.kind for e in found} == {"12"}
    assert found[1].where == f"{path}, line 5"


JSONL = ("q",), "r"


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ('{"q": "a", "r": "b"}\n{"q": "a"', 2, "is no JSON"),
        ("[" * 100_000, 1, "is no JSON"),
        ('["q", "r"]', 1, "is no JSON object"),
        ('{"q": "a", "x": "b"}', 1, "has no field 'r'; it has q, x"),
        (
            '{"q": "a", "x y": 1, "\\n": 2}',
            1,
            r"has no field 'r'; it has q, 'x y', '\n'",
        ),
        ('{"q": "a", "r": 3}', 1, "has a field that is no text"),
        ('{"q": "a", "r": ["b", null]}', 1, "has a field that is no text"),
        ('{"q": " ", "r": "b"}', 1, "has an empty source"),
        ('{"q": "a", "r": []}', 1, "has an empty target"),
        ('{"q": "a", "r": ["b", ""]}', 1, "has an empty target"),
        ('{"q": "a", "r": ' + "9" * 5000 + "}", 1, "is no JSON"),
        (r'{"q": "a \ud83d", "r": "b"}', 1, "has half of a surrogate pair, which"),
        (r'{"q": "a", "r": ["b", "\udc00"]}', 1, "has half of a surrogate pair"),
    ],
)
def test_a_bad_line_is_named_or_left_out(content, line, reason, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    message = re.escape(f"{path}, line {line} {reason}")
    with pytest.raises(ValueError, match=message):
        collect(read_jsonl(str(path), *JSONL), skip_bad=False)
    path.write_text(content + '\n{"q": "a", "r": "b"}')
    found = collect(read_jsonl(str(path), *JSONL), skip_bad=True)
    (bad,) = found.bad
    assert bad.where == f"{path}, line {line}" and bad.reason.startswith(reason)
    assert found.kept[-1].references == ("b",)


@pytest.mark.parametrize(
    ("read", "name", "content", "message"),
    [
        (read_squad, "a", "{", "a is no JSON"),
        (read_squad, "a", '{"dota": []}', "not laid out as SQuAD's .*'data'"),
        (read_squad, "a", '{"data": [3]}', "not laid out as SQuAD's"),
        (read_squad, "a", json.dumps(squad(answers=[])), "question 7 has no answer"),
        (
            read_squad,
            "a",
            json.dumps(squad(answers=[{"text": "Bob"}])),
            "question 7 has the answer 'Bob', not in its context",
        ),
        (read_babi, "a", "1 x\nno number\n", "line 2 does not start with a number"),
        (read_babi, "a", "1 What?\tx\n", "line 1 has an empty source"),
        (
            lambda path: read_table(path, ("from",), "to"),
            "a.csv",
            '"a\nb",to\n1,2\n',
            r"a.csv has no column 'from'; it has 'a\\nb', to",
        ),
        (
            lambda path: read_table(path, ("from",), "to"),
            "a.csv",
            "from,to\n1,2\n1,2,3\n",
            "line 3 has 3 cells and the first row 2",
        ),
        (
            lambda path: read_table(path, ("from",), "to"),
            "a.csv",
            'from,to\n"1,2\n',
            "a.csv, line 2 is no table",
        ),
    ],
)
def test_what_is_no_such_file_is_named(read, name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        collect(read(f"{tmp_path}/{name}"), skip_bad=False)


@pytest.mark.parametrize(("counts", "lonely"), [((3, 2), "a"), ((2, 3), "b")])
def test_the_first_line_without_a_partner_is_named(counts, lonely, tmp_path):
    for name, count in zip("ab", counts, strict=True):
        (tmp_path / name).write_text("x\n" * count)
    message = f"{tmp_path}/{lonely}, line 3 has no partner"
    with pytest.raises(ValueError, match=message):
        collect(read_parallel(f"{tmp_path}/a", f"{tmp_path}/b"), skip_bad=True)
    (tmp_path / "b2").write_text("x\n")
    with pytest.raises(ValueError, match="matches 1 files and data.target_path 2"):
        list(read_parallel(f"{tmp_path}/a", f"{tmp_path}/b*"))


def test_nothing_left_is_refused():
    with pytest.raises(ValueError, match="no example left, 1 were bad"):
        collect([BadExample("here", "is bad")], skip_bad=True)
    kept = Example(("a",), ("b",), "there")
    assert collect([BadExample("here", "is bad"), kept], skip_bad=True).kept == [kept]


@pytest.mark.parametrize(
    "change", [{"question": None}, {"answers": [{"text": 3}]}, {"question": 5}]
)
def test_a_question_that_is_no_text_is_bad(tmp_path, change):
    asked = {"id": "q1", "question": "Who?", "answers": [{"text": "Ann"}]} | change
    paragraphs = [{"context": "Ann is here.", "qas": [asked]}]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}]}))
    (bad,) = list(read_squad(str(path)))
    assert bad.where == f"{path}, question q1"
    assert bad.reason == "has a context, question or answer that is no text"


def test_a_field_may_be_a_book(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("from,to\n" + "a " * 100_000 + ",b\n")
    (example,) = read_table(str(path), ("from",), "to")
    assert len(example.source[0]) == 200_000
