//! Folders of pictures as data: what every kind of file becomes, and what is said about the rest.

use crate::pictures::*;
use image::{DynamicImage, ImageFormat, Rgba, RgbaImage};
use inverse_flow::data::{load, DataConfig, Dataset, Fit, Source, Splits};
use std::fs;
use std::path::Path;

fn config(path: &Path) -> DataConfig {
    DataConfig {
        val_fraction: 0.3,
        ..DataConfig::new(Source::Own(path.to_path_buf()))
    }
}

/// What is said about a folder that is refused.
#[track_caller]
fn refused(config: &DataConfig) -> String {
    let text = load(config, 0).unwrap_err().to_string();
    assert!(text.lines().count() <= 2, "{text}");
    text
}

/// One picture in `train/`, and what is made of it. The folder holds another one for validation.
#[track_caller]
fn made(content: &[u8], change: impl FnOnce(&mut DataConfig)) -> Result<Vec<u8>, String> {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("train/a.png"), content);
    write(&dir.path().join("val/b.png"), content);
    let mut config = config(dir.path());
    change(&mut config);
    let splits = load(&config, 0).map_err(|err| err.to_string())?;
    Ok(splits.train.image(0).unwrap())
}

fn planes(picture: &DynamicImage) -> Vec<u8> {
    let (bytes, channels) = (
        picture.as_bytes(),
        usize::from(picture.color().channel_count()),
    );
    let plane = |c| bytes.iter().skip(c).step_by(channels).copied();
    (0..channels).flat_map(plane).collect()
}

#[test]
fn pixels_are_those_of_the_files() {
    for (picture, expected) in [
        (grey(1, 5, 4), planes(&grey(1, 5, 4))),
        (colour(1, 5, 4), planes(&colour(1, 5, 4))),
        (deep(1, 5, 4), planes(&colour(1, 5, 4))),
        (deep_grey(1, 5, 4), planes(&grey(1, 5, 4))),
    ] {
        assert_eq!(made(&png(&picture), |_| {}).unwrap(), expected);
    }
    for format in [ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP] {
        // whatever the ending of the name says
        let picture = colour(2, 7, 3);
        assert_eq!(
            made(&encoded(&picture, format), |_| {}).unwrap(),
            planes(&picture),
            "{format:?}"
        );
    }
}

#[test]
fn transparent_pixels_show_the_background() {
    let pixels = [[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 51]];
    let picture = RgbaImage::from_fn(3, 1, |x, _| Rgba(pixels[x as usize]));
    let file = png(&picture.into());
    let on =
        |colour: &str| made(&file, |config| config.background = colour.parse().unwrap()).unwrap();
    assert_eq!(on("black"), [200, 0, 40, 100, 0, 20, 50, 0, 10]);
    assert_eq!(on("white"), [200, 255, 244, 100, 255, 224, 50, 255, 214]);
    assert_eq!(on("ff0001"), [200, 255, 244, 100, 0, 20, 50, 1, 11]);
}

#[test]
fn grey_becomes_colour_and_back() {
    let grey_file = png(&grey(4, 4, 4));
    let as_colour = made(&grey_file, |config| config.image = Some([3, 4, 4])).unwrap();
    assert_eq!(as_colour, planes(&grey(4, 4, 4)).repeat(3));
    let red = RgbaImage::from_pixel(1, 1, Rgba([255, 0, 0, 255]));
    let as_grey = made(&png(&red.into()), |config| config.image = Some([1, 1, 1])).unwrap();
    // ITU-R BT.709: 0.2126 of 255
    assert_eq!(as_grey, [54]);
}

#[test]
fn cmyk_and_turned_jpegs_are_seen_as_they_are_meant() {
    for (ink, expected) in [
        ([0, 0, 0, 0], [255, 255, 255]),
        ([255, 0, 0, 0], [0, 255, 255]),
        ([0, 255, 0, 0], [255, 0, 255]),
        ([0, 0, 0, 255], [0, 0, 0]),
    ] {
        let image = made(&cmyk_jpeg(ink), |_| {}).unwrap();
        for (plane, value) in image.chunks(64).zip(expected) {
            let far = plane
                .iter()
                .map(|&pixel| i32::from(pixel).abs_diff(value))
                .max();
            assert!(far <= Some(2), "{ink:?}: {plane:?}");
        }
    }
    // 6: the row that was on top is at the right
    let picture = colour(3, 16, 8);
    let turned = made(&turned_jpeg(&picture, 6), |_| {}).unwrap();
    let plain = made(&encoded(&picture, ImageFormat::Jpeg), |_| {}).unwrap();
    for (c, y, x) in (0..3).flat_map(|c| (0..16).flat_map(move |y| (0..8).map(move |x| (c, y, x))))
    {
        assert_eq!(
            turned[(c * 16 + y) * 8 + x],
            plain[(c * 8 + 7 - x) * 16 + y],
            "{c} {y} {x}"
        );
    }
    assert!(made(&turned_jpeg(&picture, 6), |config| config.image =
        Some([3, 16, 8]))
    .is_ok());
}

