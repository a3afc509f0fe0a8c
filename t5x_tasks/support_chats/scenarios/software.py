"""Software: locked out, crashes, more users, lost files."""

from t5x_tasks.support_chats.facts import code, counted, day, money, number, pick
from t5x_tasks.support_chats.model import Ask, Domain, End, Intent

TOOLS = ("calendar", "photo editor", "invoice tool", "video editor", "password manager", "backup tool", "map app",
         "drawing app", "note app", "chat app")  # fmt: skip

SOFTWARE = Domain(
    "software",
    ("Cloudberry", "PixelForge", "Taskly", "DataNest", "Notewise"),
    "engineering",
    "your software",
    (
        Intent(
            "locked_out",
            {"tool": pick(TOOLS), "tries": counted(3, 9, "time"), "mins": counted(15, 90, "minute")},
            (
                "I'm locked out of the {tool}. I tried {tries}.",
                "The {tool} doesn't accept my password, I tried it {tries}.",
                ("I can't log in.", "It's the {tool}, I tried {tries}."),
                "After {tries} the {tool} has locked me out.",
            ),
            (
                "{C} is locked out of the {tool} after trying {tries}.",
                "{C} tells {A} about being locked out of the {tool} after trying {tries}.",
            ),
            (
                End(
                    (
                        "I've sent a link, it's good for {mins}.",
                        "Please use the link in your email, it works for {mins}.",
                    ),
                    ("{A} sends a link that works for {mins}.",),
                    customer=("It worked!", "Got it, I'm in.", "The link works, thanks."),
                ),
                End(
                    ("For safety you have to wait {mins}.", "I can't unlock it, it opens by itself after {mins}."),
                    ("{A} cannot unlock it and {C} has to wait {mins}.",),
                    customer="no",
                ),
            ),
            fixable=("tries",),
        ),
        Intent(
            "app_crash",
            {"tool": pick(TOOLS), "version": number(11, 48), "error": code("A99")},
            (
                "The {tool} crashes all the time. It says error {error}.",
                "I get error {error} in the {tool}.",
                ("Your {tool} is driving me crazy.", "It closes with error {error} when I save."),
                "What does error {error} in the {tool} mean? It closes every time.",
            ),
            (
                "{C} gets error {error} in version {version} of the {tool}.",
                "{C} reports error {error} in version {version} of the {tool} to {A}.",
            ),
            (
                End(
                    ("Please update to version {new}, that fixes it.", "It's solved in version {new}, please update."),
                    ("{A} says that version {new} solves it.",),
                    facts={"new": number(50, 80)},
                    customer=("Updating now. It works!", "I'll update tonight.", "Okay, thanks."),
                ),
                End(
                    (
                        "That's a new bug. I've opened ticket {ticket}, we'll write by {by}.",
                        "I'll hand it to the developers as ticket {ticket}. You hear from us by {by}.",
                    ),
                    ("{A} opens ticket {ticket} and will write by {by}.",),
                    facts={"ticket": code("9999"), "by": day(2, 12)},
                    customer="no",
                ),
            ),
            (
                Ask(
                    "version",
                    ("Which version do you have?", "What's the version number?"),
                    ("Version {version}.", "{version}.", "It says {version}."),
                ),
            ),
            ("error", "version"),
            trouble=True,
        ),
        Intent(
            "add_users",
            {"tool": pick(TOOLS), "have": number(3, 15), "want": number(16, 60)},
            (
                "We have {have} seats for the {tool} and need {want}.",
                "Can I go from {have} to {want} users in the {tool}?",
                ("Our company is growing.", "We need {want} users in the {tool} and not {have}."),
                "I'd like to change our {tool} from {have} to {want} users.",
            ),
            (
                "{C} wants to go from {have} to {want} users in the {tool}.",
                "{C} asks {A} to go from {have} to {want} users in the {tool}.",
            ),
            (
                End(
                    ("That will be {price} a month. Okay?", "It comes to {price} a month then."),
                    ("{A} changes it for {price} a month.",),
                    facts={"price": money(90, 900, cents=False)},
                    customer=("Okay, do it.", "That's within the budget, yes.", "Please go ahead."),
                ),
                End(
                    (
                        "For that many you get {off} percent off, I'll send an offer by {by}.",
                        "I can give you {off} percent off. The offer comes by {by}.",
                    ),
                    ("{A} will send an offer with {off} percent off by {by}.",),
                    facts={"off": number(61, 75), "by": day(1, 9)},
                ),
            ),
            fixable=("want",),
        ),
        Intent(
            "lost_files",
            {"n": counted(12, 90, "file"), "tool": pick(TOOLS), "on": day(-6, -1)},
            (
                "I lost {n} in the {tool} on {on}.",
                "On {on} {n} disappeared from the {tool}.",
                ("I need those files for work!", "{n} are gone from the {tool}, since {on}."),
                "By mistake I deleted {n} in the {tool}. Can I get them back?",
            ),
            ("{C} lost {n} in the {tool} on {on}.", "{C} tells {A} that {n} were lost in the {tool} on {on}."),
            (
                End(
                    ("I've restored the copy of {copy}.", "There's a copy of {copy}. It's restored now."),
                    ("{A} restores a copy of {copy}.",),
                    facts={"copy": day(-12, -7)},
                    customer=("You saved my day!", "They're back, thank you!", "Oh, what a relief."),
                ),
                End(
                    (
                        "We keep deleted files for {keep} only, so they're gone.",
                        "They can't be restored, after {keep} we delete them.",
                    ),
                    ("{A} cannot restore them because they are only kept for {keep}.",),
                    facts={"keep": counted(10, 23, "hour")},
                    customer="no",
                ),
            ),
            (Ask("on", ("When did that happen?", "On which day?"), ("On {on}.", "{on}.")),),
            ("n", "on"),
            trouble=True,
        ),
    ),
)
