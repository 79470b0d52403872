//! Compiles the CUDA kernels, `kernels/*.cu`, with nvcc.
//!
//! What nvcc makes of one file for one architecture is kept in `target/kernels` with the text that it was made from. Every
//! profile and every set of features of a target folder finds it there, so that a kernel is compiled once however many
//! builds there are, and another list of architectures costs only those that were not there. What ptxas says about the code
//! is kept with it: registers, stack and spills, which scripts/kernel_resources.sh and tests/cuda/resources.rs look at.

mod resources;

use super::var;
use resources::Resources;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

/// Compute capabilities from Turing to Blackwell; the last one is embedded as PTX too, for cards that come later.
const ARCHS: &str = "75,80,86,89,90,100,120";
/// What scripts/train.sh chose for this machine, or `all`; the variable is stronger.
const CHOSEN: &str = ".venv/cuda-archs";
/// Written anew by scripts/setup.sh whenever it has installed something.
const STAMP: &str = ".venv/inverse-flow.stamp";
const HINT: &str =
    "INVERSE_FLOW_CUDA_ARCHS chooses other architectures, INVERSE_FLOW_CUDA=0 builds without kernels";

/// Writes one fatbin per kernel file and two tables, `$OUT_DIR/images.rs` of the fatbins and `$OUT_DIR/resources.tsv` of
/// what each kernel takes on each architecture.
pub fn build() {
    println!("cargo:rerun-if-changed=kernels");
    // a set-up that brings nvcc, or other architectures; cargo takes a file that is not there for one that has changed
    for noted in [CHOSEN, STAMP].map(|name| root().join(name)) {
        if noted.is_file() {
            println!("cargo:rerun-if-changed={}", noted.display());
        }
    }
    let out = out();
    let archs = archs();
    let off = var("INVERSE_FLOW_CUDA").as_deref() == Some("0");
    let nvcc = if off { None } else { nvcc() };
    let Some(nvcc) = nvcc else {
        if !off {
            println!(
                "cargo:warning=no nvcc found (looked at INVERSE_FLOW_NVCC, .venv/cuda, CUDA_HOME and PATH): building for \
                 the CPU only; scripts/setup.sh installs nvcc, INVERSE_FLOW_CUDA=0 silences this line"
            );
        }
        return none();
    };
    let sources = sources();
    let compiler = Compiler::new(nvcc, out.clone());
    compiler.compile_all(&sources, &archs);
    let mut table = String::from("&[\n");
    for source in &sources {
        let name = stem(source);
        let fatbin = out.join(format!("{name}.fatbin"));
        compiler.combine(source, &archs, &fatbin);
        let kernels = compiler.kernels(source, &archs);
        table += &format!(
            "    Image {{ name: {name:?}, bytes: aligned!({fatbin:?}), kernels: &{kernels:?} }},\n"
        );
    }
    table.push(']');
    fs::write(out.join("images.rs"), table).expect("OUT_DIR is writable");
    fs::write(
        out.join("resources.tsv"),
        compiler.resources(&sources, &archs),
    )
    .expect("OUT_DIR is writable");
    println!(
        "cargo:rustc-env=INVERSE_FLOW_CUDA_ARCHS={}",
        archs.join(",")
    );
}

/// Writes empty tables.
pub fn none() {
    println!("cargo:rustc-env=INVERSE_FLOW_CUDA_ARCHS=");
    fs::write(out().join("images.rs"), "&[]").expect("OUT_DIR is writable");
    fs::write(out().join("resources.tsv"), "").expect("OUT_DIR is writable");
}

fn out() -> PathBuf {
    PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"))
}

/// The architectures to compile for: those of the variable, of the machine's set-up, or all.
fn archs() -> Vec<String> {
    let set_up = root().join(CHOSEN);
    let chosen = var("INVERSE_FLOW_CUDA_ARCHS").or_else(|| fs::read_to_string(set_up).ok());
    let list = match chosen.as_deref().map(str::trim) {
        None | Some("" | "all") => ARCHS,
        Some(list) => list,
    };
    let archs: Vec<_> = list.split(',').map(|arch| arch.trim().to_owned()).collect();
    for arch in &archs {
        let digits = arch.trim_end_matches(|c: char| c.is_ascii_lowercase());
        assert!(
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()),
            "INVERSE_FLOW_CUDA_ARCHS: `{arch}` is no compute capability: expected a list such as 80,90, or all"
        );
    }
    archs
}

