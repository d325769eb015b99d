import pytest

from wmlstm_jax.metrics import Translations, score_translations

SAID = ("the cat sat on the mat", "a dog runs over green grass today")
WANTED = (("the cat sat on the mat",), ("a dog runs through green grass", "a dog"))


def test_what_is_right_has_a_hundred():
    scores = score_translations(Translations(SAID, tuple((s,) for s in SAID)))
    assert scores.bleu == pytest.approx(100) and scores.chrf == pytest.approx(100)


def test_counts_of_a_corpus_by_hand():
    """Of 1 to 4 words in a row: 12 of 13, 9 of 11, 6 of 9, 4 of 7, and no word less."""
    scores = score_translations(Translations(SAID, WANTED))
    share = 11 / 13 * 8 / 11 * 5 / 9 * 3 / 7
    assert scores.bleu == pytest.approx(100 * share**0.25, rel=1e-9)


def test_parts_add_up_to_the_whole():
    parts = [Translations((s,), (w,)) for s, w in zip(SAID, WANTED, strict=True)]
    whole = Translations().plus(parts[0]).plus(parts[1])
    assert whole == Translations(SAID, WANTED)
    alone = [score_translations(part).bleu for part in parts]
    assert score_translations(whole).bleu != pytest.approx(sum(alone) / 2, rel=0.01)


def test_options_are_in_the_signature():
    shouted = Translations(("THE CAT, SAT!",), (("the cat , sat !",),))
    plain = score_translations(shouted, tokenize="none")
    same = score_translations(shouted, lowercase=True)
    assert plain.bleu == 0 and same.bleu == pytest.approx(100)
    assert "tok:none" in plain.bleu_signature and "case:mixed" in plain.bleu_signature
    assert "tok:13a" in same.bleu_signature and "case:lc" in same.bleu_signature
    assert "version:" in same.chrf_signature


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match="no translations to score"):
        score_translations(Translations())
    with pytest.raises(ValueError, match="translation 1 has no reference"):
        score_translations(Translations(("a", "b"), (("a",), ())))
