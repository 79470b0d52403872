"""What a run writes while it goes on, read as its users do: event files by TensorBoard, metrics.jsonl by pandas.

The program is target/release/inverse-flow, or that of INVERSE_FLOW_PROGRAM. scripts/test.sh installs both packages.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest

try:
    import pandas
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
except ImportError as err:
    raise unittest.SkipTest(f"records of a run: {err}") from err

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("INVERSE_FLOW_PROGRAM", str(ROOT / "target/release/inverse-flow"))
SMALL = "--limit 12 --batch-size 5 --levels 1 --steps 1 --width 4 --samples 2 --device cpu --threads 1 --quiet"
ALL = {"scalars": 0, "images": 0, "tensors": 0}


def train(folder, arguments):
    command = [PROGRAM, "train", *arguments.split()]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if finished.returncode != 0:
        raise AssertionError(finished.stderr)


def read(run):
    events = EventAccumulator(str(run), size_guidance=ALL)
    events.Reload()
    return events


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def files(run):
    return sorted(run.glob("events.out.tfevents.*"))


class Events(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def check_against_metrics(self, events, run, keys):
        """Every number of metrics.jsonl is there once, and nothing else."""
        for split, key in keys:
            measured = [line for line in lines(run) if line["split"] == split and "changes" not in line]
            expected = [(line["step"], line[key]) for line in measured]
            expected = [(step, value) for step, value in expected if value is not None]
            found = [(event.step, event.value) for event in events.Scalars(f"{split}/{key}")]
            self.assertEqual([step for step, _ in found], [step for step, _ in expected], key)
            for (_, one), (_, other) in zip(found, expected):
                self.assertAlmostEqual(one, other, delta=1e-6 * abs(other))

    def test_events_are_those_of_metrics_with_the_samples_and_the_configuration(self):
        before = time.time()
        train(self.folder, f"--tensorboard --max-steps 7 --log-every 2 {SMALL} --out run")
        after = time.time()
        run = self.folder / "run"
        events = read(run)
        train_keys = "nll_nats bpd lr grad_norm images_per_s data_wait skipped epoch".split()
        val_keys = "nll_nats bpd images_per_s".split()
        keys = [("train", key) for key in train_keys] + [("val", key) for key in val_keys]
        tags = [f"{split}/{key}" for split, key in keys]
        self.assertEqual(sorted(events.Tags()["scalars"]), sorted(tags))
        self.check_against_metrics(events, run, keys)
        times = [event.wall_time for event in events.Scalars("train/bpd")]
        self.assertEqual(times, sorted(times))
        self.assertTrue(before - 1 <= times[0] and times[-1] <= after + 1, (before, times, after))

        pictures = events.Images("samples")
        self.assertEqual([picture.step for picture in pictures], [2, 4, 6, 7])
        for picture, epoch in zip(pictures, (1, 2, 3, 4)):
            png = (run / f"samples/epoch-{epoch:04}.png").read_bytes()
            self.assertEqual(picture.encoded_image_string, png)
            size = int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
            self.assertEqual((picture.width, picture.height), size)
        (text,) = events.Tensors("config")
        config = text.tensor_proto.string_val[0].decode()
        self.assertEqual(json.loads(config), json.loads((run / "config.json").read_text()))

    def test_what_was_written_after_the_last_checkpoint_is_gone_after_resuming(self):
        run = self.folder / "run"
        train(self.folder, f"--tensorboard --max-steps 4 --log-every 2 {SMALL} --out run")
        kept = {name: (run / name).read_bytes() for name in ("checkpoints/last.safetensors", "config.json")}
        live = read(run)
        train(self.folder, "--resume run --max-steps 9 --log-every 1 --quiet")
        # as after a power cut: the checkpoint of step 4, events up to 9 and half a one
        for name, content in kept.items():
            (run / name).write_bytes(content)
        live.Reload()
        self.assertEqual(live.Scalars("train/bpd")[-1].step, 9)
        with open(files(run)[-1], "ab") as file:
            file.write(b"\x30\0\0\0\0\0\0\0half")
        train(self.folder, "--resume run --max-steps 11 --log-every 3 --lr 0.0005 --quiet")
        keys = [("train", "bpd"), ("train", "lr"), ("val", "bpd")]
        events = read(run)
        self.check_against_metrics(events, run, keys)
        steps = [event.step for event in events.Scalars("train/bpd")]
        self.assertNotIn(5, steps)
        self.assertEqual(steps, sorted(set(steps)))
        pictures = [picture.step for picture in events.Images("samples")]
        self.assertEqual(pictures, sorted(set(pictures)))
        # the configuration of each session, from its first step on
        configs = events.Tensors("config")
        self.assertEqual([event.step for event in configs], [1, 5])
        self.assertIn('"lr": 0.0005', configs[1].tensor_proto.string_val[0].decode())
        # a reader that has been looking all the time
        live.Reload()
        self.check_against_metrics(live, run, keys)

        # the setting belongs to the run, and can be changed
        self.assertTrue(json.loads((run / "config.json").read_text())["train"]["tensorboard"])
        count = len(files(run))
        train(self.folder, "--resume run --max-steps 12 --tensorboard=false --quiet")
        self.assertEqual(len(files(run)), count)
        self.assertFalse(json.loads((run / "config.json").read_text())["train"]["tensorboard"])
        train(self.folder, "--resume run --max-steps 13 --tensorboard --quiet")
        self.assertEqual(read(run).Scalars("train/bpd")[-1].step, 13)

    def test_a_folder_of_runs_is_several_runs_and_overwriting_begins_afresh(self):
        for name in ("a", "b"):
            train(self.folder, f"--tensorboard --max-steps 2 {SMALL} --out runs/{name}")
        train(self.folder, f"--max-steps 2 {SMALL} --out runs/none")
        several = EventMultiplexer().AddRunsFromDirectory(str(self.folder / "runs"))
        several.Reload()
        self.assertEqual(sorted(several.Runs()), ["a", "b"])
        run = self.folder / "runs/a"
        mine = run / "events.out.tfevents.1.mine"
        shutil.copy(files(run)[0], mine)
        train(self.folder, f"--max-steps 1 {SMALL} --overwrite --out runs/a")
        self.assertEqual(files(run), [mine])

    def test_numbers_without_log_dets_are_called_so(self):
        train(self.folder, f"--model snf --tensorboard --max-steps 3 --log-every 1 {SMALL} --out run")
        run = self.folder / "run"
        tags = read(run).Tags()["scalars"]
        self.assertNotIn("train/bpd", tags)
        self.assertIn("val/bpd", tags)
        self.check_against_metrics(read(run), run, [("train", "bpd_without_log_dets"), ("val", "bpd")])
        frame = pandas.read_json(run / "metrics.jsonl", lines=True)
        training = frame[frame.split == "train"]
        self.assertTrue(training.bpd.isna().all() and training.bpd_without_log_dets.notna().all())

    def test_the_line_of_the_page_reads_metrics_into_pandas(self):
        train(self.folder, f"--max-steps 4 --log-every 1 {SMALL} --out runs/first")
        train(self.folder, "--resume runs/first --max-steps 7 --lr 0.0005 --quiet")
        page = (ROOT / "docs/runs.md").read_text()
        block = re.search(r"```python\n(import pandas.*?)```", page, re.DOTALL).group(1)
        names = {}
        here = os.getcwd()
        os.chdir(self.folder)
        try:
            exec(block, names)
        finally:
            os.chdir(here)
        frame = names["metrics"]
        expected = lines(self.folder / "runs/first")
        self.assertEqual(len(frame), len(expected))
        for key in ("step", "split", "bpd", "lr", "seconds", "images"):
            for found, line in zip(frame[key], expected):
                value = line[key]
                if value is None:
                    self.assertTrue(pandas.isna(found), (key, line))
                elif isinstance(value, float):
                    # its reader of JSON rounds to the last bit but one
                    self.assertAlmostEqual(found, value, delta=1e-12 * abs(value))
                else:
                    self.assertEqual(found, value, (key, line))


if __name__ == "__main__":
    unittest.main()
