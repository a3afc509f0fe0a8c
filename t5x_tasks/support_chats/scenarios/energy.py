"""Electricity: bills, meter readings, power cuts, payments."""

from t5x_tasks.support_chats.facts import clock, code, counted, day, money, number, pick
from t5x_tasks.support_chats.model import Ask, Domain, End, Intent
from t5x_tasks.support_chats.names import CITIES

ENERGY = Domain(
    "energy",
    ("BrightPower", "Valley Energy", "GreenGrid", "City Power and Gas", "Volta"),
    "billing",
    "my electricity",
    (
        Intent(
            "high_bill",
            {
                "bill": money(180, 700),
                "usual": money(40, 150),
                "month": pick(("January", "February", "March", "October")),
            },
            (
                "My {month} bill is {bill}, it's usually {usual}.",
                "Why do I have to pay {bill} for {month}? I normally pay {usual}.",
                ("I got a shock today.", "You want {bill} for {month}, and it was always {usual}."),
                "There's a mistake in the bill for {month}, {bill} instead of {usual}.",
            ),
            (
                "{C} complains about a bill of {bill} for {month} instead of the usual {usual}.",
                "{C} asks {A} why the bill for {month} is {bill} instead of {usual}.",
            ),
            (
                End(
                    (
                        "The meter was misread. The right amount is {real}.",
                        "We misread the meter, it should be {real}.",
                    ),
                    ("The meter was misread, and {A} lowers the bill to {real}.",),
                    facts={"real": money(50, 170)},
                ),
                End(
                    (
                        "The bill is right, it was a cold month. You can pay in {parts}.",
                        "It's correct, I'm afraid. I can split it into {parts}.",
                    ),
                    ("{A} says that the bill is right but lets {C} pay in {parts}.",),
                    facts={"parts": counted(2, 9, "part")},
                    customer=("Then in parts, please.", "Okay, let's split it.", "That would help."),
                ),
            ),
            fixable=("bill",),
            trouble=True,
        ),
        Intent(
            "meter_reading",
            {"meter": code("99999"), "on": day(-4, -1)},
            (
                "I want to give you my meter reading, {meter}.",
                "My meter reading on {on} was {meter}.",
                ("You asked for my meter reading.", "It was {meter} on {on}."),
                "Where can I enter my meter reading? It's {meter}.",
            ),
            (
                "{C} gives a meter reading of {meter} taken on {on}.",
                "{C} gives {A} a meter reading of {meter} from {on}.",
            ),
            (
                End(
                    ("Saved. You'll get {back} back.", "Thank you, that means a credit of {back}."),
                    ("{A} saves it and {C} gets {back} back.",),
                    facts={"back": money(5, 160)},
                ),
                End(
                    ("Thanks. There will be {more} to pay.", "I've saved it, you have to pay {more} on top."),
                    ("{A} saves it and {C} has to pay {more} more.",),
                    facts={"more": money(5, 160)},
                    customer="no",
                ),
                End(
                    (
                        "That is lower than last time. Please send a photo by {by}.",
                        "It can't be right, it's below the last one. I need a photo by {by}.",
                    ),
                    ("{A} doubts it and asks for a photo by {by}.",),
                    facts={"by": day(2, 10)},
                    customer=("I'll send one.", "Okay, I'll take a photo.", "Strange, but okay."),
                ),
            ),
            (Ask("on", ("When did you read it?", "On which day was that?"), ("On {on}.", "{on}.")),),
            ("meter", "on"),
        ),
        Intent(
            "power_cut",
            {"since": clock(6, 20), "homes": number(20, 400, 10), "city": pick(CITIES)},
            (
                "We've had no power since {since}.",
                "The lights have been out since {since}. What's going on in {city}?",
                ("It's all dark here.", "The power went off at {since}."),
                "Is there a power cut in {city}? Nothing works since {since}.",
            ),
            (
                "{C} in {city} has had no power since {since}.",
                "{C} tells {A} that there is no power in {city} since {since}.",
            ),
            (
                End(
                    (
                        "A cable was cut, {homes} homes are dark. It'll be back at {back}.",
                        "It's a broken cable, {homes} homes have the same. We hope for {back}.",
                    ),
                    ("{A} says that {homes} homes are affected and the power will be back at {back}.",),
                    facts={"back": clock(21, 23)},
                ),
                End(
                    (
                        "Everything is fine on our side. Please check fuse {fuse}.",
                        "It must be in your flat. Look at fuse {fuse}.",
                    ),
                    ("{A} has {C} check fuse {fuse}, and the power is back.",),
                    facts={"fuse": number(2, 16)},
                    customer=("That was it, the light is on!", "Yes! It had tripped.", "It's back, thank you."),
                ),
            ),
            ("city",),
            ("since", "city"),
            trouble=True,
        ),
        Intent(
            "change_payment",
            {"old": money(40, 120, cents=False), "new": money(40, 160, cents=False), "from": day(8, 40)},
            (
                "I want to change my monthly payment from {old} to {new}.",
                "Can I pay {new} a month instead of {old}?",
                ("I pay {old} a month at the moment.", "I'd like to pay {new}."),
                "Please set my monthly payment to {new}, it's {old} now.",
            ),
            (
                "{C} wants to pay {new} a month instead of {old}.",
                "{C} asks {A} to change the payment from {old} to {new} a month.",
            ),
            (
                End(
                    ("That's fine, it starts on {from}.", "Done, from {from} on."),
                    ("{A} changes it from {from} on.",),
                ),
                End(
                    ("That's too far from what you use. {other} is what I can offer.", "I can only go to {other}."),
                    ("{A} can only offer {other}, and {C} accepts.",),
                    facts={"other": money(40, 160, cents=False)},
                    customer=("Okay, then that.", "Fine, I accept.", "All right, better than before."),
                ),
            ),
            fixable=("new",),
        ),
    ),
)
