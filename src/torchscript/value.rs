//! Constants of a program.

/// A value as a TorchScript type and an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The type, e.g. `List[int]`.
    pub kind: &'static str,
    /// The expression, e.g. `[1, 2]`.
    pub text: String,
}

impl Value {
    fn new(kind: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { kind, text }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::new("int", value.to_string())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::new("bool", if value { "True" } else { "False" })
    }
}

/// Finite numbers only, with all their digits.
impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::new("float", format!("{value:?}"))
    }
}

impl From<(f64, f64)> for Value {
    fn from((a, b): (f64, f64)) -> Self {
        Self::new("Tuple[float, float]", format!("({a:?}, {b:?})"))
    }
}

/// Plain names: quotes and backslashes are not escaped.
impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::new("str", format!("\"{value}\""))
    }
}

impl From<&[&str]> for Value {
    fn from(values: &[&str]) -> Self {
        Self::new("List[str]", format!("{values:?}"))
    }
}

/// Any names: what a string cannot hold as it is, is escaped.
impl From<&[String]> for Value {
    fn from(values: &[String]) -> Self {
        let quoted = values.iter().map(|value| {
            let escaped = value.chars().map(|c| match c {
                '"' | '\\' => format!("\\{c}"),
                c if c.is_ascii_control() => format!("\\x{:02x}", u32::from(c)),
                c => c.to_string(),
            });
            format!("\"{}\"", escaped.collect::<String>())
        });
        Self::new(
            "List[str]",
            format!("[{}]", quoted.collect::<Vec<_>>().join(", ")),
        )
    }
}

impl From<&[u64]> for Value {
    fn from(values: &[u64]) -> Self {
        Self::new("List[int]", format!("{values:?}"))
    }
}

impl From<[i64; 3]> for Value {
    fn from(values: [i64; 3]) -> Self {
        Self::new("List[int]", format!("{values:?}"))
    }
}

impl From<&[[i64; 3]]> for Value {
    fn from(values: &[[i64; 3]]) -> Self {
        Self::new("List[List[int]]", format!("{values:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_expressions_of_their_type() {
        let corners: &[&str] = &["top_left", "top_right"];
        let shapes: &[[i64; 3]] = &[[1, 2, 3], [4, 5, 6]];
        let names: &[String] = &["a \"b\" \\".into(), "ä\n".into()];
        let counts: &[u64] = &[7, 0];
        let cases: [(Value, &str, &str); 9] = [
            (names.into(), "List[str]", r#"["a \"b\" \\", "ä\x0a"]"#),
            (counts.into(), "List[int]", "[7, 0]"),
            (3.into(), "int", "3"),
            (true.into(), "bool", "True"),
            (1e-6.into(), "float", "1e-6"),
            (4.0.into(), "float", "4.0"),
            ((0.5, 1e-9).into(), "Tuple[float, float]", "(0.5, 1e-9)"),
            (corners.into(), "List[str]", r#"["top_left", "top_right"]"#),
            (shapes.into(), "List[List[int]]", "[[1, 2, 3], [4, 5, 6]]"),
        ];
        for (value, kind, text) in cases {
            assert_eq!((value.kind, value.text.as_str()), (kind, text));
        }
    }
}
