//! The command line: one file per subcommand.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage. Results go to standard output, errors to standard error as
//! `error: ...` in one or two lines.

mod bench;
mod completions;
mod compute;
mod convert;
mod curves;
mod data;
mod decode;
mod doctor;
mod encode;
mod eval;
mod exit;
mod gallery;
mod images;
mod inspect;
mod interpolate;
mod labels;
mod latents;
mod listing;
mod model_file;
mod neighbours;
mod non_finite;
mod npy;
mod of_class;
mod out;
mod pictures;
mod plot;
mod presets;
mod progress;
mod ranks;
mod reconstruct;
mod reproduce;
mod sample;
mod score;
mod signals;
mod train;
mod values;
mod watch;

pub use crate::ffi::last_words::OrEnd;
pub use watch::Screen;

use exit::{exit_code, Told, FAILED, WRONG_USAGE};

use crate::ffi::last_words::{self, OutOfMemory};
use crate::ffi::limits::on_a_stack_of_its_size;
use crate::Error;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::panic::{catch_unwind, AssertUnwindSafe, PanicHookInfo};
use std::process::ExitCode;

/// Normalizing flows with exact inverse convolutions: train, evaluate, sample
#[derive(Debug, Parser)]
#[command(name = "inverse-flow", version, propagate_version = true)]
#[command(after_help = "To begin: inverse-flow train --out runs/first
Exit codes: 0 done, 1 failed, 2 wrong usage.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(Box<train::TrainArgs>),
    Eval(eval::EvalArgs),
    Score(Box<score::ScoreArgs>),
    Sample(sample::SampleArgs),
    Encode(encode::EncodeArgs),
    Decode(decode::DecodeArgs),
    Interpolate(interpolate::InterpolateArgs),
    Reconstruct(reconstruct::ReconstructArgs),
    Inspect(inspect::InspectArgs),
    Convert(convert::ConvertArgs),
    Bench(bench::BenchArgs),
    Reproduce(Box<reproduce::ReproduceArgs>),
    Plot(plot::PlotArgs),
    Data(data::DataArgs),
    Doctor(doctor::DoctorArgs),
    Completions(completions::CompletionsArgs),
    Man(completions::ManArgs),
}

impl Command {
    /// A command that several processes have no use for, and why.
    fn only_alone(&self) -> Option<(&'static str, &'static str)> {
        let files = "all of them would write the same files";
        match self {
            Self::Reproduce(_) => Some((
                "reproduce",
                "its rows are compared by the times and the memory of one process",
            )),
            Self::Bench(args) if !args.is_distributed() => {
                Some(("bench", "it measures the times of one process"))
            }
            Self::Encode(_) => Some(("encode", files)),
            Self::Decode(_) => Some(("decode", files)),
            Self::Interpolate(_) => Some(("interpolate", files)),
            Self::Reconstruct(_) => Some(("reconstruct", files)),
            Self::Convert(_) => Some(("convert", files)),
            Self::Plot(_) => Some(("plot", files)),
            Self::Data(_) => Some(("data", files)),
            Self::Train(_) | Self::Eval(_) | Self::Score(_) | Self::Sample(_) | Self::Bench(_) => {
                None
            }
            // they only say something
            Self::Inspect(_) | Self::Doctor(_) | Self::Completions(_) | Self::Man(_) => None,
        }
    }

