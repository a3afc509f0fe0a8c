"""What people say in every support chat, whatever it is about."""

from t5x_tasks.support_chats.model import Ask

HELLO_AGENT = (
    "Hello, you've reached {company}. My name is {a}, how can I help you?",
    "Welcome to {company}! This is {a}. What can I do for you today?",
    "Good morning, {company}, {a} speaking. How may I help?",
    "Good afternoon and thank you for contacting {company}. I'm {a}. What is it about?",
    "Hi there, {a} from {company} here. How can I help?",
    "Thanks for waiting, this is {a} at {company}. What brings you here?",
    "{company} customer care, {a} here. What can I help you with?",
    "Hi! I'm {a}, part of the {company} support team. How are things?",
    "Hello and welcome to the {company} help desk. You're chatting with {a}.",
    "Good evening, this is {a} with {company}. How can I be of help?",
)
HELLO_BACK = (
    "Hi {c}, I'm {a}. What can I do for you?",
    "Hello {c}, this is {a} from {company}. How can I help?",
    "Good day, {c}. {a} here, what is it about?",
    "Yes, I'm here. My name is {a}. How can I help you, {c}?",
    "Hi! {a} at {company}. Go ahead, {c}.",
    "Hello {c}! You're talking to {a}. What's going on?",
    "Welcome, {c}. I'm {a}, tell me what happened.",
)
HELLO_CUSTOMER = {
    "formal": (
        "Good morning, {c} here.",
        "Good afternoon.",
        "Good evening, my name is {c}.",
        "Hello.",
        "Dear team, I hope you are well.",
    ),
    "plain": ("Hi.", "Hello.", "Hi there.", "Hello, {c} here.", "Good morning.", "Hi, it's {c}.", "Hello again."),
    "chatty": ("Hey there!", "Hi hi!", "Hello, hello!", "Hey, hope you're well!", "Hiya!", "Hey! {c} here."),
    "terse": ("Hi", "Hello", "Hey", "Hi, question", "Hello?"),
}
ANYONE = (
    "Hello, is anybody there?",
    "Hi, am I talking to a person or to a bot?",
    "Hello, I need some help please.",
    "Hi, do you have a minute?",
    "Is this the right place for questions?",
    "Hi, I hope you can help me.",
    "Hello, I was told to write here.",
    "Hi, I tried to call but nobody picked up.",
)
HELLO_LATE = ("Hello {c}, {a} here.", "Hi {c}, this is {a} from {company}.", "Hi, I'm {a}.", "Hello, my name is {a}.")
VAGUE = (
    "I have a question about {about}.",
    "It's about {about}.",
    "I'm writing about {about}.",
    "Can you help me with {about}?",
    "I need help with {about}.",
    "Are you the one to ask about {about}?",
    "I've got a problem with {about}.",
    "Who can tell me something about {about}?",
)
GO_AHEAD = (
    "Sure, go ahead.",
    "Of course, what is it?",
    "I'm all ears, {c}.",
    "Yes, you're right here. What happened?",
    "Certainly. What can I do?",
    "Okay, tell me more.",
    "That's what I'm here for, {c}.",
    "Let's hear it.",
)
SORRY = (
    "I'm sorry to hear that.", "Oh no, I'm sorry about that.", "That should not happen, my apologies.",
    "I apologise for the trouble.", "I understand, that is annoying.", "Sorry about this, {c}.",
    "That's not what we want for you.", "Thanks for letting us know, and sorry.", "Oh dear, let's sort that out.",
    "I can see why you're upset.",
)  # fmt: skip
SURE = (
    "Of course, I can look into that.", "Sure, I'm happy to help.", "Certainly.", "No problem at all.",
    "Let me see what I can do.", "I'd be glad to help with that.", "Sure thing.", "All right, let's have a look.",
    "Let me have a look.", "Okay, {c}, let me check that.",
)  # fmt: skip
GOT_IT = ("Thank you.", "Thanks, {c}.", "Got it.", "Perfect, thanks.", "Okay.", "Great, thank you.", "Right.", "Noted.")
GO_ON = ("I see.", "Okay, go on.", "Uh-huh.", "I'm listening.", "All right, and?", "Yes?", "Tell me more.")
HOLD = (
    "One moment please, I'm opening your file.", "Give me a second, the system is a bit slow today.",
    "Can you hold for a minute while I check?", "Just a moment.", "Let me ask my supervisor, please stay in the chat.",
    "Please bear with me, I'm looking it up.", "I need a minute or two for this.", "Let me pull that up.",
)  # fmt: skip
HOLD_REPLY = (
    "Sure.", "No rush.", "Take your time.", "Okay, I'll wait.", "Fine.", "Of course.", "I've got time.", "Okay.",
    "Yes, but I have to leave soon.", "Go ahead.",
)  # fmt: skip
BACK = ("Thanks for waiting.", "I'm back.", "Thank you for your patience.", "Sorry for the wait.", "Here we are.")
# To good news, and to a question or an offer.
YES = (
    "Great, thank you.",
    "Perfect.",
    "Wonderful, thanks!",
    "That's fine with me.",
    "Fair enough, thanks.",
    "Excellent.",
    "I'm happy with that.",
    "Okay, thank you.",
    "Good to hear.",
    "Thanks, that helps.",
    "Sounds good.",
    "Lovely, thanks.",
)
YES_OFFER = (
    "That works for me.",
    "Yes, please.",
    "Okay, let's do that.",
    "Yes, that would be great.",
    "Good, I agree.",
    "Sounds good.",
    "Yes, that's perfect.",
    "That suits me, thank you.",
)
NO = (
    "That's a pity.", "Hmm, not what I hoped for.", "I'm not happy about it, but okay.", "Really? Well, fine.",
    "I see. That's disappointing.", "Okay, nothing to be done then.", "Too bad, but I understand.", "If you say so.",
    "Seriously? All right.", "Well, at least I know now.",
)  # fmt: skip
TURN_DOWN = (
    "Hmm, {wrong} doesn't suit me.", "{wrong} is not possible for me, I'm afraid.", "I can't do {wrong}.",
    "{wrong}? Is there nothing else?", "Not {wrong}, sorry. Anything else?", "{wrong} is bad for me.",
)  # fmt: skip
OFFER_AGAIN = (
    "Then what about {right}?", "Would {right} be better?", "I could also do {right}.", "Let me see ... {right}?",
    "The other option is {right}.", "In that case I have {right}.",
)  # fmt: skip
TAKE_OFFER = (
    "Yes, {right} is good.", "{right} is fine.", "Much better, thanks.", "Okay, {right} then.", "Great, I'll take that.",
    "That works.",
)  # fmt: skip
CORRECT_TAIL = (
    "No wait, {right}.", "Sorry, I mean {right}.", "Oh no, {right}, my mistake.", "Hang on, it's {right}, not {wrong}.",
    "Or rather {right}.", "Ah no, {right}, I misread it.",
)  # fmt: skip
CORRECT_NEXT = (
    "No, sorry, {right}.", "Sorry, I meant {right}, not {wrong}.", "Wait, that's wrong. It should be {right}.",
    "Correction: {right}, not {wrong}.", "*{right}, sorry", "I made a mistake there, it's {right}.",
    "Oops, I said {wrong}, but it's {right}.", "I've just checked, it's {right}, not {wrong}.",
)  # fmt: skip
CHECK = ("So that's {wrong}?", "{wrong}, is that right?", "Let me repeat: {wrong}.", "Did you say {wrong}?")
CORRECT_CHECK = (
    "No, sorry, {right}.", "No, {right}.", "Not quite, it's {right}.", "Almost. {right}, please.", "No no, {right}!",
    "I'm afraid not, {right}.", "Ah, I said it wrong. {right}.",
)  # fmt: skip
CORRECTED = (
    "{right}, noted.", "No problem, {right}.", "Okay, {right} then.", "Ah, {right}. Thanks.", "Got it, {right}.",
    "All right, I've changed it to {right}.", "Understood, {right}.",
)  # fmt: skip
PASS_ON = (
    "That's a matter for our {team} team. I'll pass you on to my colleague {a}.",
    "I can't do that myself, but {a} from our {team} team can. Please stay in the chat.",
    "Let me hand you over to {a} in our {team} team, who knows more about this.",
    "I'll bring in {a} from the {team} team.",
)
TAKE_OVER = (
    "Hello {c}, this is {a}. I've read what you wrote.",
    "Hi {c}, {a} here. My colleague told me what it's about.",
    "Good day, {a} from the {team} team. I'll take it from here.",
    "Hi, I'm {a}. No need to repeat anything, I can see the chat.",
)
# Before a decision: what the customer likes to hear, and what not.
FOUND = (
    "I've had a look.",
    "So, here's what I found.",
    "All right, I've checked it.",
    "I have an answer for you.",
    "It took a moment, but I've got it.",
)
FOUND_NO = (
    "I'm afraid I don't have good news.",
    "I've checked it twice.",
    "I wish I had a better answer.",
    "Unfortunately it's not that easy.",
    "I asked a colleague too.",
)
# After the problem.
PLEA = (
    "Can you help?",
    "Thanks in advance.",
    "I hope that's no trouble.",
    "It's rather urgent.",
    "Please help.",
)
PLEA_TROUBLE = (
    "That's the second time this year!",
    "I'm really not amused.",
    "What are you going to do about it?",
    "I've been a customer for a long time.",
    "Please help.",
    "I don't know what to do.",
    "It's rather urgent.",
)
ANYTHING_ELSE = (
    "Is there anything else I can do for you?", "Can I help with anything else?", "Anything else today?",
    "Do you have any other questions?", "Was that all?",
)  # fmt: skip
NOTHING_ELSE = (
    "No, that's all. Thank you.", "No, thanks for your help, {a}.", "That was it, thanks!", "Nothing else, thank you.",
    "No, you've been very helpful.", "No, I'm good.", "That's everything. Bye!",
)  # fmt: skip
THANKS = (
    "Thanks a lot, {a}.", "Thank you, bye.", "Thanks for your help!", "Cheers, {a}.", "Okay, thank you.", "Thanks, bye!",
    "Thank you for your time.", "Many thanks.",
)  # fmt: skip
NOTHING_ELSE_NO = (
    "No, that was it.",
    "No, thanks anyway.",
    "Nothing else.",
    "No, I'll have to live with it.",
    "No. Goodbye.",
    "That's all for today.",
)
THANKS_NO = ("Thanks anyway.", "Okay, bye.", "Thanks for trying.", "Bye then.", "Well, thank you, {a}.")
BYE_NO = (
    "I'm sorry that I can't do more. Goodbye.",
    "Thank you for your understanding, {c}.",
    "Thank you for contacting {company}.",
    "I hope we can help you better next time.",
    "Goodbye, {c}, and sorry again.",
)
BYE = (
    "You're welcome. Have a nice day!", "My pleasure. Goodbye, {c}.", "Thank you for contacting {company}.",
    "Have a good one!", "Take care, {c}.", "You're welcome, {c}.", "Happy to help. Bye!", "Enjoy the rest of your day.",
)  # fmt: skip

# Questions that belong to many intents.
SHARED_ASKS: dict[str, Ask] = {
    "order": Ask(
        "order",
        ("Could I have the order number?", "What is your order number?", "Which order is it?", "Your order number?"),
        ("It's {order}.", "{order}.", "The number is {order}.", "Order {order}.", "Here it is: {order}."),
    ),
    "booking": Ask(
        "booking",
        ("What's the booking number?", "Do you have a booking reference?", "Could you give me the reference?"),
        ("It's {booking}.", "{booking}.", "That's {booking}.", "The reference says {booking}."),
    ),
    "city": Ask(
        "city",
        ("Which city is that?", "What city are you in?", "And in which city?"),
        ("{city}.", "In {city}.", "It's in {city}."),
    ),
}
