"""The training loop. Read it from top to bottom: data, model, state, steps.

The order of things at a step n is fixed, because resuming depends on it: update n; log n; validate and save n, with the
position of the input stream *after* the batch of update n. A run that is cut off goes on behind its last checkpoint, drops
what metrics.jsonl says of later steps, and then computes the same numbers again.
"""

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from t5x_tasks.errors import Failure
from t5x_tasks.vocabulary import Vocabulary
from train import config as configuration
from train.anchor import check_anchor, make_anchor, open_fisher, start_files
from train.checkpoints.checkpointer import Checkpoints
from train.config import Config
from train.data.open import Batch, open_training, validation_batches
from train.log import Progress, say
from train.model.fingerprint import Prints
from train.model.flops import peak_flops
from train.model_spec import ModelSpec, resolve_method
from train.optimizer import make_optimizer, make_schedule
from train.parallel import processes, runtime
from train.parallel.mesh import batch_share, check_batch_fits, check_model_fits, global_batch, make_mesh
from train.parallel.watchdog import Watchdog, watching
from train.params import find_base, load_frozen, load_params
from train.regularizer import needs_anchor
from train.rundir import provenance, trackers
from train.rundir.goodput import Clock, summary
from train.rundir.lock import locked
from train.rundir.metrics import METRICS, MetricsLog
from train.rundir.profiler import ProfileWindow
from train.rundir.skipped import SkippedSteps
from train.rundir.throughput import Rates
from train.selection import Selection
from train.state import first_state, state_shapes, t5_config
from train.step import make_train_step, make_validation_step


def train(config: Config) -> int:
    """Trains, or goes on with a run that was cut off. Returns the exit code: 0, or 128 + the signal that stopped it.

    Raises:
      UserError: something in the configuration, the data, the weights or the run directory does not fit. Nothing has been
        written into the run directory then.
    """
    runtime.set_up(config.data.cache_folder())
    with watching(config.train.stuck_after_s, stacks=Path(config.run_dir)) as watchdog:
        return _train(config, watchdog)


