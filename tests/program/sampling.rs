//! Samples in folders and arrays: commands that were stopped go on, and what cannot be written is refused before the work.

use crate::folder::{contents, names};
use crate::run::{done, fails};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tch::{Kind, Tensor};

/// A run of seconds.
pub const SMALL: &str = "train --limit 30 --batch-size 10 --levels 2 --steps 2 --width 6 --epochs 1 --device cpu --quiet --out run";

/// Shape and bytes of an array.
pub fn array(path: &Path) -> (Vec<i64>, Vec<u8>) {
    let tensor = Tensor::read_npy(path).unwrap();
    assert_eq!(tensor.kind(), Kind::Uint8);
    let bytes = Vec::try_from(tensor.contiguous().view([-1])).unwrap();
    (tensor.size(), bytes)
}

/// Starts a command and kills it when `begun` says so.
fn killed(folder: &Path, arguments: &str, begun: impl Fn() -> bool) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_inverse-flow"))
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .env("OMP_NUM_THREADS", "1")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while !begun() {
        assert!(started.elapsed() < Duration::from_secs(120), "{arguments}");
        assert!(child.try_wait().unwrap().is_none(), "too fast: {arguments}");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_stopped_command_goes_on_and_has_the_same_bytes_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, SMALL);
    let command = "sample run --count 434 --seed 3 --temperature 1 --device cpu --out";
    done(at, &format!("{command} whole"));
    done(at, &format!("{command} whole.npy"));
    let whole = contents(&at.join("whole"));
    assert_eq!(whole.len(), 434 + 1);
    assert_eq!(
        (&*whole[0].0, &*whole[433].0, &*whole[434].0),
        ("000000.png", "000433.png", "pictures.json")
    );
    let (shape, bytes) = array(&at.join("whole.npy"));
    assert_eq!(shape, [434, 28, 28, 1]);
    for (number, pixels) in [0, 333, 433].map(|i| (i, &bytes[784 * i..784 * (i + 1)])) {
        let picture = image::load_from_memory(&whole[number].1).unwrap();
        assert_eq!(picture.to_luma8().into_raw(), pixels, "{number}");
        assert_eq!(picture.color(), image::ColorType::L8);
    }
    // a smaller number of images is the beginning of a larger one
    done(
        at,
        &command
            .replace("434", "30")
            .replace("--out", "--out few.npy"),
    );
    assert_eq!(array(&at.join("few.npy")).1, bytes[..30 * 784]);

    let (folder, part) = (at.join("part"), at.join("part.npy.unfinished"));
    killed(at, &format!("{command} part"), || {
        folder.join("000025.png").exists()
    });
    let complete = |path: &str| {
        let text = fs::read_to_string(at.join(path)).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["complete"] == true
    };
    assert!(!complete("part/pictures.json") && contents(&folder).len() < 434);
    // one that is not whole, as after a power cut
    let cut = folder.join("000003.png");
    fs::write(&cut, &fs::read(&cut).unwrap()[..100]).unwrap();
    let text = done(at, &format!("{command} part"));
    assert!(text.contains("of 434 images are there already"), "{text}");
    assert!(contents(&folder) == whole && complete("part/pictures.json"));
    let text = done(at, &format!("{command} part"));
    assert!(text.contains("434 images with these settings"), "{text}");

    killed(at, &format!("{command} part.npy"), || {
        fs::metadata(&part).is_ok_and(|about| about.len() > 20 * 784)
    });
    assert!(!at.join("part.npy").exists() && !complete("part.npy.json"));
    done(at, &format!("{command} part.npy"));
    assert!(!part.exists() && complete("part.npy.json"));
    let bytes = |name: &str| fs::read(at.join(name)).unwrap();
    assert!(bytes("part.npy") == bytes("whole.npy"));

    for (other, expected) in [
        ("--seed 3|--seed 4", "seed was 3 and is 4"),
        (
            "--temperature 1|--temperature 0.5",
            "temperature was 1.0 and is 0.5",
        ),
        ("--count 434|--count 435", "count was 434 and is 435"),
    ] {
        let (old, new) = other.split_once('|').unwrap();
        for out in ["part", "part.npy"] {
            let message = fails(at, &format!("{} {out}", command.replace(old, new)), 1);
            assert!(message.contains(expected), "{message}");
        }
    }
    done(
        at,
        &SMALL.replace("--quiet", "--quiet --overwrite --seed 9"),
    );
    let message = fails(at, &format!("{command} part"), 1);
    assert!(message.contains("weights was"), "{message}");
    assert!(contents(&folder) == whole);
}

#[test]
fn what_cannot_be_written_is_refused_before_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    fs::create_dir_all(at.join("folder.png")).unwrap();
    fs::create_dir_all(at.join("full")).unwrap();
    fs::write(at.join("full/mine.txt"), "").unwrap();
    fs::write(at.join("file"), "").unwrap();
    fs::write(at.join("old.npy"), "").unwrap();
    // there is no model: whoever looks for it first says so
    for (arguments, code, part) in [
        ("sample gone --out a.jpg", 2, "write a.png"),
        ("sample gone --out a.tiff", 2, "must end in .png; or give"),
        (
            "sample gone --format npy --out a.png",
            2,
            "must end in .npy",
        ),
        (
            "sample gone --format png --out a.png",
            2,
            "give --out a folder",
        ),
        ("sample gone --out full", 1, "is not empty"),
        ("sample gone --out file/a.png", 1, "is no folder"),
        ("sample gone --out file/a", 1, "is no folder"),
        ("sample gone --out old.npy", 1, "no manifest beside it"),
        (
            "sample gone --format grid --out folder.png",
            1,
            "a folder is there",
        ),
        ("reconstruct gone --out a.jpeg", 2, "write a.png"),
        ("reconstruct gone --out file/a.png", 1, "is no folder"),
        ("convert gone file/a.ot", 1, "is no folder"),
        (
            "encode gone glyphs --out a.png",
            2,
            "must end in .safetensors or .npy",
        ),
        ("encode gone glyphs --out file/a.npy", 1, "is no folder"),
        ("decode gone z.npy --out a.jpg", 2, "write a.png"),
        (
            "interpolate gone seed:1 seed:2 --out a.jpg",
            2,
            "or .apng, which keeps every pixel",
        ),
        ("data inspect gone.npy --grid a.jpg", 2, ""),
        ("data inspect ./gone --grid a.jpg", 2, "write a.png"),
        ("data pack ./gone file/a", 1, "is no folder"),
    ] {
        let message = fails(at, arguments, code);
        assert!(message.contains(part), "{arguments}: {message}");
        assert!(
            !message.contains("no such file or run"),
            "{arguments}: {message}"
        );
    }
    let names: Vec<_> = names(at);
    assert_eq!(names, ["file", "folder.png", "full", "old.npy"]);

    done(at, SMALL);
    for count in ["40000", "4000000"] {
        let message = fails(at, &format!("sample run --count {count} --out g.png"), 2);
        assert!(
            message.contains("use fewer of them") && message.contains("--out DIR"),
            "{message}"
        );
    }
}
