//! Densities of fewer than 8 bits of a pixel, from training to pictures.

use crate::run::{done, fails};
use serde_json::Value;

#[test]
fn a_density_of_three_bits_is_trained_measured_and_inverted() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let said = done(
        at,
        "train --bits 3 --limit 20 --batch-size 10 --steps 1 --width 8 --max-steps 4 --device cpu --out run",
    );
    assert!(
        said.contains("a density of 3 bits of every pixel, 8 grey levels"),
        "{said}"
    );
    let said = done(at, "eval run --device cpu");
    assert!(said.contains("a density of 3 bits"), "{said}");
    let said = done(at, "eval run --roundtrip --json --device cpu");
    let result: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(result["bits"], 3);
    // uniformly random pixels of 3 bits have 3 bits; digits are mostly black
    assert!(result["bpd"].as_f64().unwrap() < 3.0, "{said}");
    for images in ["data", "samples"] {
        let median = result["roundtrip"][images]["median"].as_f64().unwrap();
        assert!(median < 1e-4, "{said}");
    }
    let said = done(
        at,
        "reconstruct run --count 8 --out pictures.png --device cpu",
    );
    assert!(said.contains(" 0 "), "{said}");

    done(at, "sample run --count 4 --out samples.png --device cpu");
    let picture = image::open(at.join("samples.png")).unwrap().to_luma8();
    let values: Vec<u8> = picture.pixels().map(|pixel| pixel.0[0]).collect();
    assert!(values.iter().any(|&value| value > 0));
    // the gaps of the grid have a grey of their own
    let gap = values[0];
    assert!(
        values.iter().all(|&value| value % 32 == 0 || value == gap),
        "{values:?}"
    );

    let message = fails(at, "train --bits 9 --out other", 2);
    assert!(message.contains("between 1 and 8"), "{message}");
}
