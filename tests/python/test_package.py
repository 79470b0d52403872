"""The package python/inverse_flow: functions and layer under everything that PyTorch does to a function."""

import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import torch
import torch._dynamo.testing

import inverse_flow
from inverse_flow import CORNERS, InvConv2d, inv_conv2d, masked_conv2d

ROOT = pathlib.Path(__file__).resolve().parents[2]
# the package that is tested: the installed one, or that of PYTHONPATH
PACKAGE = pathlib.Path(inverse_flow.__file__).resolve().parent
BOTH = [inv_conv2d, masked_conv2d]
TWO = ("top_right", "bottom_left")


def images(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def filters(count, channels, k, corners, seed=1, dtype=torch.float64):
    """`count` effective weights of random layers, with diagonals other than 1."""
    layers = [InvConv2d(channels, k, corners, diagonal="learnable", dtype=dtype) for _ in range(count)]
    for index, layer in enumerate(layers):
        layer.weight.data = 0.2 * images(*layer.weight.shape, seed=seed + index, dtype=dtype)
    return torch.stack([layer.effective_weight().detach() for layer in layers])


class Vmap(unittest.TestCase):
    """vmap against a loop over the examples."""

    def check(self, function, in_dims, *arguments):
        examples = next(t.shape[d] for t, d in zip(arguments, in_dims) if d is not None)
        expected = torch.stack(
            [function(*(t if d is None else t.select(d, i) for t, d in zip(arguments, in_dims))) for i in range(examples)]
        )
        torch.testing.assert_close(torch.vmap(function, in_dims)(*arguments), expected, rtol=0, atol=1e-12)

    def test_images_weights_or_both(self):
        w = filters(3, 4, 2, TWO)
        for op in BOTH:
            function = lambda x, w: op(x, w, TWO)
            self.check(function, (0, None), images(3, 2, 4, 5, 3), w[0])
            self.check(function, (2, None), images(2, 4, 3, 5, 3), w[0])
            self.check(function, (None, 0), images(2, 4, 5, 3), w)
            self.check(function, (1, 0), images(2, 3, 4, 5, 3), w)
            self.check(function, (0, 4), images(3, 2, 4, 5, 3), w.movedim(0, 4))
            self.check(function, (0, 0), images(3, 0, 4, 5, 3), w)

    def test_vmap_of_vmap(self):
        x, w = images(2, 3, 2, 4, 5, 3), filters(3, 4, 2, TWO)
        for op in BOTH:
            inner = torch.vmap(lambda x, w: op(x, w, TWO))
            self.check(inner, (0, None), x, w)

    def test_gradients_for_each_example(self):
        x, w = images(3, 1, 4, 5, 3), filters(3, 4, 2, TWO)
        for op in BOTH:
            loss = lambda w, x: op(x, w, TWO).pow(3).sum()
            self.check(torch.func.grad(loss), (None, 0), w[0], x)
            self.check(torch.func.grad(loss), (0, 0), w, x)
            self.check(torch.func.grad(loss), (0, None), w, x[0])
            # the gradient of the gradient: every rule of the internal operators
            second = torch.func.grad(lambda w, x: torch.func.grad(loss)(w, x).pow(2).sum())
            self.check(second, (0, 0), w, x)
            self.check(torch.func.grad(lambda x, w: torch.func.grad(loss)(w, x).pow(2).sum()), (0, 0), x, w)

    def test_jacobian_is_the_dense_inverse(self):
        x, w = images(1, 3, 2, 4), filters(1, 3, 2, ["top_left"])[0]
        solve, conv = (torch.func.jacrev(op)(x, w, ["top_left"]).reshape(24, 24) for op in BOTH)
        torch.testing.assert_close(solve @ conv, torch.eye(24, dtype=torch.float64), rtol=0, atol=1e-12)

    def test_an_example_without_a_batch_is_an_error_that_says_so(self):
        w = filters(3, 4, 2, TWO)
        for arguments, dims in [((images(3, 4, 5, 3), w[0]), (0, None)), ((images(3, 4, 5, 3), w), (0, 0))]:
            with self.assertRaisesRegex(RuntimeError, r"inv_conv2d: `input` must .*\[B, C, H, W\]"):
                torch.vmap(lambda x, w: inv_conv2d(x, w, TWO), dims)(*arguments)


class Transforms(unittest.TestCase):
    def test_gradients_of_first_and_second_order(self):
        for op in BOTH:
            arguments = images(2, 4, 3, 5).requires_grad_(), filters(1, 4, 3, TWO)[0].requires_grad_()
            self.assertTrue(torch.autograd.gradcheck(lambda x, w: op(x, w, TWO), arguments))
            self.assertTrue(torch.autograd.gradgradcheck(lambda x, w: op(x, w, TWO), arguments))

    def test_functional_gradient_is_autograds(self):
        x, w = images(2, 4, 3, 5), filters(1, 4, 3, TWO)[0]
        for op in BOTH:
            loss = lambda x, w: op(x, w, TWO).square().sum()
            leaves = x.clone().requires_grad_(), w.clone().requires_grad_()
            expected = torch.autograd.grad(loss(*leaves), leaves)
            for got, want in zip(torch.func.grad(loss, (0, 1))(x, w), expected):
                self.assertTrue(torch.equal(got, want))

    def test_forward_mode_is_the_transposed_of_reverse_mode(self):
        x, w = images(1, 4, 2, 3), filters(1, 4, 2, TWO)[0]
        for op, argument in itertools.product(BOTH, [0, 1]):
            # of a gradient too: the rules of the internal operators
            gradient = torch.func.grad(lambda x, w: op(x, w, TWO).pow(3).sum(), 1)
            for f in [lambda x, w: op(x, w, TWO), gradient]:
                forward, reverse = torch.func.jacfwd(f, argument)(x, w), torch.func.jacrev(f, argument)(x, w)
                torch.testing.assert_close(forward, reverse, rtol=1e-10, atol=1e-12)

    def test_forward_mode_outside_of_torch_func_is_an_error(self):
        x, w = images(1, 4, 2, 3), filters(1, 4, 2, TWO)[0]
        with torch.autograd.forward_ad.dual_level():
            with self.assertRaisesRegex(RuntimeError, "jvp is not implemented"):
                inv_conv2d(torch.autograd.forward_ad.make_dual(x, x), w, TWO)

    def test_many_backward_passes_of_one_graph(self):
        x, w = images(1, 4, 2, 3).requires_grad_(), filters(1, 4, 2, TWO)[0].requires_grad_()
        for op in BOTH:
            loss = lambda x, w: op(x, w, TWO)
            one, many = (torch.autograd.functional.jacobian(loss, (x, w), vectorize=v) for v in [False, True])
            for a, b in zip(one, many):
                torch.testing.assert_close(a, b, rtol=0, atol=1e-12)

    def test_opcheck(self):
        arguments = images(2, 4, 3, 5).requires_grad_(), filters(1, 4, 3, TWO)[0].requires_grad_(), list(TWO)
        for op in [torch.ops.inverse_flow.inv_conv2d, torch.ops.inverse_flow.masked_conv2d]:
            torch.library.opcheck(op.default, arguments)

    def test_autocast_computes_in_float32_forward_and_backward(self):
        layer = InvConv2d(4, 3, TWO)
        x = images(2, 4, 5, 3, dtype=torch.bfloat16).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z, log_det = layer(x)
        self.assertEqual((z.dtype, log_det.dtype), (torch.float32, torch.float32))
        full = x.detach().float().requires_grad_()
        torch.testing.assert_close(z, layer(full)[0], rtol=0, atol=0)
        expected = torch.autograd.grad(layer(full)[0].square().sum(), layer.weight)[0]
        torch.testing.assert_close(torch.autograd.grad(z.square().sum(), layer.weight)[0], expected, rtol=0, atol=0)


class Compile(unittest.TestCase):
    """One graph without breaks, the same numbers, and no new graph for each size."""

    def check(self, backend):
        torch.compiler.reset()
        layer = InvConv2d(4, 3, TWO, diagonal="learnable", bound=0.8, init_std=0.1, dtype=torch.float64)

        def loss(x):
            z, log_det = layer(x * 2)
            again, _ = layer.inverse(z)
            return (z.square().sum() - log_det.sum() + again.sum()) / x.shape[0]

        counter = torch._dynamo.testing.CompileCounterWithBackend(backend)
        compiled = torch.compile(loss, backend=counter, fullgraph=True, dynamic=True)
        for shape in [(2, 4, 5, 3), (3, 4, 7, 6), (5, 4, 4, 9)]:
            x = images(*shape).requires_grad_()
            expected = torch.autograd.grad(loss(x), (x, layer.weight))
            for got, want in zip(torch.autograd.grad(compiled(x), (x, layer.weight)), expected):
                torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)
        self.assertEqual(counter.frame_count, 1)

    def test_aot_eager(self):
        self.check("aot_eager")

    def test_inductor(self):
        self.check("inductor")


