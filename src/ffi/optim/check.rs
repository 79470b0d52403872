//! What a fused step of Adam refuses.

use crate::{Error, Result};
use tch::{Kind, Tensor};

/// What the fused kernels take for granted, those of GPUs more than those of the CPU: the same on all devices. The `lists`
/// of tensors, with the names of their arguments, begin with the parameters, whose own names are `names`.
pub(super) fn check_step(
    names: &[String],
    lists: [(&'static str, Option<&[Tensor]>); 5],
    step: &Tensor,
    [grad_scale, skip]: [Option<&Tensor>; 2],
) -> Result<()> {
    let wrong = |arg, text: String| Err(Error::argument("fused_adam_step", arg, text));
    let params = lists[0].1.unwrap_or_default();
    if names.len() != params.len() {
        let text = format!("must be {}, got {}", params.len(), names.len());
        return wrong("names", text);
    }
    for (arg, list) in lists {
        let Some(list) = list else { continue };
        if list.len() != params.len() {
            let tensors = crate::words::counted(params.len(), "tensor");
            let text = format!("must have {tensors}, got {}", list.len());
            return wrong(arg, text);
        }
        for ((tensor, param), name) in list.iter().zip(params).zip(names) {
            let facts = |t: &Tensor| (t.size(), t.kind(), t.device());
            if facts(tensor) != facts(param) || !tensor.is_contiguous() {
                let text = format!(
                    "of `{name}` must be contiguous and like the parameter {:?}, got {:?} with strides {:?}",
                    facts(param),
                    facts(tensor),
                    tensor.stride()
                );
                return wrong(arg, text);
            }
            if tensor.kind() != params[0].kind() || tensor.device() != params[0].device() {
                let text = format!(
                    "of `{name}` must have the kind and the device of `{}`, {:?} on {:?}, got {:?} on {:?}",
                    names[0],
                    params[0].kind(),
                    params[0].device(),
                    tensor.kind(),
                    tensor.device()
                );
                return wrong(arg, text);
            }
        }
    }
    let numbers = [
        ("step", Some(step)),
        ("grad_scale", grad_scale),
        ("skip", skip),
    ];
    for (arg, number) in numbers {
        let Some(number) = number else { continue };
        let here = params.first().map_or(number.device(), Tensor::device);
        if number.kind() != Kind::Float || number.dim() != 0 || number.device() != here {
            let text = format!(
                "must be a float32 number on {here:?}, got {:?} {:?} on {:?}",
                number.size(),
                number.kind(),
                number.device()
            );
            return wrong(arg, text);
        }
    }
    // with a scale, gradients are written too
    let mut all: Vec<Used<'_>> = Vec::new();
    for (arg, list) in lists {
        let read_only = arg == "grads" && grad_scale.is_none();
        let tensors = list.into_iter().flatten().zip(names);
        all.extend(tensors.map(|(tensor, name)| Used::new(arg, name, tensor, !read_only)));
    }
    all.push(Used::new("step", "", step, true));
    all.extend(grad_scale.map(|scale| Used::new("grad_scale", "", scale, false)));
    all.extend(skip.map(|skip| Used::new("skip", "", skip, false)));
    match shared(all) {
        Some([one, other]) => wrong(one.arg, format!("{one} must not share memory with {other}")),
        None => Ok(()),
    }
}

/// A tensor's memory, and what the step does with it.
struct Used<'a> {
    memory: std::ops::Range<usize>,
    arg: &'static str,
    name: &'a str,
    written: bool,
}

impl<'a> Used<'a> {
    fn new(arg: &'static str, name: &'a str, tensor: &Tensor, written: bool) -> Self {
        Self {
            memory: memory(tensor),
            arg,
            name,
            written,
        }
    }
}

impl std::fmt::Display for Used<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name {
            "" => write!(f, "`{}`", self.arg),
            name => write!(f, "`{}` of `{name}`", self.arg),
        }
    }
}

/// Two tensors that overlap, one of which is written.
fn shared(mut all: Vec<Used<'_>>) -> Option<[Used<'_>; 2]> {
    all.retain(|used| !used.memory.is_empty());
    all.sort_by_key(|used| used.memory.start);
    // those before that reach furthest: of all, and of what is written
    let (mut any, mut written) = (None::<usize>, None::<usize>);
    let reach = |before: Option<usize>| before.map_or(0, |index| all[index].memory.end);
    for (index, next) in all.iter().enumerate() {
        let before = if next.written { any } else { written };
        if let Some(before) = before.filter(|_| next.memory.start < reach(before)) {
            let next = all.swap_remove(index);
            return Some([next, all.swap_remove(before)]);
        }
        if next.memory.end > reach(any) {
            any = Some(index);
        }
        if next.written && next.memory.end > reach(written) {
            written = Some(index);
        }
    }
    None
}

/// Addresses of a contiguous tensor's elements.
fn memory(tensor: &Tensor) -> std::ops::Range<usize> {
    let start = tensor.data_ptr() as usize;
    start..start + tensor.numel() * tensor.kind().elt_size_in_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_written_shares_memory_with_nothing() {
        let used = |start: usize, end: usize, written: bool| Used {
            memory: start..end,
            arg: "params",
            name: "a",
            written,
        };
        let overlap = |all: Vec<Used<'_>>| {
            shared(all).map(|pair| pair.map(|used| (used.memory.start, used.memory.end)))
        };
        let long_read = || used(0, 100, false);
        assert_eq!(overlap(vec![long_read(), used(10, 20, false)]), None);
        assert_eq!(
            overlap(vec![used(10, 20, false), used(30, 40, true), long_read()]),
            Some([(30, 40), (0, 100)])
        );
        assert_eq!(
            overlap(vec![
                used(0, 50, true),
                used(0, 0, true),
                used(49, 60, false)
            ]),
            Some([(49, 60), (0, 50)])
        );
        assert_eq!(overlap(vec![used(0, 50, true), used(50, 60, true)]), None);
    }
}
