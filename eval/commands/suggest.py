"""`python -m eval suggest CARD --weights W`: lets the model write templates for a card and ranks them.

A template ranks by how likely the model holds the references under it, over the first rows of the validation split; with
`--score` by the card's first metric of what the model answers. The card's own templates are in the same table.
Imports no JAX before it is certain that there is something to rank.
"""

import argparse
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from t5x_tasks.commands.suggest import add_arguments, find_card, one_line, print_suggestions
from t5x_tasks.common.errors import UserError

if TYPE_CHECKING:
    from t5x_tasks.card.card import Card
    from t5x_tasks.commands.proposals import Proposal
    from t5x_tasks.sources import Row


_MORE = 3  # candidates for each proposal that is wanted, to have something to rank
_EXAMPLES = 16  # of train, that templates are written around


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m eval suggest",
        description="Lets a model write templates for a card, and ranks them. Writes nothing.",
    )
    add_arguments(parser)
    options = parser.parse_args(arguments)
    if not options.weights:
        raise UserError("--weights: is missing; name a run or a Hugging Face directory")
    card = find_card(options.card)
    if options.score and not card.metrics:
        raise UserError(f"{card.path}: metrics: {card.name} has none to score with; add one, or leave --score out")
    rows, split = first_rows(card, options.root, options.limit)

    from eval.commands.judge import Judge
    from t5x_tasks.commands.proposals import Proposal, forward_templates
    from t5x_tasks.sources import iter_rows

    judge = Judge(options.weights, vocabulary=options.vocabulary, lengths=options.lengths)
    own = [
        Proposal(t.inputs, t.targets, t.id, "in the card" + " (held out)" * (t.split == "heldout"))
        for t in forward_templates(card)
    ]
    examples = list(itertools.islice(iter_rows(card, "train", options.root), _EXAMPLES))
    new = without_repeats(judge.generate(card, examples), card)[: _MORE * options.n]
    ranked = judge.rank(card, [*own, *new], rows, score=options.score)
    best = [entry for entry in ranked if entry.proposal in new][: options.n]
    shown = [entry for entry in ranked if entry in best or entry.proposal in own]
    metric = [ranked[0].metric] if options.score else []
    lines = [
        (
            str(number),
            *([f"{entry.score:.1f}"] if metric else []),
            f"{entry.likelihood:.3f}",
            entry.proposal.template,
            entry.proposal.how,
            one_line(entry.proposal.inputs),
        )
        for number, entry in enumerate(shown, 1)
    ]
    print_suggestions(
        options.card,
        ("rank", *metric, "log-likelihood", "from", "made", "template"),
        lines,
        [(entry.proposal.inputs, entry.proposal.targets) for entry in best],
        {template.id for template in card.templates},
    )
    print(
        f"\nlog-likelihood: of the references, nats a token, mean of the first {len(rows)} rows of {split}; higher is likelier.\n"
        f"{len(new)} new templates were ranked beside the card's own {len(own)}, by {options.weights}."
    )
    if len({proposal.targets for proposal in (*own, *new)}) > 1:
        print("The templates do not all have the same targets: ranks compare those that do.")
    return 0


def first_rows(card: "Card", root: str | None, limit: int) -> "tuple[list[Row], str]":
    """Returns the first rows of validation, or of train where a card has no validation split, and the split; never of test.

    Raises:
      UserError: the data are not at hand or damaged.
    """
    from t5x_tasks.sources import iter_rows

    split = "validation" if "validation" in card.splits else "train"
    return list(itertools.islice(iter_rows(card, split, root), max(1, limit))), split


def without_repeats(proposals: "Sequence[Proposal]", card: "Card") -> "list[Proposal]":
    """Leaves out what the card has, what is there twice, and what lost a placeholder."""
    from t5x_tasks.commands.proposals import normal, same_placeholders

    templates = {template.id: template for template in card.templates}
    known = {normal(template.inputs) for template in card.templates}
    kept = []
    for proposal in proposals:
        key = normal(proposal.inputs)
        if key not in known and same_placeholders(proposal.inputs, templates[proposal.template].inputs):
            known.add(key)
            kept.append(proposal)
    return kept
