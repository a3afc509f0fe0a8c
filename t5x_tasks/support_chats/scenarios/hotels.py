"""Hotel rooms: booking, late check-in, other dates, lost property."""

from t5x_tasks.support_chats.facts import clock, code, counted, day, money, number, pick
from t5x_tasks.support_chats.model import Ask, Domain, End, Intent

ROOMS = (
    "single room", "double room", "twin room", "family room", "suite", "room with a sea view", "room on a high floor",
    "room with a balcony", "quiet room at the back", "room with a bathtub",
)  # fmt: skip
LOST = (
    "scarf", "laptop charger", "passport", "pair of glasses", "silver ring", "teddy bear", "notebook", "jacket",
    "necklace", "headset", "camera", "tablet", "watch", "umbrella", "book",
)  # fmt: skip

HOTELS = Domain(
    "hotel",
    ("Hotel Aurora", "Hotel Miramar", "Grand Plaza Hotel", "Hotel Lindenhof", "The Old Mill Inn", "Hotel Sakura"),
    "front desk",
    "a stay with you",
    (
        Intent(
            "book_room",
            {"room": pick(ROOMS), "arrive": day(4, 70), "nights": counted(2, 9, "night")},
            (
                "I'd like to book a {room} from {arrive} for {nights}.",
                "Do you have a {room} for {nights} from {arrive}?",
                ("We're coming on {arrive}.", "Is there a {room} free for {nights}?"),
                ("I need a {room}.", "Arriving on {arrive}, staying {nights}."),
                "I'm looking for a {room}, {nights}.",
            ),
            ("{C} wants a {room} for {nights} from {arrive}.", "{C} asks {A} for a {room} for {nights} from {arrive}."),
            (
                End(
                    (
                        "Yes, that's {rate} a night with breakfast. Shall I book it?",
                        "I have one for {rate} a night, breakfast included.",
                    ),
                    ("{A} books it for {rate} a night with breakfast.",),
                    facts={"rate": money(70, 320, cents=False)},
                    customer=("Yes, please book it.", "Good price, I'll take it.", "Okay, book it please."),
                    confirm=("It's booked. You'll get an email.", "Done, we look forward to seeing you."),
                ),
                End(
                    (
                        "We're fully booked then, but I could put you on the waiting list. You'd be number {n}.",
                        "Everything is taken, I'm afraid. On the waiting list you would be number {n}.",
                    ),
                    ("The hotel is full, so {A} puts {C} on the waiting list as number {n}.",),
                    facts={"n": number(2, 12)},
                    customer=("Yes, put me on the list.", "Okay, please do that.", "Let's hope. Yes, please."),
                ),
            ),
            (Ask("arrive", ("When will you arrive?", "What is your arrival date?"), ("{arrive}.", "On {arrive}.")),),
            ("arrive", "nights"),
        ),
        Intent(
            "late_check_in",
            {"on": day(1, 20), "at": clock(19, 23), "booking": code("9999AA")},
            (
                "My flight is late, so I'll only be there at {at} on {on}. Is that a problem?",
                "I'll arrive at {at} on {on}. Is anyone at reception then?",
                ("I'm staying with you from {on}.", "I can't be there before {at}. Can I still check in?"),
                "Can I check in as late as {at}?",
            ),
            (
                "{C} will arrive at {at} on {on} and asks about late check-in.",
                "{C} asks {A} about a late check-in at {at} on {on}.",
            ),
            (
                End(
                    (
                        "No problem. The reception is closed then, but the key is in box {box}.",
                        "You can. We'll leave the key in box {box} beside the door.",
                    ),
                    ("{A} will leave the key in box {box}.",),
                    facts={"box": number(2, 40)},
                ),
                End(
                    (
                        "That's fine, the night porter is here. There's a fee of {fee} after 11 pm only.",
                        "It is. Please know that we charge {fee} for late arrivals.",
                    ),
                    ("{A} says that this is possible for a fee of {fee}.",),
                    facts={"fee": money(10, 45, cents=False)},
                ),
            ),
            (
                Ask("on", ("Which day do you arrive?", "What day is that?", "On which date?"), ("{on}.", "On {on}.")),
                "booking",
            ),
            ("at", "on"),
        ),
        Intent(
            "move_booking",
            {"from": day(3, 25), "to": day(26, 60), "booking": code("9999AA")},
            (
                "I have to move my stay from {from} to {to}.",
                "Something came up, can my booking for {from} be moved to {to}?",
                ("I have a room from {from}.", "I can't come then. Is {to} possible?"),
                "Please change my arrival from {from} to {to}.",
            ),
            ("{C} wants to move a stay from {from} to {to}.", "{C} asks {A} to move a stay from {from} to {to}."),
            (
                End(
                    ("I've moved it at no cost.", "That's done, and it costs nothing."),
                    ("{A} moves the booking for free.",),
                ),
                End(
                    (
                        "I can do it, but the room costs {extra} more then. Is that okay?",
                        "It's high season then, so there is {extra} to pay on top.",
                    ),
                    ("{A} moves the booking and {C} agrees to pay {extra} more.",),
                    facts={"extra": money(20, 140, cents=False)},
                    customer=("I'll pay that.", "Hmm, okay, agreed.", "Fine, please change it."),
                ),
                End(
                    (
                        "Your rate can't be changed, sorry. You could only cancel for {fee}.",
                        "With that rate no changes are possible. Cancelling would cost {fee}.",
                    ),
                    ("{A} refuses because the rate cannot be changed, and cancelling would cost {fee}.",),
                    facts={"fee": money(30, 190, cents=False)},
                    customer="no",
                ),
            ),
            ("booking",),
            ("to",),
        ),
        Intent(
            "lost_item",
            {"thing": pick(LOST), "room": number(101, 640), "left": day(-8, -1)},
            (
                "I think I left my {thing} in room {room}.",
                "We checked out on {left}, and my {thing} is missing. It was room {room}.",
                ("I was your guest until {left}.", "My {thing} must still be in room {room}."),
                "Has anybody found a {thing} in room {room}? I left on {left}.",
            ),
            ("{C} left a {thing} in room {room}.", "{C} asks {A} about a {thing} left in room {room}."),
            (
                End(
                    (
                        "Yes, we have it here! Posting it costs {post}.",
                        "The cleaner found it. We can post it for {post}.",
                    ),
                    ("{A} has found it and will post it for {post}.",),
                    facts={"post": money(6, 30)},
                ),
                End(
                    (
                        "Nothing was handed in. I'll ask the cleaners and email you by {by}.",
                        "It isn't in our list. Let me ask around, you'll have an email by {by}.",
                    ),
                    ("{A} cannot find it yet and will email {C} by {by}.",),
                    facts={"by": day(1, 5)},
                    customer=("Please do, it matters to me.", "Okay, thank you for trying.", "I hope you find it."),
                ),
            ),
            (Ask("left", ("When did you check out?", "What day did you leave?"), ("On {left}.", "{left}.")),),
            ("room",),
        ),
    ),
)