#[test]
fn files_that_are_no_pictures_are_named() {
    let jpeg = encoded(&colour(1, 40, 30), ImageFormat::Jpeg);
    let small = png(&colour(1, 40, 30));
    let mut flipped = small.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for (content, problem) in [
        (Vec::new(), "is empty"),
        (b"some words".to_vec(), "is no picture"),
        (b"GIF89a\x01\0\x01\0\0\0\0;".to_vec(), "is no picture"),
        (jpeg[..jpeg.len() - 40].to_vec(), "truncated JPEG"),
        (jpeg[..200].to_vec(), "is damaged"),
        (small[..small.len() / 2].to_vec(), "is damaged"),
        (flipped, "is damaged"),
        (
            bomb(60_000, 60_000),
            "is a picture of 60000x60000 in 65 bytes",
        ),
        (bomb(0, 4), "is damaged"),
    ] {
        let text = made(&content, |_| {}).unwrap_err();
        assert!(
            text.contains("train/a.png") && text.contains(problem),
            "{text}"
        );
        assert!(text.contains("--skip-damaged"), "{text}");
    }
    // whole JPEGs, with something behind them as cameras leave it
    assert!(made(&[&jpeg[..], b"trailing"].concat(), |_| {}).is_ok());
}

#[test]
fn pictures_of_another_size_are_fitted_as_asked() {
    let (small, large) = (png(&grey(5, 3, 2)), png(&grey(6, 6, 7)));
    let fitted = |file: &[u8], fit| {
        made(file, |config| {
            config.image = Some([1, 4, 5]);
            config.fit = fit;
            config.background = "white".parse().unwrap();
        })
    };
    for file in [&small, &large] {
        let text = fitted(file, Fit::Error).unwrap_err();
        assert!(
            text.contains("and images are 1x4x5") && text.contains("--fit resize"),
            "{text}"
        );
        assert_eq!(fitted(file, Fit::Resize).unwrap().len(), 20);
    }
    let padded = fitted(&small, Fit::Pad).unwrap();
    let inside = planes(&grey(5, 3, 2));
    for (y, x) in (0..4).flat_map(|y| (0..5).map(move |x| (y, x))) {
        let expected = match (1..3).contains(&y) && (1..4).contains(&x) {
            true => inside[(y - 1) * 3 + x - 1],
            false => 255,
        };
        assert_eq!(padded[y * 5 + x], expected, "{y} {x}");
    }
    assert!(fitted(&large, Fit::Pad)
        .unwrap_err()
        .contains("--fit resize"));
    let cropped = fitted(&large, Fit::Crop).unwrap();
    let inside = planes(&grey(6, 6, 7));
    for (y, x) in (0..4).flat_map(|y| (0..5).map(move |x| (y, x))) {
        assert_eq!(cropped[y * 5 + x], inside[(y + 1) * 6 + x], "{y} {x}");
    }
    let cropped = fitted(&png(&grey(7, 9, 4)), Fit::Crop).unwrap();
    let inside = planes(&grey(7, 9, 4));
    for (y, x) in (0..4).flat_map(|y| (0..5).map(move |x| (y, x))) {
        assert_eq!(cropped[y * 5 + x], inside[y * 9 + x + 2], "{y} {x}");
    }
    assert!(fitted(&small, Fit::Crop)
        .unwrap_err()
        .contains("--fit resize"));
    let even = RgbaImage::from_pixel(9, 9, Rgba([7, 80, 190, 255]));
    let resized = made(&png(&even.into()), |config| {
        config.image = Some([3, 2, 5]);
        config.fit = Fit::Resize;
    });
    assert_eq!(resized.unwrap(), [[7; 10], [80; 10], [190; 10]].concat());
}

