//! The functions that a pickle may call, all that there are.

use super::objects::{Id, Node, Objects, Storage, View};
use crate::weights::{Dtype, Problem, MAX_RANK};

/// Calls the global `callable`, or names it in an opaque object.
pub(super) fn call(objects: &mut Objects<'_>, callable: Id, arguments: Id) -> Result<Id, Problem> {
    let Some((module, name)) = objects.global(callable) else {
        return Err("a call of something that is not a function".into());
    };
    let by = match *objects.get(callable) {
        Node::Opaque(by) => return objects.make(Node::Opaque(by)),
        _ => callable,
    };
    let Node::Tuple(arguments) = objects.get(arguments) else {
        return Err("a call without arguments".into());
    };
    let first = arguments.first().copied();
    match (module, name) {
        ("collections", "OrderedDict" | "defaultdict" | "Counter") => match first {
            Some(id) if matches!(objects.get(id), Node::Dict(_)) => Ok(id),
            _ => objects.make(Node::Dict(Vec::new())),
        },
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3") => {
            let arguments = arguments.clone();
            match tensor(objects, &arguments, name)? {
                Some(view) => objects.make(Node::Tensor(Box::new(view))),
                None => objects.make(Node::Opaque(by)),
            }
        }
        // the value inside is what counts
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
        | ("torch", "Size" | "device")
        | ("torch.nn.parameter", "Parameter" | "Buffer")
        | (
            "torch.jit._pickle",
            "build_intlist" | "build_doublelist" | "build_boollist" | "build_tensorlist"
            | "restore_type_tag",
        ) => match first {
            Some(id) => Ok(id),
            None => Err(format!("a call of `{module}.{name}` without arguments")),
        },
        _ if is_script(module) => objects.make(Node::Object {
            class: by,
            state: None,
        }),
        _ => objects.make(Node::Opaque(by)),
    }
}

/// Whether a module is one that TorchScript makes up for the classes of an archive.
fn is_script(module: &str) -> bool {
    module == "__torch__" || module.starts_with("__torch__.")
}

/// The storage that `("storage", class, key, place, numbers)` refers to.
pub(super) fn storage(objects: &mut Objects<'_>, reference: Id) -> Result<Id, Problem> {
    let wrong = || Problem::from("a reference to something that is not a storage");
    let Node::Tuple(parts) = objects.get(reference) else {
        return Err(wrong());
    };
    let [tag, class, key, _place, numbers, ..] = parts[..] else {
        return Err(wrong());
    };
    let (Some("storage"), Some(key), Node::Int(Some(numbers))) =
        (objects.text(tag), objects.text(key), objects.get(numbers))
    else {
        return Err(wrong());
    };
    let numbers = u64::try_from(*numbers).map_err(|_| wrong())?;
    let dtype = match objects.get(class) {
        Node::Global {
            module: "torch",
            name,
        } => Dtype::of_storage(name),
        Node::Global {
            module: "torch.storage",
            name: "UntypedStorage",
        } => None,
        _ => return Err(wrong()),
    };
    objects.make(Node::Storage(Box::new(Storage {
        key,
        dtype,
        numbers,
    })))
}

/// The tensor `(storage, offset, sizes, strides, ...)`; `None` for one of a dtype that nobody here knows, or one that is
/// conjugated or negated on the fly.
fn tensor(objects: &Objects<'_>, arguments: &[Id], version: &str) -> Result<Option<View>, Problem> {
    let wrong = |what: &str| format!("a tensor without {what}");
    let &[storage, offset, shape, strides, ..] = arguments else {
        return Err(wrong("sizes"));
    };
    let Node::Storage(stored) = objects.get(storage) else {
        return Err(wrong("a storage"));
    };
    // v2: requires_grad, hooks, metadata; v3: requires_grad, hooks, dtype, metadata
    let (dtype, metadata) = match version {
        "_rebuild_tensor_v3" => {
            let name = arguments.get(6).and_then(|&id| objects.global(id));
            (
                name.and_then(|(_, name)| Dtype::named(name)),
                arguments.get(7),
            )
        }
        _ => (stored.dtype, arguments.get(6)),
    };
    let is_changed = metadata.is_some_and(|&id| match objects.get(id) {
        Node::None => false,
        Node::Dict(flags) => flags
            .iter()
            .any(|&(_, flag)| !matches!(objects.get(flag), Node::Bool(false))),
        _ => true,
    });
    let Some(dtype) = dtype.filter(|_| !is_changed) else {
        return Ok(None);
    };
    let number = |id| match objects.get(id) {
        Node::Int(Some(number)) => Some(*number),
        _ => None,
    };
    let numbers = |id| -> Option<Vec<i64>> {
        match objects.get(id) {
            Node::Tuple(items) | Node::List(items) if items.len() <= MAX_RANK => {
                items.iter().map(|&item| number(item)).collect()
            }
            _ => None,
        }
    };
    let offset = number(offset).and_then(|offset| u64::try_from(offset).ok());
    Ok(Some(View {
        storage,
        dtype,
        offset: offset.ok_or_else(|| wrong("an offset"))?,
        shape: numbers(shape).ok_or_else(|| wrong("sizes"))?,
        strides: numbers(strides).ok_or_else(|| wrong("strides"))?,
    }))
}
