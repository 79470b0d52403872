"""Programs made from functions by torch.compile, torch.export and AOTInductor, each against the function itself."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import inverse_flow
import torch
import torch._inductor
from inverse_flow import InvConv2d, inv_conv2d
from torch import nn

TWO = ("top_right", "bottom_left")
SLOW = "INVERSE_FLOW_TEST_AOTINDUCTOR"
COMPILER = shutil.which((os.environ.get("CXX") or "c++").split()[0]) or shutil.which("g++") or shutil.which("clang++")


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Flow(nn.Module):
    """A program with both operators, and every kind of arithmetic of the layer around them."""

    def __init__(self):
        super().__init__()
        self.first = InvConv2d(4, 3, TWO, diagonal="learnable", bound=0.8, init_std=0.1, dtype=torch.float64)
        self.second = InvConv2d(4, 2, "top_left", init_std=0.1, dtype=torch.float64)
        for layer in (self.first, self.second):
            layer.weight.data = 0.2 * images(*layer.weight.shape)

    def forward(self, x):
        z, first = self.first(x * 2)
        y, second = self.second.inverse(z.tanh())
        return y, first + second


class Transforms(unittest.TestCase):
    """docs/python.md has them among what does not work, with the way out."""

    def setUp(self):
        self.weight = InvConv2d(4, 2, TWO, init_std=0.2, dtype=torch.float64).effective_weight().detach()
        self.mapped = lambda x: torch.vmap(lambda one: inv_conv2d(one, self.weight, TWO))(x)
        self.addCleanup(torch.compiler.reset)
        torch.compiler.reset()

    def test_one_graph_with_torch_func_inside_is_an_error(self):
        compiled = torch.compile(self.mapped, backend="eager", fullgraph=True)
        with self.assertRaisesRegex(torch._dynamo.exc.Unsupported, "getattr\\(\\) with non-constant name argument"):
            compiled(images(3, 2, 4, 5, 3))

    def test_graphs_that_break_at_torch_func_have_the_same_numbers(self):
        for function, x in [
            (self.mapped, images(3, 2, 4, 5, 3)),
            (torch.func.grad(lambda x: inv_conv2d(x, self.weight, TWO).square().sum()), images(2, 4, 5, 3)),
        ]:
            torch.testing.assert_close(torch.compile(function, backend="aot_eager")(x), function(x), rtol=0, atol=1e-12)

    def test_export_with_torch_func_inside_is_an_error_and_a_larger_batch_is_none(self):
        class Mapped(nn.Module):
            def forward(_, x):
                return self.mapped(x)

        class Larger(nn.Module):
            def forward(_, x):
                return inv_conv2d(x.flatten(0, 1), self.weight, TWO).unflatten(0, x.shape[:2])

        x = images(3, 2, 4, 5, 3)
        program = torch.export.export(Larger(), (x,))
        torch.testing.assert_close(program.module()(x), self.mapped(x), rtol=0, atol=1e-12)
        with self.assertRaisesRegex(AssertionError, "Current active mode .*ProxyTorchDispatchMode .* not registered"):
            torch.export.export(Mapped(), (x,))


# a process that knows nothing but the file, what goes in, and what must come out
ELSEWHERE = """
import sys, torch
{load}
file, data = sys.argv[1:]
x, *expected = torch.load(data)
program = {program}
got = program(*x) if isinstance(x, tuple) else program(x)
for g, e in zip(got if isinstance(got, (tuple, list)) else [got], expected, strict=True):
    torch.testing.assert_close(g, e, rtol=0, atol=1e-12)
