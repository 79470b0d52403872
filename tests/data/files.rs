//! Readers of MNIST and CIFAR-10 files: what they accept, and what they say about the rest.
//!
//! The tests on the published files need a folder that holds them, `INVERSE_FLOW_DATA` or else `data`, and are skipped
//! without it.

use crate::skip::skip;
use flate2::{write::GzEncoder, Compression};
use inverse_flow::data::{load_split, verify, DataConfig, DataName, Dataset, FileReport, Split};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use tch::Kind;
use tempfile::TempDir;

const IMAGES: &str = "mnist/t10k-images-idx3-ubyte";
const LABELS: &str = "mnist/t10k-labels-idx1-ubyte";
const BATCH: &str = "cifar-10-batches-bin/test_batch.bin";

/// An IDX file of unsigned bytes with the given dimensions and elements that count up modulo `modulus`.
fn idx(dims: &[u32], modulus: usize) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    bytes.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
    let elements = dims.iter().product::<u32>() as usize;
    bytes.extend((0..elements).map(|i| (i % modulus) as u8));
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A CIFAR-10 file whose record `i` has label `i % 10` and pixels that count up from `i`.
fn cifar() -> Vec<u8> {
    let record = |i: usize| {
        let pixels = (0..3072).map(move |j| ((i + j) % 251) as u8);
        std::iter::once((i % 10) as u8).chain(pixels)
    };
    (0..10_000).flat_map(record).collect()
}

/// A data folder with the test files of MNIST.
fn mnist_folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), IMAGES, &idx(&[10_000, 28, 28], 251));
    write(dir.path(), LABELS, &idx(&[10_000], 10));
    dir
}

/// A data folder with the test files of both data sets.
fn folder() -> TempDir {
    let dir = mnist_folder();
    write(dir.path(), BATCH, &cifar());
    dir
}

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn config(name: DataName, dir: &Path) -> DataConfig {
    DataConfig {
        dir: dir.to_owned(),
        ..DataConfig::new(name)
    }
}

fn test_split(name: DataName, dir: &Path) -> inverse_flow::Result<Dataset> {
    load_split(&config(name, dir), 0, Split::Test)
}

/// The complaint about the test split, which must name the file and the way out.
fn complaint(name: DataName, dir: &Path, file: &str) -> String {
    let text = test_split(name, dir).unwrap_err().to_string();
    let path = dir.join(file).display().to_string();
    assert!(text.starts_with(&path), "{text}");
    assert!(
        text.contains(&format!("inverse-flow data verify {name}")),
        "{text}"
    );
    assert!(text.lines().count() <= 2, "{text}");
    text
}