def _train(config: Config, watchdog: Watchdog) -> int:
    clock = Clock()
    run_dir = Path(config.run_dir)
    trackers.check_installed(config.logging)
    processes.check_equal("configuration", configuration.dump(config))
    processes.check_shared(run_dir, "run_dir")
    vocabulary = Vocabulary.load(config.model.vocabulary)
    config = resolve_method(config, vocabulary)
    config = provenance.check_run_dir(config, run_dir)

    # Mesh and model --------------------------------------------------------------------------------------------------
    mesh = make_mesh(config.mesh)
    model_config = t5_config(config, vocabulary.size)
    processes.check_equal("path of attention", model_config.attention)
    check_model_fits(mesh, model_config)
    check_batch_fits(mesh, config.train, replayed=config.replay.rows(config.train.batch_size))
    if not (run_dir / "config.yaml").is_file():  # a run that goes on may do without
        find_base(config)  # before the data take their time
    peak, peak_source = peak_flops()

    # Data ------------------------------------------------------------------------------------------------------------
    share = batch_share(mesh)
    inputs = open_training(config, vocabulary, share)
    config, total_steps = inputs.config, inputs.total_steps
    validation = validation_batches(config, vocabulary, share)
    fisher = open_fisher(config, vocabulary)
    streams = inputs.streams | validation.streams | ({} if fisher is None else {"fisher": fisher.description})
    processes.check_equal("data", streams, explain=provenance.between_processes)

    # State -----------------------------------------------------------------------------------------------------------
    with contextlib.ExitStack() as stack:
        check_ours = stack.enter_context(locked(run_dir))
        stack.enter_context(jax.set_mesh(mesh))
        model = ModelSpec.on(mesh, model_config, config.method)
        schedule = make_schedule(config.optimizer, total_steps)
        optimizer = make_optimizer(config.optimizer, schedule, model.split(model.axes)[0])
        shapes = state_shapes(model, optimizer)
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
        batches = iter(inputs.batches)
        read: Prints = {}  # of the base
        step = processes.from_first("step to go on after", checkpoints.latest_whole) or 0
        if step:
            metadata = checkpoints.info(step).metadata
            processes.from_first("data as before", lambda: provenance.check_data(config, metadata, streams))
            if metadata.get("total_steps") == step and (ended := selection.enough(step)):
                say(f"{run_dir}: is trained to step {step} already: {ended}")
                return 0
            if step >= total_steps:
                beyond = f", and is to end at {total_steps}: there is nothing to do" if step > total_steps else ""
                say(f"{run_dir}: is trained to step {step} already{beyond}")
                return 0
            provenance.say_new_course(config, run_dir)
            provenance.say_other_packages(run_dir)
            toward: Prints = {}
            anchor = make_anchor(config, model, fisher, read=toward)
            files = start_files(config.method, anchor)
            check_anchor(anchor, metadata, read=toward, files=files, where=str(run_dir))
            frozen = load_frozen(config, model, metadata, where=str(run_dir), read=read)
            read |= toward
            restored = checkpoints.restore(step, shapes)
            current = restored.state
            batches.set_state(restored.position)
            say(f"{run_dir}: goes on after step {step}")
        else:
            pinned = model.split(model.shapes)[1] or needs_anchor(config.regularizer, config.replay)
            params, frozen = model.split(load_params(config, model, read=read if pinned else None))
            anchor = make_anchor(config, model, fisher, start=(params, frozen))
            files = start_files(config.method, anchor)
            current = first_state(params, optimizer, config.train.seed, shapes)
        provenance.write(config, run_dir, mesh, attention=model_config.attention)
        saved = step or None
        metadata = provenance.metadata(config, streams, read, files)

        # Steps -------------------------------------------------------------------------------------------------------
        shardings = jax.tree.map(lambda shape: shape.sharding, shapes)
        update = make_train_step(
            model.graphdef, optimizer, schedule, config.train, shardings,
            regularizer=config.regularizer, replay=config.replay,
        )  # fmt: skip
        validate = make_validation_step(model.graphdef)
        parameters, trained = (sum(x.size for x in jax.tree.leaves(tree)) for tree in (model.shapes, shapes["params"]))
        of = "" if trained == parameters else f"{config.method.type} trains {trained:,} of "
        say(
            f"{config.model.preset}: {of}{parameters:,} parameters, {model_config.compute_dtype.name} | "
            f"mesh {dict(mesh.shape)} | steps {step + 1} to {total_steps} of {config.train.batch_size} rows "
            f"{inputs.lengths.inputs}/{inputs.lengths.targets} | peak {peak / 1e12:.3g} TFLOP/s ({peak_source})"
        )
        log = progress = None
        if processes.is_first():
            clock.go_on(run_dir / METRICS, step=step)
            opened = trackers.open_trackers(config, run_dir, step=step)
            log = stack.enter_context(MetricsLog(run_dir, step=step, trackers=opened))
            progress = stack.enter_context(Progress(step=step, total=total_steps))
        skipped = SkippedSteps(run_dir, inputs.batches, config.train.skip, step=step)
        stop = stack.enter_context(processes.stop_signals())
        profile = ProfileWindow(config.profile if processes.is_first() else None, run_dir)
        stack.callback(profile.close)
        profile.after(step)
        rates = Rates(model.flops().update, peak, clock)
        watchdog.progress()
        clock.switch("steps")
        metrics: dict[str, jax.Array] = {}
        while step < total_steps:
            with clock.waiting(metrics):
                position = batches.get_state()
                batch = next(batches)
                arrays = global_batch(mesh, batch.arrays, parts=config.train.grad_accumulation)
            with clock.calling("update", "steps"):
                current, metrics = update(current, frozen, arrays, anchor)
            step += 1
            skipped.add(step, position, metrics)
            rates.add(batch.stats)
            profile.after(step, metrics)
            watchdog.progress(step)
            if progress:
                progress.step(step)

            # NOTE: `step` is the step just finished, `batches` stands behind its batch. Both hold until the next turn.
            last = stop.agreed(step) or step == total_steps
            saving = last or step % config.checkpoint.every_steps == 0
            # The first step is logged too: where the loss starts, and the time of compiling apart from the others'.
            if saving or step == 1 or step % config.logging.every_steps == 0:
                # Not by float(): that waits with the interpreter's lock held, and the watchdog could not see a lost peer.
                jax.block_until_ready((current, metrics))
                check_ours()
                skipped.report(saved=lambda: _last_saved(checkpoints))
                row = {"step": step, **{name: float(value) for name, value in metrics.items()}, **rates.close()}
                if saving and validation.batches:
                    with clock.calling("validate", "validation"):
                        row |= _validate(
                            validate,
                            current["params"],
                            frozen,
                            validation.batches,
                            mesh,
                            config.train.grad_accumulation,
                        )
                row |= clock.row()
                _check_finite(row, lambda: _last_saved(checkpoints))
                if log and progress:
                    log.write(row)
                    progress.report(row)
                    if saving:
                        log.sync()
                if saving:
                    with clock.on("checkpoint"):
                        settled = checkpoints.settled()
                    with clock.on("validation"):  # for the score of the last checkpoint, if there is one
                        if settled:
                            selection.wait(saved, go_on=lambda: not stop.asked and watchdog.progress() is None)
                    if step < total_steps and (ended := selection.enough(step)):
                        say(f"ends at step {step} of {total_steps}: {ended}")
                        total_steps, last = step, True
                    check_ours()
                    measured = {k: v for k, v in row.items() if k.startswith("validation_")}
                    with clock.on("checkpoint"):
                        checkpoints.save(
                            step,
                            current,
                            position=batches.get_state(),
                            # So that a reader knows the last checkpoint from the others.
                            metadata=metadata | {"total_steps": total_steps},
                            metrics=measured,
                            wait=last,
                        )
                    saved = step
                    rates.restart()
            if last and step < total_steps:
                say(f"stopped by {stop.signal.name} at step {step}, which is saved; start again to go on")
                return 128 + stop.signal
        if progress:
            progress.close()
        say(f"{run_dir}: step {total_steps} of {total_steps}, which is saved\n{summary(run_dir / METRICS, clock)}")
        return 0


def _last_saved(checkpoints: Checkpoints) -> int | None:
    """The last step that is committed, once the save in progress has ended, however."""
    checkpoints.settled()
    return processes.from_first("last checkpoint", checkpoints.latest_step)


def _check_finite(row: dict[str, Any], saved: Callable[[], int | None]) -> None:
    """Stops before weights that are not numbers are saved over good ones. Losses of training are train/skip_rule.py's."""
    if not math.isfinite(row.get("validation_loss", 0.0)):
        raise Failure(
            f"step {row['step']}: validation_loss is {row['validation_loss']}; the last checkpoint is that of step {saved()}. "
            "Try a lower learning rate or model.compute_dtype=float32"
        )


def _validate(
    validate: Any, params: Any, frozen: Any, batches: list[Batch], mesh: jax.sharding.Mesh, parts: int
) -> dict[str, float]:
    sums = [validate(params, frozen, global_batch(mesh, batch.arrays, parts=parts)) for batch in batches]
    jax.block_until_ready(sums)
    loss, correct, tokens = (sum(float(s[name]) for s in sums) for name in ("loss", "correct", "tokens"))
    return {"validation_loss": loss / max(1, tokens), "validation_accuracy": correct / max(1, tokens)}
