"""Tables: booking, more guests, diets, complaints."""

from t5x_tasks.support_chats.facts import clock, counted, day, money, number, pick
from t5x_tasks.support_chats.model import Ask, Domain, End, Intent

OCCASIONS = (
    "birthday", "wedding anniversary", "business dinner", "farewell party", "engagement", "graduation", "family lunch",
)  # fmt: skip
DIETS = ("vegan", "vegetarian", "gluten-free", "nut-free", "lactose-free", "halal", "kosher", "low-salt")
RESTAURANTS = Domain(
    "restaurant",
    ("Trattoria Bella", "The Green Fork", "Saffron House", "Cafe Lumiere", "Sushi Hana", "Taverna Nikos", "El Patio"),
    "reservations",
    "a visit to your restaurant",
    (
        Intent(
            "book_table",
            {"people": pick([f"{count} people" for count in range(2, 15)]), "on": day(1, 25), "at": clock(17, 21)},
            (
                "I'd like a table for {people} on {on} at {at}.",
                "Can I book a table for {people} on {on}, {at}?",
                ("I want to reserve a table on {on}.", "We're {people}, at {at} if possible."),
                "Is there a table for {people} on {on}?",
                "Do you have a table for {people} at {at}?",
            ),
            (
                "{C} wants a table for {people} on {on} at {at}.",
                "{C} asks {A} for a table for {people} on {on} at {at}.",
            ),
            (
                End(
                    (
                        "Yes, I've booked it. It's table {table} by the window.",
                        "You have table {table}, near the window.",
                    ),
                    ("{A} books table {table} by the window.",),
                    facts={"table": number(15, 48)},
                ),
                End(
                    (
                        "That time is full. I only have a table in the garden, until {until}.",
                        "Inside we're full. In the garden it's possible until {until}.",
                    ),
                    ("{A} can only offer the garden until {until}, and {C} accepts.",),
                    facts={"until": clock(22, 23)},
                    customer=("The garden is lovely, yes.", "We'll take the garden.", "Fine, if it doesn't rain."),
                ),
                End(
                    (
                        "I'm sorry, we have a private party and are closed that evening.",
                        "Unfortunately we are closed then for a private party.",
                    ),
                    ("{A} refuses because the restaurant is closed for a private party.",),
                    customer="no",
                ),
            ),
            (
                Ask("at", ("What time would you like?", "And at what time?"), ("At {at}.", "{at} would be good.")),
                Ask("on", ("For which day?", "What day would that be?"), ("{on}.", "On {on}.")),
            ),
            ("people", "on", "at"),
        ),
        Intent(
            "change_guests",
            {"on": day(1, 20), "before": number(2, 6), "after": number(7, 16)},
            (
                "My table on {on} is for {before}. We're now {after}.",
                "We'll be {after} instead of {before} on {on}. Is that okay?",
                ("I booked for {on}.", "It was for {before} people, but {after} are coming."),
                "Can you make my reservation on {on} for {after} rather than {before}?",
            ),
            (
                "{C} wants to change a reservation on {on} from {before} to {after} people.",
                "{C} asks {A} to change a reservation on {on} from {before} to {after} people.",
            ),
            (
                End(
                    (
                        "We can put two tables together. Please choose from the {price} menu then.",
                        "Yes, but for a group that size it's the set menu for {price}.",
                    ),
                    ("{A} agrees, with the set menu for {price}.",),
                    facts={"price": money(25, 80, cents=False)},
                ),
                End(
                    (
                        "We have no bigger table that evening. I could only do it at {at}.",
                        "Only at {at}, before that we have no room for so many.",
                    ),
                    ("{A} agrees if the table is moved to {at}.",),
                    facts={"at": clock(20, 22)},
                    customer=("That's late, but fine.", "Okay, we'll come then.", "Good, agreed."),
                ),
            ),
            fixable=("after",),
        ),
        Intent(
            "diet",
            {"diet": pick(DIETS), "guests": counted(2, 8, "guest"), "on": day(1, 15), "what": pick(OCCASIONS)},
            (
                "We have a {what} at your place on {on}. Is there {diet} food for {guests}?",
                "For our {what} on {on} I need something {diet} for {guests}.",
                ("It's about our {what} on {on}.", "There will be {guests} who need {diet} dishes."),
                "Can you cook {diet} meals for {guests} at our {what} on {on}?",
            ),
            (
                "{C} needs {diet} food for {guests} at a {what} on {on}.",
                "{C} asks {A} for {diet} food for {guests} at a {what} on {on}.",
            ),
            (
                End(
                    ("The chef can do that for {price} a person.", "Yes, we do a special menu for {price} each."),
                    ("{A} offers a special menu for {price} a person.",),
                    facts={"price": money(20, 70)},
                ),
                End(
                    (
                        "I can't promise it, we have one small kitchen. You may bring your own food for them.",
                        "Our kitchen can't do it safely. But they may bring their own food.",
                    ),
                    ("{A} cannot offer it but lets them bring their own food.",),
                    customer=("Okay, we'll do that.", "That's kind of you.", "Good to know, thanks."),
                ),
            ),
            fixable=("guests", "on"),
        ),
        Intent(
            "bad_food",
            {
                "dish": pick(
                    ("soup", "fish", "curry", "pizza", "salad", "pasta", "burger", "steak", "dessert", "rice")
                ),
                "paid": money(15, 120),
                "on": day(-6, -1),
            },
            (
                "I had the {dish} on {on} and it was cold. I paid {paid}!",
                "The {dish} we got on {on} was cold, and the bill was {paid}.",
                ("We ate at your place on {on}.", "The {dish} was cold, and for {paid} I expect more."),
                "I want to complain about a cold {dish} on {on}. The bill was {paid}.",
            ),
            (
                "{C} complains about a cold {dish} on {on} after paying {paid}.",
                "{C} paid {paid} and complains about a cold {dish} on {on}.",
            ),
            (
                End(
                    ("I'll give you {back} back.", "Let me refund {back} to your card."),
                    ("{A} will refund {back}.",),
                    facts={"back": money(5, 14)},
                ),
                End(
                    (
                        "Please come again as our guest. I'll send a voucher for {back}.",
                        "May I invite you again? You'll get a voucher worth {back}.",
                    ),
                    ("{A} will send a voucher for {back}.",),
                    facts={"back": money(20, 90, cents=False)},
                ),
                End(
                    (
                        "I'll tell the chef, but we can't refund a meal that was eaten.",
                        "We don't give money back once the plate is empty, sorry.",
                    ),
                    ("{A} refuses a refund because the meal was eaten.",),
                    customer="no",
                ),
            ),
            fixable=("on", "paid"),
            trouble=True,
        ),
    ),
)
