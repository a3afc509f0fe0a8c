"""`python -m eval CONFIG|RUN_DIR [key=value ...]` decodes and scores; `python -m eval score ...` scores anybody's output;
`python -m eval suggest CARD --weights W` ranks wordings of a task."""

import argparse

from t5x_tasks.errors import run_cli


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["score"]:
        from eval import score

        return score.main(arguments[1:])
    if arguments[:1] == ["compare"]:
        from eval import compare

        return compare.main(arguments[1:])
    if arguments[:1] == ["suggest"]:
        from eval import suggest

        return suggest.main(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="python -m eval",
        description="Decodes a split with checkpoints of a run, or with bare weights, and scores the output. `python -m eval "
        "score --help` is for predictions that you have already, `python -m eval suggest --help` for other wordings of a task.",
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
    options = parser.parse_args(arguments)

    from eval.plan import load_config, make_plan
    from train import config as configuration

    config, run_dir = load_config(options.config, options.overrides)
    plan = make_plan(config, run_dir)
    if options.dry_run:
        print(configuration.dump(config))
        print(plan.describe())
        return 0
    from eval.run import evaluate  # JAX is imported here: after --help, and after what is wrong with the configuration

    return evaluate(plan)


if __name__ == "__main__":
    run_cli(main)
