"""Subscriptions: cancelling, pausing, charged twice, families."""

from t5x_tasks.support_chats.facts import counted, day, money, number, pick
from t5x_tasks.support_chats.model import Ask, Domain, End, Intent

SERVICES = ("music plan", "film plan", "news plan", "gym plan", "meal box", "magazine", "cloud plan", "language course",
            "game pass", "coffee box")  # fmt: skip
SUBSCRIPTIONS = Domain(
    "subscriptions",
    ("StreamBox", "FitClub", "Daily Reader", "FreshMeals", "LinguaPlus"),
    "membership",
    "my subscription",
    (
        Intent(
            "cancel_plan",
            {
                "plan": pick(SERVICES),
                "end": day(5, 40),
                "why": pick(("too expensive", "too boring", "no longer useful", "hard to use")),
            },
            (
                "I want to cancel my {plan}.",
                "How can I end my {plan}? It's {why}.",
                ("I'm not using my {plan}.", "Please cancel it."),
                "Please cancel the {plan}, it's {why} for me.",
            ),
            (
                "{C} wants to cancel a {plan} because it is {why}.",
                "{C} asks {A} to cancel a {plan} because it is {why}.",
            ),
            (
                End(
                    ("It's cancelled and ends on {end}.", "All right, it ends on {end}."),
                    ("{A} cancels it and it ends on {end}.",),
                ),
                End(
                    (
                        "Would you stay for {price} a month?",
                        "I could give it to you for {price} a month. Would you stay?",
                    ),
                    ("{A} offers it for {price} a month and {C} stays.",),
                    facts={"price": money(3, 20)},
                    customer=("For that price, yes.", "Okay, I'll stay.", "Deal."),
                ),
                End(
                    (
                        "Your contract runs until {until}, I can't end it before.",
                        "You signed up until {until}, it's not possible before.",
                    ),
                    ("{A} refuses because the contract runs until {until}.",),
                    facts={"until": day(90, 300)},
                    customer="no",
                ),
            ),
            (Ask("why", ("May I ask why?", "What's the reason?"), ("It's {why}.", "Honestly, it's {why}.")),),
        ),
        Intent(
            "pause_plan",
            {"plan": pick(SERVICES), "from": day(2, 20), "weeks": counted(2, 12, "week")},
            (
                "Can I pause my {plan} for {weeks} from {from}?",
                "I'm away for {weeks} and want to pause my {plan}.",
                ("I'm having surgery.", "Can you stop my {plan} from {from}?"),
                "Please put my {plan} on hold from {from}, for {weeks}.",
            ),
            (
                "{C} wants to pause a {plan} for {weeks} from {from}.",
                "{C} asks {A} to pause a {plan} for {weeks} from {from}.",
            ),
            (
                End(
                    ("It's paused and you won't pay anything.", "Done, there's nothing to pay while it's paused."),
                    ("{A} pauses it for free.",),
                ),
                End(
                    ("We can pause it for {max} at most.", "The longest pause is {max}."),
                    ("{A} can only pause it for {max}, and {C} agrees.",),
                    facts={"max": counted(2, 12, "week")},
                    customer=("Then do that.", "Okay, that long then.", "Fine."),
                ),
            ),
            (
                Ask("from", ("From when?", "When should the pause start?"), ("From {from}.", "{from}.")),
                Ask("weeks", ("For how long?", "How long would that be?"), ("{weeks}.", "For {weeks}.")),
            ),
            ("weeks", "from"),
        ),
        Intent(
            "charged_twice",
            {"plan": pick(SERVICES), "amount": money(8, 60), "on": day(-9, -1)},
            (
                "I was charged {amount} twice on {on} for my {plan}.",
                "You took {amount} twice for my {plan}!",
                ("Something is wrong with my bill.", "I paid {amount} for the {plan} two times on {on}."),
                "Why did I pay {amount} for my {plan} two times?",
            ),
            (
                "{C} was charged {amount} twice for a {plan} on {on}.",
                "{C} tells {A} about paying {amount} twice for a {plan} on {on}.",
            ),
            (
                End(
                    (
                        "I see it. One of them comes back within {wait}.",
                        "You're right, you get one of them back in {wait}.",
                    ),
                    ("{A} refunds one payment within {wait}.",),
                    facts={"wait": counted(2, 9, "day")},
                ),
                End(
                    (
                        "The second one was for a {other}, which you ordered too.",
                        "You also have a {other} at the same price, one of them is for that.",
                    ),
                    ("{A} explains that one payment was for a {other}.",),
                    facts={"other": pick(SERVICES)},
                    customer=("Oh, you're right. Sorry!", "I see, my mistake.", "Ah. Then it's fine."),
                ),
            ),
            (Ask("on", ("When was that?", "On what day?"), ("On {on}.", "{on}.")),),
            ("amount", "on"),
            trouble=True,
        ),
        Intent(
            "upgrade_plan",
            {"plan": pick(SERVICES), "people": number(2, 6), "old": money(5, 12, cents=False)},
            (
                "I want to share my {plan} with my family, we are {people}.",
                "Can {people} people use one {plan}? I pay {old}.",
                ("I have the {plan} for one person.", "We need it for {people}."),
                "Is there a family {plan} for {people} people?",
            ),
            ("{C} wants a {plan} for {people} people.", "{C} asks {A} for a {plan} for {people} people."),
            (
                End(
                    ("That's the family one for {price} a month.", "You need the family one, {price} a month."),
                    ("{A} offers the family plan for {price} a month and {C} takes it.",),
                    facts={"price": money(13, 45)},
                    customer=("I'll take it.", "Okay, switch me please.", "Good price, yes."),
                    confirm=("You're switched now.", "It's active from today."),
                ),
                End(
                    (
                        "There's no such plan, but each further person pays {price}.",
                        "Not yet. You can add people for {price} each.",
                    ),
                    ("There is no such plan, but {A} can add people for {price} each.",),
                    facts={"price": money(2, 11)},
                    customer=("I'll think about it.", "Okay, I'll talk to them.", "Hmm, let me think."),
                ),
            ),
            fixable=("people",),
        ),
    ),
)
