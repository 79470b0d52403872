"""The operators in torch's dispatcher, as those have them who call torch.ops.load_library themselves."""

import itertools
import unittest

import inverse_flow
import torch

torch.ops.load_library(str(inverse_flow.library_path()))
ops = torch.ops.inverse_flow

CORNERS = ["top_left", "top_right", "bottom_left", "bottom_right"]
# (B, C, H, W, k, corners): odd and unequal, k larger than the image, one row, one column
CASES = [
    (2, 3, 4, 5, 2, ["top_left"]),
    (1, 4, 3, 2, 3, ["top_right", "bottom_left"]),
    (2, 4, 2, 3, 4, CORNERS),
    (3, 2, 1, 4, 3, ["bottom_right"]),
    (2, 1, 5, 1, 1, ["bottom_left"]),
]


def make(case, dtype=torch.float64, seed=0):
    b, c, h, w, k, corners = case
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(b, c, h, w, generator=g, dtype=dtype)
    weight = 0.3 * torch.randn(c, c // len(corners), k, k, generator=g, dtype=dtype)
    per = c // len(corners)
    for i, corner in enumerate(corners):
        row, column = (0 if "bottom" in corner else k - 1), (0 if "right" in corner else k - 1)
        for j in range(per):
            weight[i * per + j, j, row, column] = 1.5 - 0.2 * j
    return x.requires_grad_(), weight.requires_grad_(), corners


class Operator(unittest.TestCase):
    def test_solve_and_convolution_are_inverses(self):
        for case in CASES:
            x, weight, corners = make(case)
            for first, second in itertools.permutations([ops.inv_conv2d, ops.masked_conv2d]):
                torch.testing.assert_close(second(first(x, weight, corners), weight, corners), x, rtol=0, atol=1e-12)

    def test_convolution_is_torch_conv2d_with_one_sided_padding(self):
        x, weight, corners = make(CASES[0])
        padded = torch.nn.functional.pad(x, (1, 0, 1, 0))
        mask = torch.ones_like(weight)
        mask[:, :, -1, -1] = torch.tril(mask[:, :, -1, -1])
        expected = torch.nn.functional.conv2d(padded, weight * mask)
        torch.testing.assert_close(ops.masked_conv2d(x, weight, corners), expected, rtol=0, atol=1e-13)

    def test_gradients_of_first_and_second_order(self):
        for case, op in itertools.product(CASES, [ops.inv_conv2d, ops.masked_conv2d]):
            x, weight, corners = make(case)
            self.assertTrue(torch.autograd.gradcheck(lambda x, w: op(x, w, corners), (x, weight)))
            self.assertTrue(torch.autograd.gradgradcheck(lambda x, w: op(x, w, corners), (x, weight)))

    def test_opcheck(self):
        for case, op in itertools.product(CASES, [ops.inv_conv2d, ops.masked_conv2d]):
            torch.library.opcheck(op.default, make(case))

    def test_opcheck_of_the_internal_operators(self):
        x, weight, corners = make(CASES[1])
        u = torch.randn_like(x).requires_grad_()
        torch.library.opcheck(ops._inv_conv2d_adjoint.default, (x, weight, corners))
        torch.library.opcheck(ops._masked_conv2d_adjoint.default, (x, weight, corners))
        torch.library.opcheck(ops._conv2d_weight_grad.default, (x, u, weight, corners))
        torch.library.opcheck(ops._inv_conv2d_weight_grad.default, (x, u, weight, corners))

    def test_frozen_weight_gets_no_gradient(self):
        x, weight, corners = make(CASES[0])
        ops.inv_conv2d(x, weight.detach(), corners).sum().backward()
        self.assertIsNotNone(x.grad)
        ops.inv_conv2d(x.detach(), weight, corners).sum().backward()
        self.assertIsNotNone(weight.grad)

    def test_strided_input(self):
        x, weight, corners = make((4, 6, 5, 7, 3, ["top_left", "bottom_right"]))
        strided = x.detach().permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2)
        self.assertFalse(strided.is_contiguous())
        expected = ops.inv_conv2d(x, weight, corners)
        self.assertTrue(torch.equal(ops.inv_conv2d(strided, weight, corners), expected))
        channels_last = x.detach().to(memory_format=torch.channels_last)
        self.assertTrue(torch.equal(ops.inv_conv2d(channels_last, weight, corners), expected))

    def test_autocast_computes_in_float32(self):
        x, weight, corners = make(CASES[0], dtype=torch.float32)
        expected = ops.inv_conv2d(x.bfloat16().float(), weight, corners)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = ops.inv_conv2d(x.bfloat16(), weight, corners)
        self.assertEqual(got.dtype, torch.float32)
        self.assertTrue(torch.equal(got, expected))

    def test_compile_gives_the_same_numbers(self):
        x, weight, corners = make(CASES[1])
        f = lambda x, w: ops.inv_conv2d(x * 2, w, corners).square().sum()
        expected = torch.autograd.grad(f(x, weight), (x, weight))
        got = torch.autograd.grad(torch.compile(f, backend="aot_eager")(x, weight), (x, weight))
        for e, g in zip(expected, got):
            torch.testing.assert_close(g, e)

    def test_torchs_precision_is_the_users(self):
        device = "cuda" if torch.cuda.is_available() else "cpu"
        before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
        x, weight, corners = make(CASES[0])
        ops.inv_conv2d(x.detach().to(device), weight.detach().to(device), corners)
        after = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
        self.assertEqual(after, before)

    @unittest.skipUnless(torch.cuda.is_available(), "no GPU; the emulated one has no libtorch_cuda that Python can import")
    def test_cuda_gradients_opcheck_and_streams(self):
        for case, op in itertools.product(CASES, [ops.inv_conv2d, ops.masked_conv2d]):
            x, weight, corners = make(case)
            x, weight = (t.detach().cuda().requires_grad_() for t in (x, weight))
            self.assertTrue(torch.autograd.gradcheck(lambda x, w: op(x, w, corners), (x, weight)))
            torch.library.opcheck(op.default, (x, weight, corners))
            expected = op(x, weight, corners)
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                got = op(x, weight, corners)
            stream.synchronize()
            self.assertTrue(torch.equal(got, expected))

    def test_errors_name_the_argument(self):
        x, weight, corners = make(CASES[0])
        bad = [
            ((x, weight, ["middle"]), "corners.*middle"),
            ((x, weight, []), "corners"),
            ((x[0], weight, corners), "input.*dimensions"),
            ((x, weight[:2], corners), "weight"),
            ((x, weight.float(), corners), "weight.*float64.*float32"),
            ((x.long(), weight.long(), corners), "input.*float32 or float64"),
            ((x, weight, ["top_left", "top_right"]), "corners.*3 channels"),
            ((x, torch.zeros_like(weight), corners), "weight.*zero on the diagonal"),
        ]
        for arguments, message in bad:
            with self.assertRaisesRegex(RuntimeError, message):
                ops.inv_conv2d(*arguments)

    def test_a_zero_on_the_diagonal_is_a_linalg_error(self):
        x, weight, corners = make(CASES[0])
        with self.assertRaisesRegex(torch.linalg.LinAlgError, "zero on the diagonal.*channel 0"):
            ops.inv_conv2d(x, torch.zeros_like(weight), corners)
        ops.check(torch.device("cpu"))

    @unittest.skipUnless(torch.cuda.is_available(), "no GPU; the emulated one has no libtorch_cuda that Python can import")
    def test_cuda_check_raises_what_the_cpu_raises_once(self):
        x, weight, corners = make(CASES[0])
        x, weight = (t.detach().cuda() for t in (x, weight))
        for device in (torch.device("cuda"), x.device):
            ops.inv_conv2d(x, torch.zeros_like(weight), corners)
            with self.assertRaisesRegex(torch.linalg.LinAlgError, "zero on the diagonal.*channel 0"):
                ops.check(device)
            ops.inv_conv2d(x, weight, corners)
            ops.check(device)

    def test_empty_batch(self):
        x, weight, corners = make((0, 3, 4, 5, 2, ["top_left"]))
        self.assertEqual(ops.inv_conv2d(x, weight, corners).shape, (0, 3, 4, 5))
        ops.inv_conv2d(x, weight, corners).sum().backward()
        self.assertTrue(torch.equal(weight.grad, torch.zeros_like(weight)))


if __name__ == "__main__":
    unittest.main()
