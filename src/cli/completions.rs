//! `inverse-flow completions` and `inverse-flow man`: the command line as shells and manuals know it.

use crate::train::say;
use crate::words::counted;
use crate::{files, Error};
use clap::{Args, Command, ValueEnum};
use clap_complete::aot::{self, generate};
use clap_mangen::Man;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Print the script that completes commands, flags and presets in a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  inverse-flow completions bash >~/.local/share/bash-completion/completions/inverse-flow
  inverse-flow completions zsh >~/.zfunc/_inverse-flow     # with fpath+=~/.zfunc before compinit in ~/.zshrc
  inverse-flow completions fish >~/.config/fish/completions/inverse-flow.fish")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Write the manual pages of all commands into a folder
#[derive(Debug, Args)]
#[command(
    after_help = "Example: inverse-flow man ~/.local/share/man/man1, then: man inverse-flow-train"
)]
pub struct ManArgs {
    /// Folder of the pages
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl CompletionsArgs {
    /// Runs the command; `program` is the whole command line.
    pub fn run(&self, mut program: Command) -> anyhow::Result<()> {
        let shell = match self.shell {
            Shell::Bash => aot::Shell::Bash,
            Shell::Zsh => aot::Shell::Zsh,
            Shell::Fish => aot::Shell::Fish,
        };
        let mut script = Vec::new();
        generate(shell, &mut program, "inverse-flow", &mut script);
        // clap_complete 4.6 writes the hyphen of the program's name in two ways in bash, so that no command is found
        let script = String::from_utf8(script)?.replace("inverse__subcmd__flow", "inverse__flow");
        std::io::stdout().lock().write_all(script.as_bytes())?;
        Ok(())
    }
}

impl ManArgs {
    /// Runs the command; `program` is the whole command line.
    pub fn run(&self, mut program: Command) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.dir).map_err(|err| Error::file(&self.dir, err))?;
        // names the pages of the subcommands: inverse-flow-train
        program.build();
        let pages = write_pages(&program, &self.dir)?;
        say(&format!(
            "{} in {}",
            counted(pages, "page"),
            self.dir.display()
        ));
        Ok(())
    }
}

/// The pages of a command and of those below it; returns how many there are.
fn write_pages(command: &Command, dir: &Path) -> crate::Result<usize> {
    let mut page = Vec::new();
    let man = Man::new(command.clone());
    let path = dir.join(man.get_filename());
    man.render(&mut page)
        .map_err(|err| Error::file(&path, err))?;
    files::write(&path, page)?;
    let mut pages = 1;
    let below = command.get_subcommands();
    for command in below.filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        pages += write_pages(command, dir)?;
    }
    Ok(pages)
}
