//! The tensors of modules: those that were pickled whole, and those of TorchScript.

use super::found::{join, Found, Named, MAX_DEPTH};
use super::pickle::{is_script, Id, Node};
use super::{Problem, MAX_TENSORS};

impl<'a, 'o> Found<'a, 'o> {
    /// The attribute of this name in the state of an object.
    fn attribute(&self, state: Id, name: &str) -> Option<Id> {
        let Node::Dict(pairs) = self.objects.get(state) else {
            return None;
        };
        let found = pairs
            .iter()
            .find(|(key, _)| self.objects.text(*key) == Some(name));
        found.map(|&(_, value)| value)
    }

    /// Whether a state is that of a `torch.nn.Module`.
    pub(super) fn is_module(&self, state: Id) -> bool {
        ["_parameters", "_buffers", "_modules"]
            .iter()
            .all(|name| self.attribute(state, name).is_some())
    }

    pub(super) fn whole_module(&mut self, path: &str, id: Id) {
        let mut named = Named {
            path: path.to_owned(),
            ..Named::default()
        };
        match self.parameters(&mut named, "", id, 0) {
            Err(problem) => self.leave_out(path, &problem),
            Ok(()) if named.tensors.is_empty() && named.unread.is_empty() => {}
            Ok(()) => self.dictionaries.push(named),
        }
    }

    /// The parameters and buffers of a pickled module and of those in it.
    fn parameters(
        &mut self,
        named: &mut Named<'o>,
        prefix: &str,
        module: Id,
        depth: usize,
    ) -> Result<(), Problem> {
        if depth > MAX_DEPTH {
            return Err(format!("has modules nested more than {MAX_DEPTH} deep"));
        }
        let objects = self.objects;
        let Node::Object(object) = objects.get(module) else {
            return Ok(());
        };
        let Some(state) = object.state else {
            return Ok(());
        };
        for group in ["_parameters", "_buffers", "_modules"] {
            let Some(group_id) = self.attribute(state, group) else {
                continue;
            };
            let Node::Dict(pairs) = objects.get(group_id) else {
                continue;
            };
            for &(key, value) in pairs {
                let Some(key) = objects.text(key) else {
                    continue;
                };
                let name = join(prefix, key);
                if group == "_modules" {
                    self.parameters(named, &name, value, depth + 1)?;
                } else if self.is_tensor(value) {
                    self.add(named, name, value)?;
                }
            }
        }
        Ok(())
    }

    /// The tensors among the attributes of a TorchScript module and of its submodules.
    pub(super) fn attributes(
        &mut self,
        named: &mut Named<'o>,
        prefix: &str,
        module: Id,
        depth: usize,
    ) -> Result<(), Problem> {
        if depth > MAX_DEPTH {
            return Err(format!("has modules nested more than {MAX_DEPTH} deep"));
        }
        let objects = self.objects;
        let Node::Object(object) = objects.get(module) else {
            return Ok(());
        };
        let Some(state) = object.state else {
            return Ok(());
        };
        let Node::Dict(attributes) = objects.get(state) else {
            return Err("has a module without attributes".into());
        };
        for &(key, value) in attributes {
            let Some(key) = objects.text(key) else {
                return Err("has an attribute without a name".into());
            };
            // every attribute counts, so that modules that hold each other end
            self.tensors += 1;
            let name = join(prefix, key);
            match objects.get(value) {
                Node::Tensor(_) | Node::Unread(_) => self.add(named, name, value)?,
                Node::Object(_) if self.tensors < MAX_TENSORS => {
                    self.attributes(named, &name, value, depth + 1)?;
                }
                Node::Object(_) => return Err("has modules without end".into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// The class of the root, if TorchScript made it up.
    pub(super) fn root_class(&self) -> Option<(&'a str, &'a str)> {
        let class = self.objects.global(self.objects.root);
        class.filter(|(module, _)| is_script(module))
    }
}
