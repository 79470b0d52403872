//! Published files of data sets that are read like one's own: what is compared.

use crate::pictures::write;
use inverse_flow::data::{load, DataConfig, Published, Source};

#[test]
fn files_are_compared_with_what_was_published() {
    let dir = tempfile::tempdir().unwrap();
    for set in [Published::FashionMnist, Published::Kmnist] {
        let name = "t10k-labels-idx1-ubyte.gz";
        write(&dir.path().join(set.folder()).join(name), b"mine");
        let reports = set.verify(dir.path());
        let problems: Vec<String> = reports
            .into_iter()
            .filter_map(|report| report.problem)
            .collect();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(problems[0].contains("No such file"), "{problems:?}");
        // as md5sum says
        let found = "found 918b81db5e91d031548b963c93845e5b";
        assert!(problems[3].ends_with(found), "{problems:?}");
    }
}

#[test]
fn cifar100_has_as_many_images_of_every_class() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("cifar-100-binary");
    let records = |a_class: usize, last: u8| -> Vec<u8> {
        let mut bytes = vec![0; 100 * a_class * 3074];
        for (i, record) in bytes.chunks_exact_mut(3074).enumerate() {
            record[1] = (i % 100) as u8;
            // images that differ are not all in one split
            record[2..4].copy_from_slice(&(i as u16).to_le_bytes());
        }
        let label = bytes.len() - 3073;
        bytes[label] = last;
        bytes
    };
    write(&folder.join("train.bin"), &records(500, 99));
    write(&folder.join("test.bin"), &records(100, 98));
    let [train, test] = &Published::Cifar100.verify(dir.path())[..] else {
        panic!("two files");
    };
    assert!(train.ok(), "{train:?}");
    let problem = test.problem.clone().unwrap();
    assert!(
        problem.contains("99 images of class 99, where 100")
            || problem.contains("101 images of class 98"),
        "{problem}"
    );
    // and they are data by their folder
    let splits = load(&DataConfig::new(Source::Own(folder)), 0).unwrap();
    assert_eq!(
        (splits.train.len() + splits.val.len(), splits.test.len()),
        (50_000, 10_000)
    );
    assert_eq!(splits.test.labels[9_998..], [98, 98]);
}
