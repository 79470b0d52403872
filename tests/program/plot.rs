//! Image grids and charts, read back from their PNG files.

use image::{Rgb, RgbImage};
use inverse_flow::plot::{
    chart, check_grid, curves, save_grid, save_pairs, Chart, Mark, Marked, Series,
};
use std::path::Path;
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

const GAP: u32 = 2;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn read(path: &Path) -> RgbImage {
    image::open(path).unwrap().into_rgb8()
}

/// `[n, c, h, w]` bytes that count up.
fn counting(n: i64, c: i64, h: i64, w: i64) -> Tensor {
    Tensor::arange(n * c * h * w, (Kind::Uint8, Device::Cpu)).view([n, c, h, w])
}

#[test]
fn grids_show_every_pixel_as_a_square() {
    let dir = folder();
    let path = dir.path().join("new/folder/grid.png");
    let (n, h, w, columns, scale) = (5, 3, 4, 2, 3);
    for c in [1, 3] {
        let images = counting(n, c, h, w);
        save_grid(&images, columns as usize, scale as usize, &path).unwrap();
        let grid = read(&path);
        let pitch = (h as u32 * scale + GAP, w as u32 * scale + GAP);
        assert_eq!(
            grid.dimensions(),
            (GAP + columns * pitch.1, GAP + 3 * pitch.0)
        );
        for i in 0..n {
            let corner = (
                i as u32 / columns * pitch.0 + GAP,
                i as u32 % columns * pitch.1 + GAP,
            );
            for y in 0..h as u32 * scale {
                for x in 0..w as u32 * scale {
                    let value = |channel: i64| {
                        let at = [
                            i,
                            channel.min(c - 1),
                            (y / scale).into(),
                            (x / scale).into(),
                        ];
                        images.int64_value(&at) as u8
                    };
                    let expected = Rgb([value(0), value(1), value(2)]);
                    assert_eq!(grid.get_pixel(corner.1 + x, corner.0 + y), &expected);
                }
            }
        }
        // the sixth place is empty, the frame is gap
        let gap = grid.get_pixel(0, 0);
        let sixth = (GAP + pitch.1 + 1, GAP + 2 * pitch.0 + 1);
        assert_eq!(grid.get_pixel(sixth.0, sixth.1), gap);
        assert_eq!(grid.get_pixel(GAP + w as u32 * scale, GAP), gap);
    }
    let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "no part file is left: {left:?}");
}

#[test]
fn floating_point_images_are_floored_and_clamped() {
    let dir = folder();
    let path = dir.path().join("float.png");
    let values = [
        -3.0,
        0.99,
        17.5,
        255.999,
        256.0,
        1e9,
        f64::NAN,
        f64::INFINITY,
    ];
    for kind in [Kind::Double, Kind::Float] {
        let images = Tensor::from_slice(&values).to_kind(kind).view([1, 1, 1, 8]);
        // a tensor with gradient and strides is as good as any
        let images = images.set_requires_grad(true).expand([1, 1, 2, 8], false);
        save_grid(&images, 1, 1, &path).unwrap();
        let grid = read(&path);
        let row: Vec<u8> = (0..8)
            .map(|x| grid.get_pixel(GAP + x, GAP + 1)[1])
            .collect();
        // the last two are not finite, and not white: magenta has no green
        assert_eq!(row, [0, 0, 17, 255, 255, 255, 0, 0]);
    }
}

#[test]
fn pairs_put_originals_above_reconstructions() {
    let dir = folder();
    let path = dir.path().join("pairs.png");
    let originals = counting(3, 1, 14, 14);
    let reconstructions: Tensor = 255 - &originals;
    save_pairs(&originals, &reconstructions, 2, 2, &path).unwrap();
    let picture = read(&path);
    let pitch = 14 * 2 + GAP;
    assert_eq!(picture.height(), GAP + 4 * pitch);
    let margin = picture.width() - 2 * pitch - GAP;
    let value = |row: u32, column: u32| {
        picture.get_pixel(margin + GAP + column * pitch, GAP + row * pitch)[0]
    };
    let first = |i: i64| originals.int64_value(&[i, 0, 0, 0]) as u8;
    assert_eq!((value(0, 1), value(1, 1)), (first(1), 255 - first(1)));
    assert_eq!((value(2, 0), value(3, 0)), (first(2), 255 - first(2)));
    // every row is labelled, the two kinds of row differently
    let text = |row: u32| -> Vec<u8> {
        let lines = GAP + row * pitch..GAP + (row + 1) * pitch;
        lines
            .flat_map(|y| (0..margin).map(move |x| (x, y)))
            .map(|(x, y)| picture.get_pixel(x, y)[0])
            .collect()
    };
    let white = |row| text(row).iter().filter(|&&grey| grey > 200).count();
    assert!((0..4).all(|row| white(row) > 20));
    assert_eq!(text(0), text(2));
    assert_ne!(text(0), text(1));
}

