//! Damaged arrays as data: read, or refused in a few words with the file's name; no panic, and never long at work.

use crate::damaged_bytes::{damage, Rng};
use crate::own_files::{bytes, config, npy};
use inverse_flow::data::load;
use safetensors::tensor::TensorView;
use safetensors::Dtype;
use std::fs;
use std::io::{Cursor, Write};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::{Duration, Instant};

/// Damaged files of each format.
const FILES: usize = 300;
/// What no small file may take, on a busy machine either.
const LONG: Duration = Duration::from_secs(5);

/// Arrays of these images and labels, packed so.
fn npz(method: zip::CompressionMethod) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in [
        ("train_images.npy", npy("|u1", &[40, 5, 6], &bytes(40, 30))),
        ("train_labels.npy", npy("|u1", &[40], &[3; 40])),
        ("test_images.npy", npy("|u1", &[7, 5, 6], &bytes(7, 30))),
    ] {
        let options = zip::write::FileOptions::default().compression_method(method);
        archive.start_file(name, options).unwrap();
        archive.write_all(&content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn safetensors() -> Vec<u8> {
    let (images, labels) = (bytes(40, 30), [3; 40]);
    let view = |shape: &[usize], data| TensorView::new(Dtype::U8, shape.to_vec(), data).unwrap();
    let tensors = [
        ("x_train", view(&[40, 5, 6], &images)),
        ("y_train", view(&[40], &labels)),
    ];
    safetensors::serialize(tensors, None).unwrap()
}

#[test]
fn damaged_arrays_are_read_or_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let whole = [
        ("x.npy", npy("|u1", &[40, 5, 6], &bytes(40, 30))),
        ("stored.npz", npz(zip::CompressionMethod::Stored)),
        ("packed.npz", npz(zip::CompressionMethod::Deflated)),
        ("x.safetensors", safetensors()),
    ];
    for (name, whole) in whole {
        let path = dir.path().join(name);
        fs::write(&path, &whole).unwrap();
        load(&config(&path), 0).unwrap();
        let mut refused = 0;
        let mut rng = Rng::new(name.len() as u64);
        for (i, bytes) in damage(&whole, FILES, &mut rng).iter().enumerate() {
            fs::write(&path, bytes).unwrap();
            let start = Instant::now();
            let result = catch_unwind(AssertUnwindSafe(|| load(&config(&path), 0)));
            assert!(
                start.elapsed() < LONG,
                "{name} {i} took {:?}",
                start.elapsed()
            );
            let result = result.unwrap_or_else(|_| panic!("{name} {i} panicked"));
            let Err(err) = result else { continue };
            refused += 1;
            let text = err.to_string();
            assert!(
                text.starts_with(&path.display().to_string()),
                "{name} {i}: {text}"
            );
            assert!(
                text.lines().count() <= 2 && text.len() < 1000,
                "{name} {i}: {text}"
            );
        }
        println!("{name}: {FILES} files, {refused} refused");
        assert!(refused * 5 > FILES, "{name}: {refused} refused");
    }
}
