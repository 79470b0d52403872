//! Conditional models as a user has them: trained, sampled by class, measured; and what is refused.

use crate::run::{done, fails};
use std::path::Path;

const SMALL: &str =
    "train --levels 1 --steps 1 --width 4 --batch-size 8 --max-steps 3 --limit 24 --device cpu";

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text.trim()).unwrap_or_else(|err| panic!("{err}: {text}"))
}

fn config(at: &Path) -> serde_json::Value {
    json(&std::fs::read_to_string(at.join("run/config.json")).unwrap())
}

#[test]
fn a_conditional_run_knows_its_classes_and_draws_and_measures_them() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, &format!("{SMALL} --conditional --out run"));
    let classes = &config(at)["model"]["classes"];
    assert_eq!(classes["names"][7], "7");
    let images: Vec<u64> = serde_json::from_value(classes["images"].clone()).unwrap();
    assert_eq!((images.len(), images.iter().sum::<u64>()), (10, 24));

    let eval = "eval run --limit 12 --device cpu --batch-size 5";
    let measured = json(&done(at, &format!("{eval} --json")));
    let number = |key: &str| measured[key].as_f64().unwrap_or_else(|| panic!("{key}"));
    // a sum over classes is between the least and the most probable one, weighed
    assert!((number("bpd_class_unknown") - number("bpd")).abs() < 0.1);
    assert!((0.0..=1.0).contains(&number("class_accuracy")));
    assert_eq!(measured["classes"][9], "9");
    let text = done(at, &format!("{eval} --roundtrip"));
    for part in [
        "given the class",
        "with the class unknown",
        "most likely class: right for",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }

    // a row a class; one class alone, by name
    let draw = "sample run --device cpu --count 20";
    done(at, &format!("{draw} --out rows.png"));
    done(at, &format!("{draw} --label 7 --out seven.png"));
    let size = |name: &str| image::image_dimensions(at.join(name)).unwrap();
    // squares of 56 pixels, 2 between them: ten rows of two, and four of five
    assert_eq!(size("rows.png"), (2 * 58 + 2, 10 * 58 + 2));
    assert_eq!(size("seven.png"), (5 * 58 + 2, 4 * 58 + 2));
    let rows = image::open(at.join("rows.png")).unwrap().to_luma8();
    let seven = image::open(at.join("seven.png")).unwrap().to_luma8();
    let image = |of: &image::GrayImage, x: u32, y: u32| {
        image::imageops::crop_imm(of, x * 58 + 2, y * 58 + 2, 56, 56)
            .to_image()
            .into_raw()
    };
    // the 15th image of the same seed: in the rows it is of class 7 too
    assert_eq!(image(&rows, 0, 7), image(&seven, 4, 2));
    assert_eq!(image(&rows, 1, 7), image(&seven, 0, 3));
    let message = fails(at, "sample run --label ten --out t.png --device cpu", 2);
    assert!(message.contains("no class is called \"ten\"") && message.contains("0, 1, 2"));

    // latents remember the classes, so that images of several come back
    done(
        at,
        "encode run glyphs --limit 5 --out z.safetensors --device cpu",
    );
    done(at, "decode run z.safetensors --out back --device cpu");
    let data = inverse_flow::data::load_split(
        &inverse_flow::data::DataConfig::new(inverse_flow::data::DataName::Glyphs),
        0,
        inverse_flow::data::Split::Test,
    )
    .unwrap();
    for i in 0..5 {
        let back = image::open(at.join(format!("back/{i:06}.png"))).unwrap();
        assert_eq!(back.to_luma8().into_raw(), data.image(i).unwrap(), "{i}");
    }

    // what went on goes on with the same classes
    done(at, "train --resume run --max-steps 4 --device cpu");
    assert_eq!(config(at)["model"]["classes"]["images"][0], images[0]);
}

#[test]
fn a_conditional_preset_is_measured_without_data() {
    let said = done(
        Path::new("."),
        "bench model --preset quick/mnist-conditional --batch 1 --samples 1 --device cpu",
    );
    assert!(said.contains("quick/mnist-conditional"), "{said}");
}

#[test]
fn data_without_classes_and_other_classes_are_refused_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let message = fails(
        at,
        &format!("{SMALL} --conditional --data noise8 --out none"),
        2,
    );
    assert!(
        message.contains("noise8 train has images of one class or without labels"),
        "{message}"
    );
    assert!(message.contains("without --conditional"), "{message}");
    assert!(!at.join("none").exists());

    done(at, &format!("{SMALL} --conditional --out run"));
    for split in ["train", "val", "test"] {
        for class in ["cat", "dog"] {
            let folder = at.join(format!("pets/{split}/{class}"));
            std::fs::create_dir_all(&folder).unwrap();
            let grey =
                |i: u8| image::GrayImage::from_fn(28, 28, |x, y| [x as u8 * i + y as u8].into());
            for i in 1..5 {
                grey(i).save(folder.join(format!("{i}.png"))).unwrap();
            }
        }
    }
    let message = fails(at, "eval run --data pets --device cpu", 2);
    assert!(message.contains("has the classes cat, dog"), "{message}");
    assert!(message.contains("conditional on 0, 1, 2"), "{message}");
    let message = fails(at, "eval run --data noise28 --device cpu", 2);
    assert!(
        message.contains("no names of classes, or no labels at all"),
        "{message}"
    );

    // a folder of pictures with its own two classes
    let small = SMALL.replace("--batch-size 8", "--batch-size 4");
    done(
        at,
        &format!("{small} --conditional --data pets --out pets-run"),
    );
    done(
        at,
        "sample pets-run --label dog --count 2 --out dogs.png --device cpu",
    );

    done(at, &format!("{SMALL} --preset quick/mnist-conditional --conditional=false --data glyphs --out plain"));
    let message = fails(at, "sample plain --label 7 --out s.png --device cpu", 2);
    assert!(message.contains("knows of no classes"), "{message}");
}
