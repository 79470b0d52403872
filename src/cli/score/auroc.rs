//! How well a score tells two sets apart.

/// The area under the receiver operating characteristic: how often a number of `second` is larger than one of `first`, where
/// equal ones count half. What is not a number counts as infinite. `None` if there is nothing to compare.
pub fn auroc(first: &[f64], second: &[f64]) -> Option<f64> {
    if first.is_empty() || second.is_empty() {
        return None;
    }
    let placed = |values: &[f64], set: usize| {
        let value = |value: &f64| match value.is_nan() {
            true => f64::INFINITY,
            false => *value,
        };
        let values = values.iter().map(value);
        values.map(|value| (value, set)).collect::<Vec<_>>()
    };
    let mut all = placed(first, 0);
    all.extend(placed(second, 1));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    // twice the number of pairs: integers, so that ties are exact
    let (mut pairs, mut below) = (0u128, 0u128);
    for equal in all.chunk_by(|a, b| a.0 == b.0) {
        let of_second = equal.iter().filter(|(_, set)| *set == 1).count() as u128;
        let of_first = equal.len() as u128 - of_second;
        pairs += of_second * (2 * below + of_first);
        below += of_first;
    }
    Some(pairs as f64 / (2 * first.len() as u128 * second.len() as u128) as f64)
}

/// Which part of sorted numbers is below a value, where equal ones count half; NaN for none.
pub fn quantile(sorted: &[f64], value: f64) -> f64 {
    let below = sorted.partition_point(|other| *other < value);
    let not_above = sorted.partition_point(|other| *other <= value);
    (below + not_above) as f64 / (2 * sorted.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_pairs(first: &[f64], second: &[f64]) -> f64 {
        let pair = |a: f64, b: f64| match a.total_cmp(&b) {
            std::cmp::Ordering::Less => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Greater => 0.0,
        };
        let pairs = first
            .iter()
            .flat_map(|a| second.iter().map(move |b| pair(*a, *b)));
        pairs.sum::<f64>() / (first.len() * second.len()) as f64
    }

    #[test]
    fn it_is_the_share_of_pairs_in_order_with_ties_counted_half() {
        let made = |n: u64, step: u64| -> Vec<f64> {
            let value = |i: u64| (i * step % 17) as f64 / 4.0;
            (0..n).map(value).collect()
        };
        for (a, b) in [
            (made(31, 7), made(19, 5)),
            (made(8, 1), made(40, 3)),
            (made(5, 0), made(3, 0)),
        ] {
            let found = auroc(&a, &b).unwrap();
            assert!((found - by_pairs(&a, &b)).abs() < 1e-12, "{a:?} {b:?}");
            let other = auroc(&b, &a).unwrap();
            assert!((found + other - 1.0).abs() < 1e-12, "{found} {other}");
        }
        assert_eq!(auroc(&[1.0, 2.0], &[3.0]), Some(1.0));
        assert_eq!(auroc(&[3.0], &[1.0, 3.0]), Some(0.25));
        // a number that is not one is as large as can be
        assert_eq!(auroc(&[1.0, f64::INFINITY], &[f64::NAN]), Some(0.75));
        assert_eq!(auroc(&[], &[1.0]), None);
    }

    #[test]
    fn quantiles_count_what_is_below_and_half_of_what_is_equal() {
        let sorted = [1.0, 2.0, 2.0, 4.0];
        let found = [0.0, 1.0, 2.0, 3.0, 9.0].map(|value| quantile(&sorted, value));
        assert_eq!(found, [0.0, 0.125, 0.5, 0.75, 1.0]);
        assert!(quantile(&[], 1.0).is_nan());
    }
}
