"""What TorchScript files compute, against the answers of the Rust side that lie beside them; see test_torchscript.py.

    python torchscript_checks.py Portable        nothing of ours may be loaded
    python torchscript_checks.py WithOperator    loads INVERSE_FLOW_LIBRARY
"""

import functools
import json
import os
import pathlib
import unittest
import zipfile

import torch

FOLDER = pathlib.Path(os.environ["INVERSE_FLOW_SCRIPT_FILES"])
TOLERANCE = 1e-5


def read_safetensors(path):
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    dtypes = {"F32": torch.float32, "BOOL": torch.bool}
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensor = torch.frombuffer(bytearray(data[start + begin : start + end]), dtype=dtypes[entry["dtype"]])
            tensors[name] = tensor.reshape(entry["shape"])
    return tensors


ANSWERS = {path.stem: read_safetensors(path) for path in sorted(FOLDER.glob("*.safetensors"))}


def numbered(answers, name):
    return [answers[f"{name}.{i}"] for i in range(sum(key.startswith(name + ".") for key in answers))]


def kind(answers, name):
    return {key[len(name) + 1 :]: value for key, value in answers.items() if key.startswith(name + ":")}


def for_each_model(test):
    """Runs `test(self, model, answers)` for every model, and names the ones that fail."""

    @functools.wraps(test)
    def run(self):
        for name, answers in ANSWERS.items():
            if name.startswith(self.families):
                with self.subTest(name):
                    test(self, self.load(name), answers)

    return run


def as_written(test):
    """Runs a test without the rewriting that TorchScript does for every new shape, which takes longer than the test."""

    @functools.wraps(test)
    def run(*arguments):
        with torch.jit.optimized_execution(False):
            test(*arguments)

    return run


