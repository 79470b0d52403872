"""Writes files of weights as other people's programs leave them into a folder, and cases.json with what is expected of each.

    make_other_files.py FOLDER places|names|legacy|kinds|foreign

A case has `file` and some of `tensors` (a model that the file must fill, with its numbers), `key` and `prefix` (as the flags),
`remarks` (parts of what is said), `lists` (paths of all dictionaries), `left_out`, `unread` (reasons by name), `error` (part of the
error of loading) and `refused` (part of the error of opening).
"""

import argparse
import collections
import gzip
import io
import json
import pathlib
import pickle
import sys
import tarfile
import types
import zipfile

import numpy
import torch
from make_state_files import describe
from torch import nn


class Settings(dict):
    """A dictionary of a class of its own, as EasyDict and many configurations are."""


class Named(collections.OrderedDict):
    pass


class Bag(list):
    pass


class Trainer:
    """An object that keeps a state dictionary among other things."""

    def __init__(self, state):
        self.step, self.state = 3, state


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        self.register_buffer("seen", torch.tensor(True))
        self.gain = nn.Parameter(torch.randn(()))

    def forward(self, x):
        return self.body(x) * self.gain


def changed(state, by):
    return {key: value + by if value.is_floating_point() else value for key, value in state.items()}


def detached(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def places(folder, case):
    net = Block()
    own = net.state_dict()
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(2, 3)).sum().backward()
    optimizer.step()
    own = detached(net)
    ema = changed(own, 1.0)
    adam = optimizer.state_dict()
    steps = {"rng_state": torch.get_rng_state(), "best_acc1": torch.tensor(0.5), "loss": torch.tensor(1.5), "epoch": 3}
    for key in ["model", "state_dict", "net", "module", "network", "flow", "params", "ema"]:
        case(f"under_{key}.pt", {**steps, key: own, "optimizer": adam}, own, lists=[key, ""], remarks=[f"`{key}` is taken"])
    case("two_down.pt", {"state": {"model": own, "opt": adam}, **steps}, own, remarks=["`state.model` is taken"])
    case("three_down.pt", {"a": {"b": {"c": own}}}, own, remarks=["`a.b.c` is taken"], lists=["a.b.c"])
    case("in_list.pt", {"models": [own, adam], "names": ["a", "b"]}, own, remarks=["`models.0` is taken"])
    case("in_tuple.pt", (7, "text", own, adam), own, remarks=["`2` is taken"])
    case("list_of.pt", [{"weights": own}, {"loss": [0.1, 0.2]}], own, remarks=["`0.weights` is taken"])
    case("numbered.pt", {0: own, 1: adam}, own, remarks=["`0` is taken"])
    case("root.pt", own, own, lists=[""], silent=True)
    two = {"state_dict_ema": ema, "state_dict": own, "optimizer": adam}
    case("two.pt", two, own, remarks=["`state_dict` is taken; `state_dict_ema` would fit too: `--key state_dict_ema` takes that"])
    case("two.pt", None, ema, key="state_dict_ema", remarks=["`state_dict_ema` is taken"])
    case("two.pt", None, own, key="absent", error="no dictionary of tensors at `absent`; there are `state_dict`, `state_dict_ema`")
    beside = {"model": own, "discriminator": detached(nn.Linear(2, 3)), "optimizers": [adam, adam]}
    case("beside.pt", beside, own, lists=["model", "discriminator"], remarks=["`model` is taken"])
    case("beside.pt", None, detached(nn.Linear(2, 3)), values=False, remarks=["`discriminator` is taken"])
    top = dict(own, **{"extra": {"nested": changed(own, 2.0)}})
    case("top.pt", top, own, remarks=["the top level is taken; `extra.nested` would fit too"])
    case("top.pt", None, own, key=".", silent=True)
    case("settings.pt", Settings(state_dict=Named(own), lr=0.1), own, remarks=["`state_dict` is taken"])
    case("bag.pt", {"all": Bag([own])}, own, remarks=["`all.0` is taken"])
    case("default.pt", collections.defaultdict(dict, {"model": collections.OrderedDict(own)}), own, remarks=["`model`"])
    case("object.pt", {"trainer": Trainer(own)}, own, remarks=["`trainer.state` is taken"])
    case("namespace.pt", types.SimpleNamespace(net=own, args=argparse.Namespace(lr=1)), own, remarks=["`net` is taken"])
    case("whole.pt", net, own, silent=True)
    case("whole_in.pt", {"ema": None, "model": net}, own, remarks=["`model` is taken"])
    parallel = nn.DataParallel(net)
    case("whole_parallel.pt", {"model": parallel}, own, remarks=["`model` is taken", "`module.` of wrappers"])
    parameters = {"weights": dict(net.named_parameters()), "step": torch.tensor(3)}
    case("parameters.pt", parameters, {k: v for k, v in own.items() if k != "seen"}, remarks=["`weights` is taken"])
    attributed = {key: value.clone() for key, value in own.items()}
    attributed["gain"].note = "by hand"
    case("attributed.pt", {"model": attributed}, own, remarks=["`model` is taken"])
    shared = {"model": own, "same": own}
    case("shared.pt", shared, own, lists=["model"], remarks=["`model` is taken"])
    cycle = {"model": own}
    cycle["self"] = cycle
    case("cycle.pt", cycle, own, remarks=["`model` is taken"])
    unnamed = {"shadow_params": list(own.values()), "n": 3}
    case("unnamed.pt", unnamed, own, error="no tensors under shadow_params, n", left_out=["shadow_params: a list of 6 tensors without names"])
    wrong = {**steps, "model": {k: v for k, v in own.items() if k != "gain"}}
    case("wrong.pt", wrong, own, error="`model`: does not fit the model: missing `gain`")
    # a history of losses beside the weights: a pickle of 10 MB and more than a million objects
    history = {"model": own, "losses": [i / 3 for i in range(900_000)], "log": [{"loss": i / 7, "step": i} for i in range(60_000)]}
    case("history.pt", history, own, remarks=["`model` is taken"])
    case("history_old.pt", history, own, remarks=["`model` is taken"], _use_new_zipfile_serialization=False)
    large = {"model": own, "pairs": [(i, i + 2**40, str(i)) for i in range(300_000)]}
    case("pairs.pt", large, own, remarks=["`model` is taken"])


