"""Closed lists of English words that decide what is a name. Lower case."""


def listed(text: str) -> list[str]:
    """The words of a text: easier to read and to mend than a list of quoted ones."""
    return text.split()


# Stand before a name; no names themselves.
TITLES = frozenset(listed("mr mrs ms miss mister dr doctor prof professor sir madam ma'am lady st aunt uncle captain"))

# Capitalised wherever they stand, and claim nothing that a dialogue could lack.
CAPITALIZED = frozenset(
    listed(
        "i i'm i've i'd i'll ok okay tv pc id cv dvd cd usb pin sms faq wifi wi-fi internet web google pm am asap diy bbq gps "
        "god lord english person"
    )
)

# Pronouns, determiners, adverbs, connectives, prepositions, auxiliaries: no names, wherever they stand.
FUNCTION_WORDS = frozenset(
    listed("""
    a an the this that these those he she it they we you his her hers its their theirs our your my him them who whose what which
    himself herself itself themselves
    whoever whatever when whenever where wherever why how there here then thus so hence therefore however moreover furthermore
    besides otherwise instead meanwhile nevertheless nonetheless still yet also too again even just only maybe perhaps indeed
    and but or nor if unless until till although though while whilst whereas because since as once before after afterwards later
    soon now today tomorrow yesterday tonight nowadays ago first second third firstly secondly last lastly next finally
    at in on of off to for from by with without within into onto over under about above below between among amongst during
    despite except regarding concerning according due per via unlike like than through throughout towards toward upon along
    across against around behind beside beyond near inside outside up down out thanks apart aside given
    is are was were be been being am do does did done has have had having will would shall should can could may might must not
    no none nothing nobody neither never nowhere both either each every everyone everybody everything all another other others
    any anyone anybody anything some someone somebody something sometimes somehow somewhere several many much more most few fewer
    less least enough plenty half one two three four five six seven eight nine ten eleven twelve dozens lots such same
    sure yes no well please let it's that's there's he's she's they're don't
""")
)

# Between a subject and the rest of its sentence.
AUXILIARIES = frozenset(
    listed("is are was were am do does did has have had will would shall should can could may might must")
)

# Function words that are first names, too.
NAMES_TOO = frozenset({"will", "may"})

# Open a sentence and are no names there: those, and what people are called who have no name. Most adverbs,
# gerunds and participles are told by their form (eval/diagnostics/particulars.py) and are not listed.
OPENERS = FUNCTION_WORDS | frozenset(
    listed("""
    people person persons speaker speakers friends friend colleagues colleague family parents parent mother father mom mum dad
    mummy daddy brother sister brothers sisters son daughter sons daughters child children kids kid baby grandma grandpa
    grandmother grandfather granny husband wife boyfriend girlfriend partner couple man men woman women boy boys girl girls
    guy guys
    customer customers client clients agent agents guest guests user users support staff manager managers employee employees
    student students teacher teachers patient patients doctor doctors nurse driver passenger passengers caller interviewer
    interviewee interviewees boss secretary officer waiter waitress clerk receptionist salesman seller buyer owner tenant
    landlord neighbor neighbors neighbour neighbours participants members member company team hotel shop store school
    life work home dinner lunch breakfast food time money things thing part other extra new old good bad best better worse great
    nice big small long short
    early earlier lately easily fully likely friendly lovely lonely silly daily weekly monthly yearly elderly supply reply
    thing spring
""")
)

# Short forms that share fewer than three first letters with the name.
NICKNAMES = {
    short: frozenset(listed(names))
    for short, names in {
        "abby": "abigail", "andy": "andrew andrea", "becky": "rebecca", "bella": "isabella", "beth": "elizabeth",
        "betty": "elizabeth", "bill": "william", "billy": "william", "bob": "robert", "bobby": "robert", "cathy": "catherine",
        "chuck": "charles", "dick": "richard", "drew": "andrew", "ed": "edward edwin", "eddie": "edward edwin",
        "gina": "regina georgina", "hank": "henry", "harry": "harold henry", "jack": "john", "jim": "james", "jimmy": "james",
        "johnny": "john jonathan", "jo": "joanna josephine joan", "joe": "joseph", "joey": "joseph",
        "kate": "catherine katherine", "katie": "catherine katherine", "kathy": "katherine catherine", "larry": "lawrence",
        "lena": "helena magdalena",
        "lexi": "alexandra", "liam": "william", "lisa": "elizabeth", "liz": "elizabeth", "lizzy": "elizabeth",
        "maggie": "margaret",
        "meg": "margaret megan", "mike": "michael", "molly": "mary", "nancy": "ann", "nate": "nathan nathaniel", "ned": "edward",
        "nell": "helen eleanor", "nick": "nicholas", "peggy": "margaret", "penny": "penelope", "polly": "mary", "rick": "richard",
        "rob": "robert", "ron": "ronald", "sally": "sarah", "sandy": "alexandra sandra", "sasha": "alexandra alexander",
        "steve": "stephen steven", "ted": "edward theodore", "tess": "theresa", "tilly": "matilda", "tina": "christina",
        "toni": "antonia", "tony": "anthony antonio", "trish": "patricia", "will": "william",
    }.items()
}  # fmt: skip

# Names of one place or thing that are written quite differently; two words are written as one.
ALIASES = {
    name: group
    for group in (
        frozenset({"us", "usa", "america", "american", "americans", "states", "unitedstates"}),
        frozenset({"uk", "britain", "british", "england", "english", "unitedkingdom"}),
        frozenset({"holland", "netherlands", "dutch"}),
        frozenset({"france", "french"}),
        frozenset({"spain", "spanish", "spaniard"}),
        frozenset({"poland", "polish", "pole", "poles"}),
        frozenset({"greece", "greek", "greeks"}),
        frozenset({"denmark", "danish"}),
        frozenset({"nyc", "ny", "newyork"}),
        frozenset({"la", "losangeles"}),
        frozenset({"christmas", "xmas"}),
        frozenset({"facebook", "fb"}),
    )
    for name in group
}
