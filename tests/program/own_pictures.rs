//! Folders of pictures, from the files to a model that has been trained on them.

use crate::pictures::*;
use crate::run::{done, fails};
use image::ImageFormat;
use std::fs;
use std::path::Path;

const SMALL: &str =
    "train --levels 1 --steps 1 --width 4 --batch-size 16 --max-steps 3 --device cpu";

/// 500 files of every kind below `root/pictures`.
fn mixed(root: &Path) {
    let at = |number: u32, ending: &str| {
        root.join(format!("pictures/{}/{number:03}.{ending}", number % 3))
    };
    for number in 0..496 {
        let (w, h) = (8 + number % 5, 8 + number % 7);
        let (picture, format, ending) = match number % 10 {
            0 => (grey(number, w, h), ImageFormat::Png, "png"),
            1 => (colour(number, w, h), ImageFormat::Png, "PNG"),
            2 => (transparent(number, w, h), ImageFormat::Png, "png"),
            3 => (deep(number, w, h), ImageFormat::Png, "png"),
            4 => (deep_grey(number, w, h), ImageFormat::Png, "png"),
            5 => (colour(number, w, h), ImageFormat::Jpeg, "jpg"),
            6 => (colour(number, w, h), ImageFormat::Bmp, "bmp"),
            7 => (grey_transparent(number, w, h), ImageFormat::Png, "png"),
            8 => (deep(number, w, h), ImageFormat::Tiff, "tif"),
            _ => (transparent(number, w, h), ImageFormat::WebP, "webp"),
        };
        write(&at(number, ending), &encoded(&picture, format));
    }
    let jpeg = encoded(&colour(1, 40, 40), ImageFormat::Jpeg);
    write(&at(496, "jpg"), &jpeg[..jpeg.len() * 2 / 3]);
    write(&at(497, "png"), b"this is a text\n");
    write(&at(498, "jpg"), &cmyk_jpeg([255, 0, 0, 0]));
    write(&at(499, "png"), &png(&grey(9, 1, 1)));
}

#[test]
fn a_folder_of_500_mixed_pictures_trains_and_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    mixed(at);
    // the first file that differs is named, and the command that mends it
    let message = fails(at, &format!("{SMALL} --data pictures --out run"), 1);
    assert!(
        message.contains("pictures/0/0") && message.contains(", and images are 1x8x8"),
        "{message}"
    );
    assert!(
        message.contains("`--image 1x8x8 --fit resize`"),
        "{message}"
    );
    let shape = "--image 3x8x8 --fit resize";
    let message = fails(at, &format!("{SMALL} --data pictures {shape} --out run"), 1);
    assert!(message.contains("--skip-damaged"), "{message}");
    assert!(
        !at.join("run").exists(),
        "nothing is left of a run that could not begin"
    );

    let text = done(
        at,
        &format!("{SMALL} --data pictures {shape} --skip-damaged --out run"),
    );
    assert!(text.contains("2 damaged files left out"), "{text}");
    assert!(
        text.contains("496.jpg is damaged: truncated JPEG"),
        "{text}"
    );
    assert!(text.contains("497.png is no picture"), "{text}");
    assert!(!text.contains("498") && !text.contains("499"), "{text}");

    // from another folder, without a word about the data
    let other = at.join("elsewhere");
    fs::create_dir(&other).unwrap();
    let text = done(&other, "eval ../run --device cpu --split val");
    assert!(text.contains("bits per dimension"), "{text}");
    done(&other, "sample ../run --count 2 --out s.png --device cpu");
    done(
        &other,
        "reconstruct ../run --count 2 --out r.png --device cpu",
    );
    done(&other, "train --resume ../run --max-steps 4");

    // what a run is about stays
    let message = fails(at, "train --resume run --fit crop", 2);
    assert!(message.contains("`data.fit` is fixed"), "{message}");

    // moved, and then changed
    fs::rename(at.join("pictures"), at.join("moved")).unwrap();
    assert!(
        fails(at, "eval run --device cpu", 1).contains("pictures"),
        "the old place is named"
    );
    done(at, "eval run --device cpu --data-dir moved");
    done(at, "train --resume run --max-steps 5 --data-dir moved");
    write(&at.join("moved/0/new.png"), &png(&grey(3, 8, 8)));
    for command in [
        "eval run --device cpu --data-dir moved",
        "train --resume run --max-steps 6",
    ] {
        let message = fails(at, command, 1);
        assert!(
            message.contains("moved: has changed since the run began"),
            "{message}"
        );
    }
    // but other data may be asked for by name
    done(at, "eval run --device cpu --data moved --skip-damaged");
    // and the folder of the data sets that have a name is none of theirs
    done(
        at,
        "encode run moved --skip-damaged --data-dir nowhere --limit 2 --out z.npy --device cpu",
    );
}

#[test]
fn a_packed_folder_is_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    for number in 0..120 {
        let path = at.join(format!(
            "pictures/{}/{number}.png",
            ["a", "b"][number as usize % 2]
        ));
        write(&path, &png(&colour(number, 8, 12)));
    }
    write(&at.join("pictures/a/damaged.png"), b"no picture");
    let text = done(at, "data inspect pictures --grid grid.png");
    for part in [
        "folder of pictures",
        "120 images: ",
        "1 size: 3x12x8 (120)",
        "2 classes: a (60), b (60)",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        text.contains("damaged.png is no picture")
            && text.contains("training images of 3x12x8 in grid.png"),
        "{text}"
    );
    assert!(fs::read(at.join("grid.png"))
        .unwrap()
        .starts_with(b"\x89PNG"));

    let message = fails(at, "data pack pictures p.pack", 1);
    assert!(
        message.contains("damaged.png") && !at.join("p.pack").exists(),
        "{message}"
    );
    let text = done(at, "data pack pictures p.pack --skip-damaged");
    assert!(text.contains("120 images of 3x12x8 in p.pack"), "{text}");
    assert!(fails(at, "data pack pictures p.pack --skip-damaged", 1).contains("--overwrite"));
    let text = done(at, "data inspect p.pack --json");
    let packed: serde_json::Value = serde_json::from_str(&text).unwrap();
    let text = done(at, "data inspect pictures --json");
    let folder: serde_json::Value = serde_json::from_str(&text).unwrap();
    for key in ["train", "val", "test", "sizes", "classes"] {
        assert_eq!(packed[key], folder[key], "{key}");
    }
    // the same run to the bit, whose images are not square
    for (data, run) in [("pictures --skip-damaged", "one"), ("p.pack", "two")] {
        done(
            at,
            &format!("{SMALL} --data {data} --out {run} --threads 1"),
        );
    }
    let parameters = |run: &str| {
        let file = fs::read(at.join(run).join("checkpoints/last.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
        let mut all: Vec<(String, Vec<u8>)> = tensors
            .iter()
            .map(|(name, view)| (name.to_owned(), view.data().to_vec()))
            .collect();
        all.sort();
        all
    };
    assert_eq!(parameters("one"), parameters("two"));

    // one byte of the last image
    let mut file = fs::read(at.join("p.pack")).unwrap();
    let middle = file.len() / 2;
    file[middle] ^= 1;
    fs::write(at.join("p.pack"), &file).unwrap();
    assert!(fails(at, "data inspect p.pack", 1).contains("is damaged"));
    fs::write(at.join("p.pack"), &file[..middle]).unwrap();
    assert!(fails(at, "eval two --device cpu", 1).contains("p.pack: truncated"));
}
