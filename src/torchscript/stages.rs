//! Scripts in the order in which they run, and the statements that run them.

use super::names::check_name;
use super::Script;
use crate::Result;

/// Named scripts, from data to latent. Names are dotted paths, as those of the variables.
///
/// A folder of stages that follow one another without anything between them becomes a module with `forward` and
/// `invert` of its own, so that `levels.0.steps` is one call, and steps that are alike share their code.
#[derive(Debug, Default)]
pub struct Stages {
    names: Vec<String>,
    stages: Vec<Stage>,
}

#[derive(Debug)]
struct Stage {
    path: Vec<String>,
    /// Nothing for a stage that is only statements.
    script: Option<Script>,
    /// Statements of the module that calls it, after its `forward` and before its `invert`.
    around: Option<[String; 2]>,
}

/// Part of a program: statements that run some stages.
#[derive(Debug, Default)]
pub struct Statements {
    /// From `x` to `x`, adding to `log_det`.
    pub forward: String,
    /// From `x` to `x`, the other way round.
    pub inverse: String,
}

impl Stages {
    /// Appends a stage.
    ///
    /// # Errors
    /// That of `script`, with the stage's name as its place; a name that cannot be one, or is there already.
    pub fn push(&mut self, name: &str, script: Result<Script>) -> Result<()> {
        self.add(name, Some(script), None)
    }

    /// Appends what [`below`](Stages::below)'s module does itself: statements after the `forward` and before the
    /// `invert` of `script`, if there is one.
    ///
    /// # Errors
    /// As [`push`](Stages::push).
    pub fn push_with(
        &mut self,
        name: &str,
        script: Option<Result<Script>>,
        [after, before]: [String; 2],
    ) -> Result<()> {
        self.add(name, script, Some([after, before]))
    }

    fn add(
        &mut self,
        name: &str,
        script: Option<Result<Script>>,
        around: Option<[String; 2]>,
    ) -> Result<()> {
        check_name(name, self.names.iter().map(String::as_str))?;
        self.names.push(name.to_owned());
        let script = script.transpose().map_err(|err| err.below(name))?;
        self.stages.push(Stage {
            path: name.split('.').map(str::to_owned).collect(),
            script,
            around,
        });
        Ok(())
    }

    /// The stages as children of `module`, and the calls that run them in methods of it.
    pub fn below(self, module: Script) -> (Script, Statements) {
        below(self.stages, module)
    }

    /// A module that runs the stages one after the other.
    pub fn sequence(self) -> Script {
        sequence(self.stages)
    }
}

/// A module whose `forward` and `invert` run `stages`.
fn sequence(stages: Vec<Stage>) -> Script {
    let (mut module, calls) = below(stages, Script::new("Sequence", ""));
    module.takes_class = module.children.iter().any(|(_, child)| child.takes_class);
    let class = if module.takes_class {
        ", c: Tensor"
    } else {
        ""
    };
    module.source = format!(
        "def forward(self, x: Tensor{class}) -> Tuple[Tensor, Tensor]:\n    log_det = zero_log_det(x)\n{}    return x, log_det\n\n\n\
         def invert(self, z: Tensor{class}) -> Tensor:\n    x = z\n{}    return x\n",
        calls.forward, calls.inverse
    );
    module
}

fn below(mut stages: Vec<Stage>, mut module: Script) -> (Script, Statements) {
    let mut forward = String::new();
    let mut inverse = Vec::new();
    let mut called = Vec::new();
    while !stages.is_empty() {
        let rest = stages.split_off(run_together(&stages, &called));
        let Stage {
            path,
            script,
            around,
        } = one_stage(std::mem::replace(&mut stages, rest));
        let mut back = String::new();
        if let Some(script) = script {
            let this = at("self", &path);
            let noise = if script.takes_noise { ", noise" } else { "" };
            let class = if script.takes_class { ", c" } else { "" };
            forward +=
                &format!("    x, d = {this}.forward(x{noise}{class})\n    log_det = log_det + d\n");
            back = format!("    x = {this}.invert(x{class})\n");
            module = module.child(path.join("."), script);
        }
        if let Some([after, before]) = around {
            forward += &after;
            back = before + &back;
        }
        inverse.push(back);
        called.push(path);
    }
    inverse.reverse();
    let calls = Statements {
        forward,
        inverse: inverse.concat(),
    };
    (module, calls)
}

