//! Findings on the data sets.

use super::finding::Finding;
use crate::data::{verify, DataName};
use crate::words::counted;
use std::path::Path;

/// The built-in data set.
pub(super) fn glyphs() -> Finding {
    Finding::ok("data: glyphs", "built in")
}

/// The files of MNIST.
pub(super) fn mnist(dir: &Path) -> Finding {
    files("data: mnist", DataName::Mnist, dir)
}

/// The files of CIFAR-10.
pub(super) fn cifar10(dir: &Path) -> Finding {
    files("data: cifar10", DataName::Cifar10, dir)
}

fn files(name: &'static str, data: DataName, dir: &Path) -> Finding {
    let reports = verify(data, dir);
    let wrong: Vec<_> = reports.iter().filter(|report| !report.ok()).collect();
    let fetch = format!(
        "inverse-flow data fetch {data} --data-dir {}",
        dir.display()
    );
    match wrong.first() {
        None => Finding::ok(
            name,
            format!(
                "{} in {}, as published",
                counted(reports.len(), "file"),
                dir.display()
            ),
        ),
        Some(_)
            if wrong.iter().all(|report| report.bytes.is_none())
                && wrong.len() == reports.len() =>
        {
            Finding::warn(name, format!("not in {}", dir.display()), fetch)
        }
        Some(first) => {
            let problem = first.problem.as_deref().unwrap_or("unreadable");
            let found = format!(
                "wrong: {} of {}; {}: {problem}",
                wrong.len(),
                counted(reports.len(), "file"),
                first.path.display()
            );
            Finding::warn(name, found, fetch)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn missing_and_damaged_files_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let missing = mnist(dir.path());
        assert_eq!(missing.verdict, Verdict::Warn);
        assert!(missing.found.starts_with("not in "), "{missing:?}");
        assert!(missing
            .fix
            .unwrap()
            .starts_with("inverse-flow data fetch mnist --data-dir /"));
        let folder = dir.path().join("mnist");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("train-images-idx3-ubyte"), b"short").unwrap();
        let damaged = mnist(dir.path());
        assert!(damaged.found.contains("wrong: 4 of 4 files"), "{damaged:?}");
        assert_eq!(glyphs().verdict, Verdict::Ok);
    }
}
