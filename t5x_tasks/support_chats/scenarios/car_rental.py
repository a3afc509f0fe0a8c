"""Rental cars: renting, keeping longer, deposits, breakdowns."""

from t5x_tasks.support_chats.facts import code, counted, day, money, number, pick
from t5x_tasks.support_chats.model import Ask, Domain, End, Intent
from t5x_tasks.support_chats.names import CITIES

CARS = ("small car", "family car", "van", "sports car", "electric car", "minibus", "convertible", "pickup truck")
BIGGER = ("station wagon", "hybrid van", "large estate car", "luxury saloon", "jeep", "seven-seater", "small camper")

CAR_RENTAL = Domain(
    "car_rental",
    ("EasyWheels", "Roadrunner Rentals", "Europa Cars", "Drive Away", "Blue Key Rentals"),
    "fleet",
    "a rental car",
    (
        Intent(
            "rent_car",
            {"car": pick(CARS), "city": pick(CITIES), "on": day(2, 40), "days": counted(2, 14, "day")},
            (
                "I'd like to rent a {car} in {city} from {on} for {days}.",
                "Do you have a {car} in {city} on {on}? I need it for {days}.",
                ("I'm looking for a {car}.", "For {days}, from {on}."),
                ("We'll be in {city} from {on}.", "Can we get a {car} for {days}?"),
            ),
            (
                "{C} wants to rent a {car} in {city} for {days} from {on}.",
                "{C} asks {A} for a {car} in {city} for {days} from {on}.",
            ),
            (
                End(
                    ("That would be {price} with insurance. Shall I reserve it?", "It's {price}, insurance included."),
                    ("{A} reserves it for {price} with insurance.",),
                    facts={"price": money(120, 900, cents=False)},
                    customer=("Yes, reserve it please.", "Good, I'll take it.", "Okay, that's within my budget."),
                ),
                End(
                    (
                        "We're out of those, but I can give you a {other} for the same price.",
                        "None left. You could have a {other}, same price.",
                    ),
                    ("None is left, so {C} takes a {other} for the same price.",),
                    facts={"other": pick(BIGGER)},
                    customer=("That's okay too.", "Even better!", "Fine, we'll take that one."),
                ),
            ),
            ("city",),
            ("days", "on", "city"),
        ),
        Intent(
            "extend_rental",
            {"until": day(1, 5), "new": day(6, 20), "car": pick(CARS)},
            (
                "I have to return my {car} on {until}. Can I keep it until {new}?",
                "I'd like to keep the {car} until {new} instead of {until}.",
                ("My rental ends on {until}.", "I still need the {car}, until {new}. Possible?"),
                "Please extend my {car} from {until} to {new}.",
            ),
            (
                "{C} wants to keep a {car} until {new} instead of {until}.",
                "{C} asks {A} to extend a {car} rental from {until} to {new}.",
            ),
            (
                End(
                    ("Yes, that's {rate} for each further day.", "You can, each day more is {rate}."),
                    ("{A} agrees for {rate} a day.",),
                    facts={"rate": money(25, 95, cents=False)},
                ),
                End(
                    (
                        "That car is booked after you. You can swap it in {city}.",
                        "Someone else has it after you, but you may swap it for another one in {city}.",
                    ),
                    ("{A} cannot extend it, but {C} can swap it for another one in {city}.",),
                    facts={"city": pick(CITIES)},
                    customer=("Okay, I'll swap it.", "That's a detour, but fine.", "Good enough."),
                ),
            ),
            fixable=("new",),
        ),
        Intent(
            "deposit_back",
            {"deposit": money(150, 900, cents=False), "back": day(-30, -8), "city": pick(CITIES)},
            (
                "I returned the car in {city} on {back} and still don't have my deposit of {deposit}.",
                "Where is my deposit? {deposit}, the car went back on {back} in {city}.",
                ("I gave a car back in {city} on {back}.", "You still owe me {deposit} of deposit."),
                "You haven't paid back my {deposit} deposit. I returned the car on {back}.",
            ),
            (
                "{C} has not got back a deposit of {deposit} for a car returned on {back}.",
                "{C} asks {A} for a deposit of {deposit} for a car returned on {back}.",
            ),
            (
                End(
                    (
                        "I've released it now, it takes {wait}.",
                        "It was forgotten, sorry. It's on its way and takes {wait}.",
                    ),
                    ("{A} releases it and it will arrive in {wait}.",),
                    facts={"wait": counted(2, 7, "day")},
                ),
                End(
                    ("We kept {kept} for a scratch on the door.", "There was a scratch, that cost {kept}."),
                    ("{A} explains that {kept} was kept for a scratch.",),
                    facts={"kept": money(40, 140)},
                    customer=("That scratch was there before!", "What? I don't agree.", "I see. I'd like proof."),
                    confirm=("I'll send you the photos.", "You'll get the photos by email."),
                ),
            ),
            fixable=("deposit", "back"),
            trouble=True,
        ),
        Intent(
            "breakdown",
            {"car": pick(CARS), "road": code("A9"), "km": number(14, 230), "people": number(2, 6)},
            (
                "My {car} broke down on road {road} near kilometre {km}.",
                ("I'm stuck!", "The {car} stopped on road {road}, kilometre {km}."),
                "The {car} won't start. We're {people} people on road {road} at kilometre {km}.",
                "I need help on road {road}, kilometre {km}. The {car} is smoking.",
            ),
            (
                "{C} has broken down with a {car} on road {road} at kilometre {km}.",
                "{C} tells {A} that a {car} broke down on road {road} at kilometre {km}.",
            ),
            (
                End(
                    ("A mechanic will be there in {mins}.", "I've sent a mechanic, he needs {mins}."),
                    ("{A} sends a mechanic who will be there in {mins}.",),
                    facts={"mins": counted(20, 90, "minute")},
                ),
                End(
                    (
                        "A tow truck comes in {mins}, and you'll get another car in {city}.",
                        "I'm sending a tow truck, {mins}. Your new car is waiting in {city}.",
                    ),
                    ("{A} sends a tow truck in {mins} and {C} gets another car in {city}.",),
                    facts={"mins": counted(20, 90, "minute"), "city": pick(CITIES)},
                ),
            ),
            (
                Ask(
                    "people",
                    ("How many are you?", "Is anyone else with you?"),
                    ("We are {people}.", "{people} people."),
                ),
            ),
            ("km",),
            trouble=True,
        ),
    ),
)