class Checks:
    suffix = ""
    families = ()

    def load(self, name):
        return torch.jit.load(FOLDER / f"{name}{self.suffix}")

    def assert_close(self, got, expected, tolerance=TOLERANCE):
        scale = max(1.0, float(expected.detach().abs().max())) if expected.numel() else 1.0
        torch.testing.assert_close(got, expected, rtol=0, atol=tolerance * scale)

    def assert_all_close(self, got, expected, tolerance=TOLERANCE):
        self.assertEqual(len(got), len(expected))
        for g, e in zip(got, expected):
            self.assert_close(g, e, tolerance)

    def test_every_family_is_there(self):
        families = "inverse-flow snf emerging finc cinc woodbury butterfly macow mintnet".split()
        self.assertLessEqual(set(families), set(ANSWERS))

    def test_a_program_that_torchscript_has_rewritten_computes_the_same(self):
        for name in ["inverse-flow", "emerging"]:
            model, a = self.load(name), ANSWERS[name]
            with torch.no_grad():
                for _ in range(3):  # the rewriting begins with the second run
                    self.assert_close(model.sample(numbered(a, "eps")), a["sample"])
                    self.assert_close(model.log_prob(a["x"], a["noise"]), a["log_prob"])

    @for_each_model
    @as_written
    def test_samples_and_likelihoods_are_those_of_rust(self, model, a):
        with torch.no_grad():
            self.assert_close(model.sample(numbered(a, "eps")), a["sample"])
            self.assert_close(model.decode(numbered(a, "eps")), a["decode"])
            self.assert_close(model.log_prob(a["x"], a["noise"]), a["log_prob"])
            self.assert_close(model(a["x"]), a["midpoint"])
            latents, log_det = model.encode(a["x"], a["noise"])
        self.assert_all_close(latents, numbered(a, "latent"))
        self.assert_close(log_det, a["log_det"])

    @for_each_model
    @as_written
    def test_gradients_are_those_of_rust(self, model, a):
        model.log_prob(a["x"], a["noise"]).mean().backward()
        expected = kind(a, "grad")
        got = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        self.assertEqual(got.keys(), expected.keys())
        for name in got:
            scale = float(expected[name].abs().max())
            self.assert_close(got[name] / scale, expected[name] / scale, 1e-4)

    @for_each_model
    def test_names_and_numbers_are_those_of_the_variables(self, model, a):
        for got, expected in [
            (dict(model.named_parameters()), kind(a, "parameter")),
            (dict(model.named_buffers()), kind(a, "buffer")),
        ]:
            self.assertEqual(got.keys(), expected.keys())
            for name in got:
                self.assertEqual(got[name].dtype, expected[name].dtype)
                self.assertTrue(torch.equal(got[name], expected[name]), name)
        self.assertTrue(all(p.requires_grad and p.is_leaf for p in model.parameters()))
        self.assertLessEqual(model.state_dict().keys(), a.keys() | {k.split(":")[-1] for k in a})

    @for_each_model
    @as_written
    def test_in_float64_latents_come_back_from_their_images(self, model, a):
        model.to(torch.float64)
        self.assert_close(model.log_prob(a["x"].double(), a["noise"].double()).float(), a["log_prob"], 1e-4)
        with torch.no_grad():
            eps = [e.double() for e in numbered(a, "eps")]
            images, step = model.decode(eps), a["step"].item()
            # continuous images are their pixels and noise
            pixels = torch.floor(images / step) * step
            latents, _ = model.encode(pixels, (images - pixels) / step)
            self.assert_all_close(latents, eps, 1e-6)
            if step == 1:  # without noise the program adds 0.5 to the pixels
                latents, _ = model.encode(images - 0.5)
                self.assert_all_close(latents, eps, 1e-6)

    @for_each_model
    @as_written
    def test_every_image_of_a_batch_of_any_size_is_for_itself(self, model, a):
        with torch.no_grad():
            for batch in [slice(1, 2), slice(0, 2), slice(0, 0)]:
                got = model.log_prob(a["x"][batch], a["noise"][batch])
                self.assert_close(got, a["log_prob"][batch])
                sample = model.sample([e[batch] for e in numbered(a, "eps")])
                self.assert_close(sample, a["sample"][batch])

    def test_a_frozen_program_computes_the_same(self):
        for name in ["inverse-flow", "finc"]:
            model, a = self.load(name), ANSWERS[name]
            frozen = torch.jit.freeze(model.eval(), preserved_attrs=["sample", "log_prob"])
            self.assertEqual(len(list(frozen.parameters())), 0)
            with torch.no_grad():
                for _ in range(2):
                    self.assert_close(frozen.sample(numbered(a, "eps")), a["sample"])
                    self.assert_close(frozen.log_prob(a["x"], a["noise"]), a["log_prob"])

    @for_each_model
    @as_written
    def test_samples_are_pixels_at_the_ends_of_the_range_too(self, model, a):
        white = 256.0 - 2.0**-16
        # so wide that pixels saturate, and beyond where the sigmoid of float32 rounds to 0 and 1
        for width in [1.0, 30.0]:
            eps = [width * e for e in numbered(a, "eps")]
            with torch.no_grad():
                try:
                    decoded, images = model.decode(eps), model.sample(eps)
                except torch.jit.Error as error:  # a fixed point that is not reached
                    self.assertIn("residual", str(error))
                    continue
            whole = torch.isfinite(decoded)
            self.assertTrue(torch.equal(images[whole], decoded[whole].clamp(0.0, white)))
            self.assertTrue(bool(images[~whole].isnan().all()))
            self.assertTrue(torch.equal(images[whole].to(torch.uint8).float(), images[whole].floor()))
            images = images[whole.flatten(1).all(1)]
            for noise in [images - images.floor(), torch.rand_like(images), None]:
                with torch.no_grad():
                    latents, log_det = model.encode(images.floor() if noise is not None else images, noise)
                for number in [*latents, log_det]:
                    self.assertFalse(bool(number.isnan().any()))

    def test_wrong_shapes_are_errors_that_say_so(self):
        model, a = self.load("inverse-flow"), ANSWERS["inverse-flow"]
        eps = numbered(a, "eps")
        for call, message in [
            (lambda: model.log_prob(a["x"][:, :2]), r"\[C, H, W\] = \[3, 12, 8\], got \[3, 2, 12, 8\]"),
            (lambda: model.sample(eps[:1]), "expected 2 latents, got 1"),
            (lambda: model.sample([eps[1], eps[0]]), "latent 0 .* got"),
        ]:
            with self.assertRaisesRegex(torch.jit.Error, message):
                call()

    def test_an_inverse_that_does_not_converge_or_exist_is_an_error(self):
        model, a = self.load("mintnet"), ANSWERS["mintnet"]
        getattr(model.layers, "0").lower.iterations = 0
        with self.assertRaisesRegex(torch.jit.Error, "residual of the inverse is .* allowed 1\.0\d*e-05"):
            model.sample(numbered(a, "eps"))
        model, a = self.load("butterfly-own"), ANSWERS["butterfly-own"]
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 4 and parameter.size(1) == parameter.size(2) == 2:
                    parameter.zero_()
        with self.assertRaisesRegex(torch.jit.Error, "nearly singular"):
            model.sample(numbered(a, "eps"))

    def test_a_file_has_every_kind_of_layer_once_and_says_what_it_is(self):
        with zipfile.ZipFile(FOLDER / f"inverse-flow{self.suffix}") as archive:
            code = archive.read("archive/code/__torch__/inverse_flow.py").decode()
        for layer in ["ActNorm", "InvConv", "Coupling", "Squeeze", "Model"]:
            self.assertEqual(code.count(f"class {layer}("), 1, layer)
        self.assertEqual("ops.inverse_flow" in code, self.suffix != ".pt")
        extra = {"inverse_flow.json": ""}
        model = torch.jit.load(FOLDER / f"inverse-flow{self.suffix}", _extra_files=extra)
        self.assertEqual(json.loads(extra["inverse_flow.json"])["model"]["mixing"]["kind"], "inverse-flow")
        self.assertEqual(model.image_shape, [3, 12, 8])
        self.assertEqual(model.latent_shapes, [[6, 6, 4], [24, 3, 2]])