class Layer(unittest.TestCase):
    def layers(self):
        for corners, diagonal, bound in itertools.product(
            [("top_left",), TWO, CORNERS], ["unit", "learnable"], [None, 0.5]
        ):
            layer = InvConv2d(4, 3, corners, diagonal=diagonal, bound=bound, dtype=torch.float64)
            layer.weight.data = 0.2 * images(*layer.weight.shape)
            yield layer

    def test_round_trip_and_log_det_against_the_jacobian(self):
        for layer in self.layers():
            x = images(2, 4, 2, 3)
            z, log_det = layer(x)
            again, back = layer.inverse(z)
            torch.testing.assert_close(again, x, rtol=0, atol=1e-12)
            torch.testing.assert_close(log_det, -back, rtol=0, atol=1e-14)
            jacobian = torch.func.jacrev(lambda x: layer(x)[0])(x[:1]).reshape(24, 24)
            torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian).logabsdet.expand(2), rtol=0, atol=1e-10)
            torch.autograd.gradcheck(layer, images(1, 4, 2, 3).requires_grad_())

    def test_the_same_numbers_as_the_rust_layer(self):
        # tests/flows/inv_conv.rs reads the same file
        for case in json.loads((ROOT / "tests/fixtures/inv_conv.json").read_text()):
            tensor = lambda name: torch.tensor(case[name], dtype=torch.float64)
            channels, k = case["channels"], case["kernel"]
            layer = InvConv2d(
                channels, k, case["corners"], diagonal=case["diagonal"], bound=case["bound"], dtype=torch.float64
            )
            layer.load_state_dict({"weight": tensor("weight")})
            z, log_det = layer(tensor("x"))
            torch.testing.assert_close(z, tensor("z"), rtol=0, atol=1e-12)
            torch.testing.assert_close(log_det, tensor("log_det"), rtol=0, atol=1e-12)

    def test_state_is_the_weight_alone_and_moves_with_the_module(self):
        layer = InvConv2d(4, 3, TWO)
        self.assertEqual({name: t.shape for name, t in layer.state_dict().items()}, {"weight": (4, 2, 3, 3)})
        x = images(2, 4, 5, 3)
        self.assertEqual(layer.double()(x)[0].dtype, torch.float64)
        self.assertEqual(InvConv2d(4, 3, TWO, device="meta", dtype=torch.float64)(x.to("meta"))[0].shape, x.shape)

    def test_training_leaves_the_constraint_exact(self):
        layer = InvConv2d(4, 3, init_std=0.1)
        before = layer.effective_weight().detach()
        adam = torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.1)
        for seed in range(5):
            adam.zero_grad()
            layer(images(2, 4, 5, 3, seed=seed, dtype=torch.float32))[0].square().mean().backward()
            adam.step()
        anchor = layer.effective_weight()[:, :, 2, 2]
        self.assertTrue(torch.equal(anchor, anchor.tril(-1) + torch.eye(4)))
        self.assertGreater((layer.effective_weight() - before).abs().max(), 0.1)

    def test_errors_name_the_argument(self):
        bad = [
            (dict(channels=3, kernel_size=2, corners=("top_left", "top_right")), "2 corners for 3 channels"),
            (dict(channels=1, kernel_size=2, corners=("top_left", "top_right")), "2 corners for 1 channel$"),
            (dict(channels=3, kernel_size=2, corners=()), "`corners` must have a corner .* got none"),
            (dict(channels=3, kernel_size=2, corners="middle"), "unknown corner 'middle'"),
            (dict(channels=3, kernel_size=0), "kernel_size.*got 0"),
            (dict(channels=3, kernel_size=2, diagonal="free"), "diagonal.*'free'"),
            (dict(channels=3, kernel_size=2, init_std=-1.0), "init_std"),
            (dict(channels=3, kernel_size=2, bound=1.0), "bound"),
        ]
        for arguments, message in bad:
            with self.assertRaisesRegex(ValueError, message):
                InvConv2d(**arguments)
        for arguments, message in [
            (dict(channels=3.0, kernel_size=2), "`channels` must be a whole number, got float 3.0"),
            (dict(channels="3", kernel_size=2), "`channels` must be a whole number, got str '3'"),
            (dict(channels=3, kernel_size=(3, 3)), r"`kernel_size` .* got tuple \(3, 3\); filters are square"),
            (dict(channels=True, kernel_size=2), "`channels` must be a whole number, got bool"),
            (dict(channels=3, kernel_size=2, corners=None), "`corners` must be a corner .* got NoneType None"),
            (dict(channels=3, kernel_size=2, init_std="0.1"), "`init_std` must be a number, got str '0.1'"),
            (dict(channels=3, kernel_size=2, bound=[0.5]), "`bound` must be a number, got list"),
            (dict(channels=3, kernel_size=2, dtype=torch.int64), "`dtype` must be a floating-point dtype.*int64"),
        ]:
            with self.assertRaisesRegex(TypeError, "InvConv2d: " + message):
                InvConv2d(**arguments)
        with self.assertRaisesRegex(RuntimeError, "inv_conv2d: `weight`"):
            InvConv2d(4, 3)(images(2, 3, 5, 5, dtype=torch.float32))