#[test]
fn pixels_that_are_not_finite_are_magenta_in_grey_images_too() {
    let dir = folder();
    let path = dir.path().join("lost.png");
    for channels in [1, 3] {
        let images = Tensor::zeros([2, channels, 2, 3], (Kind::Float, Device::Cpu));
        for (image, y, x, value) in [
            (0, 0, 0, f64::NAN),
            (1, 1, 2, f64::INFINITY),
            (1, 0, 1, f64::NEG_INFINITY),
        ] {
            // one channel is enough
            let _ = images
                .get(image)
                .get(channels - 1)
                .get(y)
                .get(x)
                .fill_(value);
        }
        save_grid(&images, 2, 1, &path).unwrap();
        let picture = image::open(&path).unwrap().to_rgb8();
        let lost: Vec<_> = picture
            .enumerate_pixels()
            .filter(|(_, _, pixel)| pixel.0 == [255, 0, 255])
            .map(|(x, y, _)| (x, y))
            .collect();
        assert_eq!(lost, [(2, 2), (8, 2), (9, 3)], "{channels}");
    }
}

#[test]
fn grids_of_the_wrong_shape_are_refused() {
    let dir = folder();
    let path = dir.path().join("never.png");
    let complaint = |images: &Tensor, columns, scale| {
        save_grid(images, columns, scale, &path)
            .unwrap_err()
            .to_string()
    };
    let good = counting(2, 1, 3, 4);
    assert!(complaint(&counting(2, 2, 3, 4), 1, 1).contains("[N, 1 or 3, H, W]"));
    assert!(complaint(&good.get(0), 1, 1).contains("[1, 3, 4]"));
    assert!(complaint(&good.narrow(0, 0, 0), 1, 1).contains("not empty"));
    assert!(complaint(&good.to_kind(Kind::Int64), 1, 1).contains("floating point"));
    assert!(complaint(&good, 0, 1).contains("`columns`"));
    assert!(complaint(&good, 1, 0).contains("`scale`"));
    let many =
        Tensor::zeros([1, 1, 20, 20], (Kind::Uint8, Device::Cpu)).expand([2, 1, 20, 20], true);
    assert!(complaint(&many, 1, 1000).contains("20004x40006 pixels"));
    // the same before there are any images
    let early = |chw, count, columns, scale| {
        let checked = check_grid(chw, count, columns, scale);
        checked.map_err(|err| err.to_string())
    };
    assert_eq!(early([1, 20, 20], 2, 1, 10), Ok(()));
    let message = early([1, 20, 20], 2, 1, 1000).unwrap_err();
    assert!(message.contains("20004x40006 pixels"), "{message}");
    assert!(early([2, 3, 4], 2, 1, 1).unwrap_err().contains("channel"));
    assert!(early([1, 3, 4], 2, 0, 1).unwrap_err().contains("`columns`"));
    let err = save_pairs(&good, &counting(1, 1, 3, 4), 1, 1, &path).unwrap_err();
    assert!(
        err.to_string().contains("[2, 1, 3, 4], got [1, 1, 3, 4]"),
        "{err}"
    );
    assert!(!path.exists());
}

#[test]
fn paths_that_cannot_be_written_are_named() {
    let dir = folder();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let inside = file.join("grid.png");
    let err = save_grid(&counting(1, 1, 2, 2), 1, 1, &inside)
        .unwrap_err()
        .to_string();
    assert!(
        err.starts_with(&inside.display().to_string()) && err.contains("cannot be written"),
        "{err}"
    );
    assert!(save_grid(&counting(1, 1, 2, 2), 1, 1, "/").is_err());
}

/// Pixels close to a colour of a chart's lines.
fn close_to(picture: &RgbImage, colour: [u8; 3]) -> Vec<(u32, u32)> {
    let close = |pixel: &Rgb<u8>| (0..3).all(|c| pixel[c].abs_diff(colour[c]) < 24);
    let found = picture
        .enumerate_pixels()
        .filter(|(_, _, pixel)| close(pixel));
    found.map(|(x, y, _)| (x, y)).collect()
}

const BLUE: [u8; 3] = [0, 114, 178];
const ORANGE: [u8; 3] = [213, 94, 0];

