"""The training loop: `set_up` opens what a run needs, `start_or_resume` gives its first state, `run_steps` trains.

The order of things at a step n is fixed, because resuming depends on it: update n; log n; validate and save n, with the
position of the input stream *after* the batch of update n. An interrupted run resumes from its last checkpoint, drops what
metrics.jsonl says of later steps, and then computes the same numbers again.
"""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import jax

from t5x_tasks.common.vocabulary import Vocabulary
from train import config as configuration
from train.anchor import check_anchor, make_anchor, open_fisher, start_files
from train.checkpoints.checkpointer import Checkpoints
from train.config import Config
from train.data.batches import Batches
from train.data.open import Training, Validation, open_training, validation_batches
from train.log import say
from train.model.fingerprint import Prints
from train.model.flops import peak_flops
from train.model.t5 import Params
from train.model_spec import open_model, resolve_method
from train.parallel import processes, runtime
from train.parallel.mesh import batch_share, check_batch_fits, global_batch
from train.parallel.watchdog import Watchdog, watching
from train.params import find_base, load_frozen, load_params
from train.program import Program
from train.regularizer import Anchor, needs_anchor
from train.rundir import provenance, trackers
from train.rundir.goodput import Clock
from train.rundir.lock import locked
from train.rundir.monitor import RunMonitor
from train.selection import Selection
from train.state import TrainState, first_state


@dataclasses.dataclass(frozen=True)
class Run:
    """Everything that a run needs, opened once.

    Attributes:
      config: with everything resolved that keys leave to the data.
      inputs: the training input.
      fisher: what the importance of parameters is estimated on, with EWC.
      streams: what fixes the data; compared when the run resumes.
      check_ours: raises where another process has taken the run directory.
      peak_flops: FLOP/s of all devices, and where the figure comes from.
    """

    config: Config
    run_dir: Path
    program: Program
    inputs: Training
    validation: Validation
    fisher: Batches | None
    streams: provenance.Streams
    selection: Selection
    checkpoints: Checkpoints
    check_ours: Any
    peak_flops: tuple[float, str]
    clock: Clock
    watchdog: Watchdog

    def last_saved(self) -> int | None:
        """The last step that is committed, once the save in progress has ended, however."""
        self.checkpoints.settled()
        return processes.from_first("last checkpoint", self.checkpoints.latest_step)


@dataclasses.dataclass(frozen=True)
class Start:
    """Where the steps begin: after `step`, 0 in a new run, with the input stream behind its batch.

    Attributes:
      frozen: parameters that the method does not train.
      metadata: what each checkpoint of the run carries besides arrays.
    """

    step: int
    state: TrainState
    frozen: Params
    anchor: Anchor | None
    batches: Any  # iterator with get_state() and set_state()
    metadata: dict[str, Any]


def train(config: Config) -> int:
    """Trains, or resumes an interrupted run. Returns the exit code: 0, or 128 + the signal that stopped it.

    Raises:
      UserError: something in the configuration, the data, the weights or the run directory does not fit. Nothing has been
        written into the run directory then.
    """
    runtime.set_up(config.data.cache_folder())
    with watching(config.train.stuck_after_s, stacks=Path(config.run_dir)) as watchdog, contextlib.ExitStack() as stack:
        run = set_up(config, watchdog, stack)
        start = start_or_resume(run)
        return 0 if start is None else run_steps(run, start)