fn root() -> PathBuf {
    PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"))
}

/// `target/kernels`, seen from `target/PROFILE/build/NAME-HASH/out`.
fn kept(out: &Path) -> PathBuf {
    let target = out
        .ancestors()
        .nth(2)
        .filter(|folder| folder.ends_with("build"))
        .and_then(|folder| folder.ancestors().nth(2));
    target.unwrap_or(out).join("kernels")
}

fn sources() -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir("kernels")
        .expect("the crate has a folder `kernels`")
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "cu"))
        .collect();
    files.sort();
    files
}

fn stem(source: &Path) -> &str {
    source
        .file_stem()
        .and_then(|s| s.to_str())
        .expect("kernel files have UTF-8 names")
}

fn nvcc() -> Option<PathBuf> {
    if let Some(named) = var("INVERSE_FLOW_NVCC") {
        return Some(PathBuf::from(named));
    }
    let home = var("CUDA_HOME").map(|home| PathBuf::from(home).join("bin/nvcc"));
    let found = [Some(root().join(".venv/cuda/bin/nvcc")), home]
        .into_iter()
        .flatten()
        .find(|path| path.is_file());
    found.or_else(|| {
        Command::new("nvcc")
            .arg("--version")
            .output()
            .ok()
            .map(|_| PathBuf::from("nvcc"))
    })
}

/// nvcc, and where its results are kept.
struct Compiler {
    nvcc: PathBuf,
    /// What `nvcc --version` prints: another release makes other code.
    version: String,
    out: PathBuf,
    kept: PathBuf,
}

impl Compiler {
    fn new(nvcc: PathBuf, out: PathBuf) -> Self {
        let kept = kept(&out);
        fs::create_dir_all(&kept).unwrap_or_else(|err| panic!("{}: {err}", kept.display()));
        let version = run(Command::new(&nvcc).arg("--version")).stdout;
        Self {
            nvcc,
            version,
            out,
            kept,
        }
    }

    /// The kept file of a kernel file and an architecture that ends in `ending`.
    fn place(&self, source: &Path, arch: &str, ending: &str) -> PathBuf {
        self.kept
            .join(format!("{}.sm_{arch}.{ending}", stem(source)))
    }

