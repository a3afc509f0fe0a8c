"""`python -m train CONFIG [key=value ...]`: trains a run; prepares what is missing, resumes an interrupted run."""

import argparse
from typing import TYPE_CHECKING

from t5x_tasks.common.arguments import parse_arguments
from t5x_tasks.common.errors import UserError, run_cli
from t5x_tasks.common.streams import require_output

if TYPE_CHECKING:
    from train.config import Config


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m train",
        description="Fine-tunes the model that a configuration describes. Started again on the same run directory, it "
        "resumes.",
        epilog="Overrides are dotted: train.steps=200 mesh.fsdp=4 data.root=/data. All keys: train/config.py.",
    )
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, for example configs/quickstart.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that win over the file's")
    parser.add_argument("--dry-run", action="store_true", help="print the resolved configuration and stop")
    options = parse_arguments(parser, arguments)

    from train import config as configuration

    config = configuration.load(options.config, options.overrides)
    _check_names(config)
    if options.dry_run:
        require_output()
        print(configuration.dump(config), end="")
        return 0

    from train.loop import train  # JAX is imported here: after --help, and after what is wrong with the configuration

    return train(config)


def _check_names(config: "Config") -> None:
    """Raises UserError for a task or mixture that nobody knows: those to be scored, too, before hours go into the training."""
    from t5x_tasks.card.catalog import load_catalog

    catalog = load_catalog(config.data.cards)
    replayed = (config.replay.mixture,) if config.replay.mixture else ()
    keys = {"data.mixture": (config.data.mixture,), "replay.mixture": replayed, "eval.tasks": config.eval.tasks}
    for key, name in ((key, name) for key, names in keys.items() for name in names):
        if config.data.modules and not catalog.knows(name):
            continue  # a SeqIO task of the user's: seen when it is prepared
        try:
            if name.endswith(".*"):
                catalog.every_variant(name)
            else:
                catalog.resolve(name)
        except UserError as error:
            raise UserError(f"{key}: {error}") from None


if __name__ == "__main__":
    run_cli(main)