#[test]
fn charts_show_their_curves() {
    let dir = folder();
    let path = dir.path().join("curves.png");
    let falling = (0..500)
        .map(|i| (f64::from(i), 4.0 - f64::from(i) / 250.0))
        .collect();
    let val = (1..=5).map(|i| (100.0 * f64::from(i), 5.0)).collect();
    let series = [
        Series::dense("train", falling),
        Series::markers("validation", val),
    ];
    curves(&series, "title", "step", "bits per dimension", &path).unwrap();
    let chart = read(&path);
    assert_eq!(chart.dimensions(), (900, 540));
    // the legend is in the upper right corner: look at the left half for the lines
    let left = |colour| -> Vec<(u32, u32)> {
        close_to(&chart, colour)
            .into_iter()
            .filter(|&(x, _)| x < 500)
            .collect()
    };
    let blue = left(BLUE);
    let (first, last) = (blue.iter().min().unwrap(), blue.iter().max().unwrap());
    assert!(first.0 < 100 && last.0 > 480, "{first:?} {last:?}");
    assert!(last.1 > first.1 + 50, "the curve falls: {first:?} {last:?}");
    let heights: Vec<u32> = left(ORANGE).iter().map(|&(_, y)| y).collect();
    let (top, bottom) = (heights.iter().min().unwrap(), heights.iter().max().unwrap());
    assert!(
        (4..=12).contains(&(bottom - top)),
        "a flat line with markers: {top} {bottom}"
    );
    assert!(bottom < &first.1, "validation lies above");
}

#[test]
fn charts_stay_inside_their_axes_and_say_what_they_cut() {
    let dir = folder();
    let chart = |first: f64, y_label: &str| {
        let path = dir.path().join("curves.png");
        let mut points: Vec<(f64, f64)> = (0..300)
            .map(|i| (f64::from(i), 2.0 + f64::from(i % 7)))
            .collect();
        points[0].1 = first;
        points[1].1 = f64::NAN;
        curves(
            &[Series::dense("train", points)],
            "",
            "step",
            y_label,
            &path,
        )
        .unwrap();
        read(&path)
    };
    let exploding = chart(1e6, "");
    let ordinary = chart(8.0, "");
    let ink_beside_the_axis = |picture: &RgbImage| {
        let margin = (0..30).flat_map(|x| (0..480).map(move |y| (x, y)));
        margin
            .filter(|&(x, y)| picture.get_pixel(x, y)[0] < 128)
            .count()
    };
    assert_eq!(ink_beside_the_axis(&ordinary), 0);
    assert!(
        ink_beside_the_axis(&exploding) > 50,
        "the axis says what is cut off"
    );
    for (x, y) in close_to(&exploding, BLUE) {
        assert!(
            (78..=888).contains(&x) && (10..=482).contains(&y),
            "{x} {y}"
        );
    }
}

#[test]
fn charts_need_a_point() {
    let dir = folder();
    let path = dir.path().join("curves.png");
    let empty = Series::dense("train", vec![(0.0, f64::NAN)]);
    let err = curves(&[empty], "t", "x", "y", &path)
        .unwrap_err()
        .to_string();
    assert!(err.contains("no finite point"), "{err}");
    // huge, tiny and nearly equal numbers are no reason to fail
    for value in [0.0, -3.0, 1e-300, 1e-9, 1e29, 1e300, f64::MIN, f64::MAX] {
        let one = Series::dense("train", vec![(5.0, value), (5.0, 1e-4)]);
        curves(&[one], "t", "x", "y", &path).unwrap();
        for other in [-value, value * (1.0 + f64::EPSILON)] {
            let two = Series::markers("val", vec![(5.0, 1.0), (5.0, value), (6.0, other)]);
            curves(&[two], "t", "x", "y", &path).unwrap();
        }
    }
}

fn methods(points: &[(f64, f64, &str)]) -> Chart {
    let points = points
        .iter()
        .map(|(x, y, name)| (*x, *y, (*name).to_owned()));
    Chart {
        title: "a < b & c".into(),
        x_label: "ms".into(),
        y_label: "bits".into(),
        log_x: true,
        log_y: false,
        series: vec![Marked {
            label: "ours".into(),
            points: points.collect(),
            mark: Mark::Line,
        }],
    }
}

#[test]
fn charts_and_curves_are_svg_where_the_name_says_so() {
    let dir = folder();
    let drawing = methods(&[
        (10.0, 1.0, "fast & good"),
        (1000.0, 2.0, "slow"),
        (0.0, 1.0, "no place"),
    ]);
    for (file, picture) in [("chart.svg", true), ("curves.svg", false)] {
        let path = dir.path().join(file);
        if picture {
            chart(&drawing, &path).unwrap();
        } else {
            let series = [Series::markers("a < b", vec![(0.0, 1.0), (1.0, 2.0)])];
            curves(&series, "t", "x", "y", &path).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("<svg") && text.trim_end().ends_with("</svg>"),
            "{text}"
        );
        assert_eq!(text.matches("<svg").count(), 1);
        assert!(text.contains("&lt;") && !text.contains("a < b"), "{text}");
    }
    let text = std::fs::read_to_string(dir.path().join("chart.svg")).unwrap();
    assert!(text.contains("fast &amp; good") && !text.contains("no place"));

    let png = dir.path().join("chart.png");
    chart(&drawing, &png).unwrap();
    assert_eq!(read(&png).dimensions(), (900, 540));
    let none = chart(&methods(&[(0.0, 1.0, "")]), dir.path().join("none.svg"));
    assert!(none.unwrap_err().to_string().contains("no point"));
}
