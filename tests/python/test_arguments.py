"""Arguments of the wrong kind: taken as what they must mean, or refused by name."""

import unittest

import torch
from inverse_flow import CORNERS, InvConv2d, check, inv_conv2d, masked_conv2d

X = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))
ONE = InvConv2d(4, 2, init_std=0.2).effective_weight().detach()
TWO = InvConv2d(4, 2, ("top_right", "bottom_left"), init_std=0.2).effective_weight().detach()


class Taken(unittest.TestCase):
    def test_a_word_is_one_corner(self):
        for op in [inv_conv2d, masked_conv2d]:
            for corner in CORNERS:
                weight = InvConv2d(4, 2, corner, init_std=0.2).effective_weight().detach()
                self.assertTrue(torch.equal(op(X, weight, corner), op(X, weight, (corner,))))
        self.assertEqual(InvConv2d(4, 2, "top_right").corners, ("top_right",))

    def test_any_words_in_an_order(self):
        for op in [inv_conv2d, masked_conv2d]:
            expected = op(X, TWO, ["top_right", "bottom_left"])
            # an iterator is used up by a call, so each op makes its own
            for corners in [
                ("top_right", "bottom_left"),
                (corner for corner in ["top_right", "bottom_left"]),
                iter(["top_right", "bottom_left"]),
                map(str, ["top_right", "bottom_left"]),
            ]:
                self.assertTrue(torch.equal(op(X, TWO, corners), expected))
        self.assertEqual(InvConv2d(4, 2, iter(["top_right", "bottom_left"])).corners, ("top_right", "bottom_left"))


class Refused(unittest.TestCase):
    def test_corners(self):
        for corners, kind, message in [
            (b"top_left", TypeError, "must be a corner such as 'top_left', .* got bytes b'top_left'"),
            ([b"top_left"], TypeError, "must hold words such as 'top_left', got bytes b'top_left' in it"),
            ({"top_left"}, TypeError, "got set {'top_left'}; a set has no order"),
            ({"top_left": 1}, TypeError, "got dict"),
            (None, TypeError, "got NoneType None"),
            (0, TypeError, "got int 0"),
            ([0], TypeError, "got int 0 in it"),
            (X, TypeError, "got Tensor"),
            ((), ValueError, "must have a corner for each group of channels, got none"),
            ("", ValueError, "unknown corner ''"),
            ("top_lfet", ValueError, "unknown corner 'top_lfet', expected some of top_left, .*; did you mean 'top_left'\\?"),
            ("Bottom-Right", ValueError, "did you mean 'bottom_right'"),
            (["middle"], ValueError, "unknown corner 'middle', expected some of .*bottom_right$"),
            (["top_left"] * 3, RuntimeError, "3 corners for 4 channels"),
        ]:
            with self.subTest(corners):
                for op in [inv_conv2d, masked_conv2d]:
                    with self.assertRaisesRegex(kind, f"{op.__name__}: .*corners.*{message}"):
                        op(X, ONE, corners)
                if kind is not RuntimeError:
                    with self.assertRaisesRegex(kind, f"InvConv2d: .*corners.*{message}"):
                        InvConv2d(4, 2, corners)

    def test_tensors(self):
        for op, first in [(inv_conv2d, "input"), (masked_conv2d, "x")]:
            for x, weight, name, kind in [
                (X.numpy(), ONE, first, "ndarray"),
                (X.tolist(), ONE, first, "list"),
                (X, None, "weight", "NoneType"),
                (X, "top_left", "weight", "str"),
            ]:
                with self.assertRaisesRegex(TypeError, f"{op.__name__}: `{name}` must be a torch.Tensor, got {kind}"):
                    op(x, weight)

    def test_device(self):
        with self.assertRaisesRegex(RuntimeError, "device"):
            check("cuba")


if __name__ == "__main__":
    unittest.main()
