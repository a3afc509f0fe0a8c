"""Parcels on their way: late, damaged, to another address, at another hour."""

from t5x_tasks.support_chats.facts import address, clock, code, counted, day, money, number, pick
from t5x_tasks.support_chats.model import Domain, End, Intent
from t5x_tasks.support_chats.names import GOODS, STREETS

DELIVERIES = Domain(
    "deliveries",
    ("Swift Parcel", "CityBox Couriers", "Pigeon Post", "Parcel Point", "Red Van Delivery", "DoorToDoor"),
    "tracking",
    "a parcel",
    (
        Intent(
            "late_parcel",
            {"item": pick(GOODS), "due": day(-9, -2), "order": code("AA99999")},
            (
                "My {item} should have been here on {due}, and there's still nothing.",
                "I've been waiting for a {item} since {due}. Where is it?",
                ("It's about parcel {order}.", "It's a {item} and it was due on {due}."),
                "The tracking page says that my {item} would arrive on {due}. It didn't.",
            ),
            (
                "{C} complains that a {item} due on {due} has not arrived.",
                "{C} tells {A} that a {item} due on {due} has not arrived.",
            ),
            (
                End(
                    (
                        "It's stuck at our depot. You will get it on {new}.",
                        "I found it in the depot, it was put on the wrong shelf. It comes on {new}.",
                    ),
                    ("{A} finds it at the depot and it will be delivered on {new}.",),
                    facts={"new": day(1, 6)},
                ),
                End(
                    (
                        "It seems to be lost. I've opened claim {claim}, you'll hear from us in {wait}.",
                        "I can't find any trace of it. I'll start a search, claim {claim}. It takes {wait}.",
                    ),
                    ("{A} opens claim {claim} and {C} will hear back in {wait}.",),
                    facts={"claim": code("9999"), "wait": counted(3, 10, "day")},
                    customer="no",
                ),
            ),
            ("order",),
            ("due",),
            trouble=True,
        ),
        Intent(
            "new_address",
            {"old": address(STREETS), "new": address(STREETS)},
            (
                "I've moved. Can my parcel go to {new} instead of {old}?",
                "Please send my parcel to {new}, not to {old}.",
                ("I gave you my old address, {old}.", "The parcel has to go to {new}."),
                "My parcel is on its way to {old}, but I'm now at {new}.",
            ),
            (
                "{C} wants a parcel sent to {new} instead of {old}.",
                "{C} asks {A} to send a parcel to {new} instead of {old}.",
            ),
            (
                End(
                    ("I've changed it. The delivery moves to {due}.", "Done, it will be there on {due}."),
                    ("{A} changes the address and the parcel will arrive on {due}.",),
                    facts={"due": day(1, 8)},
                ),
                End(
                    (
                        "The parcel is already in the van. You can pick it up at our shop in {shop} from {due} on.",
                        "I can't change it any more, but I can send it to our shop in {shop}. It's there on {due}.",
                    ),
                    ("It is too late to change the address, so {C} will collect it in {shop} on {due}.",),
                    facts={"shop": pick(STREETS), "due": day(1, 4)},
                    customer=("Okay, I'll pick it up.", "That's not far, fine.", "I can do that."),
                ),
            ),
            fixable=("new",),
        ),
        Intent(
            "damaged",
            {"item": pick(GOODS), "came": day(-5, -1)},
            (
                "The {item} that came on {came} is broken.",
                ("A parcel came on {came}.", "The box was open and the {item} is broken."),
                "I got a {item} on {came} and it's damaged.",
                "Your driver threw my parcel over the fence on {came}. The {item} is broken now!",
            ),
            ("{C} reports that a {item} delivered on {came} is broken.", "{C} received a broken {item} on {came}."),
            (
                End(
                    (
                        "Please send {photos} to us, then we can pay you {amount}.",
                        "We'll pay {amount}. For that I need {photos} of the damage.",
                    ),
                    ("{A} offers {amount} if {C} sends {photos}.",),
                    facts={"amount": money(20, 250, cents=False), "photos": counted(2, 6, "photo")},
                    customer=("I'll take them tonight.", "No problem, I'll send them.", "Okay, will do."),
                ),
                End(
                    ("I'm having a new one sent to you, it arrives on {due}.", "You'll get a new one on {due}."),
                    ("{A} will have a new one delivered on {due}.",),
                    facts={"due": day(2, 10)},
                ),
                End(
                    (
                        "Reports have to come within {limit} and you signed for it, so we can't pay.",
                        "I'm sorry, the parcel wasn't insured. Even then, the limit is {limit}.",
                    ),
                    ("{A} refuses to pay because damage must be reported within {limit}.",),
                    facts={"limit": counted(12, 48, "hour")},
                    customer="no",
                ),
            ),
            fixable=("came",),
            trouble=True,
        ),
        Intent(
            "time_window",
            {"item": pick(GOODS), "on": day(1, 8), "from": clock(8, 18)},
            (
                "My {item} comes on {on}. Can the driver be here after {from}?",
                "I'm not at home before {from} on {on}. Can you bring the {item} later?",
                ("You're delivering a {item} on {on}.", "Nobody is here before {from}. What can we do?"),
                "About the {item} on {on}: I need it to come after {from}, please.",
            ),
            (
                "{C} wants a {item} delivered after {from} on {on}.",
                "{C} asks {A} to deliver a {item} after {from} on {on}.",
            ),
            (
                End(
                    (
                        "That works, I've told the driver. You get a text {mins} before.",
                        "Okay, I've put that in. The driver sends a text {mins} ahead.",
                    ),
                    ("{A} agrees and the driver will send a text {mins} before.",),
                    facts={"mins": counted(10, 55, "minute")},
                ),
                End(
                    (
                        "We can't choose the hour, but a neighbour at number {n} could take it.",
                        "The route is fixed, sorry. Could somebody at number {n} take it for you?",
                    ),
                    ("{A} cannot change the hour, so a neighbour at number {n} will take it.",),
                    facts={"n": number(2, 90)},
                    customer=("Yes, they are always home.", "Okay, leave it there.", "Good idea, do that."),
                ),
            ),
            fixable=("from", "on"),
        ),
    ),
)