class Loading(unittest.TestCase):
    """What `import inverse_flow` says where it cannot work; each in a process of its own."""

    def run_import(self, library):
        environment = dict(os.environ, PYTHONPATH=str(PACKAGE.parent), INVERSE_FLOW_LIBRARY=str(library))
        code = "import inverse_flow; print(inverse_flow.library_path())"
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        return done.returncode, (done.stdout + done.stderr).strip().splitlines()[-1]

    def test_missing_foreign_and_mismatched_libraries(self):
        library = inverse_flow.library_path()
        with tempfile.TemporaryDirectory() as folder:
            other = pathlib.Path(folder) / "libother.so"
            self.check_failure(other, "INVERSE_FLOW_LIBRARY names .*libother.so, which is no file.*cargo build --release")
            other.touch()
            self.check_failure(other, "libother.so is not the operator library of inverse-flow")
            other.write_bytes(re.sub(rb"(built for torch )\d", rb"\g<1>9", library.read_bytes()))
            self.check_failure(other, r"libother.so is built for torch 9\.11\.0 and this is torch 2\.11\.0")
            other.write_bytes(b"inverse-flow: built for torch 2.11.0")
            self.check_failure(other, "libother.so cannot be loaded")
            other.write_bytes(library.read_bytes())
            self.assertEqual(self.run_import(other), (0, str(other)))

    def check_failure(self, library, message):
        code, last = self.run_import(library)
        self.assertEqual(code, 1)
        self.assertRegex(last, "LibraryError: .*" + message)

    def test_the_library_of_the_checkout_is_found_first(self):
        # a copy of the package, in a checkout without a library and then with two
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            package = root / "python" / "inverse_flow"
            package.mkdir(parents=True)
            for source in PACKAGE.glob("*.py"):
                (package / source.name).write_bytes(source.read_bytes())
            (root / "Cargo.toml").touch()
            environment = {k: v for k, v in os.environ.items() if k not in ("INVERSE_FLOW_LIBRARY", "CARGO_TARGET_DIR")}
            environment["PYTHONPATH"] = str(root / "python")
            code = "from inverse_flow._library import library_path; print(library_path())"

            def run():
                done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
                return (done.stdout + done.stderr).strip().splitlines()[-1]

            built, beside = root / "target/release/libinverse_flow.so", package / "libinverse_flow.so"
            self.assertRegex(run(), f"LibraryError: .*is not at {built} and {beside}: .*cargo build --release")
            beside.symlink_to(inverse_flow.library_path())
            self.assertEqual(run(), str(beside))
            built.parent.mkdir(parents=True)
            built.symlink_to(inverse_flow.library_path())
            self.assertEqual(run(), str(built))


