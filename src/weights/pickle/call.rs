//! The functions that a pickle may call, all that there are.

use super::objects::{Id, Node, Objects, Storage, Unread, View};
use crate::weights::{Dtype, Problem, MAX_RANK};

/// Calls the global `callable`, or names it in an object that does nothing.
pub(super) fn call(objects: &mut Objects<'_>, callable: Id, arguments: Id) -> Result<Id, Problem> {
    let Some((module, name)) = objects.global(callable) else {
        return Err("a call of something that is not a function".into());
    };
    if let Node::Object(object) = objects.get(callable) {
        let by = object.by;
        return objects.make_object(by, Some(arguments));
    }
    let Node::Tuple(given) = objects.get(arguments) else {
        return Err("a call without arguments".into());
    };
    let first = given.first().copied();
    match (module, name) {
        ("collections", "OrderedDict" | "defaultdict" | "Counter")
        | ("builtins" | "__builtin__", "dict") => match first {
            Some(id) if matches!(objects.get(id), Node::Dict(_)) => Ok(id),
            // Python 2 hands the pairs over
            Some(id) => {
                let pairs = pairs(objects, id);
                objects.spend(size_of_val(&pairs[..]))?;
                objects.make(Node::Dict(pairs))
            }
            None => objects.make(Node::Dict(Vec::new())),
        },
        // a tensor with attributes: function, class, arguments, attributes
        ("torch._tensor", "_rebuild_from_type_v2") => match given[..] {
            [function, _class, arguments, ..] if is_rebuild(objects, function) => {
                call(objects, function, arguments)
            }
            _ => objects.make_object(callable, Some(arguments)),
        },
        // the value inside is what counts
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
        | ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor")
        | ("torch", "Size" | "device")
        | ("torch.nn.parameter", "Parameter" | "Buffer")
        | ("torch.autograd.variable", "Variable")
        | (
            "torch.jit._pickle",
            "build_intlist" | "build_doublelist" | "build_boollist" | "build_tensorlist"
            | "restore_type_tag",
        ) => match first {
            Some(id) => Ok(id),
            None => Err(format!("a call of `{module}.{name}` without arguments")),
        },
        ("torch._utils", name) if name.starts_with("_rebuild") => {
            let given = given.clone();
            match rebuilt(objects, &given, name)? {
                Ok(view) => objects.make(Node::Tensor(Box::new(view))),
                Err(unread) => objects.make(Node::Unread(Box::new(unread))),
            }
        }
        _ => objects.make_object(callable, Some(arguments)),
    }
}

fn is_rebuild(objects: &Objects<'_>, function: Id) -> bool {
    matches!(objects.get(function), Node::Global { module: "torch._utils", name } if name.starts_with("_rebuild"))
}

/// The pairs in a list of pairs.
fn pairs(objects: &Objects<'_>, list: Id) -> Vec<(Id, Id)> {
    let Node::List(list) = objects.get(list) else {
        return Vec::new();
    };
    let pair = |id: Id| match objects.get(id) {
        Node::Tuple(items) => match items[..] {
            [key, value] => Some((key, value)),
            _ => None,
        },
        Node::List(pair) => match pair.items[..] {
            [(0, key), (1, value)] => Some((key, value)),
            _ => None,
        },
        _ => None,
    };
    list.items.iter().filter_map(|&(_, id)| pair(id)).collect()
}

/// Whether a module is one that TorchScript makes up for the classes of an archive.
pub(in crate::weights) fn is_script(module: &str) -> bool {
    module == "__torch__" || module.starts_with("__torch__.")
}

/// What a persistent reference stands for: the storage of `("storage", class, key, place, numbers)`, in old files with
/// `(key, offset, numbers)` of a part of it, or the class of `("module", class, file, source)`.
pub(super) fn refer(objects: &mut Objects<'_>, reference: Id) -> Result<Id, Problem> {
    let wrong = || Problem::from("a reference to something that is not a storage");
    let Node::Tuple(parts) = objects.get(reference) else {
        return Err(wrong());
    };
    if let [tag, class, ..] = parts[..] {
        if objects.text(tag) == Some("module") {
            return Ok(class);
        }
    }
    let [tag, class, key, _place, numbers, ref rest @ ..] = parts[..] else {
        return Err(wrong());
    };
    let (Some("storage"), Some(key), Some(numbers)) =
        (objects.text(tag), objects.text(key), objects.int(numbers))
    else {
        return Err(wrong());
    };
    let number = |id| objects.int(id).and_then(|int| u64::try_from(int).ok());
    let offset = match rest.first().map(|&part| objects.get(part)) {
        Some(Node::Tuple(part)) => part.get(1).and_then(|&at| number(at)).ok_or_else(wrong)?,
        _ => 0,
    };
    let numbers = u64::try_from(numbers).map_err(|_| wrong())?;
    let dtype = match *objects.get(class) {
        Node::Global {
            name: "UntypedStorage",
            ..
        } => None,
        Node::Global {
            module: "torch" | "torch.cuda",
            name,
        } => match Dtype::of_storage(name) {
            Some(dtype) => Some(dtype),
            None => return Ok(class),
        },
        _ => return Ok(class),
    };
    objects.make(Node::Storage(Box::new(Storage {
        key,
        dtype,
        numbers,
        offset,
    })))
}

