"""Claims of what an output answers: outputs like those of GSM8K, AQuA and reviews, what is right judged by hand."""

import numpy as np
import pytest

from t5x_tasks.metrics.final_answer import final_answer
from t5x_tasks.metrics.rating import parse_rating

MORE = "Tom has 5 apples and eats 2. How many are left?"

GSM8K = [
    ("The answer is 5 * 3 = 15.", "15"),
    ("The answer is 5 x 3 = 15 apples.", "15"),
    ("So the answer is $5 * 3 = $15.", "15"),
    ("The answer is <<5*3=15>>15.", "15"),
    ("The answer is 5 apples * 3 = 15 apples.", "15"),
    ("The answer is 5 + 3 * 2 = 11, which is more than 10.", "11"),
    ("The answer is 5 * 3 = 15 * 2 = 30.", "30"),
    ("The answer is 50% of 36 = 18.", "18"),
    ("The answer is 20 - 2 = 18 eggs. She sells 3.", "18"),
    ("The answer is 15 = 5 * 3.", "15"),
    ("The answer is 18, since 20 - 3 = 17 and 17 + 1 = 18.", "18"),
    ("The answer is 9 because 18 / 2 = 9 and 9 < 10.", "9"),
    ("5 * 3 = 15", "15"),
    ("The answer is - 5.", "-5"),
    ("The answer is: − 5 degrees.", "-5"),
    ("The answer is -$ 5.", "-5"),
    ("The answer is minus 5.", "-5"),
    ("It went from 3 to negative 5.", "-5"),
    ("3 - 8 = - 5", "-5"),
    ("The temperature is - 5", "-5"),
    ("Answer:\n- 18", "18"),
    ("The answer is 10 - 5 days.", "10"),
    ("The answer is 1 000.", "1000"),
    ("#### 1 000", "1000"),
    ("He pays 12 000 dollars.", "12,000"),
    ("The answer is $1 000 000.50.", "1000000.5"),
    ("The answer is 2 1/2 hours.", "2.5"),
    ("It costs Rs.5600.", "5600"),
    ("The answer is not 17 but 18.", "18"),
    ("The answer would be 18 for 2 days.", "18"),
    ("The final answer is \\boxed{18}.", "18"),
    (f"The answer is 18.\n\nQ: {MORE}\nA: 5 - 2 = 3. The answer is 3.", "18"),
    (f"The answer is 18. Q: {MORE} A: 5 - 2 = 3. The answer is 3.", "18"),
    (f"#### 18\n\nQuestion 2: {MORE}\nAnswer: 3", "18"),
    (f"The answer is 18. {MORE} 5 - 2 = 3. The answer is 3.", "18"),
    (f"9 * 2 = 18\n\nQuestion: {MORE}", "18"),
    (f"Question: {MORE}\nAnswer: 3", "3"),
    ("The answer is 17? No, I forgot one. The answer is 18.", "18"),
]
AQUA = [
    ("The answer is option B.", "(B)"),
    ("The answer is Option (B).", "(B)"),
    ("The answer is choice B: 992.", "(B)"),
    ("The answer is 992, option B.", "(B)"),
    ("The correct option is B.", "(B)"),
    ("The correct choice is (B), since (A) is too small.", "(B)"),
    ("The answer is B because 2 * 496 = 992.", "(B)"),
    ("The answer is A because it is 300.", "(A)"),
    ("The answer is B 992", "(B)"),
    ("The answer is **B**.", "(B)"),
    ("The answer is \\boxed{B}.", "(B)"),
    ("The answer is [B].", "(B)"),
    ("The answer is B, not A.", "(B)"),
    ("The answer is not (A) but (B).", "(B)"),
    ("992 fits (B), not (A).", "(B)"),
    ("It leaves (B) 2 apple(s)", "(B)"),
    ("So it must be option b", "(B)"),
    (f"Answer: B\n\nQ: {MORE}\nOptions: (A) 2 (B) 1 (C) 3\nA: The answer is (C).", "(B)"),
]
REVIEWS = [
    ("One of the best! 5 stars", 5),
    ("on a scale of 1 to 5, 4", 4),
    ("On a scale of one to five, I give it four.", 4),
    ("From 1 (worst) to 5 (best): 3", 3),
    ("1-5 scale: 2", 2),
    ("Between 1 and 5 stars I say 3.", 3),
    ("2 thumbs up, 5 stars", 5),
    ("I bought 2 of these. 4 stars.", 4),
    ("This one is great. 5/5", 5),
    ("No one should buy it: 1 star", 1),
    ("One star, one of the worst.", 1),
    ("One.", 1),
    ("I would rate this dress 3, and I own 2.", 3),
    ("I have 3 of them and my rating is 2.", 2),
    ("Four and a half stars", 4.5),
    ("4 1/2 stars", 4.5),
    ("I wear a size 8. Four stars!", 4),
    ("100% happy, five stars", 5),
    ("Not 5 stars, only 3.", 3),
    ("4 of 5 stars", 4),
    ("My 2 kids love it, a 5-star toy", 5),
    ("10/10 from my mother, 4 stars from me", 4),
    ("I'd say 4 because it fits", 4),
    ("4/10", None),
    ("on a scale of 1 to 10, 4", None),
    ("One of the best dresses", None),
    ("100% cotton", None),
]


@pytest.mark.parametrize(("output", "right"), [*GSM8K, *AQUA])
def test_an_output_answers_what_a_reader_says_it_does(output, right):
    scores = final_answer([output], [[right]])
    assert np.asarray(scores["no_answer"]).tolist() == [0] and np.asarray(scores["accuracy"]).tolist() == [100]


@pytest.mark.parametrize(("output", "stars"), REVIEWS)
def test_an_output_rates_what_a_reader_says_it_does(output, stars):
    assert parse_rating(output) == stars


@pytest.mark.parametrize("word", ["how ", "Q: 1 ", "answer is ", "1 000 ", "- ", "5 * ", "1 to 5 ", "one of ", "a 1/2"])
def test_long_outputs_are_read_in_time_that_grows_with_their_length(word):
    """A pattern that backtracks would not come back; no time is measured."""
    final_answer([word * 20_000], [["1"]])
    final_answer([word * 20_000], [["(A)"]])
    parse_rating(word * 20_000)
