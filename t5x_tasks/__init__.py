"""The data that a model learns from: cards, templates, sources, the SeqIO tasks and mixtures made of them, metrics.

    import t5x_tasks
    t5x_tasks.install(root="mirror", cards=["my_chats.yaml"])
    seqio.get_mixture_or_task("support_chats").get_dataset({"inputs": 512, "targets": 128}, split="train")

Importing this package is cheap and registers nothing.
"""

from collections.abc import Sequence
from os import PathLike


def install(
    root: str | PathLike[str] | None = None,
    cards: Sequence[str | PathLike[str]] = (),
    vocabulary: str | PathLike[str] | None = None,
    inputs_length: int = 512,
) -> list[str]:
    """Registers every shipped card and the given ones with SeqIO; returns the names of the tasks and mixtures.

    Calling it again is harmless; with another root, other cards or another vocabulary the new ones take effect, for
    tasks fetched from the registry from then on.

    Args:
      root: folder that mirrors data sets, ROOT/<dataset>/<split>.jsonl[.gz]; comes before a card's own source.
      cards: files, or folders of files, with more cards.
      vocabulary: SentencePiece model: a file, a folder with `spiece.model`, or `hf://owner/name`; nothing is fetched
        before the first example is tokenised. FLAN-T5's own if None.
      inputs_length: tokens that inputs with exemplars may have; exemplars that do not fit are left out.

    Raises:
      UserError: a card is wrong, or one of its names is taken by a task that is not of this package.
    """
    from t5x_tasks.registry import install_cards  # imports SeqIO and with it TensorFlow: 9 s

    return install_cards(root, cards, vocabulary, inputs_length)
