#!/usr/bin/env python3
"""Takes one training step of every flow family on a device and on the CPU, from the same seed, and compares what comes out:
the loss and the norm of its gradient, the gradient of every parameter (from the optimiser's first moments in the
checkpoint), and the validation loss after the step.

    scripts/compare_devices.py PROGRAM [DEVICE] [FAMILY...]    DEVICE is cuda by default, the families are all that there are

One line a family; ends with 1 where one differs by more than rounding. Only the standard library is used.
"""

import array
import json
import math
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

# relative differences that float32 explains
LIMITS = {"loss": 1e-5, "gradient norm": 1e-3, "gradient": 2e-3, "loss after the step": 1e-3}
# a parameter's gradient counts as much as this share of the whole at least: what is smaller is rounding of the rest
SHARE = 1e-3
BATCH = 16
MOMENT = "optim.exp_avg."


def families(program):
    listing = subprocess.run([program, "inspect", "--presets"], check=True, capture_output=True, text=True).stdout
    return [name for name in re.findall(r"^quick/(\S+)", listing, re.MULTILINE) if name != "mnist"]


def step(program, family, device):
    """The numbers of one step, by their names; a gradient is an array for each parameter."""
    with tempfile.TemporaryDirectory() as folder:
        return step_in(pathlib.Path(folder), program, family, device)


def step_in(folder, program, family, device):
    run, settings = folder / "run", folder / "settings.json"
    settings.write_text(json.dumps({"train": {"samples": 1}}))
    command = [program, "train", "--preset", f"quick/{family}", "--config", settings, "--device", device, "--seed", "1", "--quiet"]
    command += ["--max-steps", "1", "--limit", str(BATCH), "--batch-size", str(BATCH), "--out", run]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"on {device}: {done.stderr.strip() or done.stdout.strip() or done.returncode}")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    of = {line["split"]: line for line in lines}
    return {
        "loss": of["train"].get("nll_nats") or of["train"]["nll_nats_without_log_dets"],
        "gradient norm": of["train"]["grad_norm"],
        "gradient": moments(run / "checkpoints" / "last.safetensors"),
        "loss after the step": of["val"]["nll_nats"],
    }


def moments(path):
    """First moments of the optimiser, a tenth of the gradient after one step, by the names of the parameters."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header, body = json.loads(data[8 : 8 + length]), memoryview(data)[8 + length :]
    found = {}
    for name, tensor in header.items():
        if name.startswith(MOMENT):
            start, end = tensor["data_offsets"]
            found[name[len(MOMENT) :]] = array.array({"F32": "f", "F64": "d"}[tensor["dtype"]], bytes(body[start:end]))
    return found


def norm(values):
    return math.sqrt(math.fsum(v * v for v in values))


def difference(got, expected):
    """Relative difference of two numbers, or the largest of two gradients; a NaN is one, and so is a missing parameter."""
    if not isinstance(expected, dict):
        return abs(got - expected) / max(abs(expected), 1e-12)
    if not expected or got.keys() != expected.keys():
        return math.nan
    least = SHARE * norm(norm(values) for values in expected.values())
    differences = [
        norm(a - b for a, b in zip(got[name], values)) / max(norm(values), least, 1e-30)
        for name, values in expected.items()
    ]
    return math.nan if any(map(math.isnan, differences)) else max(differences)


def main(arguments):
    if not arguments or arguments[0].startswith("-"):
        sys.exit(__doc__)
    program, device = pathlib.Path(arguments[0]).resolve(), (arguments[1:] or ["cuda"])[0]
    names = arguments[2:] or families(program)
    if not names:
        sys.exit(f"compare_devices.py: {program} knows no family")
    failed = 0
    for family in names:
        try:
            got, expected = (step(program, family, where) for where in (device, "cpu"))
        except RuntimeError as problem:
            failed += 1
            print(f"{family}: FAILED {problem}", flush=True)
            continue
        differences = {what: difference(got[what], expected[what]) for what in LIMITS}
        # written so that a NaN fails
        wrong = [what for what, limit in LIMITS.items() if not differences[what] <= limit]
        failed += bool(wrong)
        text = ", ".join(f"{what} {value:.1e}" for what, value in differences.items())
        print(f"{family}: {'FAILED (' + ', '.join(wrong) + ')' if wrong else 'ok'}: {text}", flush=True)
    print(f"{len(names) - failed} of {len(names)} families agree with the CPU", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main(sys.argv[1:])