class Example(unittest.TestCase):
    def test_the_lines_of_the_pages_run(self):
        for page in ["README.md", "docs/python.md"]:
            blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
            scope = {}
            # a page is one program
            exec("\n".join(blocks), scope)
            self.assertEqual(scope["x"].shape, (2, 4, 8, 8))
        # what docs/python.md writes without vmap is what its comments say
        mapped = torch.vmap(lambda x: inv_conv2d(x, scope["weight"]))(scope["images"])
        torch.testing.assert_close(scope["over_images"], mapped)
        mapped = torch.vmap(lambda w: inv_conv2d(scope["x"], w))(scope["weights"])
        torch.testing.assert_close(scope["over_weights"], mapped)

    def test_toy_flow_learns_and_draws(self):
        with tempfile.TemporaryDirectory() as folder:
            picture = pathlib.Path(folder) / "samples.png"
            command = [sys.executable, str(ROOT / "python/examples/toy_flow.py"), "--steps", "30", "--out", str(picture)]
            done = subprocess.run(command, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            start, end = (float(n) for n in re.search(r"nats per pixel: (\S+) .* (\S+) after", done.stdout).groups())
            self.assertLess(end, start - 0.5)
            self.assertEqual(picture.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")


@unittest.skipUnless(torch.cuda.is_available(), "no GPU; the emulated one has no libtorch_cuda that Python can import")
class Cuda(unittest.TestCase):
    def test_streams_vmap_and_the_layer(self):
        layer = InvConv2d(4, 3, TWO, dtype=torch.float64).cuda()
        x = images(2, 4, 5, 3).cuda()
        expected, _ = layer(x)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # the work of this stream comes late: an operator on another one would read zeros
            late = torch.zeros_like(x)
            torch.cuda._sleep(10_000_000)
            late.copy_(x)
            z, _ = layer(late)
        stream.synchronize()
        self.assertTrue(torch.equal(z, expected))
        w = filters(3, 4, 2, TWO).cuda()
        both = torch.vmap(lambda x, w: inv_conv2d(x, w, TWO), (None, 0))(x, w)
        torch.testing.assert_close(both, torch.stack([inv_conv2d(x, one, TWO) for one in w]))


if __name__ == "__main__":
    unittest.main()