#[test]
fn well_formed_files_are_read() {
    let dir = folder();
    let mnist = test_split(DataName::Mnist, dir.path()).unwrap();
    assert_eq!((mnist.len(), mnist.chw), (10_000, [1, 28, 28]));
    assert_eq!(mnist.image(3).unwrap()[5], ((3 * 784 + 5) % 251) as u8);
    assert_eq!(mnist.labels[..12], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    let cifar = test_split(DataName::Cifar10, dir.path()).unwrap();
    assert_eq!((cifar.len(), cifar.chw), (10_000, [3, 32, 32]));
    assert_eq!(
        cifar.image(9_999).unwrap()[3071],
        ((9_999 + 3_071) % 251) as u8
    );
    assert_eq!(cifar.labels[9_990..], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn limits_take_the_first_images() {
    let dir = folder();
    for name in [DataName::Mnist, DataName::Cifar10] {
        let whole = test_split(name, dir.path()).unwrap();
        let limited = DataConfig {
            limit: Some(13),
            ..config(name, dir.path())
        };
        let part = load_split(&limited, 0, Split::Test).unwrap();
        assert_eq!(part, whole.subset(0..13));
    }
}

#[test]
fn gzipped_and_plain_files_are_equal() {
    let plain = folder();
    let zipped = tempfile::tempdir().unwrap();
    for name in [IMAGES, LABELS, BATCH] {
        let bytes = fs::read(plain.path().join(name)).unwrap();
        write(zipped.path(), &format!("{name}.gz"), &gzip(&bytes));
    }
    for name in [DataName::Mnist, DataName::Cifar10] {
        let [plain, zipped] = [&plain, &zipped].map(|dir| test_split(name, dir.path()).unwrap());
        assert_eq!(plain, zipped);
    }
}

#[test]
fn training_files_are_split_into_train_and_val() {
    let dir = tempfile::tempdir().unwrap();
    let images = idx(&[60_000, 28, 28], 253);
    write(dir.path(), "mnist/train-images-idx3-ubyte", &images);
    write(
        dir.path(),
        "mnist/train-labels-idx1-ubyte",
        &idx(&[60_000], 7),
    );
    let split = |split| load_split(&config(DataName::Mnist, dir.path()), 0, split).unwrap();
    let (train, val) = (split(Split::Train), split(Split::Val));
    assert_eq!((train.len(), val.len()), (50_000, 10_000));
    assert_eq!(train.pixels().unwrap(), images[16..16 + 50_000 * 784]);
    assert_eq!(val.pixels().unwrap(), images[16 + 50_000 * 784..]);
    assert_eq!(val.labels[0], (50_000 % 7) as u16);
    let limited = DataConfig {
        limit: Some(5),
        ..config(DataName::Mnist, dir.path())
    };
    assert_eq!(
        load_split(&limited, 0, Split::Val).unwrap(),
        val.subset(0..5)
    );
}

#[test]
fn every_damage_to_mnist_is_named() {
    let dir = mnist_folder();
    let images = idx(&[10_000, 28, 28], 251);
    let labels = idx(&[10_000], 10);
    let with = |at: usize, byte: u8, bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[at] = byte;
        bytes
    };
    let mut long = images.clone();
    long.push(0);
    // a header that claims 4 G images must not make the reader allocate them
    let mut huge = images.clone();
    huge[4..8].fill(0xff);
    let cases: [(&str, Vec<u8>, &str); 10] = [
        (
            IMAGES,
            with(3, 1, &images),
            "magic number: expected 0x00000803",
        ),
        (IMAGES, labels.clone(), "magic number: expected 0x00000803"),
        (
            IMAGES,
            idx(&[10_000, 28, 27], 251),
            "expected [10000, 28, 28], found [10000, 28, 27]",
        ),
        (
            IMAGES,
            idx(&[9_999, 28, 28], 251),
            "expected [10000, 28, 28], found [9999, 28, 28]",
        ),
        (IMAGES, huge, "found [4294967295, 28, 28]"),
        (
            IMAGES,
            images[..images.len() - 1].to_vec(),
            "truncated: expected 7840016 bytes, found 7840015",
        ),
        (
            IMAGES,
            images[..7].to_vec(),
            "truncated: expected 7840016 bytes, found 7",
        ),
        (IMAGES, long, "trailing bytes after the expected 7840016"),
        (
            LABELS,
            with(8 + 123, 10, &labels),
            "label 10 of image 123, expected 0 to 9",
        ),
        (LABELS, idx(&[9_999], 10), "expected [10000], found [9999]"),
    ];
    for (name, bytes, expected) in cases {
        let good = fs::read(dir.path().join(name)).unwrap();
        write(dir.path(), name, &bytes);
        let text = complaint(DataName::Mnist, dir.path(), name);
        assert!(text.contains(expected), "{text}\nexpected: {expected}");
        write(dir.path(), name, &good);
    }
    test_split(DataName::Mnist, dir.path()).unwrap();
}

#[test]
fn every_damage_to_cifar_is_named() {
    let dir = folder();
    let good = cifar();
    let mut label = good.clone();
    label[77 * 3073] = 255;
    let mut long = good.clone();
    long.extend([0; 3073]);
    for (bytes, expected) in [
        (label, "label 255 of image 77"),
        (long, "trailing bytes after the expected 30730000"),
        (
            good[..3073 * 5].to_vec(),
            "truncated: expected 30730000 bytes, found 15365",
        ),
        (Vec::new(), "truncated: expected 30730000 bytes, found 0"),
    ] {
        write(dir.path(), BATCH, &bytes);
        let text = complaint(DataName::Cifar10, dir.path(), BATCH);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn damaged_gzip_is_named() {
    let dir = mnist_folder();
    fs::remove_file(dir.path().join(LABELS)).unwrap();
    let name = format!("{LABELS}.gz");
    let good = gzip(&idx(&[10_000], 10));
    let mut checksum = good.clone();
    let crc = checksum.len() - 8;
    checksum[crc] ^= 1;
    for (bytes, expected) in [
        (good[..good.len() / 2].to_vec(), "truncated gzip data"),
        (b"\x1f\x8bnot gzip at all".to_vec(), "damaged gzip data"),
        // a file may have been unpacked without a change of its name
        (b"not gzip at all".to_vec(), "wrong magic number"),
        (checksum, "damaged gzip data"),
        (
            gzip(&idx(&[10_000], 10)[..99]),
            "truncated: expected 10008 bytes, found 99",
        ),
    ] {
        write(dir.path(), &name, &bytes);
        let text = complaint(DataName::Mnist, dir.path(), &name);
        assert!(text.contains(expected), "{text}");
    }
    write(dir.path(), &name, &good);
    test_split(DataName::Mnist, dir.path()).unwrap();
}

#[test]
fn a_missing_file_says_where_it_belongs() {
    let dir = mnist_folder();
    fs::remove_file(dir.path().join(IMAGES)).unwrap();
    let text = complaint(DataName::Mnist, dir.path(), IMAGES);
    let place = dir.path().join("mnist").display().to_string();
    assert!(
        text.contains("no such file") && text.contains(&place),
        "{text}"
    );
    assert!(text.contains("data fetch mnist"), "{text}");
    // a folder in the place of a file is not a missing file
    fs::create_dir(dir.path().join(IMAGES)).unwrap();
    let text = complaint(DataName::Mnist, dir.path(), IMAGES);
    assert!(!text.contains("no such file"), "{text}");
}

#[test]
fn verify_reports_on_every_file() {
    let dir = folder();
    let problem = |reports: &[FileReport], i: usize| reports[i].problem.clone().unwrap();
    let mnist = verify(DataName::Mnist, dir.path());
    assert_eq!(mnist.len(), 4);
    assert!(mnist.iter().all(|report| !report.ok()));
    assert!(problem(&mnist, 0).contains("no such file"));
    assert_eq!((mnist[0].bytes, mnist[2].bytes), (None, Some(7_840_016)));
    assert!(
        problem(&mnist, 2).contains("not the published MNIST"),
        "{mnist:?}"
    );
    let cifar = verify(DataName::Cifar10, dir.path());
    assert_eq!(
        cifar.len(),
        7,
        "six files and the contents of the test file"
    );
    assert!(cifar[5].ok() && cifar[5].bytes == Some(30_730_000));
    assert!(
        problem(&cifar, 6).contains("published contents"),
        "{cifar:?}"
    );
    assert!(verify(DataName::Glyphs, dir.path()).is_empty());
}

/// The folder that holds the published files, those of `name` in its folder `part`, or a note that `test` is skipped.
/// A folder that is there and not whole is no reason to skip.
fn published(test: &str, name: &str, part: &str) -> Option<PathBuf> {
    let named = std::env::var_os("INVERSE_FLOW_DATA").filter(|dir| !dir.is_empty());
    let dir = match named {
        Some(named) => PathBuf::from(named),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("data"),
    };
    let part = dir.join(part);
    if !part.is_dir() {
        let why = format!(
            "needs {name} in {} (INVERSE_FLOW_DATA names another folder)",
            part.display()
        );
        skip(test, &why);
        return None;
    }
    Some(dir)
}

#[test]
fn published_mnist_is_what_it_should_be() {
    let Some(dir) = published("published_mnist_is_what_it_should_be", "MNIST", "mnist") else {
        return;
    };
    for report in verify(DataName::Mnist, &dir) {
        assert!(report.ok(), "{report:?}");
    }
    let split = |split| load_split(&config(DataName::Mnist, &dir), 0, split).unwrap();
    let (train, val, test) = (split(Split::Train), split(Split::Val), split(Split::Test));
    assert_eq!(
        [train.len(), val.len(), test.len()],
        [50_000, 10_000, 10_000]
    );
    assert_eq!(train.labels[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
    assert_eq!(test.labels[..10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
    // the first ink of the first training image, a five: row 5, columns 12 to 17
    assert_eq!(
        train.image(0).unwrap()[5 * 28 + 12..5 * 28 + 18],
        [3, 18, 18, 18, 126, 136]
    );
    let zeros = |data: &Dataset| data.labels.iter().filter(|&&label| label == 0).count();
    assert_eq!((zeros(&train) + zeros(&val), zeros(&test)), (5_923, 980));
}

#[test]
fn published_cifar10_is_what_it_should_be() {
    let Some(dir) = published(
        "published_cifar10_is_what_it_should_be",
        "CIFAR-10",
        "cifar-10-batches-bin",
    ) else {
        return;
    };
    for report in verify(DataName::Cifar10, &dir) {
        assert!(report.ok(), "{report:?}");
    }
    let split = |split| load_split(&config(DataName::Cifar10, &dir), 0, split).unwrap();
    let (train, val) = (split(Split::Train), split(Split::Val));
    assert_eq!([train.len(), val.len()], [40_000, 10_000]);
    let sums = [&train, &val].map(|data| {
        let all: Vec<usize> = (0..data.len()).collect();
        let pixels = data.batch(&all).unwrap();
        pixels.sum_dim_intlist([0i64, 2, 3].as_slice(), false, Kind::Double)
    });
    let means = (&sums[0] + &sums[1]) / (255.0 * 50_000.0 * 1024.0);
    for (c, expected) in [0.49139968, 0.48215841, 0.44653091].into_iter().enumerate() {
        let mean = means.double_value(&[c as i64]);
        assert!((mean - expected).abs() < 1e-8, "channel {c}: {mean}");
    }
    for class in 0..10 {
        let count = |data: &Dataset| data.labels.iter().filter(|&&label| label == class).count();
        assert_eq!(count(&train) + count(&val), 5_000);
    }
}
