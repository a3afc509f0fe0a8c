"""Claims of ratings: how they are read, and how far off they are."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error

from t5x_tasks.common.errors import UserError
from t5x_tasks.metrics.pooled import value
from t5x_tasks.metrics.rating import parse_rating, rating


@pytest.mark.parametrize(
    ("text", "stars"),
    [
        ("4", 4), ("4.0", 4), (" Rating: 4 stars.", 4), ("4/5", 4), ("4 out of 5", 4), ("Four stars", 4), ("★★★★☆", 4),
        ("⭐️⭐️⭐️⭐️", 4), ("⭐ ⭐ ⭐", 3), ("4.5", 4.5), ("five, not 4", 5), ("４", 4), ("4★", 4), ("- 4", 4),
        ("", None), ("great", None), ("0", None), ("6", None), ("10/10", None), ("-4", None), ("5,000", None), ("ten", None),
        ("someone", None), ("★" * 6, None), ("☆", None),
    ],
)  # fmt: skip
def test_the_first_number_word_or_stars_is_the_rating(text, stars):
    assert parse_rating(text) == stars


def test_scores_are_those_of_scikit_learn():
    actual, said = [1, 2, 3, 4, 5, 5, 5, 4, 3, 5], [1, 3, 3, 5, 5, 4, 5, 4, 1, 5]
    scores = rating([f"{stars} stars" for stars in said], [[str(stars)] for stars in actual])
    assert value(scores["accuracy"]) == pytest.approx(100 * accuracy_score(actual, said))
    assert value(scores["macro_f1"]) == pytest.approx(100 * float(f1_score(actual, said, average="macro")))
    assert value(scores["mean_absolute_error"]) == pytest.approx(mean_absolute_error(actual, said))
    assert value(scores["unparsed"]) == 0


def test_a_prediction_without_a_rating_is_wrong_and_as_far_off_as_can_be():
    scores = rating(["good"] * 5, [[str(stars)] for stars in (1, 2, 3, 4, 5)])
    assert np.asarray(scores["unparsed"]).tolist() == [100] * 5 and np.asarray(scores["accuracy"]).tolist() == [0] * 5
    assert np.asarray(scores["mean_absolute_error"]).tolist() == [4, 3, 2, 3, 4]
    assert value(scores["macro_f1"]) == 0


def test_half_a_star_is_a_rating_that_is_half_a_star_off():
    scores = rating(["4.5"], [["5"]])
    assert np.asarray(scores["mean_absolute_error"]).tolist() == [0.5]
    assert np.asarray(scores["accuracy"]).tolist() == [0] and np.asarray(scores["unparsed"]).tolist() == [0]


def test_of_several_right_ratings_any_is_right_and_the_nearest_counts():
    scores = rating(["4", "1"], [["5", "4"], ["5", "3"]])
    assert np.asarray(scores["accuracy"]).tolist() == [100, 0]
    assert np.asarray(scores["mean_absolute_error"]).tolist() == [0, 2]


def test_a_reference_that_is_no_rating_is_refused_by_row():
    with pytest.raises(UserError, match=r"rating: row 1 \(from 0\): the reference 'great' holds no rating"):
        rating(["5", "5"], [["5"], ["great"]])