fn names_of(data: &Dataset) -> Vec<(Vec<u8>, u16)> {
    let images = (0..data.len()).map(|i| (data.image(i).unwrap(), data.labels[i]));
    let mut images: Vec<_> = images.collect();
    images.sort();
    images
}

#[test]
fn folders_below_are_classes_and_splits() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("all");
    for number in 0..60 {
        let class = ["cat", "dog", "emu"][number as usize % 3];
        write(
            &root.join(format!("{class}/deep/{number}.png")),
            &png(&grey(number, 3, 3)),
        );
    }
    write(&root.join("cat/notes.txt"), b"of no account");
    write(&root.join(".hidden/x.png"), b"neither");
    std::os::unix::fs::symlink("..", root.join("dog/circle")).unwrap();
    let splits = load(&config(&root), 0).unwrap();
    assert_eq!(splits.train.classes, ["cat", "dog", "emu"]);
    let both = [&splits.train, &splits.val, &splits.test];
    assert_eq!(both.map(Dataset::len).iter().sum::<usize>(), 60);
    assert!(both.iter().all(|data| data.len() > 5));
    for number in 0..60 {
        let image = planes(&grey(number, 3, 3));
        let found: Vec<u16> = both
            .iter()
            .flat_map(|data| names_of(data))
            .filter(|(other, _)| *other == image)
            .map(|(_, label)| label)
            .collect();
        assert_eq!(found, [number as u16 % 3]);
    }
    // a picture directly in the folder belongs to no class, and then none does
    write(&root.join("one.png"), &png(&grey(60, 3, 3)));
    let more = load(&config(&root), 0).unwrap();
    assert!(more.train.classes.is_empty() && more.train.labels.iter().all(|&label| label == 0));
    assert_ne!(more.fingerprint, splits.fingerprint);

    // the same pictures split by folders
    let parted = dir.path().join("parted");
    for number in 0..60 {
        let split = ["train", "val", "test"][usize::from(number >= 40) + usize::from(number >= 50)];
        write(
            &parted.join(format!("{split}/c{}/{number}.png", number % 2)),
            &png(&grey(number, 3, 3)),
        );
    }
    let Splits {
        train, val, test, ..
    } = load(&config(&parted), 0).unwrap();
    assert_eq!([train.len(), val.len(), test.len()], [40, 10, 10]);
    assert_eq!(train.classes, ["c0", "c1"]);
    let val_images: Vec<_> = names_of(&val);
    let mut expected: Vec<_> = (40..50)
        .map(|n| (planes(&grey(n, 3, 3)), n as u16 % 2))
        .collect();
    expected.sort();
    assert_eq!(val_images, expected);
    // without `val`, it is taken from `train` alone
    fs::remove_dir_all(parted.join("val")).unwrap();
    let Splits {
        train, val, test, ..
    } = load(&config(&parted), 0).unwrap();
    assert_eq!((train.len() + val.len(), test.len()), (40, 10));
    // without `test`, there is none
    fs::rename(parted.join("test"), parted.join("val")).unwrap();
    let Splits {
        train, val, test, ..
    } = load(&config(&parted), 0).unwrap();
    assert_eq!([train.len(), val.len(), test.len()], [40, 10, 0]);
}

#[test]
fn what_is_skipped_is_told() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..40 {
        write(
            &dir.path().join(format!("{number:02}.png")),
            &png(&grey(number, 4, 4)),
        );
    }
    for number in 40..45 {
        write(
            &dir.path().join(format!("{number:02}.png")),
            format!("text {number}").as_bytes(),
        );
    }
    let mut config = config(dir.path());
    assert!(refused(&config).contains("40.png") || refused(&config).contains("is no picture"));
    config.skip_damaged = true;
    let splits = load(&config, 0).unwrap();
    let sizes = [&splits.train, &splits.val, &splits.test].map(Dataset::len);
    assert_eq!(sizes.iter().sum::<usize>(), 40);
    let [remark] = &splits.remarks[..] else {
        panic!("{:?}", splits.remarks);
    };
    assert!(
        remark.starts_with("5 damaged files left out: ") && remark.ends_with("; and 2 more"),
        "{remark}"
    );

    let empty = dir.path().join("empty");
    write(&empty.join("readme.txt"), b"");
    config.name = Source::Own(empty);
    assert!(refused(&config).contains("has no pictures in it or below it (1 file of other kinds)"));
}
