//! Numbers as a report writes them.

/// `value ± spread`.
pub(super) fn with_spread(value: Option<f64>, spread: Option<f64>) -> String {
    match (value, spread) {
        (None, _) => String::new(),
        (Some(value), None) => number(value),
        (Some(value), Some(spread)) => format!("{} ± {}", number(value), number(spread)),
    }
}

/// Four significant digits, whole numbers in full.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let digits = (3.0 - value.abs().log10().floor()).clamp(0.0, 8.0) as usize;
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').into(),
        false => text,
    }
}

/// Digits in groups of three.
pub(super) fn thousands(value: i64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Seconds as people say them.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits() {
        for (value, text) in [
            (1.30649, "1.306"),
            (25000.0, "25000"),
            (0.0123456, "0.01235"),
            (12.5, "12.5"),
            (0.0, "0"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(thousands(1_640_968), "1,640,968");
        assert_eq!(duration(61.4), "61 s");
    }
}
