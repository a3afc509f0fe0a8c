"""`python -m launch plan|study|local|tpu-vm|slurm|gke|sky CONFIG [key=value ...]`: plans a run, or starts it somewhere."""

import argparse
import importlib

from t5x_tasks.common.arguments import parse_arguments
from t5x_tasks.common.config_files import check_one_line
from t5x_tasks.common.errors import UserError, run_cli
from t5x_tasks.common.streams import require_output

# Each module: add_arguments(parser) and run(options) -> exit code; CONFIG, metavar and help, where that is no file.
COMMANDS = {
    "plan": ("launch.plan.command", "what the run needs: memory, the best mesh, time, price; touches nothing"),
    "study": ("launch.study", "runs that are compared, one after the other on this machine"),
    "local": ("launch.local", "processes of one run on this machine"),
    "tpu-vm": ("launch.tpu_vm", "a TPU slice: created, set up, run, fetched, deleted (gcloud)"),
    "slurm": ("launch.slurm", "nodes of a SLURM cluster (sbatch, srun)"),
    "gke": ("launch.gke", "TPU or GPU nodes of a Kubernetes cluster (a JobSet, or xpk)"),
    "sky": ("launch.sky", "whichever cloud has the GPUs (SkyPilot)"),
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m launch", description="Plans a run, or starts it somewhere, on launchers that exist already."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, text) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog="Overrides are dotted: train.steps=200 mesh.fsdp=4.",
        )
        launcher = importlib.import_module(module)
        metavar, what = getattr(
            launcher, "CONFIG", ("CONFIG", "a YAML file, for example configs/dialogsum_flan_t5_base.yaml")
        )
        command.add_argument("config", metavar=metavar, help=what)
        command.add_argument("overrides", nargs="*", metavar="key=value", help="values that win over the file's")
        launcher.add_arguments(command)
    options = parse_arguments(parser, arguments)
    if options.command == "plan" or options.dry_run:
        require_output()
    _check_lines(options)
    return importlib.import_module(COMMANDS[options.command][0]).run(options)


def _check_lines(options: argparse.Namespace) -> None:
    """Raises UserError for what would be several lines in a script, manifest or remote command."""
    for name, given in vars(options).items():
        where = {"config": "CONFIG", "overrides": "command line"}.get(name, f"--{name.replace('_', '-')}")
        for value in given if isinstance(given, list) else [given]:
            try:
                check_one_line(str(value))
            except ValueError as error:
                raise UserError(f"{where}: {error}") from None


if __name__ == "__main__":
    run_cli(main)