print("equal")
"""
WITH_PACKAGE = "import inverse_flow"
WITH_LIBRARY = f"torch.ops.load_library({str(inverse_flow.library_path())!r})"
EXPORTED = "torch.export.load(file).module()"
PACKAGED = "torch._inductor.aoti_load_package(file)"


class Saved(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_elsewhere(self, load, program, file, x, expected):
        """What another process says that runs the saved program."""
        data = self.folder / "data.pt"
        torch.save([x, *expected], data)
        code = ELSEWHERE.format(load=load, program=program)
        environment = dict(os.environ, PYTHONPATH=str(pathlib.Path(inverse_flow.__file__).resolve().parents[1]))
        command = [sys.executable, "-c", code, str(file), str(data)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else done.stderr

    def assert_equal(self, got, expected):
        for g, e in zip(got, expected, strict=True):
            torch.testing.assert_close(g, e, rtol=0, atol=1e-12)


class Export(Saved):
    def export(self, module, x, **settings):
        file = self.folder / "program.pt2"
        torch.export.save(torch.export.export(module, (x,), **settings), file)
        return file

    def test_a_saved_program_runs_here_and_elsewhere(self):
        flow, x = Flow(), images(2, 4, 5, 3)
        batch, height = torch.export.Dim("batch", min=1), torch.export.Dim("height", min=2)
        file = self.export(flow, x, dynamic_shapes=({0: batch, 2: height},))
        loaded = torch.export.load(file)
        text = str(loaded.graph)
        for op in ["inverse_flow.inv_conv2d", "inverse_flow.masked_conv2d"]:
            self.assertIn(op, text)
        for shape in [(2, 4, 5, 3), (7, 4, 6, 3)]:
            self.assert_equal(loaded.module()(images(*shape)), flow(images(*shape)))
        other = images(5, 4, 8, 3)
        expected = [t.detach() for t in flow(other)]
        for load in [WITH_PACKAGE, WITH_LIBRARY]:
            self.assertEqual(self.run_elsewhere(load, EXPORTED, file, other, expected), "equal")

    def test_gradients_of_a_saved_program(self):
        flow, x = Flow(), images(2, 4, 5, 3)
        module = torch.export.load(self.export(flow, x)).module()
        for one in (flow, module):
            (one(x)[0].square().sum() - one(x)[1].sum()).backward()
        got, expected = (dict(one.named_parameters()) for one in (module, flow))
        self.assertEqual(got.keys(), expected.keys())
        for name in got:
            torch.testing.assert_close(got[name].grad, expected[name].grad, rtol=0, atol=1e-12)

    def test_decompositions_leave_the_operators(self):
        flow, x = Flow(), images(2, 4, 5, 3)
        program = torch.export.export(flow, (x,)).run_decompositions()
        self.assertIn("inverse_flow.inv_conv2d", str(program.graph))
        self.assert_equal(program.module()(x), flow(x))

    def test_without_the_library_the_error_names_the_operators(self):
        flow, x = Flow(), images(2, 4, 5, 3)
        file = self.export(flow, x)
        self.assertRegex(self.run_elsewhere("", EXPORTED, file, x, []), "inverse_flow")


class Solve(nn.Module):
    """The smallest program: nothing but the operator is left for AOTInductor to compile."""

    def forward(self, x, weight):
        return inv_conv2d(x, weight, TWO)


@unittest.skipUnless(COMPILER, "no C++ compiler, which AOTInductor needs")
@unittest.skipUnless(os.environ.get(SLOW) == "1", f"AOTInductor compiles for more than a minute; {SLOW}=1 runs it")
class AotInductor(Saved):
    def test_a_package_runs_here_and_elsewhere(self):
        weight = Flow().first.effective_weight().detach()
        batch = torch.export.Dim("batch", min=1, max=64)
        program = torch.export.export(Solve(), (images(2, 4, 5, 3), weight), dynamic_shapes=({0: batch}, None))
        file = torch._inductor.aoti_compile_and_package(program, package_path=str(self.folder / "solve.pt2"))
        loaded = torch._inductor.aoti_load_package(file)
        for count in (2, 7):
            x = images(count, 4, 5, 3)
            expected = inv_conv2d(x, weight, TWO)
            self.assert_equal([loaded(x, weight)], [expected])
        for load in [WITH_PACKAGE, WITH_LIBRARY]:
            self.assertEqual(self.run_elsewhere(load, PACKAGED, file, (x, weight), [expected]), "equal")
        self.assertRegex(self.run_elsewhere("", PACKAGED, file, (x, weight), []), "inverse_flow")


if __name__ == "__main__":
    unittest.main()
