"""Weights of word pieces become weights of words."""

import time

import pytest

from emofuse.train.inspection.words import heat, word_weights


def test_a_word_has_the_mean_of_its_pieces_and_marks_are_outside():
    pieces, outside = word_weights("un happy!", [(0, 0), (0, 2), (3, 6), (6, 8), (8, 9), (0, 0)],
                                   [0.1, 0.2, 0.1, 0.2, 0.3, 0.1])  # fmt: skip
    assert pieces == [("un", pytest.approx(6 * 0.2)), (" ", 0), ("happy!", pytest.approx(6 * 0.2))]
    assert outside == pytest.approx(0.2)
    assert "".join(text for text, _ in pieces) == "un happy!"


def test_equal_pieces_are_an_equal_share_in_words_of_one_piece_and_of_many():
    pieces, _ = word_weights("a dismal!", [(0, 1), (2, 4), (4, 6), (6, 8), (8, 9)], [0.2] * 5)
    assert pieces == [("a", pytest.approx(1)), (" ", 0), ("dismal!", pytest.approx(1))]


def test_a_piece_of_two_words_counts_in_both_by_its_characters():
    pieces, outside = word_weights("a bcd", [(0, 5)], [1.0])
    assert pieces == [("a", pytest.approx(1)), (" ", 0), ("bcd", pytest.approx(1))]
    assert outside == 0
    pieces, _ = word_weights("ab cd", [(0, 4), (4, 5)], [0.6, 0.4])  # a third of the first piece is of "cd"
    assert pieces[2] == ("cd", pytest.approx(2 * (0.2 + 0.4) / (1 / 3 + 1)))


def test_a_long_text_takes_time_in_proportion_to_its_length():
    count = 40_000
    text = "ab " * count
    started = time.process_time()
    pieces, outside = word_weights(text, [(3 * i, 3 * i + 2) for i in range(count)], [1 / count] * count)
    assert time.process_time() - started < 5  # comparing each piece with each word takes minutes
    assert (len(pieces), outside) == (2 * count, 0)


def test_words_that_the_model_did_not_read_have_no_weight():
    pieces, _ = word_weights(" one two ", [(1, 4), (5, 8)], [1.0])
    assert pieces == [(" ", 0), ("one", 1.0), (" ", 0), ("two", 0), (" ", 0)]


def test_scripts_without_spaces_are_divided_at_pieces():
    pieces, _ = word_weights("我很高兴", [(0, 1), (1, 2), (2, 4)], [0.2, 0.3, 0.5])
    assert pieces == [("我", pytest.approx(0.6)), ("很", pytest.approx(0.9)), ("高兴", pytest.approx(1.5))]


def test_an_empty_text():
    assert word_weights("", [(0, 0)], [1.0]) == ([], 1.0)


def test_equal_weights_are_pale_and_four_times_an_equal_share_is_full():
    assert heat([("a", 1.0), (" ", 0), ("b", 3.0)]) == [("a", 0.25), (" ", 0), ("b", 0.75)]
    assert heat([("a", 10.0)]) == [("a", 1.0)]
