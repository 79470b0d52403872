//! Images to latents and back, and the ways between images.

use crate::folder::names;
use crate::run::{done, fails, run};
use crate::sampling::{array, SMALL};
use image::codecs::{gif::GifDecoder, png::PngDecoder};
use image::AnimationDecoder;
use inverse_flow::data::{load_split, DataConfig, DataName, Split};
use std::fs;
use std::io::Cursor;
use tch::Tensor;

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
        assert_eq!(names(&at.join(format!("{z}-decoded"))).len(), 26);
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
