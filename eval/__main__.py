"""`python -m eval CONFIG|RUN_DIR [key=value ...]` decodes and scores; its commands `score`, `compare`, `rate`, `predict` and
`suggest` are for output that is there already, several systems side by side, what people say of two, one's own rows, and other
templates of a task."""

import argparse
import importlib
import os

from t5x_tasks.common.arguments import parse_arguments
from t5x_tasks.common.errors import UserError, run_cli, suggest
from t5x_tasks.common.streams import require_output

COMMANDS = ("score", "compare", "rate", "predict", "suggest")


def main(arguments: list[str]) -> int:
    if arguments and arguments[0] in COMMANDS:
        return importlib.import_module(f"eval.commands.{arguments[0]}").main(arguments[1:])
    if arguments and not os.path.lexists(arguments[0]) and (hint := suggest(arguments[0], COMMANDS)):
        raise UserError(f"{arguments[0]}: no command, and no such file or run directory{hint}")
    parser = argparse.ArgumentParser(
        prog="python -m eval",
        description="Decodes a split with checkpoints of a run, or with bare weights, and scores the output. Other commands, "
        f"each with its own --help: {', '.join(COMMANDS)}.",
        epilog="Overrides are dotted: eval.split=test eval.limit=20 eval.steps=[0,latest,best] eval.decode.beams=1 "
        "eval.decode.type=greedy "
        "eval.probe.limit=0 data.root=/data. All keys: train/config.py. Writes RUN_DIR/eval/<step>/metrics.json and "
        "<task>/predictions.jsonl.",
    )
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, or a run directory")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that win over the file's")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the resolved configuration and the plan, then stop"
    )
    parser.add_argument(
        "--follow", action="store_true", help="score each checkpoint that the run saves, until its last"
    )
    options = parse_arguments(parser, arguments)

    from eval.plan import load_config, make_plan
    from train import config as configuration

    config, run_dir = load_config(options.config, options.overrides)
    plan = make_plan(config, run_dir)
    if options.dry_run:
        require_output()
        print(configuration.dump(config))
        print(plan.describe())
        return 0
    # JAX is imported here: after --help, and after what is wrong with the configuration.
    from eval.run import evaluate, follow

    return follow(plan) if options.follow else evaluate(plan)


if __name__ == "__main__":
    run_cli(main)
