"""What leads away from the request: small talk, identity checks, a second, smaller request."""

from t5x_tasks.support_chats.facts import Kind, code, counted, day, money, number, pick
from t5x_tasks.support_chats.names import CITIES

# Small talk. It never belongs in a summary. Who begins: "c" the customer, "a" the agent; then in turns.
SMALL_TALK: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("a", ("How is the weather over there?", "Raining all day. And with you?", "Sunny, for once.")),
    ("a", ("Is that a dog I hear?", "Yes, he hates the postman.", "Mine is just the same.")),
    ("c", ("You must be busy today.", "Mondays are always like this.")),
    ("c", ("My phone is almost out of battery, by the way.", "Then I'll be quick.")),
    ("c", ("I was in the queue for {n} minutes, you know.", "I'm sorry, many people are off sick this week.")),
    ("c", ("Where are you sitting, if I may ask?", "In our office in {city}.", "Oh, my cousin lives there!")),
    ("a", ("How has your week been so far?", "Long, but the weekend is near.")),
    ("c", ("Sorry for the noise, my kids are playing.", "No worries, I have two of my own.")),
    ("c", ("I had a very nice colleague of yours last time.", "I'll pass that on, thank you!")),
    ("c", ("I'm on the train, so I may lose the connection.", "No problem, the chat stays open.")),
    ("a", ("Did you watch the match last night?", "Don't remind me.", "Oops, wrong question.")),
    ("c", ("Your website is really hard to use on a phone.", "I'll tell the developers.")),
    ("c", ("I'm not good with computers, please be patient.", "You're doing fine.")),
    ("c", ("Do you get many chats like mine?", "More than you would think.")),
    ("c", ("Excuse my spelling, English isn't my first language.", "I understand you perfectly.")),
    ("a", ("While that loads: any plans for the holidays?", "{city}, if the money lasts.", "Lovely.")),
    ("c", ("It's {n} degrees here and the heating is off.", "Then make yourself a cup of tea.")),
    ("c", ("Nice that a human answers.", "Yes, we still exist.")),
    ("a", ("I see you've been with us for {n} years, thank you.", "Has it been that long?")),
    ("c", ("My sister recommended you, so I hope this goes well.", "Then say hello to her from us.")),
    ("c", ("I'm having lunch at my desk, sorry if I'm slow.", "Enjoy your meal.")),
    ("c", ("You type fast!", "Years of practice.")),
    ("c", ("One second, the doorbell.", "Of course.", "Here I am again.")),
    ("a", ("My screen froze for a moment, sorry.", "Happens to me all the time.")),
)
SMALL_FACTS: dict[str, Kind] = {"n": number(3, 16), "city": pick(CITIES)}

# Identity checks: what the agent wants to know before doing anything. Not part of a summary either.
IDENTITY: tuple[tuple[Kind, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        code("99999"),
        ("Could you tell me your postcode, please?", "What's the postcode on the account?", "Your postcode, please?"),
        ("{fact}.", "It's {fact}.", "{fact}", "Sure, {fact}."),
    ),
    (
        code("AA99999"),
        ("May I have your customer number?", "Do you have a customer number?", "What's your customer number, please?"),
        ("{fact}.", "Here it is: {fact}.", "It's {fact}.", "I think it's {fact}."),
    ),
    (
        code("9999"),
        ("What are the last four digits of your phone number?", "Please give me the last four digits of your phone."),
        ("{fact}.", "They are {fact}.", "{fact}"),
    ),
    (
        day(-320, -1),
        ("For security, when is your birthday?", "Could you confirm your birthday for me?"),
        ("{fact}.", "It's {fact}.", "My birthday is {fact}."),
    ),
    (
        pick(tuple(f"{name}@example.com" for name in ("hello", "office", "mail", "me", "home", "post", "family"))),
        ("Which email address do you use with us?", "What email is the account under?"),
        ("{fact}", "It's {fact}", "That would be {fact}"),
    ),
    (
        pick(("Rex", "Luna", "Bella", "Coco", "Simba", "Milo", "Daisy", "Oreo", "Ginger", "Pepper")),
        ("Your security question is the name of your first pet.", "What was your first pet called? For security."),
        ("{fact}!", "{fact}.", "It was {fact}.", "My first pet? {fact}."),
    ),
)

# A second, smaller request near the end: (facts, customer, agent, summary sentence).
EXTRAS: tuple[tuple[dict[str, Kind], tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    (
        {"x": code("9999")},
        (
            "One more thing, can you put my new mobile number in? It ends in {x}.",
            "Also, my phone number now ends in {x}.",
        ),
        ("Done, I've saved the number that ends in {x}.", "Sure, the number is updated."),
        ("{A} also saves a new phone number ending in {x}.",),
    ),
    (
        {"x": day(-40, -5)},
        ("And could you send me the invoice of {x} again?", "I also need a copy of my invoice from {x}."),
        ("I'll email it to you right now.", "Of course, it's on its way to your inbox."),
        ("{A} also sends the invoice of {x} again.",),
    ),
    (
        {"x": money(5, 25, cents=False)},
        ("By the way, I have a voucher for {x}. Can I still use it?", "Is my {x} voucher still good?"),
        ("Yes, it's valid until the end of the year.", "It is, you can use it any time this year."),
        ("{A} also confirms that the {x} voucher is still valid.",),
    ),
    (
        {"x": counted(2, 9, "newsletter")},
        ("And please stop the emails, I got {x} this week.", "Also, I had {x} from you this week. Can I opt out?"),
        ("Sure, you won't get any more of them.", "I've taken you off the list."),
        ("{A} also takes {C} off the newsletter list.",),
    ),
    (
        {"x": pick(CITIES)},
        ("Another question: do you have a branch in {x}?", "Oh, and are you in {x} too?"),
        ("Not yet, but we plan to open one.", "Not at the moment, I'm afraid."),
        ("{A} also says that there is no branch in {x}.",),
    ),
    (
        {"x": pick(("Spanish", "French", "German", "Italian", "Arabic", "Polish", "Portuguese", "Turkish"))},
        ("And can I get your letters in {x}?", "One last question, is it possible to get the emails in {x}?"),
        ("Yes, I've changed your language to {x}.", "Done, from now on we write to you in {x}."),
        ("{A} also changes the language to {x}.",),
    ),
    (
        {"x": day(3, 25)},
        ("Are you open on {x}, by the way? It's a holiday here.", "And will somebody be there on {x}?"),
        ("No, we're closed that day.", "That's a holiday, so we're closed."),
        ("{A} also says that they are closed on {x}.",),
    ),
    (
        {"x": pick(("video", "manual", "price list", "map", "brochure", "form", "guide", "checklist"))},
        ("And where do I find the {x}?", "One more thing, can you send me the {x}?"),
        ("I've emailed you a link to the {x}.", "Sure, you'll find the {x} in your inbox."),
        ("{A} also sends a link to the {x}.",),
    ),
    (
        {"x": number(100, 950, 10)},
        ("And how many bonus points do I have?", "Oh, could you look up my bonus points?"),
        ("You have {x} points at the moment.", "At the moment there are {x} points."),
        ("{A} also says that {C} has {x} bonus points.",),
    ),
)
