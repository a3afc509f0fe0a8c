"""Internet at home: outages, slow lines, moving house, passwords."""

from t5x_tasks.support_chats.facts import clock, code, counted, day, money, number, pick
from t5x_tasks.support_chats.model import Ask, Domain, End, Intent
from t5x_tasks.support_chats.names import CITIES

INTERNET = Domain(
    "internet",
    ("FibreNet", "Comet Broadband", "HomeLink", "Orbit Internet", "ClearLine"),
    "network",
    "my internet",
    (
        Intent(
            "no_internet",
            {"since": day(-5, -1), "light": pick(("red", "orange", "green", "white", "blue")), "city": pick(CITIES)},
            (
                "I've had no internet since {since}.",
                "The internet has been down since {since} and I work from home!",
                ("Nothing works here.", "No internet since {since}."),
                "My router has not connected since {since}.",
            ),
            ("{C} has had no internet since {since}.", "{C} tells {A} about having no internet since {since}."),
            (
                End(
                    (
                        "Hold the button for {secs}. The router will start again.",
                        "Please press reset for {secs} and wait for the light.",
                    ),
                    ("{A} has {C} reset the router for {secs}, and it works again.",),
                    facts={"secs": counted(5, 40, "second")},
                    customer=("It works again!", "The light is back, I'm online!", "Unbelievable, it works."),
                ),
                End(
                    (
                        "There's a fault in your street. It will be repaired by {by}.",
                        "I see a fault on the line. My colleagues need until {by}.",
                    ),
                    ("{A} finds a fault on the line that will be repaired by {by}.",),
                    facts={"by": day(1, 4)},
                    customer="no",
                ),
                End(
                    (
                        "The router is broken. A technician can come on {visit} at {at}, okay?",
                        "You need a new router. Would {visit} at {at} be good for a technician?",
                    ),
                    ("{A} sends a technician on {visit} at {at}.",),
                    facts={"visit": day(1, 7), "at": clock(8, 17)},
                    offer="visit",
                ),
            ),
            (
                Ask(
                    "light",
                    ("Which colour is the light on the router?", "What colour is the light?"),
                    ("It's {light}.", "{light}."),
                ),
            ),
            ("since",),
            trouble=True,
        ),
        Intent(
            "slow_internet",
            {"got": number(3, 30), "paid": number(100, 900, 50)},
            (
                "I pay for {paid} megabits and only get {got}.",
                "My internet is slow, {got} megabits instead of {paid}.",
                ("I did a speed test.", "It says {got} megabits, but I pay for {paid}."),
                "Why do I get {got} megabits if my contract says {paid}?",
            ),
            (
                "{C} complains about getting {got} megabits instead of {paid}.",
                "{C} gets {got} megabits instead of {paid} and complains to {A}.",
            ),
            (
                End(
                    (
                        "Your router is old. I'll send a new one, it arrives on {due}.",
                        "It's the old router. The new one will be with you on {due}.",
                    ),
                    ("{A} will send a new router by {due}.",),
                    facts={"due": day(2, 9)},
                ),
                End(
                    ("Please move to channel {ch} in the settings.", "Set the router to channel {ch} and try again."),
                    ("{A} has {C} set the router to channel {ch}, which helps.",),
                    facts={"ch": number(31, 99)},
                    customer=("Wow, much faster!", "That helped, thanks.", "Oh, now it's good."),
                ),
                End(
                    (
                        "I can lower your bill by {off} a month until it's solved.",
                        "We'll work on it. Until then you pay {off} less a month.",
                    ),
                    ("{A} lowers the bill by {off} a month until it is solved.",),
                    facts={"off": money(4, 29, cents=False)},
                ),
            ),
            fixable=("got", "paid"),
            trouble=True,
        ),
        Intent(
            "move_house",
            {"city": pick(CITIES), "on": day(10, 60), "contract": code("99999")},
            (
                "I'm moving to {city} on {on} and want to take my internet with me.",
                "We move to {city} on {on}. Can we keep our contract?",
                ("I'm moving on {on}.", "Can I have the same internet in {city}?"),
                "Please transfer my contract to {city}, I move on {on}.",
            ),
            (
                "{C} is moving to {city} on {on} and wants to keep the contract.",
                "{C} asks {A} to keep the contract after moving to {city} on {on}.",
            ),
            (
                End(
                    ("No problem, the move costs {fee}.", "We can do that for {fee}."),
                    ("{A} transfers it for {fee}.",),
                    facts={"fee": money(15, 80, cents=False)},
                ),
                End(
                    (
                        "We have no lines there. You can leave the contract with {notice} of notice.",
                        "Unfortunately we aren't there. You may cancel, the notice is {notice}.",
                    ),
                    ("{A} has no lines there, so {C} can cancel with {notice} of notice.",),
                    facts={"notice": counted(2, 8, "week")},
                    customer="no",
                ),
            ),
            (
                Ask(
                    "contract",
                    ("Do you have your contract number?", "What's the contract number?"),
                    ("{contract}.", "It's {contract}.", "Yes: {contract}."),
                ),
            ),
            ("on", "city"),
        ),
        Intent(
            "wifi_password",
            {"devices": counted(2, 9, "device"), "model": code("AA99")},
            (
                "I forgot my wifi password and have {devices} to connect.",
                "How do I find my wifi password? I want to connect {devices}.",
                ("I got {devices} to connect.", "But I don't know the wifi password."),
                "None of my {devices} can get into the wifi, I lost the password.",
            ),
            (
                "{C} lost the wifi password and wants to connect {devices}.",
                "{C} asks {A} for the wifi password to connect {devices}.",
            ),
            (
                End(
                    (
                        "On the {model} it's on a sticker on the back.",
                        "Look at the back of the {model}, there's a sticker.",
                    ),
                    ("{A} says that it is on the back of the {model}.",),
                    customer=("Found it!", "Oh, there it is.", "I see it, thank you."),
                ),
                End(
                    (
                        "I've set a new one and sent it to your phone, it's valid for {wait}.",
                        "A new one is on its way by text, it's good for {wait}.",
                    ),
                    ("{A} sends a new one that is valid for {wait}.",),
                    facts={"wait": counted(10, 48, "hour")},
                ),
            ),
            (
                Ask(
                    "model",
                    ("Which router do you have?", "What does it say on the router?"),
                    ("{model}.", "The {model}."),
                ),
            ),
            ("model", "devices"),
        ),
    ),
)
