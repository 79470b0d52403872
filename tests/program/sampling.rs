//! Images out of the program: grids, folders, arrays, latents and the ways between them.

use crate::run::{done, fails, run};
use image::codecs::{gif::GifDecoder, png::PngDecoder};
use image::AnimationDecoder;
use inverse_flow::data::{load_split, DataConfig, DataName, Split};
use inverse_flow::train::{find_checkpoint, load_model, save_model, Checkpoint};
use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tch::{Device, Kind, Tensor};

const SMALL: &str = "train --limit 30 --batch-size 10 --levels 2 --steps 2 --width 6 --epochs 1 --device cpu --quiet --out run";

/// The files of a folder with their contents.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let name = |entry: &fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut all: Vec<_> = entries
        .map(|entry| (name(&entry), fs::read(entry.path()).unwrap()))
        .collect();
    all.sort();
    all
}

/// Shape and bytes of an array.
fn array(path: &Path) -> (Vec<i64>, Vec<u8>) {
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
    let whole = files(&at.join("whole"));
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
    assert!(!complete("part/pictures.json") && files(&folder).len() < 434);
    // one that is not whole, as after a power cut
    let cut = folder.join("000003.png");
    fs::write(&cut, &fs::read(&cut).unwrap()[..100]).unwrap();
    let text = done(at, &format!("{command} part"));
    assert!(text.contains("of 434 images are there already"), "{text}");
    assert!(files(&folder) == whole && complete("part/pictures.json"));
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
    assert!(files(&folder) == whole);
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
    let names: Vec<_> = files_below(at);
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

fn files_below(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The model of the run in a file of its own, with one number of the first parameter of this name changed.
fn damaged(folder: &Path, ending: &str, value: f64) {
    let run = find_checkpoint(&folder.join("run")).unwrap();
    let checkpoint = Checkpoint::open(&run).unwrap();
    let (_model, vs) = load_model(&checkpoint, Device::Cpu).unwrap();
    let mut all: Vec<_> = vs.variables().into_iter().collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let found = all.iter().find(|(name, _)| name.ends_with(ending)).unwrap();
    let _ = tch::no_grad(|| found.1.view(-1).get(0).fill_(value));
    save_model(&folder.join("bad.safetensors"), &vs, &checkpoint.config).unwrap();
}

#[test]
fn what_is_not_finite_is_said_marked_and_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, SMALL);
    done(at, "encode run glyphs --limit 3 --out z.npy --device cpu");
    // weights that are finite, and images that are not
    damaged(at, "levels.1.steps.1.actnorm.log_scale", 1e3);
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
    assert_eq!(files_below(&at.join("many")), ["pictures.json"]);
    done(at, &format!("{many} --allow-non-finite"));
    assert_eq!(files_below(&at.join("many")).len(), 13);

    damaged(at, "actnorm.log_scale", f64::NAN);
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

#[test]
fn latents_lead_back_to_the_pictures_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, SMALL);
    let data = load_split(&DataConfig::new(DataName::Glyphs), 0, Split::Test).unwrap();
    let pixels = data.subset(0..25).pixels().unwrap();
    for z in ["z.safetensors", "z.npy"] {
        let text = done(
            at,
            &format!("encode run glyphs --limit 25 --device cpu --out {z}"),
        );
        let nll = done(at, "eval run --limit 25 --dequantize midpoint --device cpu");
        let nll = nll
            .split_once("NLL ")
            .unwrap()
            .1
            .split_once(',')
            .unwrap()
            .0
            .to_owned();
        assert!(text.contains(&format!("NLL {nll}")), "{text} and {nll}");
        done(at, &format!("decode run {z} --device cpu --out back.npy"));
        assert!(
            array(&at.join("back.npy")) == (vec![25, 28, 28, 1], pixels.clone()),
            "{z}"
        );
        for name in ["back.npy", "back.npy.json"] {
            fs::remove_file(at.join(name)).unwrap();
        }
        done(
            at,
            &format!("decode run {z} --device cpu --out {z}-decoded --format png"),
        );
        assert_eq!(files_below(&at.join(format!("{z}-decoded"))).len(), 26);
    }
    // one row of numbers is all levels, the first one first
    let named = Tensor::read_safetensors(at.join("z.safetensors")).unwrap();
    let get = |name: &str| &named.iter().find(|(known, _)| known == name).unwrap().1;
    let rows = Tensor::read_npy(at.join("z.npy")).unwrap();
    let levels = [get("latents.0"), get("latents.1")].map(|z| z.flatten(1, -1));
    assert_eq!(rows, Tensor::cat(&levels, 1));
    assert_eq!(get("log_prob").size(), [25]);

    // the noise of an image depends on its number alone
    let noisy = "encode run glyphs --dequantize uniform --seed 5 --device cpu";
    done(at, &format!("{noisy} --limit 25 --out a.npy"));
    done(at, &format!("{noisy} --limit 3 --out b.npy"));
    let [a, b] = ["a.npy", "b.npy"].map(|name| Tensor::read_npy(at.join(name)).unwrap());
    assert!((a.narrow(0, 0, 3) - b).abs().max().double_value(&[]) < 1e-4);

    for (z, part) in [
        ("run/config.json", "must end in"),
        ("back.npy", "No such file"),
    ] {
        let output = run(at, &format!("decode run {z} --out x.png --device cpu"));
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && message.contains(part),
            "{message}"
        );
    }
    fs::copy(
        at.join("run/checkpoints/last.safetensors"),
        at.join("c.safetensors"),
    )
    .unwrap();
    let message = fails(at, "decode run c.safetensors --out x.png --device cpu", 1);
    assert!(message.contains("holds no latents"), "{message}");
    done(at, "sample run --count 2 --out few.npy --device cpu");
    let message = fails(at, "decode run few.npy --out x.png --device cpu", 1);
    assert!(message.contains("must be an array of <f4"), "{message}");
}

