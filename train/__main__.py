"""`python -m train CONFIG [key=value ...]`: trains a run; prepares what is missing, resumes what was cut off."""

import argparse

from t5x_tasks.arguments import parse_arguments
from t5x_tasks.errors import run_cli


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m train",
        description="Fine-tunes the model that a configuration describes. Started again on the same run directory, it goes on "
        "where it was cut off.",
        epilog="Overrides are dotted: train.steps=200 mesh.fsdp=4 data.root=/data. All keys: train/config.py.",
    )
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, for example configs/quickstart.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that win over the file's")
    parser.add_argument("--dry-run", action="store_true", help="print the resolved configuration and stop")
    options = parse_arguments(parser, arguments)

    from train import config as configuration

    config = configuration.load(options.config, options.overrides)
    if options.dry_run:
        print(configuration.dump(config), end="")
        return 0

    from train.loop import train  # JAX is imported here: after --help, and after what is wrong with the configuration

    return train(config)


if __name__ == "__main__":
    run_cli(main)