/// The tensor that a function of PyTorch puts together, or why it is not read.
fn rebuilt(
    objects: &Objects<'_>,
    arguments: &[Id],
    function: &str,
) -> Result<Result<View, Unread>, Problem> {
    let (reason, sizes) = match function {
        "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3" => {
            return tensor(objects, arguments, function)
        }
        "_rebuild_meta_tensor_no_storage" => (
            "is on the device `meta` and has no numbers".to_owned(),
            Some(1),
        ),
        "_rebuild_qtensor" => (
            "is quantised: `.dequantize()` makes plain numbers of it".to_owned(),
            Some(2),
        ),
        "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor" => (
            "is sparse: `.to_dense()` makes a plain tensor of it".to_owned(),
            None,
        ),
        "_rebuild_nested_tensor" => (
            "is a nested tensor of rows of several lengths".to_owned(),
            None,
        ),
        other => (
            format!("is made by `torch._utils.{other}`, which is not known here"),
            None,
        ),
    };
    let shape = sizes.and_then(|at| sizes_of(objects, *arguments.get(at)?));
    Ok(Err(Unread { shape, reason }))
}

/// The sizes or strides that a tuple holds.
fn sizes_of(objects: &Objects<'_>, id: Id) -> Option<Vec<i64>> {
    match objects.get(id) {
        Node::Tuple(items) if items.len() <= MAX_RANK => {
            items.iter().map(|&item| objects.int(item)).collect()
        }
        _ => None,
    }
}

/// The tensor `(storage, offset, sizes, strides, ...)`.
fn tensor(
    objects: &Objects<'_>,
    arguments: &[Id],
    version: &str,
) -> Result<Result<View, Unread>, Problem> {
    let wrong = |what: &str| format!("a tensor without {what}");
    let &[storage, offset, shape, strides, ..] = arguments else {
        return Err(wrong("sizes"));
    };
    let shape = sizes_of(objects, shape).ok_or_else(|| wrong("sizes"))?;
    let strides = sizes_of(objects, strides).ok_or_else(|| wrong("strides"))?;
    let offset = objects
        .int(offset)
        .and_then(|offset| u64::try_from(offset).ok());
    let offset = offset.ok_or_else(|| wrong("an offset"))?;
    let unread = |shape: Vec<i64>, reason: String| {
        Ok(Err(Unread {
            shape: Some(shape),
            reason,
        }))
    };
    let stored = match objects.get(storage) {
        Node::Storage(stored) => stored,
        Node::Global { name, .. } => {
            return unread(shape, format!("has numbers of the kind `{name}`, which is not known here"))
        }
        Node::Object(_) => {
            return unread(
                shape,
                "has its numbers in a pickle of their own, as `pickle.dump` writes tensors: `torch.save` writes them plainly"
                    .to_owned(),
            )
        }
        _ => return Err(wrong("a storage")),
    };
    // v2: requires_grad, hooks, metadata; v3: requires_grad, hooks, dtype, metadata
    let (dtype, metadata) = match version {
        "_rebuild_tensor_v3" => {
            let name = arguments.get(6).and_then(|&id| objects.global(id));
            let name = name.map_or("unknown", |(_, name)| name);
            match Dtype::named(name) {
                Some(dtype) => (dtype, arguments.get(7)),
                None => {
                    return unread(
                        shape,
                        format!("is of dtype `{name}`, which is not known here"),
                    )
                }
            }
        }
        _ => match stored.dtype {
            Some(dtype) => (dtype, arguments.get(6)),
            None => return unread(shape, "does not say its dtype".to_owned()),
        },
    };
    let is_changed = metadata.is_some_and(|&id| match objects.get(id) {
        Node::None => false,
        Node::Dict(flags) => flags
            .iter()
            .any(|&(_, flag)| !matches!(objects.get(flag), Node::Bool(false))),
        _ => true,
    });
    if is_changed {
        let reason = "is conjugated or negated when it is used: `.resolve_conj().resolve_neg()` makes a plain tensor of it";
        return unread(shape, reason.to_owned());
    }
    Ok(Ok(View {
        storage,
        dtype,
        offset: offset
            .checked_add(stored.offset)
            .ok_or_else(|| wrong("an offset"))?,
        shape,
        strides,
    }))
}
