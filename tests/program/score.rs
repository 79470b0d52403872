//! `score`: a line for every image, ranks, two sets side by side, and everything that is refused before the work.

use crate::altered::altered;
use crate::pictures::{self, write};
use crate::run::{done, fails, run};
use inverse_flow::data::{evaluation_noise, load_split, DataConfig, DataName, Dataset, Split};
use serde_json::Value;
use std::fs;
use std::path::Path;
use tch::{CModule, Kind};

const SMALL: &str =
    "train --limit 12 --batch-size 6 --levels 2 --steps 1 --width 6 --device cpu --epochs 1 --quiet --out run";

/// The lines of a `.jsonl` file.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn numbers(rows: &[Value], key: &str) -> Vec<f64> {
    let number = |row: &Value| row[key].as_f64().unwrap_or_else(|| panic!("{row}"));
    rows.iter().map(number).collect()
}

fn glyphs(limit: usize) -> Dataset {
    let config = DataConfig {
        limit: Some(limit),
        ..DataConfig::new(DataName::Glyphs)
    };
    load_split(&config, 0, Split::Test).unwrap()
}

/// Pictures of uniform noise as an array file.
fn write_noise(path: &Path, images: usize) {
    let shape = format!("({images}, 28, 28)");
    let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
    header.extend(std::iter::repeat_n(' ', 117 - header.len()));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(header.bytes());
    let pixel = |i: u32| pictures::byte(i / 784, i % 28, i / 28 % 28);
    bytes.extend((0..images as u32 * 784).map(pixel));
    write(path, &bytes);
}

/// The share of pairs in order, ties counted half.
fn by_pairs(first: &[f64], second: &[f64]) -> f64 {
    let pairs = first.iter().flat_map(|a| {
        let of = move |b: &f64| f64::from(u8::from(a < b)) + 0.5 * f64::from(u8::from(a == b));
        second.iter().map(of)
    });
    pairs.sum::<f64>() / (first.len() * second.len()) as f64
}

#[test]
fn every_image_has_the_likelihood_of_the_torchscript_program_in_any_batch() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, SMALL);
    done(at, "convert run model.pt");
    let score = |arguments: &str| {
        done(
            at,
            &format!(
                "score run glyphs --limit 20 --device cpu --overwrite --out a.jsonl {arguments}"
            ),
        );
        lines(&at.join("a.jsonl"))
    };
    let rows = score("");
    assert_eq!(rows.len(), 20);
    let data = glyphs(20);
    let noise = evaluation_noise(0, 0..20, 0, data.chw).unwrap();
    let x = data.all().unwrap().to_kind(Kind::Float);
    let program = CModule::load(at.join("model.pt")).unwrap();
    let expected = program.method_ts("log_prob", &[x, noise]).unwrap();
    let dimensions = 784.0 * std::f64::consts::LN_2;
    for (i, row) in rows.iter().enumerate() {
        let (nll, expected) = (
            row["nll_nats"].as_f64().unwrap(),
            -expected.double_value(&[i as i64]),
        );
        assert!(
            (nll - expected).abs() < 1e-5 * expected.abs(),
            "image {i}: {nll} and {expected}"
        );
        assert!(
            (row["bpd"].as_f64().unwrap() - nll / dimensions).abs() < 1e-12,
            "{row}"
        );
        assert_eq!(
            (&row["index"], &row["label"]),
            (&i.into(), &data.labels[i].into())
        );
        assert_eq!(row["data"], "glyphs test");
    }
    for batch_size in [1, 7, 64] {
        let other = score(&format!("--batch-size {batch_size}"));
        for (a, b) in numbers(&rows, "nll_nats")
            .iter()
            .zip(numbers(&other, "nll_nats"))
        {
            assert!(
                (a - b).abs() < 1e-5 * a.abs(),
                "batch size {batch_size}: {a} and {b}"
            );
        }
    }
    // the mean is that of eval
    let text = done(at, "eval run --limit 20 --device cpu --json");
    let eval: Value = serde_json::from_str(&text).unwrap();
    let mean = numbers(&rows, "nll_nats").iter().sum::<f64>() / 20.0;
    assert!((mean - eval["nll_nats"].as_f64().unwrap()).abs() < 1e-9 * mean.abs());
}

