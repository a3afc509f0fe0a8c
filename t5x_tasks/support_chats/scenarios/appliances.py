"""Household appliances: repairs, spare parts, warranty, installation."""

from t5x_tasks.support_chats.facts import clock, code, counted, day, money, number, pick
from t5x_tasks.support_chats.model import Ask, Domain, End, Intent

MACHINES = (
    "washing machine", "dishwasher", "fridge", "oven", "dryer", "freezer", "boiler", "air conditioner", "heater",
    "cooker hood", "vacuum cleaner", "microwave",
)  # fmt: skip
FAULTS = (
    "leaks", "makes a loud noise", "does not switch on", "smells burnt", "stops after a minute", "gets too hot",
    "shows an error", "blows the fuse",
)  # fmt: skip

APPLIANCES = Domain(
    "appliances",
    ("Holm Appliances", "Kitchen World", "WhiteLine Service", "Norda", "HomeTech"),
    "repairs",
    "an appliance",
    (
        Intent(
            "repair_visit",
            {"machine": pick(MACHINES), "fault": pick(FAULTS), "age": counted(2, 11, "year")},
            (
                "My {machine} {fault}.",
                "I need a repair, the {machine} {fault}.",
                ("Something is wrong with my {machine}.", "It {fault}."),
                "Can you send somebody? The {machine} {fault}.",
            ),
            ("{C} needs a repair because a {machine} {fault}.", "{C} tells {A} that a {machine} {fault}."),
            (
                End(
                    (
                        "A technician can come on {visit} at {at}. Would that suit you?",
                        "I can offer {visit} at {at} for a technician.",
                    ),
                    ("A technician will come on {visit} at {at}.",),
                    facts={"visit": day(1, 12), "at": clock(8, 17)},
                    offer="visit",
                ),
                End(
                    (
                        "After {age} a repair costs {price}. A new one would be wiser.",
                        "It's {age} old, and the repair would be {price}. I'd buy a new one.",
                    ),
                    ("{A} advises a new one because the repair would cost {price}.",),
                    facts={"price": money(90, 390, cents=False)},
                    customer=(
                        "I'll think about a new one.",
                        "Then I'd rather buy a new one.",
                        "Okay, thanks for being honest.",
                    ),
                ),
                End(
                    ("Please clean the filter and wait {mins}.", "Try this: clean the filter, then wait {mins}."),
                    ("{A} tells {C} to clean the filter and wait {mins}.",),
                    facts={"mins": counted(10, 55, "minute")},
                    customer=("I'll try that.", "Okay, I'll do that now.", "Easy enough, thanks."),
                ),
            ),
            (
                Ask(
                    "age",
                    ("How old is the {machine}?", "For how long have you had the {machine}?"),
                    ("{age}.", "{age} by now.", "I've had it for {age}."),
                ),
            ),
            ("age",),
            trouble=True,
        ),
        Intent(
            "spare_part",
            {
                "part": pick(
                    ("door handle", "filter", "hose", "shelf", "lid", "knob", "belt", "lamp", "seal", "drawer")
                ),
                "machine": pick(MACHINES),
                "model": code("AA999"),
            },
            (
                "I need a new {part} for my {machine}, model {model}.",
                "Do you sell a {part} for the {machine} {model}?",
                ("The {part} of my {machine} is broken.", "Can I order one?"),
                "How much is a {part} for a {machine}?",
            ),
            (
                "{C} needs a {part} for a {machine}, model {model}.",
                "{C} asks {A} for a {part} for a {machine}, model {model}.",
            ),
            (
                End(
                    (
                        "It costs {price} and comes within {wait}. Shall I order it?",
                        "{price}, and you'd have it in {wait}.",
                    ),
                    ("{A} orders it for {price} and it will come within {wait}.",),
                    facts={"price": money(6, 70), "wait": counted(2, 9, "day")},
                    customer=("Yes, order it.", "Good, I'll take it.", "Please do."),
                ),
                End(
                    (
                        "We stopped making it {ago} ago, I'm sorry.",
                        "It was taken off the market {ago} ago.",
                    ),
                    ("{A} explains that it was discontinued {ago} ago.",),
                    facts={"ago": counted(2, 12, "year")},
                    customer="no",
                ),
            ),
            (
                Ask(
                    "model",
                    ("Which model is it?", "What's the model number?"),
                    ("{model}.", "It says {model}.", "Model {model}."),
                ),
            ),
            ("model",),
        ),
        Intent(
            "warranty",
            {"machine": pick(MACHINES), "bought": day(-600, -60)},
            (
                "I bought a {machine} on {bought}. Is there still a warranty?",
                "Is my {machine} from {bought} still under warranty?",
                ("My {machine} broke.", "I bought it on {bought}, does the warranty pay?"),
                "How long is the warranty on a {machine} bought on {bought}?",
            ),
            (
                "{C} asks {A} about the warranty of a {machine} bought on {bought}.",
                "{C} wants to know if a {machine} bought on {bought} is under warranty.",
            ),
            (
                End(
                    ("Yes, you have {left} left.", "It is, for another {left}."),
                    ("{A} confirms that there are {left} left.",),
                    facts={"left": counted(2, 11, "month")},
                ),
                End(
                    ("It ended last month. You could extend it for {price}.", "No, but an extension is {price}."),
                    ("{A} says that it has ended but can be extended for {price}, which {C} accepts.",),
                    facts={"price": money(30, 150, cents=False)},
                    customer=("I'll do that.", "Then extend it please.", "Okay, that's fair."),
                ),
            ),
            fixable=("bought",),
        ),
        Intent(
            "installation",
            {"machine": pick(MACHINES), "floor": number(5, 9), "on": day(2, 20)},
            (
                "You bring my {machine} on {on}. Can you also install it? I'm on floor {floor}.",
                "I'd like to have the {machine} installed on {on}, floor {floor}.",
                ("My {machine} comes on {on}.", "I live on floor {floor} and can't install it myself."),
                "Do you install a {machine} on floor {floor}? The delivery is on {on}.",
            ),
            (
                "{C} wants a {machine} installed on floor {floor} on {on}.",
                "{C} asks {A} to install a {machine} on floor {floor} on {on}.",
            ),
            (
                End(
                    ("Sure, that costs {price}.", "We can do it for {price}."),
                    ("{A} agrees for {price}.",),
                    facts={"price": money(25, 120, cents=False)},
                ),
                End(
                    ("Without a lift we only go up to floor {max}.", "Our limit is floor {max}, I'm sorry."),
                    ("{A} refuses because the limit is floor {max}.",),
                    facts={"max": number(1, 4)},
                    customer="no",
                ),
            ),
            fixable=("on",),
        ),
    ),
)
