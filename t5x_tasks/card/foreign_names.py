"""Words of the names of columns and keys in German, Spanish and French, beside the English ones where such names are read.

Each is here with its accents and counts without them, too, as `expediteur` and `gespraech`: headers are often ASCII.
"""

import unicodedata


def _spelled(*words: str) -> set[str]:
    spelled = set(words)
    for word in words:
        umlauts = word.translate({ord("ä"): "ae", ord("ö"): "oe", ord("ü"): "ue"})
        spelled |= {unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode() for text in (word, umlauts)}
    return spelled


DIALOGUES = _spelled(
    "gespräch", "gesprächsverlauf", "chatverlauf", "verlauf", "unterhaltung", "konversation", "conversación", "diálogo"
)  # fmt: skip
MESSAGES = {"nachrichten", "mensajes"}
# Without its accents the French word is the English one for a career.
SUMMARIES = {"zusammenfassung", "kurzfassung", "resumen", "résumé"}
ANSWERS = _spelled("antwort", "respuesta", "réponse", "kategorie", "categoría", "catégorie")
# Of messages: who speaks, as a name and as a role; what is said; when.
SPEAKERS = _spelled(
    "absender", "sprecher", "verfasser", "autor", "von", "remitente", "hablante", "auteur", "expéditeur", "locuteur"
)  # fmt: skip
ROLES = {"rolle", "rol", "rôle"}
TEXTS = {"nachricht", "inhalt", "texto", "mensaje", "contenido", "texte", "contenu"}
TIMES = {"zeit", "zeitpunkt", "uhrzeit", "datum", "fecha", "hora", "heure"}
# Of what may name the rows.
KEYS = _spelled("nummer", "vorgang", "número", "numéro", "caso")
_WORDS = DIALOGUES | MESSAGES | SUMMARIES | ANSWERS | SPEAKERS | ROLES | TEXTS | TIMES | KEYS


def is_foreign(words: list[str]) -> bool:
    """Tells whether a name of these words is no English one: it holds one of the above, or a letter that English has not."""
    return any(word in _WORDS or (word.isalpha() and not word.isascii()) for word in words)
