"""Bank cards: lost cards, unknown charges, limits, travel."""

from t5x_tasks.support_chats.facts import clock, code, day, money, number, pick
from t5x_tasks.support_chats.model import Ask, Domain, End, Intent
from t5x_tasks.support_chats.names import CITIES

SHOPS = ("a petrol station", "an online shop", "a supermarket", "a hotel", "a jewellery shop", "a casino", "a taxi company",
         "a music service", "a restaurant", "a bookshop")  # fmt: skip
BANK = Domain(
    "bank",
    ("First Harbor Bank", "Union Savings Bank", "Nova Bank", "City Credit Union", "Oak Tree Bank"),
    "card security",
    "my card",
    (
        Intent(
            "lost_card",
            {"last": code("9999"), "city": pick(CITIES), "on": day(-3, -1)},
            (
                "I lost my card in {city} on {on}. Please block it.",
                "My card was stolen in {city}. It ends in {last}.",
                ("I can't find my card.", "I had it in {city} on {on}."),
                "Somebody took my wallet in {city} on {on}, please block the card.",
            ),
            (
                "{C} lost a card ending in {last} in {city}.",
                "{C} asks {A} to block a card ending in {last} lost in {city}.",
            ),
            (
                End(
                    ("It's blocked. The new one comes by {by}.", "I've blocked it, you'll have a new one by {by}."),
                    ("{A} blocks it and sends a new one by {by}.",),
                    facts={"by": day(3, 12)},
                ),
                End(
                    (
                        "Blocked. But someone has spent {spent} with it, please go to the police.",
                        "It's blocked now. I see {spent} that isn't yours, please report it to the police.",
                    ),
                    ("{A} blocks it and asks {C} to report {spent} to the police.",),
                    facts={"spent": money(30, 900)},
                    customer=("Oh no! I'll go there now.", "I'll do that at once.", "That's terrible. Okay."),
                ),
            ),
            (
                Ask(
                    "last",
                    ("What are the last four digits of the card?", "Which digits does the card end in?"),
                    ("{last}.", "It ends in {last}."),
                ),
            ),
            ("city", "last"),
            trouble=True,
        ),
        Intent(
            "unknown_charge",
            {"amount": money(20, 900), "shop": pick(SHOPS), "on": day(-9, -1)},
            (
                "There's a charge of {amount} from {shop} on {on}, and it wasn't me.",
                "I never paid {amount} to {shop}. It says {on}.",
                ("I'm looking at my statement.", "What is this {amount} from {shop} on {on}?"),
                "Somebody used my card at {shop} on {on}, {amount}!",
            ),
            (
                "{C} does not know a charge of {amount} from {shop} on {on}.",
                "{C} tells {A} about an unknown charge of {amount} from {shop} on {on}.",
            ),
            (
                End(
                    (
                        "I've taken it back and opened case {case}.",
                        "You get the money back, the case number is {case}.",
                    ),
                    ("{A} takes it back and opens case {case}.",),
                    facts={"case": code("99999")},
                ),
                End(
                    (
                        "It was paid at {at} with your PIN, so we can't take it back.",
                        "Your PIN was used at {at}. In that case we can't refund it.",
                    ),
                    ("{A} refuses because the PIN was used at {at}.",),
                    facts={"at": clock(8, 22)},
                    customer=("That can't be!", "Hmm, maybe it was my husband.", "Strange. I'll ask my family."),
                ),
            ),
            fixable=("amount", "on"),
            trouble=True,
        ),
        Intent(
            "card_limit",
            {"old": money(500, 1500, cents=False), "new": money(1600, 9000, cents=False), "until": day(5, 40)},
            (
                "I'd like to raise my card limit from {old} to {new}.",
                "Can my limit go up to {new}? It's {old} now.",
                ("I'm buying furniture.", "My limit is {old}, I need {new}."),
                "Please set my card limit to {new} instead of {old}.",
            ),
            (
                "{C} wants to raise a card limit from {old} to {new}.",
                "{C} asks {A} to raise a card limit from {old} to {new}.",
            ),
            (
                End(
                    ("I can do that until {until}.", "That's possible for a while, until {until}."),
                    ("{A} raises it until {until}.",),
                ),
                End(
                    ("I may only go to {other}.", "The most I can give you is {other}."),
                    ("{A} can only raise it to {other}, and {C} accepts.",),
                    facts={"other": money(1600, 4000, cents=False)},
                    customer=("That will do.", "Okay, better than nothing.", "I'll take that."),
                ),
                End(
                    ("Your income is too low for that, I'm sorry.", "The system says no because of your income."),
                    ("{A} refuses because the income is too low.",),
                    customer="no",
                ),
            ),
            fixable=("new",),
        ),
        Intent(
            "travel_notice",
            {"city": pick(CITIES), "from": day(2, 20), "to": day(21, 50)},
            (
                "I'll be in {city} from {from} to {to}. Will my card work?",
                "I'm travelling to {city} on {from} until {to} and want to use my card.",
                ("I'm going to {city}.", "From {from} to {to}. Do I need to tell you?"),
                "Please note that I'm in {city} from {from} to {to}.",
            ),
            (
                "{C} will be in {city} from {from} to {to} and wants to use a card there.",
                "{C} asks {A} about using a card in {city} from {from} to {to}.",
            ),
            (
                End(
                    (
                        "I've noted it. Each payment costs {part} percent.",
                        "It will work, with a fee of {part} percent.",
                    ),
                    ("{A} notes it and says that the fee is {part} percent.",),
                    facts={"part": number(2, 6)},
                ),
                End(
                    ("It will work. You can take out up to {limit} a day.", "No problem, up to {limit} in cash a day."),
                    ("{A} confirms that up to {limit} a day is possible.",),
                    facts={"limit": money(200, 900, cents=False)},
                ),
            ),
            fixable=("city",),
        ),
    ),
)
