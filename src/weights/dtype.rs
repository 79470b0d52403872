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
    Option<&'static str>,
    Option<&'static str>,
);

/// Kinds that are read into each other.
const FLOATING: [Kind; 8] = [
    Kind::Float,
    Kind::Double,
    Kind::Half,
    Kind::BFloat16,
    Kind::Float8e4m3fn,
    Kind::Float8e5m2,
    Kind::Float8e4m3fnuz,
    Kind::Float8e5m2fnuz,
];

/// The kinds that can only be named have no kind of tch.
#[rustfmt::skip]
const TABLE: [Row; 27] = [
    ("float32", Some(Kind::Float), 4, Some("F32"), Some("FloatStorage")),
    ("float64", Some(Kind::Double), 8, Some("F64"), Some("DoubleStorage")),
    ("float16", Some(Kind::Half), 2, Some("F16"), Some("HalfStorage")),
    ("bfloat16", Some(Kind::BFloat16), 2, Some("BF16"), Some("BFloat16Storage")),
    ("float8_e4m3fn", Some(Kind::Float8e4m3fn), 1, Some("F8_E4M3"), None),
    ("float8_e5m2", Some(Kind::Float8e5m2), 1, Some("F8_E5M2"), None),
    ("float8_e4m3fnuz", Some(Kind::Float8e4m3fnuz), 1, Some("F8_E4M3FNUZ"), None),
    ("float8_e5m2fnuz", Some(Kind::Float8e5m2fnuz), 1, Some("F8_E5M2FNUZ"), None),
    ("int64", Some(Kind::Int64), 8, Some("I64"), Some("LongStorage")),
    ("int32", Some(Kind::Int), 4, Some("I32"), Some("IntStorage")),
    ("int16", Some(Kind::Int16), 2, Some("I16"), Some("ShortStorage")),
    ("int8", Some(Kind::Int8), 1, Some("I8"), Some("CharStorage")),
    ("uint8", Some(Kind::Uint8), 1, Some("U8"), Some("ByteStorage")),
    ("bool", Some(Kind::Bool), 1, Some("BOOL"), Some("BoolStorage")),
    ("complex64", Some(Kind::ComplexFloat), 8, Some("C64"), Some("ComplexFloatStorage")),
    ("complex128", Some(Kind::ComplexDouble), 16, Some("C128"), Some("ComplexDoubleStorage")),
    ("complex32", None, 4, Some("C32"), Some("ComplexHalfStorage")),
    ("uint16", None, 2, Some("U16"), None),
    ("uint32", None, 4, Some("U32"), None),
    ("uint64", None, 8, Some("U64"), None),
    ("float8_e8m0fnu", None, 1, Some("F8_E8M0"), None),
    ("float4_e2m1fn_x2", None, 1, Some("F4"), None),
    ("qint8", None, 1, None, Some("QInt8Storage")),
    ("quint8", None, 1, None, Some("QUInt8Storage")),
    ("qint32", None, 4, None, Some("QInt32Storage")),
    ("quint4x2", None, 1, None, Some("QUInt4x2Storage")),
    ("quint2x4", None, 1, None, Some("QUInt2x4Storage")),
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

    /// Its storage class.
    pub(super) fn storage(self) -> Option<&'static str> {
        let row = TABLE.iter().find(|row| row.0 == self.name);
        row.and_then(|row| row.4)
    }

    /// The dtype with torch's name, `float32`.
    pub(super) fn named(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.0 == name).map(Self::of)
    }

    /// The dtype that a safetensors header names, `F32`; one that nobody here knows is only told apart.
    pub(super) fn of_safetensors(name: &str) -> Self {
        let row = TABLE.iter().find(|row| row.3 == Some(name));
        row.map(Self::of).unwrap_or(Self {
            name: "unknown",
            kind: None,
            bytes: 0,
        })
    }

    /// The dtype that an exported program has a number for.
    pub(super) fn of_exported(number: u64) -> Option<Self> {
        let name = match number {
            1 => "uint8",
            2 => "int8",
            3 => "int16",
            4 => "int32",
            5 => "int64",
            6 => "float16",
            7 => "float32",
            8 => "float64",
            9 => "complex32",
            10 => "complex64",
            11 => "complex128",
            12 => "bool",
            13 => "bfloat16",
            28 => "uint16",
            29 => "float8_e4m3fn",
            30 => "float8_e5m2",
            31 => "float8_e4m3fnuz",
            32 => "float8_e5m2fnuz",
            _ => return None,
        };
        Self::named(name)
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

    /// Whether numbers of this kind can be read into `kind`: the same, or both floating-point.
    pub(super) fn fits_into(self, kind: Kind) -> bool {
        let floating = |kind: Kind| FLOATING.contains(&kind);
        self.kind
            .is_some_and(|own| own == kind || (floating(own) && floating(kind)))
    }

    /// Whether reading into `kind` may round.
    pub(super) fn rounds_into(self, kind: Kind) -> bool {
        // bits of the exponent and of the fraction
        let bits = |kind| match kind {
            Kind::Double => (11, 52),
            Kind::Float => (8, 23),
            Kind::Half => (5, 10),
            Kind::BFloat16 => (8, 7),
            Kind::Float8e4m3fn | Kind::Float8e4m3fnuz => (4, 3),
            Kind::Float8e5m2 | Kind::Float8e5m2fnuz => (5, 2),
            _ => (0, 0),
        };
        self.kind.is_some_and(|own| {
            let (own, other) = (bits(own), bits(kind));
            own.0 > other.0 || own.1 > other.1
        })
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
