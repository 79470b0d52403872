//! What a compiled kernel takes: registers, shared memory, stack, spills, in the words of ptxas, which made the code, and
//! the most threads that its source allows a block.

/// One kernel of one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resources {
    /// Its name.
    pub kernel: String,
    /// Registers of a thread.
    pub registers: u32,
    /// Shared memory of a block beside what the launch asks for, in bytes.
    pub shared: u32,
    /// Constant memory, in bytes; before sm_90 ptxas counts the parameters too.
    pub constant: u32,
    /// Local memory of a thread, in bytes: spilled registers, and arrays whose indices are not known.
    pub stack: u32,
    /// Bytes of a thread's registers that are stored into local memory, and loaded from it.
    pub spills: [u32; 2],
    /// Threads of a block at most: its `__launch_bounds__`.
    pub threads: u32,
}

impl Resources {
    /// All kernels of a file, from what `ptxas -v` says about it and its PTX, in the order of their names.
    ///
    /// # Errors
    /// The two are not about the same kernels, something is not said, or a kernel has no bound.
    pub fn read(log: &str, ptx: &str) -> Result<Vec<Self>, String> {
        let mut all = Vec::new();
        let mut parts = log.split("Compiling entry function '");
        parts.next();
        for part in parts {
            let kernel = part.split('\'').next().unwrap_or_default().to_owned();
            let number = |unit: &str| number_before(part, unit);
            let said = |unit: &str| {
                number(unit).ok_or_else(|| format!("ptxas says nothing of{unit} for {kernel}"))
            };
            all.push(Self {
                registers: said(" registers")?,
                // said where there is some
                shared: number(" bytes smem").unwrap_or(0),
                constant: number(" bytes cmem").unwrap_or(0),
                stack: said(" bytes stack frame")?,
                spills: [said(" bytes spill stores")?, said(" bytes spill loads")?],
                threads: bound(ptx, &kernel)?,
                kernel,
            });
        }
        all.sort_by(|a, b| a.kernel.cmp(&b.kernel));
        let entries = ptx.matches(".entry ").count();
        if all.len() != entries {
            return Err(format!(
                "ptxas speaks of {} kernels, and the PTX has {entries}",
                all.len()
            ));
        }
        Ok(all)
    }

    /// One line of the build's table, after the architecture: numbers that stand alone, the name last.
    pub fn line(&self) -> String {
        let [stores, loads] = self.spills;
        format!(
            "{}\t{}\t{}\t{}\t{stores}\t{loads}\t{}\t{}\n",
            self.registers, self.shared, self.constant, self.stack, self.threads, self.kernel
        )
    }
}

/// The number in front of the first `unit`.
fn number_before(text: &str, unit: &str) -> Option<u32> {
    let (before, _) = text.split_once(unit)?;
    let start = before.rfind(|c: char| !c.is_ascii_digit())? + 1;
    before.get(start..)?.parse().ok()
}

/// The bound on a block's threads, between a kernel's parameters and its body.
fn bound(ptx: &str, kernel: &str) -> Result<u32, String> {
    let entry = format!(".entry {kernel}(");
    let (_, rest) = ptx
        .split_once(&entry)
        .ok_or_else(|| format!("the PTX has no kernel {kernel}"))?;
    let head = rest.split('{').next().unwrap_or_default();
    let sizes = head
        .split_once(".maxntid ")
        .and_then(|(_, sizes)| sizes.lines().next());
    sizes
        .and_then(|sizes| {
            sizes
                .split(',')
                .map(|n| n.trim().parse::<u32>().ok())
                .product()
        })
        .ok_or_else(|| format!("{kernel} has no __launch_bounds__"))
}
