"""Flights: other dates, lost bags, delays, luggage."""

from t5x_tasks.support_chats.facts import code, counted, day, money, pick
from t5x_tasks.support_chats.model import Ask, Domain, End, Intent
from t5x_tasks.support_chats.names import CITIES

BAGS = ("suitcase", "backpack", "guitar", "stroller", "bag", "bicycle", "pair of skis", "box", "surfboard", "trolley")
CITY = Ask("to", ("Where are you flying to?", "What's your destination?", "Flying where?"), ("To {to}.", "{to}."))

FLIGHTS = Domain(
    "flights",
    ("Skylark Airways", "Polar Air", "Sunwing Express", "Meridian Airlines", "JetNova", "Condor Blue"),
    "ticketing",
    "a flight",
    (
        Intent(
            "change_flight",
            {"to": pick(CITIES), "from": day(3, 25), "new": day(26, 60), "booking": code("AAA999")},
            (
                "I need to move my flight to {to} from {from} to {new}.",
                "Can I change my {to} flight? It's on {from}, I'd like {new}.",
                ("I'm booked on a flight to {to} on {from}.", "I want to fly on {new} instead."),
                "My plans have changed, I want to fly on {new} and not on {from}.",
            ),
            (
                "{C} wants to move a flight to {to} from {from} to {new}.",
                "{C} asks {A} to move a flight to {to} from {from} to {new}.",
            ),
            (
                End(
                    ("There are seats. The change costs {fee}, is that all right?", "I can do that. The fee is {fee}."),
                    ("{A} changes it for a fee of {fee}.",),
                    facts={"fee": money(25, 180, cents=False)},
                    customer=("Yes, go ahead.", "Expensive, but okay.", "All right, charge my card."),
                ),
                End(
                    (
                        "You have a flexible ticket, so it's free. Your seat is {seat}.",
                        "Good news, that's free with your ticket. You're in seat {seat}.",
                    ),
                    ("{A} changes it for free and gives {C} seat {seat}.",),
                    facts={"seat": code("9A")},
                ),
                End(
                    (
                        "Your ticket can't be changed, sorry. A new one would be {price}.",
                        "This fare allows no changes. You'd have to buy a new ticket for {price}.",
                    ),
                    ("{A} refuses because the ticket cannot be changed, and a new one would cost {price}.",),
                    facts={"price": money(90, 480, cents=False)},
                    customer="no",
                ),
            ),
            (CITY, "booking"),
            ("new",),
        ),
        Intent(
            "lost_bag",
            {
                "thing": pick(BAGS),
                "to": pick(CITIES),
                "on": day(-4, -1),
                "colour": pick(("black", "red", "blue", "green")),
            },
            (
                "My {thing} didn't arrive in {to} on {on}.",
                "I flew to {to} on {on}, but my {thing} did not.",
                ("I'm in {to}, my {thing} isn't.", "I landed on {on} and nothing came out."),
                "Where's my {thing}? I've been in {to} since {on} without it.",
            ),
            (
                "{C} reports that a {thing} did not arrive in {to} on {on}.",
                "{C} tells {A} that a {thing} did not arrive in {to} on {on}.",
            ),
            (
                End(
                    (
                        "It's still in {where}. We'll bring it to you on {due}.",
                        "I see it in {where}. You get it on {due}.",
                    ),
                    ("{A} finds it in {where} and will deliver it on {due}.",),
                    facts={"where": pick(CITIES), "due": day(1, 4)},
                ),
                End(
                    (
                        "I can't find it. I've filed report {report}, and you may buy things for {limit}.",
                        "We're searching, report {report}. Until then we pay for what you need, up to {limit}.",
                    ),
                    ("{A} files report {report} and {C} may spend up to {limit}.",),
                    facts={"report": code("99999"), "limit": money(50, 200, cents=False)},
                    customer=("Okay, please keep looking.", "Thanks, I'll buy some clothes.", "I hope it turns up."),
                ),
            ),
            (Ask("colour", ("What does it look like?", "Which colour is it?"), ("It's {colour}.", "{colour}.")),),
            ("on", "to"),
            trouble=True,
        ),
        Intent(
            "delay_claim",
            {"late": counted(3, 9, "hour"), "to": pick(CITIES), "on": day(-20, -2), "booking": code("AAA999")},
            (
                "My flight to {to} on {on} was {late} late. I want compensation.",
                "We landed {late} late in {to} on {on}. What do I get for that?",
                ("I'm writing about the flight to {to} on {on}.", "It was {late} late, so I'd like money back."),
                "I'd like compensation for a delay of {late} on {on}.",
            ),
            (
                "{C} wants compensation because a flight to {to} on {on} was {late} late.",
                "{C} asks {A} for compensation because a flight to {to} on {on} was {late} late.",
            ),
            (
                End(
                    ("You're right, you'll get {amount} within {wait}.", "We'll pay {amount}, it takes {wait}."),
                    ("{A} agrees to pay {amount} within {wait}.",),
                    facts={"amount": money(100, 600, cents=False), "wait": counted(2, 6, "week")},
                ),
                End(
                    (
                        "That was because of a storm, so no compensation is due.",
                        "It was a storm, so we don't have to pay.",
                    ),
                    ("{A} refuses because the delay was caused by a storm.",),
                    customer="no",
                ),
                End(
                    (
                        "I have to pass it on to our claims office. Your case number is {case}.",
                        "Our claims office decides that. I've opened case {case} for you.",
                    ),
                    ("{A} passes it on to the claims office as case {case}.",),
                    facts={"case": code("9999")},
                    customer=("How long will that take? Well, okay.", "Okay, I'll wait for them.", "Thank you."),
                ),
            ),
            (Ask("to", ("Where did you fly to?", "Which flight was it?"), ("To {to}.", "The one to {to}.")), "booking"),
            ("on", "late"),
            trouble=True,
        ),
        Intent(
            "extra_luggage",
            {"thing": pick(BAGS), "kilos": counted(18, 40, "kilo"), "to": pick(CITIES), "on": day(2, 30)},
            (
                "I want to take a {thing} of {kilos} to {to}. What does it cost?",
                "Can I bring a {thing} on the flight to {to} on {on}? It weighs {kilos}.",
                ("I'm flying to {to} on {on}.", "I have a {thing} with me, about {kilos}."),
                "How much is a {thing} with {kilos} to {to}?",
            ),
            (
                "{C} wants to take a {thing} of {kilos} to {to}.",
                "{C} asks {A} about taking a {thing} of {kilos} to {to}.",
            ),
            (
                End(
                    ("That's {fee} if you pay online, {desk} at the airport.", "Online {fee}, at the desk {desk}."),
                    ("{A} says that it costs {fee} online and {desk} at the airport.",),
                    facts={"fee": money(20, 59, cents=False), "desk": money(60, 120, cents=False)},
                    customer=("I'll pay online then.", "Okay, I'll do it online.", "Good to know, thanks."),
                ),
                End(
                    (
                        "The limit is {limit}, so it has to go as cargo.",
                        "We only take {limit}. You'd need to send it as cargo.",
                    ),
                    ("{A} says that the limit is {limit} and it must go as cargo.",),
                    facts={"limit": counted(10, 17, "kilo")},
                    customer="no",
                ),
            ),
            fixable=("kilos", "to"),
        ),
    ),
)