def names(folder, case):
    own = detached(Block())

    def renamed(by, state=own):
        return {by(key): value for key, value in state.items()}

    for prefix in ["module.", "model.", "_orig_mod.", "flow.", "net.0.", "a.b.c.", "module._orig_mod.", "_forward_module.module."]:
        said = prefix.rstrip(".").split(".")[-1]
        case(f"front_{prefix.replace('.', '-')}.pt", renamed(lambda key: prefix + key), own, remarks=[f"{said}.", "taken off"])
    inner = renamed(lambda key: key.replace("body.0.", "body.0._checkpoint_wrapped_module."))
    case("inner.pt", inner, own, remarks=["`_checkpoint_wrapped_module.` of wrappers taken off"])
    compiled = renamed(lambda key: "_fsdp_wrapped_module." + key.replace("body.", "body._orig_mod."))
    case("compiled.pt", compiled, own, remarks=["`_fsdp_wrapped_module.`, `_orig_mod.` of wrappers"])
    averaged = torch.optim.swa_utils.AveragedModel(Block())
    case("averaged.pt", averaged.state_dict(), {k[7:]: v for k, v in averaged.state_dict().items() if k != "n_averaged"},
         remarks=["no weight and left out: `n_averaged`", "`module.` of wrappers"])
    case("counted.pt", {"decay": torch.tensor(0.9), "num_updates": torch.tensor(3), **own}, own, remarks=["`decay`, `num_updates`"])
    stranger = {**renamed(lambda key: "model." + key), "criterion.weight": torch.ones(3)}
    case("stranger.pt", stranger, own, error="unexpected `criterion.weight`")
    case("stranger.pt", None, own, prefix="model.", remarks=["1 key not below `model.` left out"])
    case("stranger.pt", None, own, prefix="model", remarks=["1 key not below `model` left out"])
    case("stranger.pt", None, own, prefix="other.", error="has no key that begins with `other.`")
    both = {**renamed(lambda key: "model_ema." + key, changed(own, 1.0)), **renamed(lambda key: "model." + key)}
    case("both.pt", both, own, remarks=["the names also fit below `model_ema.`: `--prefix model_ema.` takes those"])
    case("both.pt", None, changed(own, 1.0), prefix="model_ema.", remarks=["6 keys not below"])
    twin = {**own, **renamed(lambda key: "ema." + key, changed(own, 1.0))}
    case("twin.pt", twin, own, remarks=["`--prefix ema.` takes those"])
    lightning = {"state_dict": renamed(lambda key: "flow." + key), "epoch": 3, "pytorch-lightning_version": "2.0", "loops": {}}
    case("lightning.ckpt", lightning, own, remarks=["`state_dict` is taken", "`flow.` in front of all names"])
    case("missing.pt", {"module." + k: v for k, v in own.items() if k != "gain"}, own, error="missing `gain`")


