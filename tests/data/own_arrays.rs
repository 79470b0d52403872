//! Arrays as data: what is read, and what is said about the rest.

use crate::own_files::{all, bytes, config, npy, read, refused};
use crate::pictures::write;
use inverse_flow::data::{image_shape, load, load_split, DataConfig, Source, Split};
use safetensors::tensor::TensorView;
use safetensors::Dtype;
use std::fs::{self, File};
use std::io::Write;

#[test]
fn one_array_is_split_by_the_content_of_its_images() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npy");
    let data = bytes(200, 30);
    write(&path, &npy("|u1", &[200, 5, 6], &data));
    let splits = read(&path);
    assert_eq!(splits.train.chw, [1, 5, 6]);
    assert_eq!(image_shape(&config(&path)).unwrap(), [1, 5, 6]);
    let sizes = [&splits.train, &splits.val, &splits.test].map(|data| data.len());
    assert_eq!(sizes.iter().sum::<usize>(), 200);
    assert!(
        (8..36).contains(&sizes[1]) && (8..36).contains(&sizes[2]),
        "{sizes:?}"
    );
    let mut expected: Vec<_> = data.chunks(30).map(|image| (image.to_vec(), 0)).collect();
    expected.sort();
    assert_eq!(all(&splits), expected);

    // the same images in another order, and among others, are in the same splits
    let mut turned: Vec<u8> = data.chunks(30).rev().flatten().copied().collect();
    turned.extend(vec![9; 30 * 7]);
    write(&path, &npy("|u1", &[207, 5, 6], &turned));
    let again = read(&path);
    for (one, two) in [(&splits.val, &again.val), (&splits.test, &again.test)] {
        let images = |data: &inverse_flow::data::Dataset| -> Vec<Vec<u8>> {
            let images = (0..data.len()).map(|i| data.image(i).unwrap());
            let mut images: Vec<_> = images.filter(|image| image != &[9; 30]).collect();
            images.sort();
            images
        };
        assert_eq!(images(one), images(two));
    }
    assert_ne!(again.fingerprint, splits.fingerprint);
    // no part for validation at all
    let none = DataConfig {
        val_fraction: 0.0,
        ..config(&path)
    };
    let message = load(&none, 0).unwrap_err().to_string();
    assert!(
        message.contains("no validation images: use a larger --val-fraction"),
        "{message}"
    );
    let half = DataConfig {
        val_fraction: 0.5,
        ..config(&path)
    };
    assert!(load(&half, 0)
        .unwrap_err()
        .to_string()
        .contains("less than 0.5"));
}

#[test]
fn channels_may_come_first_or_last() {
    let dir = tempfile::tempdir().unwrap();
    let (first, last) = (dir.path().join("first.npy"), dir.path().join("last.npy"));
    let data = bytes(40, 3 * 5 * 6);
    let mut turned = vec![0; data.len()];
    for (n, image) in data.chunks(90).enumerate() {
        for (i, &pixel) in image.iter().enumerate() {
            turned[n * 90 + i % 30 * 3 + i / 30] = pixel;
        }
    }
    write(&first, &npy("|u1", &[40, 3, 5, 6], &data));
    write(&last, &npy("|u1", &[40, 5, 6, 3], &turned));
    let [one, two] = [&first, &last].map(|path| read(path));
    assert_eq!(one.train.chw, [3, 5, 6]);
    assert_eq!(
        (one.train.pixels().unwrap(), one.fingerprint),
        (two.train.pixels().unwrap(), two.fingerprint)
    );
}

#[test]
fn npz_and_safetensors_name_their_splits_and_labels() {
    let dir = tempfile::tempdir().unwrap();
    let (x, v, t) = (bytes(30, 20), bytes(6, 20), bytes(5, 20));
    let labels: Vec<u8> = (0..30).map(|i| i % 4).collect();
    let wide: Vec<u8> = (0..6i64).flat_map(i64::to_le_bytes).collect();
    let npz = dir.path().join("x.npz");
    for method in [
        zip::CompressionMethod::Stored,
        zip::CompressionMethod::Deflated,
    ] {
        let mut archive = zip::ZipWriter::new(File::create(&npz).unwrap());
        for (name, content) in [
            ("train_images.npy", npy("|u1", &[30, 4, 5], &x)),
            ("train_labels.npy", npy("|u1", &[30, 1], &labels)),
            ("val_images.npy", npy("|u1", &[6, 4, 5], &v)),
            ("val_labels.npy", npy("<i8", &[6], &wide)),
            ("test_images.npy", npy("|u1", &[5, 4, 5], &t)),
            ("notes.txt", b"nothing".to_vec()),
        ] {
            let options = zip::write::FileOptions::default().compression_method(method);
            archive.start_file(name, options).unwrap();
            archive.write_all(&content).unwrap();
        }
        archive.finish().unwrap();
        let splits = read(&npz);
        assert_eq!(splits.train.pixels().unwrap(), x);
        assert_eq!(splits.train.labels[..6], [0, 1, 2, 3, 0, 1]);
        assert_eq!(splits.val.pixels().unwrap(), v);
        assert_eq!(splits.val.labels, [0, 1, 2, 3, 4, 5]);
        assert_eq!(
            (splits.test.pixels().unwrap(), splits.test.labels),
            (t.clone(), vec![0; 5])
        );
    }
    let path = dir.path().join("x.safetensors");
    let view = |dtype, shape: &[usize], data| TensorView::new(dtype, shape.to_vec(), data).unwrap();
    let tensors = vec![
        ("x_train", view(Dtype::U8, &[30, 4, 5], &x)),
        ("y_train", view(Dtype::U8, &[30], &labels)),
        ("x_test", view(Dtype::U8, &[5, 4, 5], &t)),
    ];
    fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    let splits = read(&path);
    assert_eq!(splits.test.pixels().unwrap(), t);
    assert_eq!(
        splits.train.len() + splits.val.len(),
        30,
        "validation is taken from training"
    );
}

