"""Reads what the chats are made of: names.yaml, shared.yaml and scenarios/*.yaml, whose format README.md describes."""

import functools
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo

from t5x_tasks.common.errors import UserError
from tools.support_chats import facts

FOLDER = Path(__file__).parent
# A seed draws from them in this order: a new domain goes to the end.
DOMAINS = (
    "orders", "deliveries", "hotel", "restaurant", "flights", "trains", "car_rental", "internet", "energy", "appliances",
    "appointments", "insurance", "events", "bank", "subscriptions", "software",
)  # fmt: skip


def _kind(spec: Any, info: ValidationInfo) -> facts.Kind:
    """The kind of `{day: [1, 8]}`, `{code: AA999}` or `{pick: cities}`; the context holds the lists by name."""
    try:
        ((name, given),) = spec.items()
        match name:
            case "code":
                return facts.code(given)
            case "pick" | "address":
                options = given if isinstance(given, list) else (info.context or {})[given]
                return facts.pick(options) if name == "pick" else facts.address(options)
            case "counted":
                low, high, noun = given
                return facts.counted(int(low), int(high), noun)
            case _:
                return facts.RANGES[name](*map(int, given))
    except (AttributeError, LookupError, TypeError, ValueError):
        raise ValueError(f"{spec} is no kind of fact, or names a list that is not there") from None


Texts = Annotated[tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
Kind = Annotated[facts.Kind, BeforeValidator(_kind)]
Kinds = dict[str, Kind]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ask(_Part):
    """A question of the agent for the fact `slot`, put only when the customer has not named it yet."""

    slot: str
    question: Texts
    answer: Texts


def _shared_ask(value: Any) -> Any:
    """The shared question for a slot, of which a scenario gives no more than the name."""
    if not isinstance(value, str):
        return value
    for ask in shared().asks:
        if ask.slot == value:
            return ask
    raise ValueError(f"{value} is no question of shared.yaml")


class End(_Part):
    """One way in which a request ends. Without `customer`, the reaction is a shared phrase."""

    agent: Texts
    summary: Texts
    customer: Texts = ()
    confirm: Texts = ()
    facts: Kinds = {}
    offer: str = ""
    refused: bool = False


class Intent(_Part):
    """One kind of request."""

    facts: Kinds
    opens: tuple[Texts, ...]
    want: Texts
    ends: tuple[End, ...]
    asks: tuple[Annotated[Ask, BeforeValidator(_shared_ask)], ...] = ()
    fixable: tuple[str, ...] = ()
    trouble: bool = False


class Domain(_Part):
    """A field of support: who answers (`companies`), which team takes over, what it is `about`."""

    companies: tuple[str, ...]
    team: str
    about: str
    intents: dict[str, Intent]
    lists: dict[str, tuple[str, ...]] = {}


class Names(_Part):
    first_names: tuple[str, ...]
    last_names: tuple[str, ...]
    lists: dict[str, tuple[str, ...]]


class SmallTalk(_Part):
    facts: Kinds
    talks: tuple[tuple[str, ...], ...]


class Identity(_Part):
    fact: Kind
    question: Texts
    answer: Texts


class Extra(_Part):
    fact: Kind
    customer: Texts
    agent: Texts
    summary: Texts


class Shared(_Part):
    """Sentences of every chat, whatever it is about."""

    phrases: dict[str, Texts]
    asks: tuple[Ask, ...]
    small_talk: SmallTalk
    identity: tuple[Identity, ...]
    extras: tuple[Extra, ...]


Model = TypeVar("Model", bound=BaseModel)


@functools.cache
def names() -> Names:
    return read(FOLDER / "names.yaml", Names, {})


@functools.cache
def shared() -> Shared:
    return read(FOLDER / "shared.yaml", Shared, names().lists)


@functools.cache
def domains() -> dict[str, Domain]:
    """The scenarios by name, in the order of DOMAINS."""
    return {name: read(FOLDER / "scenarios" / f"{name}.yaml", Domain, names().lists) for name in DOMAINS}


def read(path: Path, model: type[Model], lists: dict[str, tuple[str, ...]]) -> Model:
    """Reads a file; its kinds of facts may name these lists and those under its own key `lists`.

    Raises:
      UserError: it is not YAML or not what the model says; with the key.
    """
    try:
        # Every scalar is a text, so that the slot `on` is no truth value and the code 9999 no number.
        values = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)
        own = values.get("lists") if isinstance(values, dict) else None
        return model.model_validate(values, context=lists | own if isinstance(own, dict) else lists)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({error})") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place, message = ".".join(map(str, problem["loc"])), problem["msg"].removeprefix("Value error, ")
        raise UserError(f"{path}: {place}: {message}; README.md says what may be there") from None