def legacy(folder, case):
    def old(name, content, tensors, **options):
        case(name, content, tensors, _use_new_zipfile_serialization=False, **options)

    from make_state_files import Net, kinds

    old("kinds.pt", kinds(), kinds())
    net = Net()
    own = net.state_dict()
    old("flat.pth", own, own)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(2, 3)).sum().backward()
    optimizer.step()
    own = {key: value.clone() for key, value in net.state_dict().items()}
    checkpoint = {"epoch": 3, "state_dict": own, "best_acc1": torch.tensor(0.5), "optimizer": optimizer.state_dict()}
    old("checkpoint.pth.tar", checkpoint, own, remarks=["`state_dict` is taken"], lists=["state_dict", ""])
    base = torch.arange(60.0).reshape(3, 4, 5) - 7.5
    shared = {"all": base, "row": base[1], "steps": base[:, ::2, 1:4], "turned": base.permute(2, 0, 1), "last": base.view(-1)[57:], "one": base[2, 3, 4]}
    old("shared.pt", shared, shared)
    old("protocol4.pt", shared, shared, pickle_protocol=4)
    old("protocol5.pt", shared, shared, pickle_protocol=5)
    old("wide.pt", {"a": torch.ones(3, dtype=torch.uint16), "b": base}, {"b": base}, error="unexpected `a`")
    old("model.pt", net, own)
    case("python2.pth", None, net_state(folder / "flat.pth"), raw=python2(folder / "flat.pth"))
    view = part_of_storage(folder)
    case("part.pt", None, view, raw=(folder / "part.pt").read_bytes())
    whole = (folder / "flat.pth").read_bytes()
    case("cut.pt", None, net_state(folder / "flat.pth"), raw=whole[:-40], error="it is cut off, use another copy")
    with tarfile.open(folder / "first.tar", "w") as tar:
        for name in ["sys_info", "pickle", "storages", "tensors"]:
            tar.addfile(tarfile.TarInfo(name))
    case("first.tar", None, {}, refused="first format", raw=(folder / "first.tar").read_bytes())


def net_state(path):
    return torch.load(path)


