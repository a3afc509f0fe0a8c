"""Fixed templates for each category of card, for `templates: heuristic` and new cards; and which field is the answer.

They let a new data set be trained on at once; a person's own templates beat them. The answer is the field with a name that says
so (`summary`, `gold_label`), otherwise the last one.
"""

from collections.abc import Iterable

from t5x_tasks.common.errors import suggest
from t5x_tasks.common.values import name_parts

# Names of answers, those first that can hardly be anything else. `new` looks for them among the columns of a file.
ANSWER_NAMES = (
    "summary", "recap", "tldr", "highlights", "abstract",
    "answer", "answers", "target", "targets", "label", "labels",
    "completion", "response", "output", "reply", "translation", "entities", "rating", "stars", "score", "grade", "sentiment",
    "intent", "emotion", "verdict", "category", "class", "topic", "outcome", "result", "gold", "reference", "solution",
)  # fmt: skip
# Categories that templates, metrics, baselines or diagnostics go by; a card may have any other word.
CATEGORIES = ("summarization", "classification", "rating", "entities", "code", "translation", "qa", "nli", "reasoning")
# Of cards here, or what `new` falls back on.
_MORE_CATEGORIES = ("entity_recognition", "code_translation", "generation")
_ALIKE = 0.8  # as difflib measures it: `extraction` is no misspelled translation
_TEXTS = ("text", "content", "log", "history")  # words that say little of what is in a field
_HELDOUT = 2  # of the templates, the last ones

# Of each category: what to do, a question, and the label before the answer; `{answer}` is the name of the answer's field.
_ASKED = {
    "summarization": ("Summarize the text below.", "What is the text about, in short?", "Summary"),
    "classification": ("Choose the {answer} that fits the text below.", "Which {answer} fits?", "{Answer}"),
    "rating": ("Rate the text below.", "Which rating fits?", "{Answer}"),
    "entities": ("List the named entities in the text below.", "Which named entities are in the text?", "{Answer}"),
    "code": ("Translate the code below.", "What is the code in the other language?", "Translation"),
    "translation": ("Translate the text below.", "What is the text, translated?", "Translation"),
    "qa": ("Answer the question below.", "What is the right answer?", "Answer"),
    "nli": ("Decide how the two texts below relate.", "Does the second text follow from the first?", "{Answer}"),
    "reasoning": ("Answer the question below step by step.", "What is the answer, and why?", "Answer"),
    "": ("Write the {answer} for the text below.", "What is the {answer}?", "{Answer}"),
}
_SAME = {"entity_recognition": "entities", "code_translation": "code"}
# {do}, {ask}, {label} as above; {data}: the fields' texts; {labelled}: the same, each behind its name; {options} or nothing.
_LAYOUTS = (
    "{do}\n\n{data}{options}\n\n{label}:",
    "{labelled}{options}\n\n{label}:",
    "{data}\n\n{ask}{options}",
    "{ask}\n\n{data}{options}",
    "Task: {do}\n\n{labelled}{options}\n\n{label}:",
    "{data}\n\nQuestion: {ask}{options}\n\nAnswer:",
    "{do}\n\n{labelled}{options}",
    "{labelled}\n\n{ask}{options}\n\n{label}:",
    "{ask}\n\n{labelled}{options}\n\n{label}:",
    "{do} Reply with the {answer} only.\n\n{data}{options}",
)


def named_answer(fields: Iterable[str]) -> str | None:
    """Returns the field whose name says that it is the answer (`summary`, `Gold Label`), or None."""
    last_words = {field: last_word(field) for field in fields}
    for answer in ANSWER_NAMES:
        if found := [field for field, word in last_words.items() if word == answer]:
            return min(found, key=lambda field: len(name_parts(field)))  # `summary` rather than `ticket_summary`
    return None


def last_word(name: str) -> str:
    """Returns what a name says that it names: `Agent Summary` -> summary, `chat_text` -> chat."""
    *others, last = name_parts(name) or [""]
    return others[-1] if others and last in _TEXTS else last


def answer_field(fields: Iterable[str]) -> str:
    """Returns the field that the others ask for."""
    names = list(fields)
    return named_answer(names) or names[-1]


def category_hint(category: str) -> str:
    """Returns `, did you mean CATEGORY?` for a word of the user's own that looks like a category with a meaning, else ""."""
    if category in (*CATEGORIES, *_MORE_CATEGORIES):
        return ""
    word = category.lower()
    return suggest(word, [known for known in CATEGORIES if known[0] == word[:1]], cutoff=_ALIKE)


def heuristic_templates(
    fields: Iterable[str], category: str, *, options: bool = False, answer: str = ""
) -> list[dict[str, str]]:
    """Returns templates as a card has them: id, inputs, targets, and split for the held-out ones.

    Args:
      fields: names, two or more, or one, which then stands on both sides.
      category: of the card.
      options: the card has answer options, which are shown before the answer.
      answer: the field that the others ask for, where its name does not say so.
    """
    names = list(fields)
    answer = answer or answer_field(names)
    asked = [name for name in names if name != answer] or [answer]
    what = " ".join(name_parts(answer))
    kind = _SAME.get(category, category)
    do, ask, label = (text.format(answer=what, Answer=title(answer)) for text in _ASKED.get(kind, _ASKED[""]))
    labelled = "\n\n".join(f"{title(name)}: {{{name}}}" for name in asked)
    parts = {
        "do": do,
        "ask": ask,
        "label": label,
        "answer": what,
        "labelled": labelled,
        "data": labelled if len(asked) > 1 else f"{{{asked[0]}}}",
        "options": "\n\n{options}" if options else "",
    }
    inputs = dict.fromkeys(layout.format(**parts) for layout in _LAYOUTS)  # of several fields some layouts are the same
    return [
        {
            "id": f"h{number:02}",
            "inputs": text,
            "targets": f"{{{answer}}}",
            "split": "heldout" if number >= len(inputs) - _HELDOUT else "train",
        }
        for number, text in enumerate(inputs)
    ]


def title(name: str) -> str:
    """Returns the name of a field as a label: `review_text` -> Review text."""
    return " ".join(name_parts(name)).capitalize()
