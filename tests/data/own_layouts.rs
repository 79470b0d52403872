//! IDX files and the layouts of CIFAR as data.

use crate::own_files::{all, bytes, gzip, idx, read, refused};
use crate::pictures::write;
use std::fs;

#[test]
fn idx_files_of_any_size_bring_their_labels_and_splits() {
    let (x, t) = (bytes(50, 42), bytes(7, 42));
    let labels: Vec<u8> = (0..50).map(|i| i % 26).collect();
    for dot in ["-", "."] {
        let dir = tempfile::tempdir().unwrap();
        let raw = dir.path().join("MNIST/raw");
        let at = |name: &str| raw.join(name.replace("-idx", &format!("{dot}idx")));
        // packed without an ending that says so
        write(&at("train-images-idx3-ubyte"), &gzip(&idx(&[50, 6, 7], &x)));
        write(
            &at("train-labels-idx1-ubyte.gz"),
            &gzip(&idx(&[50], &labels)),
        );
        write(&at("t10k-images-idx3-ubyte"), &idx(&[7, 6, 7], &t));
        // the folder, the folder of the folder, and one file of it
        for path in [
            dir.path(),
            &dir.path().join("MNIST"),
            &raw,
            &at("train-images-idx3-ubyte"),
        ] {
            let splits = read(path);
            assert_eq!(splits.train.chw, [1, 6, 7]);
            assert_eq!(splits.test.pixels().unwrap(), t);
            let mut expected: Vec<_> = x
                .chunks(42)
                .zip(&labels)
                .map(|(x, &y)| (x.to_vec(), y.into()))
                .collect();
            expected.extend(t.chunks(42).map(|x| (x.to_vec(), 0)));
            expected.sort();
            assert_eq!(all(&splits), expected, "{}", path.display());
        }
        fs::write(at("train-labels-idx1-ubyte.gz"), idx(&[49], &labels[..49])).unwrap();
        assert!(refused(&raw).contains("[49], and there are 50 images"));
        fs::write(at("train-images-idx3-ubyte"), idx(&[50, 6, 7], &x[1..])).unwrap();
        assert!(refused(&raw).contains("truncated"), "{}", refused(&raw));
        write(
            &raw.join("emnist-train-images-idx3-ubyte"),
            &idx(&[50, 6, 7], &x),
        );
        assert!(refused(&raw).contains("holds several data sets"));
    }
}

/// A pickle as Python 2 wrote those of CIFAR: a dictionary with an array and a list.
fn pickled(pixels: &[u8], labels: &[u8], key: &str) -> Vec<u8> {
    let text = |text: &str| [&[b'U', text.len() as u8][..], text.as_bytes()].concat();
    let mut file = b"\x80\x02}q\x01(".to_vec();
    file.extend(text("batch_label"));
    file.extend(text("training batch 1 of 5"));
    file.extend(text(key));
    file.extend(b"]q\x02(");
    file.extend(labels.iter().flat_map(|&label| [b'K', label]));
    file.push(b'e');
    file.extend(text("data"));
    file.extend(b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05(K\x01M");
    file.extend((labels.len() as u16).to_le_bytes());
    file.extend(b"M\x00\x0c\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T");
    file.extend((pixels.len() as u32).to_le_bytes());
    file.extend(pixels);
    file.extend(b"tbu.");
    file
}

#[test]
fn cifar_is_read_in_all_its_layouts() {
    let pixels = bytes(12, 3072);
    let labels: Vec<u8> = (0..12).map(|i| 8 * i).collect();
    let binary = |extra: usize| -> Vec<u8> {
        let records = pixels.chunks(3072).zip(&labels);
        records
            .flat_map(|(image, &label)| [&vec![3; extra][..], &[label], image].concat())
            .collect()
    };
    let dir = tempfile::tempdir().unwrap();
    let batches = |ending: &str| -> Vec<String> {
        let mut names: Vec<_> = (1..=5).map(|i| format!("data_batch_{i}{ending}")).collect();
        names.push(format!("test_batch{ending}"));
        names
    };
    let hundred = |ending: &str| {
        ["train", "test"]
            .map(|name| format!("{name}{ending}"))
            .to_vec()
    };
    let cases = [
        ("cifar-10-batches-bin", batches(".bin"), binary(0), 60),
        ("cifar-100-binary", hundred(".bin"), binary(1), 12),
        (
            "cifar-10-batches-py",
            batches(""),
            pickled(&pixels, &labels, "labels"),
            60,
        ),
        (
            "cifar-100-python",
            hundred(""),
            pickled(&pixels, &labels, "fine_labels"),
            12,
        ),
    ];
    for (folder, names, content, count) in cases {
        let root = dir.path().join(format!("of-{folder}"));
        for name in &names {
            write(&root.join(folder).join(name), &content);
        }
        for path in [&root, &root.join(folder)] {
            let splits = read(path);
            assert_eq!(splits.test.pixels().unwrap(), pixels, "{folder}");
            let expected: Vec<u16> = labels.iter().map(|&label| label.into()).collect();
            assert_eq!(splits.test.labels, expected, "{folder}");
            assert_eq!(splits.train.len() + splits.val.len(), count, "{folder}");
        }
        let half = content[..content.len() / 2 + 5].to_vec();
        write(&root.join(folder).join(&names[0]), &half);
        let text = refused(&root.join(folder));
        assert!(text.contains(&names[0]), "{text}");
    }
    let several = dir.path().join("of-cifar-10-batches-bin");
    write(&several.join("cifar-100-binary/train.bin"), &binary(1));
    write(&several.join("cifar-100-binary/test.bin"), &binary(1));
    write(
        &several.join("cifar-10-batches-bin/data_batch_1.bin"),
        &binary(0),
    );
    assert!(refused(&several).contains("holds several data sets"));
}