def python2(path):
    """The same file with the texts, numbers and ordered dictionaries of Python 2."""
    state, tail, keys = torch.load(path), b"", []
    pairs = b""
    for number, (name, tensor) in enumerate(state.items()):
        tensor = tensor.contiguous()
        kind = {torch.float32: "Float", torch.bool: "Bool", torch.int64: "Long"}[tensor.dtype]
        key = str(94000000 + number).encode()
        keys.append(key)
        text = lambda value: b"U" + bytes([len(value)]) + value
        sizes = b"".join(b"K" + bytes([size]) for size in tensor.shape)
        strides = b"".join(b"I%d\n" % stride for stride in tensor.stride())
        storage = b"(" + text(b"storage") + b"ctorch\n%sStorage\n" % kind.encode() + text(key) + text(b"cpu") + b"K" + bytes([tensor.numel()]) + b"NtQ"
        rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00(" + sizes + b"t(" + strides + b"tI00\nccollections\nOrderedDict\n)RtR"
        pairs += b"](" + text(name.encode()) + rebuilt + b"e"
        tail += tensor.numel().to_bytes(8, "little") + tensor.numpy().tobytes()
    content = b"\x80\x02ccollections\nOrderedDict\n](" + pairs + b"e\x85R."
    listed = b"\x80\x02](" + b"".join(b"U" + bytes([len(key)]) + key for key in keys) + b"e."
    magic = pickle.dumps(torch.serialization.MAGIC_NUMBER, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    whole = magic + content + listed + tail
    check = torch.load(io.BytesIO(whole), weights_only=False)
    assert all(torch.equal(check[key], state[key]) for key in state)
    return whole


def part_of_storage(folder):
    """A storage that is a part of another one, as PyTorch wrote them before 0.4."""
    whole = torch.arange(10.0)
    text = lambda value: b"X" + len(value).to_bytes(4, "little") + value
    storage = b"(" + text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"1") + text(b"cpu") + b"K\x0a(" + text(b"2") + b"K\x03K\x05ttQ"
    content = b"\x80\x02}" + text(b"a") + b"ctorch._utils\n_rebuild_tensor\n(" + storage + b"K\x01K\x02\x85K\x02\x85tRs."
    magic = pickle.dumps(torch.serialization.MAGIC_NUMBER, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
    (folder / "part.pt").write_bytes(magic + content + pickle.dumps(["1"], 2) + (10).to_bytes(8, "little") + whole.numpy().tobytes())
    return {"a": torch.load(folder / "part.pt", weights_only=False)["a"]}


def kinds(folder, case):
    own = detached(Block())

    def cast(dtype):
        return {key: value.to(dtype) if value.is_floating_point() else value for key, value in own.items()}

    for dtype, how in [
        (torch.float64, "rounded"),
        (torch.float16, "no digit is lost"),
        (torch.bfloat16, "no digit is lost"),
        (torch.float8_e4m3fn, "no digit is lost"),
        (torch.float8_e5m2, "no digit is lost"),
    ]:
        name = str(dtype).removeprefix("torch.")
        tensors = {key: value.to(own[key].dtype) for key, value in cast(dtype).items()}
        case(f"{name}.pt", cast(dtype), tensors, remarks=[f"5 tensors of {name} read as float32: {how}"])
    shape = {**own, "gain": own["gain"].reshape(1)}
    case("shape.pt", shape, own, error="`gain` is float32 [1] in the file, float32 [] in the model")
    whole = {**own, "gain": torch.tensor(3)}
    case("whole_numbers.pt", whole, own, error="`gain` is int64 [] in the file, float32 [] in the model")
    strange = {
        "model": own,
        "others": {
            "u16": torch.ones(2, 3, dtype=torch.uint16),
            "u32": torch.ones(2, dtype=torch.uint32),
            "u64": torch.ones(2, dtype=torch.uint64),
            "f8": torch.ones(2).to(torch.float8_e8m0fnu),
            "half": torch.ones(2, dtype=torch.complex32),
            "sparse": torch.eye(2).to_sparse(),
            "rows": torch.eye(2).to_sparse_csr(),
            "meta": torch.empty(3, device="meta"),
            "conjugated": torch.ones(2, dtype=torch.complex64).conj(),
            "quantised": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
            "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        },
    }
    unread = {
        "sparse": "is sparse: `.to_dense()`",
        "rows": "is sparse",
        "meta": "is on the device `meta`",
        "conjugated": "is conjugated",
        "quantised": "is quantised: `.dequantize()`",
        "nested": "is a nested tensor",
    }
    for old in [False, True]:
        content = strange if not old else {**strange, "others": {k: v for k, v in strange["others"].items() if k not in ("nested",)}}
        reasons = {k: v for k, v in unread.items() if k in content["others"]}
        case(f"strange_{old}.pt", content, own, unread=reasons, remarks=["`model` is taken"], _use_new_zipfile_serialization=not old)
    beside = {**own, "gain": torch.eye(2).to_sparse()}
    case("needed.pt", beside, own, error="`gain` is not read: it is sparse")
    mixed = {**own, "count": torch.ones(2, dtype=torch.uint16)}
    case("mixed.pt", mixed, own, error="unexpected `count`")
    case("arrays.pt", {"model": own, "mean": numpy.ones(3), "best": numpy.float64(0.5)}, own, remarks=["`model` is taken"])
    net = Block().eval()
    torch.export.save(torch.export.export(net, (torch.randn(2, 3),)), folder / "program.pt2")
    case("program.pt2", None, detached(net), silent=True, lists=[""], left_out=["the program itself"], raw=(folder / "program.pt2").read_bytes())


def foreign(folder, case):
    own = detached(Block())
    torch.save(own, folder / "whole.pt")
    whole = (folder / "whole.pt").read_bytes()
    archive = io.BytesIO()
    numpy.savez(archive, a=numpy.ones(3))
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w") as z:
        z.writestr("model.pth", whole)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as t:
        t.addfile(tarfile.TarInfo("model.pth"))
    array = io.BytesIO()
    numpy.save(array, numpy.ones(3))
    lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
    for name, content, expected in [
        ("lfs.pt", lfs, "is a pointer of Git LFS in place of the file: fetch the file with `git lfs pull`"),
        ("page.pt", b"<!DOCTYPE html>\n<html><head><title>x</title>", "is a web page"),
        ("page2.pt", b"\xef\xbb\xbf\n  <HTML lang='en'>", "is a web page"),
        ("denied.pt", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is an XML text"),
        ("empty.pt", b"", "is empty"),
        ("zeros.pt", bytes(4096), "begins with zeros alone"),
        ("packed.pt", gzip.compress(whole), "is compressed by gzip"),
        ("keras.h5", b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file"),
        ("arrays.npz", archive.getvalue(), "is an archive of NumPy arrays"),
        ("array.npy", array.getvalue(), "is a NumPy array"),
        ("zipped.zip", inside.getvalue(), "not one of PyTorch: it does not have exactly one `data.pkl`; it holds model.pth: unpack it first, `unzip FILE`"),
        ("packed.tar", tar.getvalue(), "is a tar archive"),
        ("graph.onnx", b"\x08\x08\x12\x07pytorch\x1a\x052.1.0" + bytes(50), "ONNX"),
        ("index.json", b'{"metadata": {}, "weight_map": {"a": "b"}}', "is the index of weights in several files"),
        ("config.json", b'{"args": {"model": 3}}', "is a JSON text"),
        ("cut.pt", whole[: len(whole) // 2], "not a whole archive of PyTorch"),
        ("text.pt", b"just some words", "neither safetensors nor an archive"),
        ("one.pt", b"\x80", "neither safetensors nor an archive"),
    ]:
        case(name, None, {}, refused=expected, raw=content)
    bare = pickle.dumps({"model": own, "epoch": 3})
    case("bare.pkl", None, own, raw=bare, error="is a bare pickle", lists=["model"], left_out=["epoch: a number"])
    case("numbers.pkl", None, own, raw=pickle.dumps([1, 2]), error="is a bare pickle")


def main():
    folder, kind = pathlib.Path(sys.argv[1]), sys.argv[2]
    torch.manual_seed(0)
    cases = []

    def case(name, content, tensors, key=None, prefix=None, values=True, **about):
        options = {option: about.pop(option) for option in ["_use_new_zipfile_serialization", "pickle_protocol"] if option in about}
        raw = about.pop("raw", None)
        if content is not None:
            torch.save(content, folder / name, **options)
        elif raw is not None:
            (folder / name).write_bytes(raw)
        described = describe({key: value for key, value in tensors.items()})
        if not values:
            for one in described.values():
                del one["values"]
        cases.append({"file": name, "tensors": described, "key": key, "prefix": prefix, **about})

    {"places": places, "names": names, "legacy": legacy, "kinds": kinds, "foreign": foreign}[kind](folder, case)
    (folder / "cases.json").write_text(json.dumps(cases))


if __name__ == "__main__":
    main()
