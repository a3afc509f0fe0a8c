"""Appointments with doctors and others: booking, moving, cancelling, results."""

from t5x_tasks.support_chats.facts import clock, counted, day, money, pick
from t5x_tasks.support_chats.model import Ask, Domain, End, Intent
from t5x_tasks.support_chats.names import LAST_NAMES

CARE = ("check-up", "dental cleaning", "eye test", "vaccination", "blood test", "skin check", "massage", "haircut",
        "hearing test", "X-ray", "flu shot", "physiotherapy session")  # fmt: skip
DOCTORS = tuple(f"Dr. {name}" for name in LAST_NAMES[::4])
APPOINTMENTS = Domain(
    "appointments",
    ("Riverside Clinic", "SmileCare", "Parkview Health", "Family Practice West", "Lotus Wellness", "Clear Vision"),
    "scheduling",
    "an appointment",
    (
        Intent(
            "book_visit",
            {"care": pick(CARE), "wish": day(2, 10), "doctor": pick(DOCTORS)},
            (
                "I'd like an appointment for a {care}.",
                "Can I come in for a {care}?",
                ("I need a {care}.", "When is the next free appointment?"),
                "Do you have anything free for a {care} soon?",
            ),
            ("{C} wants an appointment for a {care}.", "{C} asks {A} for an appointment for a {care}."),
            (
                End(
                    ("I can offer {on} at {at} with {doctor}.", "{doctor} has time on {on} at {at}. Is that okay?"),
                    ("{A} books it for {on} at {at} with {doctor}.",),
                    facts={"on": day(11, 40), "at": clock(8, 17)},
                    offer="on",
                ),
                End(
                    (
                        "{doctor} could see you at {at} on {on}. Does that work?",
                        "There is {on} at {at}, with {doctor}.",
                    ),
                    ("{A} books it for {on} at {at} with {doctor}.",),
                    facts={"on": day(11, 40), "at": clock(8, 17)},
                    offer="at",
                ),
                End(
                    ("We take no new patients before {free}, I'm sorry.", "Everything is full until {free}, sorry."),
                    ("{A} has nothing free before {free}.",),
                    facts={"free": day(50, 120)},
                    customer=(
                        "Then I'll try elsewhere.",
                        "That's too late for me.",
                        "Oh. I'll look for another place.",
                    ),
                ),
            ),
        ),
        Intent(
            "move_visit",
            {"care": pick(CARE), "on": day(1, 9), "new": day(10, 30)},
            (
                "I can't make my {care} on {on}. Could I come on {new}?",
                "I have to move my {care} from {on} to {new}.",
                ("My {care} is on {on}.", "I'm away then. What about {new}?"),
                "Please move my {care} to {new}, I can't come on {on}.",
            ),
            ("{C} wants to move a {care} from {on} to {new}.", "{C} asks {A} to move a {care} from {on} to {new}."),
            (
                End(
                    ("Yes, {at} is free that day.", "That's possible at {at}."),
                    ("{A} moves it and {C} will come at {at}.",),
                    facts={"at": clock(8, 17)},
                ),
                End(
                    ("We're closed that day. {other} is the next free one.", "That day is full, but {other} is free."),
                    ("That day is not possible, so they agree on {other}.",),
                    facts={"other": day(31, 60)},
                    customer=("Then I'll take that.", "Okay, that's fine too.", "Good, put me down."),
                ),
            ),
            fixable=("new",),
        ),
        Intent(
            "cancel_visit",
            {"care": pick(CARE), "on": day(1, 12), "at": clock(8, 17)},
            (
                "I have to cancel my {care} on {on} at {at}.",
                "Please cancel my {care}, it's on {on} at {at}.",
                ("I'm ill.", "I can't come to my {care} on {on}."),
                "I won't be able to come for my {care} at {at}. Can you cancel it?",
            ),
            ("{C} wants to cancel a {care} on {on} at {at}.", "{C} asks {A} to cancel a {care} on {on} at {at}."),
            (
                End(
                    ("It's cancelled, there's no fee.", "Done, and it costs you nothing."),
                    ("{A} cancels it without a fee.",),
                ),
                End(
                    (
                        "As it's so late, we have to charge {fee}.",
                        "I've cancelled it. For late notice there's a fee of {fee}.",
                    ),
                    ("{A} cancels it but charges {fee} for late notice.",),
                    facts={"fee": money(15, 80, cents=False)},
                    customer="no",
                ),
            ),
            (
                Ask("on", ("Which day is it?", "On what date is it?"), ("{on}.", "On {on}.")),
                Ask("at", ("At what time is it?", "What time was it?"), ("At {at}.", "{at}.")),
            ),
            ("at", "on"),
        ),
        Intent(
            "test_results",
            {
                "care": pick(("blood test", "skin test", "X-ray", "allergy test", "eye test", "hearing test", "scan")),
                "on": day(-14, -2),
                "doctor": pick(DOCTORS),
            },
            (
                "Are the results of my {care} there? It was on {on}.",
                "I'm waiting for the results of a {care} on {on}.",
                ("I had a {care} on {on}.", "Can you tell me the results?"),
                "When do I get the results of my {care}?",
            ),
            ("{C} asks {A} for the results of a {care} on {on}.", "{C} wants the results of a {care} from {on}."),
            (
                End(
                    (
                        "They're here. {doctor} will call you on {call}.",
                        "Yes. I can't read them out, {doctor} calls you on {call}.",
                    ),
                    ("{doctor} will call {C} on {call}.",),
                    facts={"call": day(1, 6)},
                ),
                End(
                    ("Not yet, the laboratory needs {wait} more.", "They aren't in. Please wait another {wait}."),
                    ("{A} says that the laboratory needs {wait} more.",),
                    facts={"wait": counted(2, 8, "day")},
                    customer="no",
                ),
            ),
            (Ask("on", ("When was the test?", "What day did you come in?"), ("On {on}.", "{on}.")),),
            ("on",),
        ),
    ),
)