/// Several stages of a folder as one.
fn one_stage(mut stages: Vec<Stage>) -> Stage {
    if stages.len() == 1 {
        return stages.remove(0);
    }
    let path = common_folder(&stages);
    for stage in &mut stages {
        stage.path.drain(..path.len());
    }
    Stage {
        path,
        script: Some(sequence(stages)),
        around: None,
    }
}

/// How many of the first stages one call can run, after `called`: all those in the shortest folder of the first that is
/// whole and has nothing special in it, else one.
fn run_together(stages: &[Stage], called: &[Vec<String>]) -> usize {
    let first = &stages[0].path;
    (1..first.len())
        .find_map(|depth| {
            let folder = &first[..depth];
            let inside = |stage: &&Stage| stage.path.starts_with(folder);
            let run = stages.iter().take_while(inside).count();
            let whole = stages.iter().filter(inside).count() == run
                && !called.iter().any(|path| path.starts_with(folder));
            let plain = |stage: &Stage| {
                let noise = stage.script.as_ref().is_some_and(|s| s.takes_noise);
                stage.around.is_none() && !noise
            };
            (run > 1 && whole && stages[..run].iter().all(plain)).then_some(run)
        })
        .unwrap_or(1)
}

/// The folder that `stages` were found in by [`run_together`]: the shortest that holds no others is the longest they
/// have in common.
fn common_folder(stages: &[Stage]) -> Vec<String> {
    let first = &stages[0].path;
    let depth = (0..first.len())
        .take_while(|&depth| {
            stages
                .iter()
                .all(|stage| stage.path.get(depth) == Some(&first[depth]))
        })
        .count();
    first[..depth].to_vec()
}

/// `base.levels` and so on; numbers are no names in Python.
fn at(base: &str, path: &[String]) -> String {
    path.iter().fold(base.to_owned(), |base, part| {
        if part.starts_with(|c: char| c.is_ascii_digit()) {
            format!("getattr({base}, \"{part}\")")
        } else {
            format!("{base}.{part}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(class: &'static str) -> Result<Script> {
        Ok(Script::new(class, ""))
    }

    #[test]
    fn folders_of_plain_stages_become_modules_and_others_are_called_one_by_one() {
        let mut stages = Stages::default();
        for (name, class) in [
            ("levels.0.squeeze", "Squeeze"),
            ("levels.0.steps.0.actnorm", "ActNorm"),
            ("levels.0.steps.0.coupling", "Coupling"),
            ("levels.0.steps.1.actnorm", "ActNorm"),
        ] {
            stages.push(name, layer(class)).unwrap();
        }
        let around = ["    out(x)\n".into(), "    x = back()\n".into()];
        let split = Some(layer("Split"));
        stages.push_with("levels.0.split", split, around).unwrap();
        let (module, calls) = stages.below(layer("Model").unwrap());
        let names: Vec<_> = module
            .children
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(
            names,
            ["levels.0.squeeze", "levels.0.steps", "levels.0.split"]
        );
        let step = &module.children[1].1.children[0];
        assert_eq!((step.0.as_str(), step.1.class), ("0", "Sequence"));
        assert_eq!(
            calls.inverse,
            "    x = back()\n    x = getattr(self.levels, \"0\").split.invert(x)\n\
             \x20   x = getattr(self.levels, \"0\").steps.invert(x)\n\
             \x20   x = getattr(self.levels, \"0\").squeeze.invert(x)\n"
        );
        assert!(calls
            .forward
            .ends_with("log_det = log_det + d\n    out(x)\n"));
    }

    #[test]
    fn a_folder_that_is_entered_twice_is_not_one_call() {
        let mut stages = Stages::default();
        for name in [
            "actnorm.0",
            "masked.a",
            "masked.b",
            "actnorm.1",
            "masked.c",
            "masked.d",
        ] {
            stages.push(name, layer("Any")).unwrap();
        }
        let module = stages.sequence();
        let calls: Vec<_> = module
            .source
            .lines()
            .filter(|line| line.contains(".invert"))
            .collect();
        assert_eq!(
            calls,
            [
                "    x = self.masked.d.invert(x)",
                "    x = self.masked.c.invert(x)",
                "    x = getattr(self.actnorm, \"1\").invert(x)",
                "    x = self.masked.b.invert(x)",
                "    x = self.masked.a.invert(x)",
                "    x = getattr(self.actnorm, \"0\").invert(x)",
            ]
        );
    }
}
