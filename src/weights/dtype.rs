//! Kinds of numbers as files name them.

use tch::Kind;

/// The kind of a stored tensor's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dtype {
    /// torch's name of it.
    pub name: &'static str,
    /// tch's kind, if this program can make such a tensor.
    pub kind: Option<Kind>,
    /// Bytes of one number; 0 where a number has no whole bytes or nobody here needs them.
    pub bytes: u64,
}

/// Name, kind, bytes, name in a safetensors header, class of the storage in a pickle.
type Row = (
    &'static str,
    Option<Kind>,
    u64,
    &'static str,
    Option<&'static str>,
);

const TABLE: [Row; 12] = [
    ("float32", Some(Kind::Float), 4, "F32", Some("FloatStorage")),
    (
        "float64",
        Some(Kind::Double),
        8,
        "F64",
        Some("DoubleStorage"),
    ),
    ("float16", Some(Kind::Half), 2, "F16", Some("HalfStorage")),
    (
        "bfloat16",
        Some(Kind::BFloat16),
        2,
        "BF16",
        Some("BFloat16Storage"),
    ),
    ("int64", Some(Kind::Int64), 8, "I64", Some("LongStorage")),
    ("int32", Some(Kind::Int), 4, "I32", Some("IntStorage")),
    ("int16", Some(Kind::Int16), 2, "I16", Some("ShortStorage")),
    ("int8", Some(Kind::Int8), 1, "I8", Some("CharStorage")),
    ("uint8", Some(Kind::Uint8), 1, "U8", Some("ByteStorage")),
    ("bool", Some(Kind::Bool), 1, "BOOL", Some("BoolStorage")),
    (
        "complex64",
        Some(Kind::ComplexFloat),
        8,
        "C64",
        Some("ComplexFloatStorage"),
    ),
    (
        "complex128",
        Some(Kind::ComplexDouble),
        16,
        "C128",
        Some("ComplexDoubleStorage"),
    ),
];

/// Kinds that can be named but not made.
const FOREIGN: [(&str, &str); 6] = [
    ("uint16", "U16"),
    ("uint32", "U32"),
    ("uint64", "U64"),
    ("float8_e4m3fn", "F8_E4M3"),
    ("float8_e5m2", "F8_E5M2"),
    ("float8_e8m0fnu", "F8_E8M0"),
];

impl Dtype {
    fn of(&(name, kind, bytes, ..): &Row) -> Self {
        Self { name, kind, bytes }
    }

    /// The dtype of a tensor.
    pub fn of_kind(kind: Kind) -> Option<Self> {
        let row = TABLE.iter().find(|row| row.1 == Some(kind));
        row.map(Self::of)
    }

    /// The dtype of a storage class, `FloatStorage`.
    pub(super) fn of_storage(class: &str) -> Option<Self> {
        let row = TABLE.iter().find(|row| row.4 == Some(class));
        row.map(Self::of)
    }

    /// The dtype with torch's name, `float32`.
    pub(super) fn named(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.0 == name).map(Self::of)
    }

    /// The dtype that a safetensors header names, `F32`; one that nobody here knows is only told apart.
    pub(super) fn of_safetensors(name: &str) -> Self {
        let row = TABLE.iter().find(|row| row.3 == name);
        let foreign = || FOREIGN.iter().find(|(_, theirs)| *theirs == name);
        row.map(Self::of).unwrap_or_else(|| Self {
            name: foreign().map_or("unknown", |(name, _)| name),
            kind: None,
            bytes: 0,
        })
    }

    /// The name of a kind in a safetensors header.
    pub(super) fn to_safetensors(self) -> Option<safetensors::Dtype> {
        use safetensors::Dtype as Theirs;
        Some(match self.kind? {
            Kind::Float => Theirs::F32,
            Kind::Double => Theirs::F64,
            Kind::Half => Theirs::F16,
            Kind::BFloat16 => Theirs::BF16,
            Kind::Int64 => Theirs::I64,
            Kind::Int => Theirs::I32,
            Kind::Int16 => Theirs::I16,
            Kind::Int8 => Theirs::I8,
            Kind::Uint8 => Theirs::U8,
            Kind::Bool => Theirs::BOOL,
            _ => return None,
        })
    }

    /// Whether every number of this kind is one of `kind`, both floating-point or both the same.
    pub(super) fn fits_into(self, kind: Kind) -> bool {
        let Some(own) = self.kind else { return false };
        own == kind
            || matches!(
                (own, kind),
                (Kind::Half | Kind::BFloat16, Kind::Float | Kind::Double)
                    | (Kind::Float, Kind::Double)
            )
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