    /// What to do where there is not enough memory.
    fn way_out_of_memory(&self) -> &'static str {
        match self {
            Self::Train(_) => {
                "use a smaller --batch-size, --accumulate or --rebuild-activations, or give it more (ulimit -v, the limit of the \
                 container)"
            }
            Self::Eval(_) | Self::Score(_) | Self::Reproduce(_) => {
                "use a smaller --batch-size, or give it more (ulimit -v, the limit of the container)"
            }
            _ => "give it more (ulimit -v, the limit of the container)",
        }
    }

    /// A result that could not be written is a failure; that of training is in the folder of the run.
    fn has_told(&self) -> anyhow::Result<()> {
        match crate::train::lost_output() {
            Some(why) if !matches!(self, Self::Train(_)) => {
                anyhow::bail!("the result cannot be written to standard output: {why}")
            }
            _ => Ok(()),
        }
    }

    fn run(&self) -> anyhow::Result<()> {
        if let Some((command, why)) = self.only_alone() {
            ranks::refuse(command, why)?;
        }
        match self {
            Self::Train(args) => args.run(),
            Self::Eval(args) => args.run(),
            Self::Score(args) => args.run(),
            Self::Sample(args) => args.run(),
            Self::Encode(args) => args.run(),
            Self::Decode(args) => args.run(),
            Self::Interpolate(args) => args.run(),
            Self::Reconstruct(args) => args.run(),
            Self::Inspect(args) => args.run(),
            Self::Convert(args) => args.run(),
            Self::Bench(args) => args.run(),
            Self::Reproduce(args) => args.run(),
            Self::Plot(args) => args.run(),
            Self::Data(args) => args.run(),
            Self::Doctor(args) => args.run(),
            Self::Completions(args) => args.run(Cli::command()),
            Self::Man(args) => args.run(Cli::command()),
        }
    }
}

/// The commands and their flags, as [`main`] parses them.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Entry point of the program.
pub fn main() -> ExitCode {
    // before the first tensor: the setting holds for memory that is allocated later
    crate::ffi::keep_freed_memory();
    last_words::watch();
    std::panic::set_hook(Box::new(report_panic));
    let status = on_a_stack_of_its_size(run).unwrap_or_else(|err| told(&err.into()));
    last_words::done();
    ExitCode::from(status)
}

/// Runs the command of the arguments, and says what went wrong.
fn run() -> u8 {
    // before the first tensor; whoever needs CUDA asks `cuda::availability`, which repeats why it failed
    let _ = crate::cuda::libtorch::load();
    let cli = match parse() {
        Ok(cli) => cli,
        Err(usage) => {
            let _ = usage.print();
            return u8::try_from(usage.exit_code()).unwrap_or(WRONG_USAGE);
        }
    };
    last_words::advise(cli.command.way_out_of_memory());
    match catch_unwind(AssertUnwindSafe(|| {
        signals::survive_large_files()?;
        cli.command.run()?;
        cli.command.has_told()
    })) {
        Ok(Ok(())) => 0,
        Ok(Err(err)) => told(&err),
        // the hook has said what there is to say
        Err(_) => FAILED,
    }
}

/// Says what went wrong, unless somebody has done so, and gives the exit status for it.
fn told(err: &anyhow::Error) -> u8 {
    match err.downcast_ref::<Error>() {
        Some(Error::Memory(what)) => eprintln!("error: {}", OutOfMemory(what)),
        _ if err.downcast_ref::<Told>().is_some() => {}
        _ => {
            let text = format!("{err:#}");
            // whichever file it was about
            let more = match text.contains("Too many open files") {
                true => "; let the process have more of them (ulimit -n)",
                false => "",
            };
            eprintln!("error: {text}{more}");
        }
    }
    exit_code(err)
}

fn parse() -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    if std::env::args_os().any(|arg| arg == "-h") {
        command = command.mut_subcommand("train", train::in_short);
    }
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches(&matches).map_err(|err| err.format(&mut command))
}

/// A panic is a bug of this program, or of libtorch's functions that return no error where memory runs out: one line, without a
/// backtrace.
fn report_panic(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("panic");
    let text = crate::error::without_backtrace(text);
    match crate::error::of_torch(text) {
        Error::Memory(what) => return eprintln!("error: {}", OutOfMemory(&what)),
        err @ Error::Cuda(_) => return eprintln!("error: {err}"),
        _ => {}
    }
    let text = text.replace('\n', " ");
    let place = info
        .location()
        .map(|at| format!(" at {at}"))
        .unwrap_or_default();
    eprintln!("error: bug in inverse-flow{place}, please report it: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }
}
