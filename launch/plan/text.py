"""A plan as people read it."""

from typing import Any

_GB = 1e9


def render(plan: dict[str, Any]) -> str:
    model, devices = plan["model"], plan["devices"]
    chip = devices["accelerator"]
    s = model["sizes"]
    inputs, targets = model["lengths"]
    several = f" in {_groups(devices)}" if devices["slices"] > 1 else ""
    trained = "" if model["trained"] == model["parameters"] else f", {model['trained']:,} trained"
    lines = [
        f"{plan['config']} on {devices['name']}: {devices['count']} device(s) of {chip['memory'] / _GB:.3g} GB{several}, "
        f"{plan['peak_flops'] / 1e12:.3g} TFLOP/s each ({chip['source']})",
        f"model      {model['parameters']:,} parameters{trained}: emb {s['emb_dim']}, mlp {s['mlp_dim']}, heads "
        f"{s['num_heads']} x {s['head_dim']}, layers {s['num_encoder_layers']} + {s['num_decoder_layers']}, "
        f"vocabulary {s['vocab_size']:,}; "
        f"{model['compute_dtype']}, {plan['optimizer']}",
        f"step       {plan['batch_size']} rows of {inputs}/{targets}: {model['flops'] / 1e12:,.4g} TFLOP if every row is full",
        "",
    ]
    if plan["configured"] is None:
        several = f", or mesh.data is no multiple of the {_groups(devices)}" if devices["slices"] > 1 else ""
        lines += [
            f"as configured: train.batch_size or the model's sizes cannot be divided over this mesh{several}",
            "",
        ]
    else:
        lines += _memory("as configured", plan["configured"], plan)
    best = plan["best"]
    if best is None:
        lines += [f"Nothing fits {devices['name']}: no mesh, with or without recomputation, down to one row at a time."]
        if plan["closest"]:
            lines += _memory("the smallest", plan["closest"], plan)
        if plan["enough_devices"]:
            lines += [f"By shapes, {plan['enough_devices']} would do with train.batch_size={plan['batch_size']}."]
        else:
            lines += [
                "More of them do not help with this train.batch_size, which is divided over data x fsdp; choose a larger one."
            ]
            if chip["kind"].startswith("TPU"):
                lines += [
                    "Parts of a copy (fsdp, tensor) stay in one slice; with mesh.slices=1 they may be in several."
                ]
        return "\n".join(lines)
    if plan["configured"] is None or best["overrides"] != plan["configured"]["overrides"]:
        lines += _memory("best that fits", best, plan)
    width = max(50, *(len(_name(option)) for option in plan["alternatives"]))
    lines += [f"{'best first:':<{width + 7}}memory     step   (computing, memory, links)"]
    for option in plan["alternatives"]:
        lines.append(
            f"  {_name(option):<{width}} {option['total'] / _GB:>7.1f} GB {_seconds(option['step_s']):>8} "
            f"({', '.join(_seconds(option[f'{part}_s']) for part in ('compute', 'memory', 'link'))})"
        )
    if any(option["across"] for option in plan["alternatives"]):
        lines.append("  across: a copy of the model is in several of the nodes or slices, which takes mesh.slices=1")
    return "\n".join([*lines, "", *_time(plan, best)])


def _groups(devices: dict[str, Any]) -> str:
    return f"{devices['slices']} {'nodes' if devices['accelerator']['per_node'] else 'slices'}"


def _name(option: dict[str, Any]) -> str:
    extra = (f" remat {option['remat']}" if option["remat"] != "none" else "") + (
        f" in {option['parts']} parts" if option["parts"] > 1 else ""
    )
    across = " across" if option["across"] else ""
    return f"data {option['data']} x fsdp {option['fsdp']} x tensor {option['tensor']}{across}{extra}"


_VERDICTS = {
    "yes": "fits",
    "no": "does NOT fit",
    "perhaps": "fits by shapes, not by the compiled program",
    "estimated": "fits by shapes (not compiled)",
}


def _memory(title: str, option: dict[str, Any], plan: dict[str, Any]) -> list[str]:
    usable, own = plan["usable"], plan["compiler"] != "cpu"
    lines = [
        f"{title}: {_name(option)}, {option['rows']} row(s) a device at once: {_VERDICTS[option['verdict']]}",
        "  GB a device (exact)      "
        f"parameters {(option['params'] + option['frozen']) / _GB:.3f}, optimizer {option['opt_state'] / _GB:.3f}, "
        f"gradients {option['gradients'] / _GB:.3f}",
        f"  by shapes (estimate)     activations and workspace {option['activations'] / _GB:.3f}, "
        f"in all {option['total'] / _GB:.2f} of {usable / _GB:.1f} usable",
    ]
    if program := option["compiled"]:
        line = f"  compiled for {plan['devices']['name'] if own else 'CPU devices':<12}"
        if "temporary" in program:
            state = program["params"] + program["frozen"] + program["opt_state"]
            line += f"state {state / _GB:.3f}, temporary {program['temporary'] / _GB:.2f} (gradients in it), "
        lines.append(f"{line}peak {program['peak'] / _GB:.2f}")
    if option["verdict"] == "perhaps" and not own:
        lines.append("  a CPU's program mostly takes more than an accelerator's: try it on one device before you book")
    return [*lines, ""]


def _time(plan: dict[str, Any], best: dict[str, Any]) -> list[str]:
    count, chip = plan["devices"]["count"], plan["devices"]["accelerator"]
    step_s = best["step_s"]
    tokens = plan["batch_size"] * sum(plan["model"]["lengths"])
    bound = max(("compute", "memory", "link"), key=lambda part: best[f"{part}_s"])
    bound = {"compute": "computing", "link": "what is sent"}.get(bound, bound)
    done = plan["model"]["flops"] / count
    lines = [
        f"time       {_seconds(step_s)} a step ({bound} sets it) at {plan['mfu']:.0%} of the peak, "
        f"{tokens / step_s:,.0f} tokens/s, padding included",
    ]
    if chip["bandwidth"]:
        ridge = plan["peak_flops"] / chip["bandwidth"]
        lines.append(
            f"intensity  {done / best['moved']:,.0f} FLOP a byte of memory traffic; below {ridge:,.0f} memory is the limit"
        )
    if plan["devices"]["slices"] > 1:
        lines.append(f"between    the {_groups(plan['devices'])} each device sends {_crossing(best, chip)}")
    if plan["steps"] is None:
        return [
            *lines,
            "run        how many steps train.epochs makes is known once the data are prepared; say train.steps=N",
        ]
    run_s = step_s * plan["steps"]
    hours = run_s / 3600 * count
    line = f"run        {plan['steps']:,} steps: {_seconds(run_s)}, {hours:,.2f} device-hours"
    if plan["price"] is not None:
        line += f", {hours * plan['price']:,.2f} at {plan['price']:g} a device-hour"
    return [
        *lines,
        line + " (steps alone: no start, validation, checkpoints)",
        f"with       {' '.join(best['overrides'])}",
        *([f"by         {plan['launcher']}"] if plan["launcher"] else []),
    ]


def _crossing(option: dict[str, Any], chip: dict[str, Any]) -> str:
    sent = option["crossing"]
    sent = f"{sent / _GB:,.1f} GB a step" if sent >= _GB else f"{sent / 1e6:.4g} MB a step"
    if chip["node_link"] is None:
        return f"{sent}, at a speed that is not published for {chip['kind']}: the time is WITHOUT it"
    return f"{sent}, {_seconds(option['crossing'] / chip['node_link'])} at {chip['node_link'] / _GB:.4g} GB/s"


def _seconds(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 600:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"
