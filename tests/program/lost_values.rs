//! Images with values that are not finite, or beyond the range of pixels: said, marked, counted, and a failure.

use crate::altered::altered;
use crate::folder::names;
use crate::run::{done, fails, run};
use crate::sampling::SMALL;
use std::fs;
use std::path::Path;

#[test]
fn what_is_not_finite_is_said_marked_and_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, SMALL);
    done(at, "encode run glyphs --limit 3 --out z.npy --device cpu");
    // weights that are finite, and images that are not
    altered(
        at,
        "levels.1.steps.1.actnorm.log_scale",
        1e3,
        "bad.safetensors",
    );
    let magenta = |name: &str| {
        let picture = image::open(at.join(name)).unwrap().to_rgb8();
        picture
            .pixels()
            .filter(|pixel| pixel.0 == [255, 0, 255])
            .count()
    };
    for command in [
        "sample bad.safetensors --count 3 --device cpu --out a.png",
        "decode bad.safetensors z.npy --device cpu --out a.png",
        "interpolate bad.safetensors seed:1 seed:2 --frames 3 --device cpu --out a.png",
        "reconstruct bad.safetensors --count 3 --device cpu --out a.png",
    ] {
        let _ = fs::remove_file(at.join("a.png"));
        let message = fails(at, command, 1);
        assert!(
            message.contains("in 3 of 3 images are not finite, from layer `levels."),
            "{command}: {message}"
        );
        assert!(message.contains("--allow-non-finite"), "{message}");
        assert!(magenta("a.png") > 0, "{command}");
        let output = run(at, &format!("{command} --allow-non-finite"));
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && message.contains("not finite: "),
            "{message}"
        );
    }
    let many = "sample bad.safetensors --count 12 --device cpu --out many";
    let message = fails(at, many, 1);
    assert!(message.contains("(image 0 is the first)"), "{message}");
    assert_eq!(names(&at.join("many")), ["pictures.json"]);
    done(at, &format!("{many} --allow-non-finite"));
    assert_eq!(names(&at.join("many")).len(), 13);

    altered(at, "actnorm.log_scale", f64::NAN, "bad.safetensors");
    for command in [
        "sample bad.safetensors --count 3 --out b.png",
        "encode bad.safetensors glyphs --limit 3 --out b.npy",
        "decode bad.safetensors z.npy --out b.png",
        "interpolate bad.safetensors seed:1 seed:2 --out b.png",
        "reconstruct bad.safetensors --out b.png",
    ] {
        let message = fails(at, &format!("{command} --device cpu"), 1);
        assert!(
            message.contains("1 number is of the parameters not finite")
                || message.contains("actnorm.log_scale` (1 number)"),
            "{command}: {message}"
        );
    }
    assert!(!at.join("b.png").exists() && !at.join("b.npy").exists());
}

/// Puts a number in the place of the first one of a tensor in a safetensors file, and takes its checksums out.
fn overwrite(path: &Path, name: &str, value: f32) {
    let file = fs::read(path).unwrap();
    let start = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&file[8..start]).unwrap();
    let metadata = header["__metadata__"].as_object_mut().unwrap();
    assert!(metadata.remove("crc32").is_some());
    let at = start + header[name]["data_offsets"][0].as_u64().unwrap() as usize;
    let mut text = header.to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    let value = value.to_le_bytes();
    let parts = [&file[start..at], &value, &file[at + 4..]].concat();
    let length = (text.len() as u64).to_le_bytes();
    fs::write(path, [&length, text.as_bytes(), &parts].concat()).unwrap();
}

#[test]
fn the_grid_of_a_run_says_and_shows_what_is_not_finite() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, SMALL);
    // images become latents as ever, and latents no images
    let last = at.join("run/checkpoints/last.safetensors");
    overwrite(&last, "levels.1.steps.1.actnorm.log_scale", 1e3);
    let text = done(at, "train --resume run --epochs 2 --device cpu");
    assert!(
        text.contains("images are not finite, from layer `levels.1.steps.")
            && text.contains("magenta in run/samples/epoch-0002.png"),
        "{text}"
    );
    let grid = image::open(at.join("run/samples/epoch-0002.png")).unwrap();
    assert!(grid
        .to_rgb8()
        .pixels()
        .any(|pixel| pixel.0 == [255, 0, 255]));
}

#[test]
fn values_beyond_the_range_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(
        at,
        "train --model macow --limit 20 --batch-size 10 --width 6 --steps 1 --epochs 1 --device cpu --quiet --out run",
    );
    let text = done(
        at,
        "sample run --count 4 --temperature 3 --device cpu --out a.png",
    );
    assert!(
        text.contains(" values of 3136 were beyond the range of pixels"),
        "{text}"
    );
}
