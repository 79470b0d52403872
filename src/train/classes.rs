//! Which classes a run's images have, and whether other images have the same ones.

use crate::data::Dataset;
use crate::models::Classes;
use crate::{Error, Result};

/// What to do about images without classes.
const WAY_OUT: &str = "use images that have labels (folders with a sub-folder for each class, arrays with labels, mnist, cifar10, glyphs; \
     docs/data.md)";

/// The classes of training images, each with how many of them it has; `others` have no further ones.
///
/// # Errors
/// Images without labels, or without two different ones.
pub fn classes_of(train: &Dataset, others: &[&Dataset], planes: i64) -> Result<Classes> {
    let all = || [train].into_iter().chain(others.iter().copied());
    let largest = all().flat_map(|set| &set.labels).max().copied();
    let numbered = largest.map_or(0, |label| usize::from(label) + 1);
    let count = match train.classes.len() {
        0 => numbered,
        named => named,
    };
    if count < 2 {
        return Err(Error::config(format!(
            "{} has images of one class or without labels, and a conditional model needs two classes or more: {WAY_OUT}, or train \
             without --conditional",
            train.name
        )));
    }
    if numbered > count {
        return Err(Error::config(format!(
            "{} names {count} classes, but has an image with the label {}: mend its labels",
            train.name,
            numbered - 1
        )));
    }
    let name = |label: usize| match train.classes.get(label) {
        Some(name) => name.clone(),
        None => label.to_string(),
    };
    let mut images = vec![0; count];
    for &label in &train.labels {
        images[usize::from(label)] += 1;
    }
    Ok(Classes {
        names: (0..count).map(name).collect(),
        images,
        planes,
    })
}

/// Refuses images whose classes are not those of the model.
///
/// # Errors
/// Other names, a larger label, or no labels.
pub fn check_classes(classes: &Classes, data: &Dataset) -> Result<()> {
    let count = classes.names.len();
    let largest = data
        .labels
        .iter()
        .max()
        .map_or(0, |label| usize::from(*label));
    let numbered = || (0..count).all(|label| classes.names[label] == label.to_string());
    let why = if !data.classes.is_empty() && data.classes != classes.names {
        format!(
            "has the classes {}",
            Classes::alike(data.classes.iter()).listed()
        )
    } else if largest >= count {
        format!("has an image with the label {largest}")
    } else if data.classes.is_empty() && (largest == 0 || !numbered()) {
        "has no names of classes, or no labels at all".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::config(format!(
        "{} {why}, and the model is conditional on {}: {WAY_OUT}, with the same classes",
        data.name,
        classes.listed()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(labels: &[u16], names: &[&str]) -> Dataset {
        let pixels = vec![0; labels.len()];
        let mut data = Dataset::new("test", [1, 1, 1], pixels, labels.to_vec()).unwrap();
        data.classes = names.iter().map(|name| (*name).to_owned()).collect();
        data
    }

    #[test]
    fn classes_are_those_of_the_training_images_with_their_numbers() {
        let found = classes_of(&set(&[1, 0, 1], &[]), &[&set(&[2], &[])], 2).unwrap();
        assert_eq!(found.names, ["0", "1", "2"]);
        assert_eq!(found.images, [1, 2, 0]);
        assert_eq!(found.log_prior()[2], f64::NEG_INFINITY);
        let named = classes_of(&set(&[1, 0, 1], &["a", "b", "c"]), &[], 2).unwrap();
        assert_eq!((named.names.len(), named.images), (3, vec![1, 2, 0]));
        for (data, part) in [
            (set(&[0, 0], &[]), "--conditional"),
            (set(&[0, 0], &["a"]), "--conditional"),
            (set(&[0, 2], &["a", "b"]), "the label 2"),
        ] {
            let err = classes_of(&data, &[], 2).unwrap_err().to_string();
            assert!(err.contains(part), "{err}");
        }
    }

    #[test]
    fn images_of_other_classes_are_refused() {
        let digits = Classes::alike(["0", "1", "2"]);
        let pets = Classes::alike(["cat", "dog"]);
        check_classes(&digits, &set(&[1, 0], &[])).unwrap();
        check_classes(&digits, &set(&[1, 0], &["0", "1", "2"])).unwrap();
        check_classes(&pets, &set(&[0, 0], &["cat", "dog"])).unwrap();
        for (classes, data) in [
            (&digits, set(&[3, 0], &[])),
            (&digits, set(&[0, 0], &[])),
            (&digits, set(&[0, 1], &["cat", "dog"])),
            (&pets, set(&[0, 1], &[])),
            (&pets, set(&[0, 1], &["dog", "cat"])),
        ] {
            let err = check_classes(classes, &data).unwrap_err().to_string();
            assert!(err.contains("is conditional on"), "{err}");
        }
    }
}