def set_up(config: Config, watchdog: Watchdog, stack: contextlib.ExitStack) -> Run:
    """Opens what a run needs, what is cheap and may be wrong first; `stack` closes it.

    Raises:
      UserError: see `train`.
    """
    clock, run_dir = Clock(), Path(config.run_dir)
    trackers.check_installed(config.logging)
    processes.check_equal("configuration", configuration.dump(config))
    processes.check_shared(run_dir, "run_dir")
    vocabulary = Vocabulary.load(config.model.vocabulary)
    config = provenance.check_run_dir(resolve_method(config, vocabulary), run_dir)

    model = open_model(config, vocabulary.size)
    processes.check_equal("path of attention", model.config.attention)
    check_batch_fits(model.mesh, config.train, replayed=config.replay.rows(config.train.batch_size))
    if not (run_dir / "config.yaml").is_file():  # a run that resumes may do without
        find_base(config)  # before the data take their time
    peak = peak_flops()

    share = batch_share(model.mesh)
    inputs = open_training(config, vocabulary, share)
    config = inputs.config
    validation = validation_batches(config, vocabulary, share)
    fisher = open_fisher(config, vocabulary)
    streams = inputs.streams | validation.streams | ({} if fisher is None else {"fisher": fisher.description})
    processes.check_equal("data", streams, explain=provenance.between_processes)

    check_ours = stack.enter_context(locked(run_dir))
    stack.enter_context(jax.set_mesh(model.mesh))
    program = Program.of(config, model, total_steps=inputs.total_steps)
    selection = Selection(run_dir, config)
    checkpoints = stack.enter_context(
        Checkpoints(
            run_dir / "checkpoints",
            keep_latest=config.checkpoint.keep_latest,
            keep_best=config.checkpoint.keep_best,
            best_metric="validation_loss",
            ranking=selection.ranking,
            alive=watchdog.progress,
        )
    )
    return Run(
        config, run_dir, program, inputs, validation, fisher, streams, selection, checkpoints, check_ours, peak, clock,
        watchdog,
    )  # fmt: skip


def start_or_resume(run: Run) -> Start | None:
    """The first state of a new run, or that of the last checkpoint; None where there is nothing (more) to do.

    Raises:
      UserError: data, weights or the regulariser's target are others than those that the run began with.
    """
    config, model, total_steps = run.config, run.program.model, run.inputs.total_steps
    batches = iter(run.inputs.batches)
    read: Prints = {}  # fingerprints of the base
    step = processes.from_first("step to resume after", run.checkpoints.latest_whole) or 0
    if step:
        metadata = run.checkpoints.info(step).metadata
        processes.from_first("data as before", lambda: provenance.check_data(config, metadata, run.streams))
        if (ended := _ended(run, step, metadata)) is not None:
            say(f"{run.run_dir}: is trained to step {step} already{ended}")
            return None
        provenance.say_new_course(config, run.run_dir)
        provenance.say_other_packages(run.run_dir)
        toward: Prints = {}
        anchor = make_anchor(config, model, run.fisher, read=toward)
        files = start_files(config.method, anchor)
        check_anchor(anchor, metadata, read=toward, files=files, where=str(run.run_dir))
        frozen = load_frozen(config, model, metadata, where=str(run.run_dir), read=read)
        read |= toward
        restored = run.checkpoints.restore(step, run.program.state)
        state = restored.state
        batches.set_state(restored.position)
        say(f"{run.run_dir}: resumes after step {step}")
    else:
        pinned = model.split(model.shapes)[1] or needs_anchor(config.regularizer, config.replay)
        params, frozen = model.split(load_params(config, model, read=read if pinned else None))
        anchor = make_anchor(config, model, run.fisher, start=(params, frozen))
        files = start_files(config.method, anchor)
        state = first_state(params, run.program.optimizer, config.train.seed, run.program.state)
    provenance.write(config, run.run_dir, model.mesh, attention=model.config.attention)
    parameters, trained = run.program.num_parameters
    some = "" if trained == parameters else f"{config.method.type} trains {trained:,} of "
    lengths, (peak, source) = run.inputs.lengths, run.peak_flops
    say(
        f"{config.model.preset}: {some}{parameters:,} parameters, {model.config.compute_dtype.name} | "
        f"mesh {dict(model.mesh.shape)} | steps {step + 1} to {total_steps} of {config.train.batch_size} rows "
        f"{lengths.inputs}/{lengths.targets} | peak {peak / 1e12:.3g} TFLOP/s ({source})"
    )
    return Start(step, state, frozen, anchor, batches, provenance.metadata(config, run.streams, read, files))


def _ended(run: Run, step: int, metadata: dict[str, Any]) -> str | None:
    """The words after "is trained to step n already" where a run has no steps left to do; None where it has."""
    if metadata.get("total_steps") == step and (why := run.selection.enough(step)):
        return f": {why}"
    total_steps = run.inputs.total_steps
    if step < total_steps:
        return None
    return f", and is to end at {total_steps}: there is nothing to do" if step > total_steps else ""


