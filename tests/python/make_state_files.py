"""Writes files as PyTorch users have them into a folder, and expected.json with what they hold.

    make_state_files.py FOLDER            state dictionaries, checkpoints, TorchScript, and what must be refused
    make_state_files.py FOLDER like OT    the tensors of a file of tch, as a PyTorch user would save them
    make_state_files.py FOLDER again      what convert wrote there, loaded by PyTorch as users do and saved again
    make_state_files.py FOLDER published  a checkpoint in the layout of the paper's own code
"""

import argparse
import json
import pathlib
import pickle
import sys
import zipfile

import torch
from torch import nn


class Net(nn.Module):
    """Parameters, buffers of other kinds, numbered children, and attributes that are no tensors."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 5)
        self.list = nn.ModuleList([nn.Conv2d(2, 4, 3), nn.Conv2d(4, 1, 1, bias=False)])
        self.register_buffer("seen", torch.tensor(True))
        self.register_buffer("count", torch.tensor([7, -9]))
        self.sizes, self.rates, self.table = [1, 2, 300], [0.5, 2.0], {"a": 1}
        self.pair, self.nothing, self.name = (1, "x"), None, "net"

    def forward(self, x):
        return self.first(x) * self.seen


def describe(tensors):
    listed = {}
    for name, tensor in tensors.items():
        values = tensor.detach()
        values = torch.view_as_real(values.resolve_conj()) if values.is_complex() else values
        listed[name] = {
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "shape": list(tensor.shape),
            "values": values.double().flatten().tolist(),
        }
    return listed


def kinds():
    base = torch.arange(24.0).reshape(2, 3, 4) - 7.25
    return {
        "plain": base,
        "transposed": base.transpose(0, 2),
        "part": base[1:, ::2, 1:3],
        "row": base[0, 1],
        "repeated": torch.tensor([1.0, 2.0]).expand(3, 2),
        "number": torch.tensor(3.5),
        "empty": torch.empty(0, 3),
        "parameter": nn.Parameter(base * 2),
        "f64": base.double() / 3,
        "f16": base.half(),
        "bf16": base.bfloat16(),
        "i64": base.long() * 2**40,
        "i32": base.int(),
        "i16": base.short(),
        "i8": base.char(),
        "u8": (base + 8).byte(),
        "flag": base > 0,
        "complex": torch.complex(base, -base),
    }


def big_endian(source, target):
    """The same archive as a big-endian machine writes it."""
    sizes = {0: 4, 1: 8}
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("byteorder"):
                data = b"big"
            elif "/data/" in entry.filename:
                width = sizes[int(entry.filename.rsplit("/", 1)[1])]
                data = b"".join(data[i : i + width][::-1] for i in range(0, len(data), width))
            new.writestr(zipfile.ZipInfo(entry.filename), data)


def wide(source, target):
    """The same archive with all sizes in 64 bits, as if it were larger than 4 GB."""
    limit, zipfile.ZIP64_LIMIT = zipfile.ZIP64_LIMIT, 0
    try:
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
            for entry in old.infolist():
                new.writestr(zipfile.ZipInfo(entry.filename), old.read(entry))
    finally:
        zipfile.ZIP64_LIMIT = limit
    # the numbers in the last record give way to those of the record before it
    data = target.read_bytes()
    target.write_bytes(data[:-14] + b"\xff" * 12 + data[-2:])


def make(folder):
    torch.manual_seed(0)
    expected, net = {}, Net()
    own = net.state_dict()

    def save(name, content, tensors, **options):
        torch.save(content, folder / name, **options)
        expected[name] = describe(tensors)

    save("kinds.pt", kinds(), kinds())
    save("flat.pt", own, own)
    save("protocol5.pt", own, own, pickle_protocol=5)
    save("dict.pt", dict(own), own)
    save("parallel.pt", {f"module.{key}": value for key, value in own.items()}, own)
    optimizer = torch.optim.Adam(net.parameters(), amsgrad=True)
    net(torch.randn(2, 3)).sum().backward()
    optimizer.step()
    own = {key: value.clone() for key, value in net.state_dict().items()}
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4])
    nested = {
        "epoch": 3,
        "best": float("inf"),
        "optimizer_state_dict": optimizer.state_dict(),
        "scheduler_state_dict": scheduler.state_dict(),
        "args": argparse.Namespace(lr=0.1, path=pathlib.PurePosixPath("/tmp")),
        "model_state_dict": own,
        "device": torch.device("cpu"),
        "large": 2**100,
    }
    save("nested.pt", nested, own)
    save("legacy.pt", own, own, _use_new_zipfile_serialization=False)
    save("legacy_nested.pt", nested, own, _use_new_zipfile_serialization=False)
    torch.save(net, folder / "module.pt")
    torch.save(net, folder / "legacy_module.pt", _use_new_zipfile_serialization=False)
    torch.export.save(torch.export.export(net, (torch.randn(2, 3),)), folder / "program.pt2")
    expected["program.pt2"] = describe(own)
    save("only.pt", {"step": 3, "generator": own}, own)
    big = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.arange(4, dtype=torch.float64)}
    torch.save(big, folder / "little.pt")
    big_endian(folder / "little.pt", folder / "big.pt")
    expected["big.pt"] = describe(big)
    wide(folder / "little.pt", folder / "wide.pt")
    expected["wide.pt"] = describe(big)
    for name, module in [
        ("script.pt", torch.jit.script(net)),
        ("trace.pt", torch.jit.trace(net, torch.randn(2, 3))),
    ]:
        extra = {"inverse_flow.json": json.dumps({"format": "other", "config": {"a": 1}})}
        torch.jit.save(module, str(folder / name), _extra_files=extra)
        expected[name] = describe(own)
    # what must be refused, with a way out
    torch.save(argparse.Namespace(lr=0.1), folder / "opaque.pt")
    torch.save({"a": torch.eye(2).to_sparse()}, folder / "sparse.pt")
    torch.save({"a": torch.empty(3, device="meta")}, folder / "meta.pt")
    torch.save({"a": torch.complex(torch.ones(2), torch.ones(2)).conj()}, folder / "conj.pt")
    torch.save({"a": 1, "b": "text"}, folder / "no_tensors.pt")
    torch.save({}, folder / "empty.pt")
    torch.save([torch.ones(2)], folder / "list.pt")
    torch.save({3: torch.ones(2)}, folder / "unnamed.pt")
    (folder / "bare.pkl").write_bytes(pickle.dumps({"a": 1}))
    (folder / "text.pt").write_text("not a checkpoint")
    (folder / "nothing.pt").write_bytes(b"")
    with zipfile.ZipFile(folder / "other.zip", "w") as other:
        other.writestr("readme", "x")
    with zipfile.ZipFile(folder / "flat.pt") as old, zipfile.ZipFile(folder / "packed.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    (folder / "expected.json").write_text(json.dumps(expected))


def like(folder, ot):
    """As a user of PyTorch has the model of `ot`; jit.load is PyTorch's own reader of tch's files."""
    module = torch.jit.load(ot)
    own = {name.replace("|", "."): tensor.detach().clone() for name, tensor in module.named_parameters()}
    own |= {name.replace("|", "."): tensor.detach().clone() for name, tensor in module.named_buffers()}
    torch.save(own, folder / "like.pt")
    nested = {"model_state_dict": {f"module.{key}": value for key, value in own.items()}, "epoch": 1}
    torch.save(nested, folder / "like_nested.pt")
    torch.save({key: value.half() if value.is_floating_point() else value for key, value in own.items()}, folder / "half.pt")
    torch.save({key: value.double() if value.is_floating_point() else value for key, value in own.items()}, folder / "double.pt")


def again(folder):
    program = torch.jit.load(folder / "program.pt")
    program.save(folder / "program_again.pt")
    weights = torch.load(folder / "weights.pth", weights_only=True)
    plain = torch.load(folder / "plain.pt", weights_only=True, mmap=True)
    assert list(weights) == list(plain) == sorted(weights) and all(torch.equal(weights[key], plain[key]) for key in weights)
    own = {name: tensor for name, tensor in [*program.named_parameters(), *program.named_buffers()]}
    assert own.keys() == weights.keys() and all(torch.equal(own[key], weights[key]) for key in own)
    torch.save(weights, folder / "weights_again.pth")
    torch.save(weights, folder / "old_again.pth", _use_new_zipfile_serialization=False)
    torch.save({"net": {f"module.flow.{key}": value for key, value in weights.items()}}, folder / "wrapped_again.pth")
    shifted = {f"shadow.{key}": value * 1.01 if value.is_floating_point() else value for key, value in weights.items()}
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)]).state_dict()
    both = {"state_dict_ema": shifted, "state_dict": weights, "optimizer": optimizer, "best_acc1": torch.tensor(0.5)}
    torch.save(both, folder / "both.pth")


class Published(nn.Module):
    """A layer with the parameters of the paper's code, by name; it computes nothing."""

    def __init__(self, **tensors):
        super().__init__()
        for name, tensor in tensors.items():
            if tensor.is_floating_point():
                setattr(self, name, nn.Parameter(tensor))
            else:
                self.register_buffer(name, tensor)


