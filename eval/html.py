"""Safe HTML pages in one file: data that cannot end their block, and a policy that fetches nothing."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup


def environment(assets: Path) -> jinja2.Environment:
    """Returns an environment for the templates of a folder, in which every text is escaped."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(assets),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def script_json(value: Any) -> Markup:
    """JSON that cannot end its script block, whatever texts it holds: `<` is `\\u003c` in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def content_policy(script: str, style: str) -> str:
    """The Content-Security-Policy of a page with one script and one style: nothing else runs, nothing is fetched."""
    return (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}'"
