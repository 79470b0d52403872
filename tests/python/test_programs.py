"""Programs made from functions by torch.compile and torch.export, each against the function itself."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import inverse_flow
import torch
from inverse_flow import InvConv2d, inv_conv2d
from torch import nn

TWO = ("top_right", "bottom_left")


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


class CompileOfTransforms(unittest.TestCase):
    def test_one_graph_with_torch_func_inside_is_an_error(self):
        # docs/python.md has it among what does not work
        compiled = torch.compile(torch.vmap(lambda x, w: inv_conv2d(x, w, TWO), (0, None)), backend="eager", fullgraph=True)
        with self.assertRaisesRegex(torch._dynamo.exc.Unsupported, "getattr"):
            compiled(images(3, 2, 4, 5, 3), InvConv2d(4, 2, TWO, dtype=torch.float64).effective_weight().detach())


# a process that knows nothing but the file, what goes in, and what must come out
ELSEWHERE = """
import sys, torch
{load}
file, data = sys.argv[1:]
x, *expected = torch.load(data)
program = {program}
got = program(x)
for g, e in zip(got if isinstance(got, (tuple, list)) else [got], expected, strict=True):
    torch.testing.assert_close(g, e, rtol=0, atol=1e-12)
print("equal")
"""
WITH_PACKAGE = "import inverse_flow"
WITH_LIBRARY = f"torch.ops.load_library({str(inverse_flow.library_path())!r})"
EXPORTED = "torch.export.load(file).module()"


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


if __name__ == "__main__":
    unittest.main()
