"""Trains: connections, refunds, seats, lost property."""

from t5x_tasks.support_chats.facts import clock, code, counted, day, money, number, pick
from t5x_tasks.support_chats.model import Ask, Domain, End, Intent
from t5x_tasks.support_chats.names import RAIL_CITIES

TRAINS = Domain(
    "trains",
    ("Coastline Rail", "RapidRail", "Transalpin Trains", "Northern Lines", "Metro Regional"),
    "refunds",
    "a train",
    (
        Intent(
            "train_times",
            {"from": pick(RAIL_CITIES), "to": pick(RAIL_CITIES), "on": day(1, 20), "by": clock(11, 20)},
            (
                "Which train from {from} to {to} gets there before {by} on {on}?",
                "I have to be in {to} by {by} on {on}. I start in {from}.",
                ("I need a train to {to} on {on}.", "I'm in {from} and have to arrive by {by}."),
                "Is there a train from {from} that is in {to} by {by} on {on}?",
            ),
            (
                "{C} wants a train from {from} to {to} arriving by {by} on {on}.",
                "{C} asks {A} for a train from {from} to {to} arriving by {by} on {on}.",
            ),
            (
                End(
                    ("Take the one at {dep}, platform {n}.", "The train at {dep} from platform {n} is right for you."),
                    ("{A} recommends the train at {dep} from platform {n}.",),
                    facts={"dep": clock(5, 9), "n": number(12, 29)},
                ),
                End(
                    (
                        "No direct train, I'm afraid. With {via} you'd leave at {dep}.",
                        "There's one with {via}. It leaves at {dep}.",
                    ),
                    ("{A} recommends the train at {dep} with {via}.",),
                    facts={"dep": clock(5, 9), "via": counted(2, 4, "change")},
                ),
            ),
            fixable=("by", "to", "from"),
        ),
        Intent(
            "refund_ticket",
            {"to": pick(RAIL_CITIES), "on": day(-9, -1), "price": money(25, 160), "booking": code("A99999")},
            (
                "My train to {to} on {on} was cancelled. I paid {price} for it.",
                "I want my {price} back, the train to {to} on {on} never came.",
                ("The train to {to} on {on} was cancelled.", "My ticket was {price}."),
                "Can I get a refund for a cancelled train to {to} on {on}? It's {price}.",
            ),
            (
                "{C} wants {price} back for a cancelled train to {to} on {on}.",
                "{C} asks {A} to refund {price} for a cancelled train to {to} on {on}.",
            ),
            (
                End(
                    ("You'll get everything back within {wait}.", "Of course. The full price comes back in {wait}."),
                    ("{A} agrees to refund it within {wait}.",),
                    facts={"wait": counted(3, 14, "day")},
                ),
                End(
                    (
                        "You took the next train, so it's {part} percent.",
                        "As you did travel later, you get {part} percent.",
                    ),
                    ("{A} agrees to refund {part} percent.",),
                    facts={"part": number(20, 75, 5)},
                    customer=("Better than nothing.", "All right.", "Okay, I accept."),
                ),
                End(
                    (
                        "Please use form {form} on our site, we can't do it in the chat.",
                        "I can't do refunds here. You'd have to send form {form}.",
                    ),
                    ("{A} cannot do it in the chat and asks {C} to send form {form}.",),
                    facts={"form": code("A99")},
                    customer="no",
                ),
            ),
            ("booking",),
            ("price", "on"),
            trouble=True,
        ),
        Intent(
            "seat_change",
            {"to": pick(RAIL_CITIES), "on": day(1, 25), "seat": number(11, 60), "coach": number(61, 99)},
            (
                "I have seat {seat} on the train to {to} on {on}, and I'd like one by the window.",
                "Can I swap seat {seat} for a window seat? It's the train to {to} on {on}.",
                ("I'm going to {to} on {on}.", "Seat {seat} is on the aisle. Could I sit by the window?"),
                "Seat {seat} on the train to {to}, I want a window seat instead.",
            ),
            (
                "{C} wants a window seat instead of seat {seat} on the train to {to} on {on}.",
                "{C} asks {A} for a window seat instead of seat {seat} on the train to {to} on {on}.",
            ),
            (
                End(
                    ("You now have seat {new} by the window.", "I found one, seat {new}. It's yours."),
                    ("{A} gives {C} seat {new}.",),
                    facts={"new": number(11, 99)},
                ),
                End(
                    (
                        "All the window seats are taken. In first class there's seat {new} for {fee} more.",
                        "Only in first class: seat {new}, for {fee} more.",
                    ),
                    ("{A} offers seat {new} in first class, and {C} agrees to pay {fee} more.",),
                    facts={"new": number(11, 99), "fee": money(8, 60, cents=False)},
                    customer=("I'll treat myself. Yes.", "Okay, I'll take it.", "Fine, let's do that."),
                ),
            ),
            (Ask("on", ("Which day do you travel?", "On what date is that?"), ("{on}.", "On {on}.")),),
            ("seat", "on"),
        ),
        Intent(
            "lost_on_train",
            {
                "thing": pick(
                    ("phone", "laptop", "violin", "hat", "umbrella", "handbag", "wallet", "jacket", "book", "scarf")
                ),
                "to": pick(RAIL_CITIES),
                "coach": number(2, 18),
                "at": clock(7, 20),
            },
            (
                "I left my {thing} on the train to {to}, coach {coach}.",
                ("I was on the {at} train to {to} today.", "My {thing} is still in coach {coach}!"),
                "Did anyone find a {thing} in coach {coach} of the train to {to}?",
                "I got off and forgot my {thing}. It was the {at} train to {to}, coach {coach}.",
            ),
            (
                "{C} left a {thing} in coach {coach} of the {at} train to {to}.",
                "{C} tells {A} about a {thing} left in coach {coach} of the {at} train to {to}.",
            ),
            (
                End(
                    (
                        "The conductor has it. You can collect it in {city} until {until}.",
                        "Good news, it's at the station in {city}. Please collect it by {until}.",
                    ),
                    ("It was found and {C} can collect it in {city} until {until}.",),
                    facts={"city": pick(RAIL_CITIES), "until": day(3, 20)},
                ),
                End(
                    (
                        "Nobody has handed it in. I've made a note, number {note}. Please call in {wait}.",
                        "Not yet. Your search has the number {note}, ask again in {wait}.",
                    ),
                    ("It has not been found, so {A} opens search {note} and {C} should ask again in {wait}.",),
                    facts={"note": code("9999"), "wait": counted(2, 6, "day")},
                    customer="no",
                ),
            ),
            (
                Ask(
                    "at", ("When did the train leave?", "Which train was it?"), ("The one at {at}.", "It left at {at}.")
                ),
            ),
            ("coach", "to"),
        ),
    ),
)