class Conditional(unittest.TestCase):
    """Files of models that are told the class, in the folder `conditional`."""

    def test_what_they_compute_given_a_class_and_without_is_what_rust_does(self):
        files = sorted((FOLDER / "conditional").glob("*.pt"))
        self.assertGreater(len(files), 10)
        label = torch.tensor([2, 0, 1])
        for file in files:
            with self.subTest(file.stem), torch.no_grad(), torch.jit.optimized_execution(False):
                a = read_safetensors(file.with_suffix(".safetensors"))
                model = torch.jit.load(file)
                self.assertEqual(model.class_names, ["round", 'a "b"', "ä"])
                self.assertEqual(model.class_images, [5, 3, 2])
                for got, expected in [
                    (model.log_prob(a["x"], label, a["noise"]), a["log_prob"]),
                    (model(a["x"], label, a["noise"]), a["log_prob"]),
                    (model.class_log_probs(a["x"], a["noise"]), a["class_log_probs"]),
                    (model.marginal_log_prob(a["x"], a["noise"]), a["marginal"]),
                    (model.sample(numbered(a, "eps"), label), a["sample"]),
                ]:
                    scale = float(expected.abs().max())
                    torch.testing.assert_close(got, expected, rtol=0, atol=TOLERANCE * scale)

    def test_labels_that_are_no_classes_are_errors_that_say_so(self):
        model = torch.jit.load(FOLDER / "conditional" / "inverse-flow.pt")
        x = torch.zeros(2, *model.image_shape)
        for label, message in [
            (torch.tensor([0, 3]), "numbers of classes from 0 to 2"),
            (torch.tensor([0, -1]), "numbers of classes from 0 to 2"),
            (torch.tensor([0]), r"\[N\] integers with N = 2"),
            (torch.tensor([0.0, 1.0]), r"\[N\] integers with N = 2"),
        ]:
            with self.assertRaisesRegex(torch.jit.Error, message):
                model.log_prob(x, label)


class Portable(Checks, unittest.TestCase):
    suffix = ".pt"
    families = ("",)

    def test_nothing_of_ours_is_loaded(self):
        with self.assertRaises(AttributeError):
            torch.ops.inverse_flow.inv_conv2d
        with self.assertRaisesRegex(RuntimeError, "inverse_flow::masked_conv2d|inverse_flow::inv_conv2d"):
            torch.jit.load(FOLDER / "inverse-flow.operator.pt")


class WithOperator(Checks, unittest.TestCase):
    suffix = ".operator.pt"
    # the text of the others is the same in both forms, but for functions that they do not use
    families = ("inverse-flow", "emerging", "finc", "cinc")

    @classmethod
    def setUpClass(cls):
        torch.ops.load_library(os.environ["INVERSE_FLOW_LIBRARY"])


if __name__ == "__main__":
    unittest.main()