#[test]
fn ranks_refer_to_the_training_images_or_to_those_that_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, SMALL);
    let text = done(
        at,
        "score run glyphs --split train --limit 12 --device cpu --out train.jsonl",
    );
    assert!(
        text.contains("refer to glyphs train, the first 12 images"),
        "{text}"
    );
    let train = lines(&at.join("train.jsonl"));
    let nll = numbers(&train, "nll_nats");
    let mean = nll.iter().sum::<f64>() / nll.len() as f64;
    // among themselves, the ranks are the places
    let mut places: Vec<f64> = numbers(&train, "rank");
    places.sort_by(f64::total_cmp);
    let expected: Vec<f64> = (0..12).map(|i| (f64::from(i) + 0.5) / 12.0).collect();
    for (found, expected) in places.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-12, "{found} and {expected}");
    }
    done(
        at,
        "score run glyphs --limit 9 --device cpu --reference-limit 5 --out test.jsonl",
    );
    for row in lines(&at.join("test.jsonl")) {
        let own = row["nll_nats"].as_f64().unwrap();
        let below = nll[..5].iter().filter(|other| **other < own).count();
        assert_eq!(row["rank"].as_f64().unwrap(), below as f64 / 5.0, "{row}");
        let mean = nll[..5].iter().sum::<f64>() / 5.0;
        let typicality = row["typicality"].as_f64().unwrap();
        assert!((typicality - (own - mean).abs()).abs() < 1e-9, "{row}");
    }
    let other = "score run glyphs --limit 9 --device cpu --overwrite --out test.jsonl";
    done(at, &format!("{other} --reference none"));
    let row = &lines(&at.join("test.jsonl"))[0];
    assert!(
        row["rank"].is_null() && row["typicality"].is_null(),
        "{row}"
    );
    assert!(row["png_bits"].as_f64().unwrap() > 0.0, "{row}");
    let text = done(
        at,
        &format!("{other} --reference glyphs --reference-limit 12 --json"),
    );
    let object: Value = serde_json::from_str(&text).unwrap();
    let found = object["reference"]["nll_nats"].as_f64().unwrap();
    assert!((found - mean).abs() < 1e-9 * mean.abs(), "{object}");
}

#[test]
fn two_sets_are_told_apart_as_often_as_pairs_say_and_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, SMALL);
    write_noise(&at.join("noise.npy"), 15);
    let text = done(
        at,
        "score run glyphs --limit 20 --against noise.npy --device cpu --json --out both.jsonl --top 3 --grid top.png",
    );
    let object: Value = serde_json::from_str(&text).unwrap();
    let rows = lines(&at.join("both.jsonl"));
    assert_eq!(rows.len(), 20 + 15);
    let (first, second) = rows.split_at(20);
    assert_eq!(second[0]["data"], "noise.npy train");
    assert!(second[0]["label"].is_null() && second[0]["file"].is_null());
    let scores = &object["against"]["scores"];
    for (key, column) in [
        ("nll", "nll_nats"),
        ("typicality", "typicality"),
        ("corrected", "corrected_bits"),
    ] {
        let expected = by_pairs(&numbers(first, column), &numbers(second, column));
        let found = scores[key]["auroc"].as_f64().unwrap();
        assert!(
            (found - expected).abs() < 1e-12,
            "{key}: {found} and {expected}"
        );
        let less = if expected > 0.5 {
            "noise.npy train"
        } else {
            "glyphs test"
        };
        assert_eq!(scores[key]["less_usual"], less, "{scores}");
    }
    let mut nll = numbers(first, "nll_nats");
    nll.sort_by(|a, b| b.total_cmp(a));
    assert_eq!(
        numbers(object["top"].as_array().unwrap(), "nll_nats"),
        nll[..3]
    );
    let starts = |file: &str, with: &[u8]| fs::read(at.join(file)).unwrap().starts_with(with);
    assert!(
        starts("top.png", b"\x89PNG")
            && starts("both.png", b"\x89PNG")
            && starts("both.svg", b"<svg")
    );

    let text = done(
        at,
        "score run noise.npy --against glyphs --limit 20 --device cpu --out turned.csv --histogram h.svg --top 2",
    );
    assert!(!at.join("turned.svg").exists() && starts("h.svg", b"<svg"));
    for part in [
        "Nalisnick",
        "1810.09136",
        "AUROC",
        "typicality",
        "NLL without PNG",
        "h.svg",
        "the least likely of noise.npy train:",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let turned = 1.0 - scores["nll"]["auroc"].as_f64().unwrap();
    assert!(text.contains(&format!("{turned:.4} (")), "{turned}: {text}");
    let csv = fs::read_to_string(at.join("turned.csv")).unwrap();
    let mut csv = csv.lines();
    let head = "data,index,file,label,class,nll_nats,bpd,rank,typicality,png_bits,corrected_bits";
    assert_eq!((csv.next(), csv.count()), (Some(head), 35));
}