def run_steps(run: Run, start: Start) -> int:
    """Trains from `start` to the end. Returns the exit code: 0, or 128 + the signal that stopped it."""
    config, program, checkpoints, clock = run.config, run.program, run.checkpoints, run.clock
    step, state, batches, total_steps = start.step, start.state, start.batches, run.inputs.total_steps
    monitor = RunMonitor(
        config, clock=clock, batches=run.inputs.batches, flops=program.model.flops().update, peak_flops=run.peak_flops[0],
        step=step, total_steps=total_steps, watchdog=run.watchdog,
    )  # fmt: skip
    metrics: dict[str, jax.Array] = {}
    saved = step or None
    with monitor, processes.stop_signals() as stop:
        while step < total_steps:
            with clock.waiting(metrics):
                position = batches.get_state()
                batch = next(batches)
                arrays = global_batch(program.model.mesh, batch.arrays, parts=config.train.grad_accumulation)
            with clock.calling("update", "steps"):
                state, metrics = program.update(state, start.frozen, arrays, start.anchor)
            step += 1
            monitor.after(step, position, metrics, batch.stats)

            # NOTE: `step` is the step just finished, `batches` is behind its batch. Both hold until the next turn.
            last = stop.agreed(step) or step == total_steps
            saving = last or step % config.checkpoint.every_steps == 0
            # The first step is logged too: where the loss starts, and the time of compiling apart from the others'.
            if not (saving or step == 1 or step % config.logging.every_steps == 0):
                continue
            # Not by float(): that waits with the interpreter's lock held, and the watchdog could not see a lost peer.
            jax.block_until_ready((state, metrics))
            run.check_ours()
            row = monitor.measure(step, metrics, saved=run.last_saved)
            if saving:
                row |= validate(run, state.params, start.frozen)
            monitor.write(row, saved=run.last_saved, sync=saving)
            if not saving:
                continue
            if (ended := _enough(run, saved, step, stop)) and step < total_steps:
                say(f"ends at step {step} of {total_steps}: {ended}")
                total_steps, last = step, True
            run.check_ours()
            measured = {name: value for name, value in row.items() if name.startswith("validation_")}
            # `total_steps`: so that a reader knows the last checkpoint from the others.
            metadata = start.metadata | {"total_steps": total_steps}
            with clock.on("checkpoint"):
                checkpoints.save(
                    step, state, position=batches.get_state(), metadata=metadata, metrics=measured, wait=last
                )
            saved = step
            monitor.restart_rates()
            if last and step < total_steps:
                say(f"stopped by {stop.signal.name} at step {step}, which is saved; start again to resume")
                return 128 + stop.signal
        monitor.end(step)
        return 0


def validate(run: Run, params: Params, frozen: Params) -> dict[str, float]:
    """The validation loss, in nats per target token, and accuracy; nothing where there is nothing to validate on."""
    if not run.validation.batches:
        return {}
    mesh, parts = run.program.model.mesh, run.config.train.grad_accumulation
    with run.clock.calling("validate", "validation"):
        batches = (global_batch(mesh, batch.arrays, parts=parts) for batch in run.validation.batches)
        sums = [run.program.validate(params, frozen, batch) for batch in batches]
        jax.block_until_ready(sums)
        loss, correct, tokens = (sum(float(s[name]) for s in sums) for name in ("loss", "correct", "tokens"))
    return {"validation_loss": loss / max(1, tokens), "validation_accuracy": correct / max(1, tokens)}


def _enough(run: Run, saved: int | None, step: int, stop: processes.Stop) -> str | None:
    """Why the run ends at this step; where a task's score ranks checkpoints, waits for that of the last one."""
    with run.clock.on("checkpoint"):
        settled = run.checkpoints.settled()
    with run.clock.on("validation"):
        if settled:
            run.selection.wait(saved, go_on=lambda: not stop.asked and run.watchdog.progress() is None)
    return run.selection.enough(step)
