"""`python -m eval suggest CARD --weights W`: proposes wordings for a card, some by the model, and ranks them with it.

A wording ranks by how likely the model holds the references under it, over the first rows of the validation split; with
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
    from t5x_tasks.commands.paraphrase import Proposal
    from t5x_tasks.sources import Row


_MORE = 3  # candidates of the rules for each proposal that is wanted, to have something to rank


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m eval suggest",
        description="Proposes wordings for a card's templates, by rule and by a model, and ranks them. Writes nothing.",
    )
    add_arguments(parser)
    options = parser.parse_args(arguments)
    if not options.weights:
        raise UserError("--weights: is missing; without a model: python -m t5x_tasks suggest CARD")
    card = find_card(options.card)
    if options.score and not card.metrics:
        raise UserError(f"{card.path}: metrics: {card.name} has none to score with; add one, or leave --score out")
    rows, split = first_rows(card, options.root, options.limit)

    from eval.commands.judge import Judge
    from t5x_tasks.commands.paraphrase import Proposal, forward_templates, paraphrases

    judge = Judge(options.weights, vocabulary=options.vocabulary, lengths=options.lengths)
    own = [
        Proposal(t.inputs, t.targets, t.id, "in the card" + " (held out)" * (t.split == "heldout"))
        for t in forward_templates(card)
    ]
    by_rule = paraphrases(card, _MORE * options.n, seed=options.seed)
    new = without_repeats([*judge.paraphrase(card), *by_rule], card)
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
        ("rank", *metric, "log-likelihood", "from", "what was changed", "wording"),
        lines,
        [(entry.proposal.inputs, entry.proposal.targets) for entry in best],
        {template.id for template in card.templates},
    )
    print(
        f"\nlog-likelihood: of the references, nats a token, mean of the first {len(rows)} rows of {split}; higher is likelier.\n"
        f"{len(new)} new wordings were ranked beside the card's own {len(own)}, by {options.weights}."
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
    from t5x_tasks.commands.paraphrase import normal, same_placeholders

    templates = {template.id: template for template in card.templates}
    known = {normal(template.inputs) for template in card.templates}
    kept = []
    for proposal in proposals:
        key = normal(proposal.inputs)
        if key not in known and same_placeholders(proposal.inputs, templates[proposal.template].inputs):
            known.add(key)
            kept.append(proposal)
    return kept