#[test]
fn images_of_files_have_their_names_and_classes() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, SMALL);
    for (i, name) in ["cats/a.png", "cats/b, c.png", "dogs/d.png"]
        .iter()
        .enumerate()
    {
        let picture = pictures::colour(i as u32, 20 + i as u32, 30);
        write(&at.join("photos").join(name), &pictures::png(&picture));
    }
    write(&at.join("photos/dogs/e.png"), b"no picture");
    let command = "score run photos --fit resize --reference none --device cpu --out a.csv";
    let message = fails(at, command, 1);
    assert!(
        message.contains("e.png") && message.contains("--skip-damaged"),
        "{message}"
    );
    assert!(!at.join("a.csv").exists());
    let text = done(at, &format!("{command} --skip-damaged --top 1"));
    assert!(text.contains("photos train: 3 images"), "{text}");
    let csv = fs::read_to_string(at.join("a.csv")).unwrap();
    let starts = [
        "photos train,0,cats/a.png,0,cats,",
        "photos train,1,\"cats/b, c.png\",0,cats,",
        "photos train,2,dogs/d.png,1,dogs,",
    ];
    for (line, start) in csv.lines().skip(1).zip(starts) {
        assert!(line.starts_with(start), "{csv}");
    }
}

#[test]
fn what_cannot_be_is_refused_by_name_before_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    fs::write(at.join("there.csv"), "old").unwrap();
    fs::write(at.join("there.svg"), "old").unwrap();
    fs::create_dir(at.join("folder.csv")).unwrap();
    for (arguments, code, expected) in [
        ("--out a.txt", 2, "a.txt: --out must end in .csv or .jsonl"),
        ("--out there.csv", 1, "there.csv: is there already"),
        (
            "--out there.jsonl --against glyphs",
            1,
            "there.svg: is there already",
        ),
        ("--out folder.csv", 1, "folder.csv"),
        ("--out there.csv/a.csv", 1, "there.csv"),
        (
            "--out a.csv --grid a.jpg",
            2,
            "a.jpg: --grid must end in .png",
        ),
        (
            "--out a.csv --histogram a.pdf",
            2,
            "a.pdf: --histogram must end in .svg or .png",
        ),
        (
            "--out a.csv --grid a.png --against glyphs",
            2,
            "a.png: two results cannot be in one file",
        ),
        ("--out a.csv --top 0", 2, "--top"),
        ("--out a.csv --reference-limit 0", 2, "--reference-limit"),
        ("--out a.csv", 1, "nowhere"),
    ] {
        let message = fails(at, &format!("score nowhere glyphs {arguments}"), code);
        assert!(message.contains(expected), "{arguments}: {message}");
    }
    assert_eq!(fs::read_to_string(at.join("there.csv")).unwrap(), "old");
}

#[test]
fn scores_that_are_not_finite_end_with_1_unless_they_are_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, SMALL);
    altered(at, "levels.1.steps.0.actnorm.loc", 1e30, "far.safetensors");
    let command =
        "score far.safetensors glyphs --limit 5 --device cpu --out a.jsonl --reference none";
    let message = fails(at, command, 1);
    let expected = "glyphs test: the likelihood of 5 of 5 images is not finite (0, 1, 2, 3, 4)";
    assert!(
        message.contains(expected) && message.contains("--allow-non-finite"),
        "{message}"
    );
    assert!(!at.join("a.jsonl").exists());
    let output = run(at, &format!("{command} --allow-non-finite --json"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains(expected), "{message}");
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["sets"][0]["not_finite"], 5, "{object}");
    assert!(lines(&at.join("a.jsonl"))
        .iter()
        .all(|row| row["nll_nats"].is_null()));
}
