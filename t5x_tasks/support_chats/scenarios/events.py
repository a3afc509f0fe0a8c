"""Tickets for events: buying, cancelled shows, missing tickets, wheelchair spaces."""

from t5x_tasks.support_chats.facts import clock, code, counted, day, money, number, pick
from t5x_tasks.support_chats.model import Ask, Domain, End, Intent

SHOWS = ("jazz concert", "opera", "musical", "comedy night", "football game", "ballet", "rock concert", "magic show",
         "film festival", "science fair", "poetry evening", "circus")  # fmt: skip
EVENTS = Domain(
    "events",
    ("TicketHive", "StageDoor Tickets", "Arena Box Office", "ShowTime Tickets", "City Theatre"),
    "box office",
    "a show",
    (
        Intent(
            "buy_tickets",
            {"n": counted(2, 9, "ticket"), "show": pick(SHOWS), "on": day(3, 60)},
            (
                "I'd like {n} for the {show} on {on}.",
                "Are there still {n} for the {show} on {on}?",
                ("We want to see the {show} on {on}.", "Can I get {n}?"),
                "How do I get {n} for the {show}?",
            ),
            ("{C} wants {n} for the {show} on {on}.", "{C} asks {A} for {n} for the {show} on {on}."),
            (
                End(
                    ("Yes, in row {row} for {price} each.", "I have seats in row {row}, {price} each."),
                    ("{A} sells them in row {row} for {price} each.",),
                    facts={"row": number(10, 40), "price": money(41, 130, cents=False)},
                    customer=("I'll take them.", "Great seats, yes please.", "Okay, book them."),
                ),
                End(
                    ("It's sold out. There's another show on {other}.", "Sold out, sorry. On {other} there are seats."),
                    ("It is sold out, so {C} takes {other} instead.",),
                    facts={"other": day(61, 90)},
                    customer=("Then we'll come that day.", "Okay, that day is fine.", "Good, let's do that."),
                ),
            ),
            (Ask("on", ("Which date would you like?", "For which day?"), ("{on}.", "The one on {on}.")),),
            ("n", "on"),
        ),
        Intent(
            "event_cancelled",
            {"show": pick(SHOWS), "on": day(2, 30), "paid": money(40, 300, cents=False)},
            (
                "I heard that the {show} on {on} is cancelled. I paid {paid}.",
                "Is it true that the {show} on {on} won't happen? What about my {paid}?",
                ("I have tickets for the {show} on {on}.", "It's cancelled and I want my {paid} back."),
                "What happens with my {paid} for the cancelled {show} on {on}?",
            ),
            ("{C} wants {paid} back for the {show} on {on}.", "{C} asks {A} about {paid} paid for the {show} on {on}."),
            (
                End(
                    ("You get it all back by {by}.", "The full amount will be back by {by}."),
                    ("{A} will refund it by {by}.",),
                    facts={"by": day(31, 50)},
                ),
                End(
                    (
                        "It was moved to {new}, and your tickets stay valid.",
                        "The new date is {new}, and your tickets are still good.",
                    ),
                    ("{A} says that it was moved to {new} and the tickets stay valid.",),
                    facts={"new": day(60, 150)},
                ),
            ),
            fixable=("on", "paid"),
            trouble=True,
        ),
        Intent(
            "tickets_missing",
            {"show": pick(SHOWS), "n": counted(2, 8, "ticket"), "on": day(1, 10), "order": code("99999")},
            (
                "My {n} for the {show} on {on} haven't come.",
                "The {show} is on {on} and I don't have my {n}.",
                ("I ordered {n} weeks ago.", "The {show} is on {on}, and the post brought nothing!"),
                "Where are my {n} for the {show} on {on}?",
            ),
            (
                "{C} has not received {n} for the {show} on {on}.",
                "{C} tells {A} that {n} for the {show} on {on} have not come.",
            ),
            (
                End(
                    (
                        "I've sent them again by email, the code is {code}.",
                        "You get them by email now, with the code {code}.",
                    ),
                    ("{A} sends them by email with the code {code}.",),
                    facts={"code": code("AA99")},
                ),
                End(
                    (
                        "You can pick them up at desk {desk} from {at} on.",
                        "They'll be at desk {desk} for you, from {at}.",
                    ),
                    ("{C} can pick them up at desk {desk} from {at} on.",),
                    facts={"desk": number(11, 40), "at": clock(16, 19)},
                ),
            ),
            ("order",),
            ("on", "n"),
            trouble=True,
        ),
        Intent(
            "wheelchair_seat",
            {"show": pick(SHOWS), "on": day(8, 40), "row": number(2, 30)},
            (
                "My mother uses a wheelchair. Can she see the {show} on {on}?",
                "I need a wheelchair space for the {show} on {on}.",
                ("We have seats in row {row} for the {show}.", "Now we need a wheelchair space."),
                "Is there a wheelchair space at the {show} on {on}?",
            ),
            (
                "{C} needs a wheelchair space for the {show} on {on}.",
                "{C} asks {A} for a wheelchair space at the {show} on {on}.",
            ),
            (
                End(
                    ("Yes, please use entrance {gate}.", "There is one left, it's yours. Come to entrance {gate}."),
                    ("{A} reserves one at entrance {gate}.",),
                    facts={"gate": code("A")},
                ),
                End(
                    (
                        "They're all gone. I'll call you by {by} if one is free.",
                        "None left. If one is given back, I'll call by {by}.",
                    ),
                    ("None is left, and {A} will call by {by} if one is free.",),
                    facts={"by": day(1, 6)},
                    customer=("Please do.", "I hope so. Thank you.", "Okay, I'll keep my phone near."),
                ),
            ),
            (Ask("on", ("On which day?", "Which date is it?"), ("{on}.", "On {on}.")),),
            ("on",),
        ),
    ),
)