def published(folder):
    """Levels 2, steps 1, images 1x8x4, kernel 2, spline of 3 bins per element, net N of width 5, splits of width 6."""
    torch.manual_seed(1)

    def net(channels, width):
        zero = Published(weight=torch.randn(channels, channels, 3, 3), bias=torch.randn(channels), logs=torch.randn(channels))
        wide = nn.Conv2d(channels // 2, width, 3, padding=1, bias=False)
        return nn.Sequential(wide, nn.ReLU(), nn.Conv2d(width, channels, 1, bias=False), nn.ReLU(), zero)

    def inside(name, module):
        layer = nn.Module()
        layer.add_module(name, module)
        return layer

    constants = Published(empty=torch.zeros(1))
    layers = [inside("distribution", constants)]
    layers += [Published(translation=torch.zeros(1), scale=torch.ones(1)) for _ in range(2)]
    layers.append(nn.Module())
    channels, height, width = 1, 8, 4
    for level in range(2):
        channels, height, width = 4 * channels, height // 2, width // 2
        layers.append(nn.Module())
        layers.append(Published(translation=torch.randn(channels), log_scale=torch.randn(channels), initialized=torch.tensor(1)))
        layers.append(Published(weight_fwd=torch.randn(channels, channels, 2, 2)))
        sets = (1, channels, height, width)
        layers.append(
            Published(
                unnormalized_widths=torch.randn(*sets, 3),
                unnormalized_heights=torch.randn(*sets, 3),
                unnormalized_derivatives=torch.randn(*sets, 2),
            )
        )
        layers.append(inside("net", net(channels, 5)))
        if level == 0:
            layers.append(inside("transform", inside("net", net(channels, 6))))
            channels //= 2
    model = nn.Sequential(*layers)
    state = model.state_dict()
    checkpoint = {
        "summary": {"Epoch": 3, "Best Val LogPx": torch.tensor(-1.5)},
        "model_state_dict": state,
        "optimizer_state_dict": torch.optim.Adam(model.parameters()).state_dict(),
        "config": {"name": "x", "max_eval_ex": float("inf")},
    }
    torch.save(checkpoint, folder / "published.tar")
    (folder / "published.json").write_text(json.dumps(describe(state)))


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    match sys.argv[2:]:
        case []:
            make(folder)
        case ["like", ot]:
            like(folder, ot)
        case ["again"]:
            again(folder)
        case ["published"]:
            published(folder)