    /// Every file for every architecture, as many at a time as cargo has jobs.
    fn compile_all(&self, sources: &[PathBuf], archs: &[String]) {
        let work: Vec<_> = archs
            .iter()
            .flat_map(|arch| sources.iter().map(move |source| (source, arch)))
            .filter(|(source, arch)| !self.is_current(source, arch))
            .collect();
        let jobs = env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok());
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..jobs.unwrap_or(1).clamp(1, work.len().max(1)) {
                scope.spawn(|| {
                    while let Some((source, arch)) = work.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        self.compile(source, arch);
                    }
                });
            }
        });
    }

    fn is_current(&self, source: &Path, arch: &str) -> bool {
        ["cubin", "ptx", "resources"]
            .iter()
            .all(|ending| self.place(source, arch, ending).is_file())
            && fs::read_to_string(self.place(source, arch, "inputs"))
                .is_ok_and(|before| before == self.inputs(source))
    }

    /// Everything that the code of a file depends on.
    fn inputs(&self, source: &Path) -> String {
        let mut text = format!("{}{OPTIONS:?}\n", self.version);
        let mut files = vec![source.to_path_buf()];
        let mut nth = 0;
        while let Some(file) = files.get(nth).cloned() {
            let content =
                fs::read_to_string(&file).unwrap_or_else(|err| panic!("{}: {err}", file.display()));
            let included = content
                .lines()
                .filter_map(|line| line.trim_start().strip_prefix("#include \""))
                .filter_map(|rest| rest.split('"').next());
            for name in included {
                let path = file.with_file_name(name);
                if !files.contains(&path) {
                    files.push(path);
                }
            }
            text += &format!("// {}\n{content}", file.display());
            nth += 1;
        }
        text
    }

    fn compile(&self, source: &Path, arch: &str) {
        let inputs = self.inputs(source);
        // made in this build's own folder: one that is interrupted, or another one at the same time, leaves no half a file
        let part = |ending: &str| {
            self.out
                .join(format!("{}.sm_{arch}.{ending}", stem(source)))
        };
        let (ptx, cubin, stamp) = (part("ptx"), part("cubin"), part("inputs"));
        let resources = part("resources");
        run(Command::new(&self.nvcc)
            .args(OPTIONS)
            .args(["-ptx", &format!("-arch=compute_{arch}"), "-o"])
            .args([&ptx, source]));
        let said = run(Command::new(&self.nvcc)
            .args(OPTIONS)
            .args(["-Xptxas", "-v"])
            .args(["-cubin", &format!("-arch=sm_{arch}"), "-o"])
            .args([&cubin, &ptx]));
        let text = fs::read_to_string(&ptx).expect("nvcc wrote it");
        let kernels = Resources::read(&said.stderr, &text).unwrap_or_else(|problem| {
            panic!(
                "{}, sm_{arch}: {problem}\n{}",
                source.display(),
                said.stderr
            )
        });
        let lines: String = kernels.iter().map(Resources::line).collect();
        fs::write(&resources, lines).expect("target is writable");
        fs::write(&stamp, inputs).expect("target is writable");
        for (part, ending) in [
            (ptx, "ptx"),
            (cubin, "cubin"),
            (resources, "resources"),
            (stamp, "inputs"),
        ] {
            fs::rename(part, self.place(source, arch, ending)).expect("target is writable");
        }
    }

    /// The kept lines of all files and architectures, with the architecture in front.
    fn resources(&self, sources: &[PathBuf], archs: &[String]) -> String {
        let release = self.version.lines().find(|line| line.contains("release"));
        let mut table = format!("# {}", release.unwrap_or_default());
        for arch in archs {
            for source in sources {
                let lines = fs::read_to_string(self.place(source, arch, "resources"));
                for line in lines.expect("it was compiled").lines() {
                    table += &format!("\nsm_{arch}\t{line}");
                }
            }
        }
        table + "\n"
    }

    /// The kernels of a file, in its order, as the PTX of every architecture lists them.
    fn kernels(&self, source: &Path, archs: &[String]) -> Vec<String> {
        let mut lists = archs.iter().map(|arch| {
            let ptx = self.place(source, arch, "ptx");
            let text =
                fs::read_to_string(&ptx).unwrap_or_else(|err| panic!("{}: {err}", ptx.display()));
            let entries = text.lines().filter_map(|line| line.split_once(".entry "));
            let names = entries.map(|(_, rest)| rest.trim_end_matches(['(', ')', ' ']).to_owned());
            names.collect::<Vec<_>>()
        });
        let first = lists.next().unwrap_or_default();
        assert!(
            lists.all(|list| list == first),
            "{}: the architectures have different kernels",
            source.display()
        );
        first
    }

    /// The machine code of a file for every architecture, and PTX of the last one, in one fatbin.
    fn combine(&self, source: &Path, archs: &[String], fatbin: &Path) {
        let beside = self.nvcc.with_file_name("fatbinary");
        let tool = if beside.is_file() {
            beside
        } else {
            PathBuf::from("fatbinary")
        };
        let mut command = Command::new(tool);
        // compressed to a quarter of the size, for the program and the operator library alike
        command.args(["-64", "--compress-mode=size"]);
        command.arg(format!("--create={}", fatbin.display()));
        let mut image = |kind: &str, arch: &str, ending: &str| {
            let file = self.place(source, arch, ending);
            command.arg(format!(
                "--image3=kind={kind},sm={arch},file={}",
                file.display()
            ));
        };
        for arch in archs {
            image("elf", arch, "cubin");
        }
        if let Some(newest) = archs.last() {
            image("ptx", newest, "ptx");
        }
        run(&mut command);
    }
}

const OPTIONS: [&str; 3] = ["-std=c++17", "-O3", "-lineinfo"];

/// What a tool of the toolkit printed.
struct Printed {
    stdout: String,
    stderr: String,
}

/// Runs a tool of the toolkit to its end.
fn run(command: &mut Command) -> Printed {
    let program = Path::new(command.get_program()).display().to_string();
    match command.output() {
        Ok(output) => {
            let [stdout, stderr] = [output.stdout, output.stderr]
                .map(|text| String::from_utf8_lossy(&text).into_owned());
            assert!(
                output.status.success(),
                "{program} failed ({}): {command:?}\n{stderr}\n{HINT}",
                output.status
            );
            Printed { stdout, stderr }
        }
        Err(err) => {
            panic!("cannot run {program}: {err}; set INVERSE_FLOW_NVCC, or INVERSE_FLOW_CUDA=0")
        }
    }
}