#[test]
fn a_way_leads_from_one_image_to_another() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, SMALL);
    let way = "interpolate run glyphs:0 glyphs:4 --frames 5 --device cpu --out";
    done(at, &format!("{way} a.png"));
    let strip = image::open(at.join("a.png")).unwrap().to_rgb8();
    assert_eq!(strip.dimensions(), (5 * 58 + 2, 60));
    let data = load_split(&DataConfig::new(DataName::Glyphs), 0, Split::Test).unwrap();
    for ending in ["gif", "apng"] {
        done(at, &format!("{way} a.{ending}"));
        let bytes = Cursor::new(fs::read(at.join(format!("a.{ending}"))).unwrap());
        let frames = match ending {
            "gif" => GifDecoder::new(bytes).unwrap().into_frames(),
            _ => PngDecoder::new(bytes)
                .unwrap()
                .apng()
                .unwrap()
                .into_frames(),
        };
        let frames = frames.collect_frames().unwrap();
        assert_eq!(frames.len(), 5, "{ending}");
        // the ends are the images themselves
        for (frame, image) in [(0, 0), (4, 4)] {
            let pixels = data.image(image).unwrap();
            let picture = frames[frame].buffer();
            assert_eq!(picture.dimensions(), (112, 112));
            for (x, y, pixel) in picture.enumerate_pixels() {
                let grey = pixels[(y / 4 * 28 + x / 4) as usize];
                assert_eq!(pixel.0, [grey, grey, grey, 255], "{ending} {frame} {x} {y}");
            }
        }
    }
    // a picture is its file, and a seed the first sample of it
    let picture = image::GrayImage::from_raw(28, 28, data.image(0).unwrap()).unwrap();
    picture.save(at.join("own.png")).unwrap();
    done(
        at,
        "interpolate run own.png glyphs:4 --frames 5 --device cpu --out b.png",
    );
    assert_eq!(strip, image::open(at.join("b.png")).unwrap().to_rgb8());
    done(
        at,
        "interpolate run seed:6 seed:7 --frames 2 --device cpu --out c.png",
    );
    done(at, "sample run --seed 6 --count 1 --device cpu --out s.png");
    let first = image::open(at.join("c.png"))
        .unwrap()
        .crop_imm(0, 0, 60, 60);
    assert_eq!(
        first.to_rgb8(),
        image::open(at.join("s.png")).unwrap().to_rgb8()
    );
    for (ends, part) in [
        ("glyphs:0 glyphs:99999", "is not there"),
        ("nothing glyphs:1", "give a picture file"),
        ("own.png run/config.json", "is no picture"),
    ] {
        let output = run(
            at,
            &format!("interpolate run {ends} --device cpu --out x.png"),
        );
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && message.contains(part),
            "{message}"
        );
    }
}
