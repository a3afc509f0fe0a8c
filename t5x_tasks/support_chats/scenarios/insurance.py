"""Insurance: claims, drivers, travel."""

from t5x_tasks.support_chats.facts import code, counted, day, money, number, pick
from t5x_tasks.support_chats.model import Ask, Domain, End, Intent
from t5x_tasks.support_chats.names import CITIES

DAMAGE = ("water damage", "a broken window", "a stolen bicycle", "a kitchen fire", "a burglary", "storm damage",
          "a car accident", "a broken phone", "a dog bite", "a fallen tree")  # fmt: skip

INSURANCE = Domain(
    "insurance",
    ("Safe Harbor Insurance", "Alba Insurance", "Shield Mutual", "Umbrella Direct", "Concord Insurance"),
    "claims",
    "my insurance",
    (
        Intent(
            "report_damage",
            {"what": pick(DAMAGE), "on": day(-7, -1), "amount": money(200, 4000, cents=False)},
            (
                "I want to report {what}. It happened on {on}.",
                "There was {what} on {on}, the damage is about {amount}.",
                ("Something bad happened on {on}.", "It's {what}, and it will cost me {amount}."),
                "How do I make a claim for {what}?",
            ),
            ("{C} reports {what} on {on} worth {amount}.", "{C} reports {what} of {on} worth {amount} to {A}."),
            (
                End(
                    (
                        "I've opened claim {claim}. Please send the receipts by {by}.",
                        "That's claim {claim}. We need the receipts by {by}.",
                    ),
                    ("{A} opens claim {claim} and needs the receipts by {by}.",),
                    facts={"claim": code("99999"), "by": day(7, 30)},
                    customer=("I'll send them.", "Okay, I have them all.", "All right, thank you."),
                ),
                End(
                    ("An expert will visit you on {visit}, is that okay?", "I'd like to send an expert on {visit}."),
                    ("{A} sends an expert on {visit}.",),
                    facts={"visit": day(1, 14)},
                    offer="visit",
                ),
                End(
                    ("Your contract doesn't cover that, I'm sorry.", "I'm afraid that's not covered by your contract."),
                    ("{A} refuses because the contract does not cover it.",),
                    customer="no",
                ),
            ),
            (
                Ask("on", ("When did it happen?", "On which day was it?"), ("On {on}.", "It was {on}.")),
                Ask(
                    "amount",
                    ("How high is the damage?", "What will it cost, roughly?"),
                    ("About {amount}.", "{amount}."),
                ),
            ),
            ("on", "amount"),
            trouble=True,
        ),
        Intent(
            "add_driver",
            {
                "who": pick(("son", "daughter", "husband", "wife", "brother", "sister", "mother", "father")),
                "age": number(18, 79),
                "from": day(2, 30),
            },
            (
                "I'd like to add my {who} to my car insurance.",
                "Can my {who} drive my car too? From {from}, please.",
                ("It's about my car.", "My {who} is {age} and should be able to drive it."),
                "How do I put my {who} on the car policy from {from}?",
            ),
            (
                "{C} wants to add a {who} aged {age} to a car insurance from {from}.",
                "{C} asks {A} to add a {who} aged {age} to a car insurance from {from}.",
            ),
            (
                End(
                    ("That's {more} more a month. Shall I do it?", "It would cost {more} a month on top."),
                    ("{A} adds the {who} for {more} more a month.",),
                    facts={"more": money(4, 60, cents=False)},
                    customer=("Yes, do it.", "That's okay.", "Fine, go ahead."),
                ),
                End(
                    (
                        "For that I need a copy of the licence by {by}.",
                        "Please send a copy of the licence by {by} first.",
                    ),
                    ("{A} first needs a copy of the licence by {by}.",),
                    facts={"by": day(31, 50)},
                    customer=("I'll send it.", "Okay, will do.", "No problem."),
                ),
            ),
            (
                Ask("age", ("How old is the driver?", "And the age?"), ("{age}.", "{age} years old.")),
                Ask("from", ("From when on?", "When should it start?"), ("From {from}.", "{from}.")),
            ),
            ("age", "from"),
        ),
        Intent(
            "travel_cover",
            {"city": pick(CITIES), "days": counted(3, 30, "day"), "people": number(31, 45)},
            (
                "I'm going to {city} for {days}. Am I covered there?",
                "I need travel insurance for {days} in {city}.",
                ("We're planning a trip to {city}.", "It's {days}. Which insurance do we need?"),
                "How much is a travel insurance for {city}, {days}?",
            ),
            (
                "{C} asks {A} about travel insurance for {days} in {city}.",
                "{C} wants travel insurance for {days} in {city}.",
            ),
            (
                End(
                    ("I can insure you for {price}, with a limit of {limit}.", "That's {price}, we pay up to {limit}."),
                    ("{A} offers it for {price} with a limit of {limit}, and {C} accepts.",),
                    facts={"price": money(20, 140), "limit": money(5000, 90000, cents=False)},
                    customer=("I'll take it.", "Good, please sign me up.", "Okay, let's do it."),
                ),
                End(
                    (
                        "Your contract covers trips up to {max}, so you need nothing.",
                        "You're covered already, up to {max} a trip.",
                    ),
                    ("{A} says that trips of up to {max} are already covered.",),
                    facts={"max": counted(31, 60, "day")},
                    customer=("Good to know.", "Perfect, that saves money.", "Great, thank you."),
                ),
            ),
            fixable=("days", "city"),
        ),
    ),
)