#[test]
fn arrays_that_are_no_images_are_refused_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npy");
    let float: Vec<u8> = (0..48).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let cases: [(Vec<u8>, &str); 10] = [
        (
            npy("<f4", &[3, 4, 4], &float),
            "(255 * x).round().astype('uint8')",
        ),
        (npy("<i4", &[3, 4, 4], &float), "astype('uint8')"),
        (npy("|u1", &[48], &bytes(1, 48)), "holds no images"),
        (
            npy("|u1", &[2, 5, 6, 7], &bytes(2, 210)),
            "none of whose sides",
        ),
        (
            npy("|u1", &[2, 3, 6, 1], &bytes(2, 18)),
            "either side may be the colours",
        ),
        (npy("|u1", &[2, 5, 6, 4], &bytes(2, 120)), "4 channels"),
        (npy("|u1", &[0, 5, 6], &[]), "no image"),
        (
            npy("|u1", &[2, 5, 6], &[1; 59]),
            "truncated: [2, 5, 6] of |u1 are 60 bytes, found 59",
        ),
        (b"\x93NUMPY\x01\0\xff\xff{".to_vec(), "damaged .npy header"),
        (b"what is this".to_vec(), "is no data set"),
    ];
    for (content, problem) in cases {
        fs::write(&path, content).unwrap();
        let text = refused(&path);
        assert!(text.contains(problem), "{text}");
        assert!(text.lines().count() <= 2, "{text}");
    }
    let mut fortran = npy("|u1", &[2, 5, 6], &bytes(2, 30));
    let at = fortran
        .windows(5)
        .position(|word| word == b"False")
        .unwrap();
    fortran[at..at + 5].copy_from_slice(b"True ");
    fs::write(&path, fortran).unwrap();
    assert!(refused(&path).contains("ascontiguousarray"));
    fs::write(&path, npy("|u1", &[20, 5, 6], &bytes(20, 30))).unwrap();
    let other = DataConfig {
        image: Some([3, 8, 8]),
        ..config(&path)
    };
    let text = load(&other, 0).unwrap_err().to_string();
    assert!(text.contains("has images of 1x5x6, not 3x8x8"), "{text}");
    let missing = load(&config(&dir.path().join("none")), 0)
        .unwrap_err()
        .to_string();
    assert!(missing.contains("none: No such file"), "{missing}");
    assert!("nothing-here"
        .parse::<Source>()
        .unwrap_err()
        .to_string()
        .contains("nor is there a file or folder"));
}

#[test]
fn changed_data_are_refused_and_padded_data_have_a_border() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npy");
    fs::write(&path, npy("|u1", &[30, 3, 5, 6], &bytes(30, 90))).unwrap();
    let then = read(&path).fingerprint;
    let same = DataConfig {
        fingerprint: then.clone(),
        ..config(&path)
    };
    assert_eq!(load(&same, 0).unwrap().fingerprint, then);
    let padded = DataConfig {
        pad: Some([8, 9]),
        background: "0102ff".parse().unwrap(),
        ..same.clone()
    };
    assert_eq!(image_shape(&padded).unwrap(), [3, 8, 9]);
    let (plain, padded) = (read(&path).train, load(&padded, 0).unwrap().train);
    let (plain_image, image) = (plain.image(3).unwrap(), padded.image(3).unwrap());
    for c in 0..3 {
        for (y, x) in (0..8).flat_map(|y| (0..9).map(move |x| (y, x))) {
            let inside = (1..6).contains(&y) && (1..7).contains(&x);
            let expected = match inside {
                true => plain_image[(c * 5 + y - 1) * 6 + x - 1],
                false => [1, 2, 255][c],
            };
            assert_eq!(image[(c * 8 + y) * 9 + x], expected, "{c} {y} {x}");
        }
    }
    let small = DataConfig {
        pad: Some([4, 9]),
        ..same.clone()
    };
    assert!(load(&small, 0)
        .unwrap_err()
        .to_string()
        .contains("use a larger --pad"));

    fs::write(&path, npy("|u1", &[30, 3, 5, 6], &bytes(31, 90)[90..])).unwrap();
    let text = load_split(&same, 0, Split::Test).unwrap_err().to_string();
    assert!(text.contains("has changed since the run began"), "{text}");
}
